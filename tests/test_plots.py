"""The plot helpers: an axis in, the same axis out, nothing shown."""

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import is_color_like, to_rgba

from course_utils import plots


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a helper called show()"))
    with mpl.rc_context():
        mpl.rcdefaults()  # another test of this process may have set a style
        yield
    plt.close("all")


def test_colours_and_markers_are_known():
    assert all(is_color_like(colour) for colour in plots.COLOURS.values())
    assert set(plots.MARKERS) <= set(plots.COLOURS)
    models = ("plain", "residual", "highway", "preact", "bottleneck")
    assert len({plots.COLOURS[name] for name in models}) == len(models)
    assert len({plots.MARKERS[name] for name in models}) == len(models)


def test_the_style_is_set_by_the_call_and_twice_is_once():
    before = dict(mpl.rcParams)
    plots.use_style()
    once = dict(mpl.rcParams)
    plots.use_style()
    assert dict(mpl.rcParams) == once != before
    assert mpl.rcParams["figure.figsize"][0] <= 8  # readable at the width of a phone


def test_curve_shows_median_and_range():
    _, ax = plt.subplots()
    runs = [[1.0, 5.0], [2.0, 4.0], [9.0, 0.0]]
    assert plots.curve_with_spread([10, 20], runs, name="residual", label="ours", ax=ax) is ax
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[10, 2], [20, 4]])
    assert to_rgba(line.get_color()) == to_rgba(plots.COLOURS["residual"])
    assert (line.get_marker(), line.get_label()) == ("o", "ours")
    corners = ax.collections[0].get_paths()[0].vertices
    assert {(10, 1), (10, 9), (20, 0), (20, 5)} <= set(map(tuple, corners))


def test_a_single_run_and_no_axis():
    ax = plots.curve_with_spread(range(20), np.arange(20.0), name="residual")
    assert ax.get_lines()[0].get_marker() == "None"  # twenty markers would hide the line
    plots.curve_with_spread([1, 2], [3, 4], name="unheard of", ax=ax)
    line = ax.get_lines()[1]
    assert to_rgba(line.get_color()) == to_rgba(plots.COLOURS["neutral"])
    assert line.get_label() == "unheard of"
    assert len(plt.get_fignums()) == 1


def test_labels_and_a_legend_where_there_is_something_to_name():
    _, ax = plt.subplots()
    assert plots.label_axes(ax, title="Loss", x="epoch", y="loss (nats)") is ax
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == (
        "Loss",
        "epoch",
        "loss (nats)",
    )
    assert ax.get_legend() is None
    ax.plot([1, 2], label="train")
    plots.label_axes(ax, title="", x="", y="", legend=False)
    assert ax.get_legend() is None
    plots.label_axes(ax, title="", x="", y="")
    assert ax.get_legend() is not None


def test_bars_stand_in_order_from_the_top_with_their_values():
    ax = plots.bars({"plain": 1234.0, "ours": 0.5}, names=["wrong", "right"])
    assert [text.get_text() for text in ax.texts] == ["1,234", "0.5"]
    assert [bar.get_width() for bar in ax.patches] == [1234.0, 0.5]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours == [to_rgba(plots.COLOURS["wrong"]), to_rgba(plots.COLOURS["right"])]
    assert ax.yaxis_inverted()
    _, given = plt.subplots()
    assert plots.bars({"a": 1.0}, ax=given) is given
