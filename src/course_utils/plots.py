"""Plot helpers: data and an axis in, the axis out. One colour for each thing in the book.

The colours are told apart by readers with the common kinds of colour blindness (Okabe and
Ito's palette); lines that share a plot also differ in their markers or dashes.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

COLOURS = {
    "plain": "#D55E00",
    "residual": "#0072B2",
    "highway": "#009E73",
    "preact": "#CC79A7",
    "bottleneck": "#56B4E9",
    "tensorflow": "#E69F00",
    "pytorch": "#D55E00",
    "numpy": "#595959",
    "train": "#0072B2",
    "test": "#D55E00",
    "wrong": "#D55E00",
    "right": "#0072B2",
    "neutral": "#595959",
}
MARKERS = {"plain": "s", "residual": "o", "highway": "^", "preact": "D", "bottleneck": "v"}


def use_style() -> None:
    """Set the look of all figures of a chapter: white ground, readable sizes."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.alpha": 0.3,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 2,
            "legend.frameon": False,
        }
    )


def _axis(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def curve_with_spread(
    x: Sequence[float], runs, *, name: str, label: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the median of several runs as a line, and smallest to largest as a band.

    `runs` is `[number of runs, len(x)]`; `name` picks colour and marker.
    """
    ax = _axis(ax)
    runs = np.atleast_2d(np.asarray(runs, dtype=float))
    colour = COLOURS.get(name, COLOURS["neutral"])
    marker = MARKERS.get(name) if len(x) <= 12 else None
    ax.plot(x, np.median(runs, axis=0), color=colour, marker=marker, label=label or name)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.18, lw=0)
    return ax


def label_axes(ax: Axes, *, title: str, x: str, y: str, legend: bool = True) -> Axes:
    """Give an axis its title, its labels (with units) and, where there is one, a legend."""
    ax.set(title=title, xlabel=x, ylabel=y)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend()
    return ax


def bars(
    values: dict[str, float], *, names: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw one labelled horizontal bar for each entry, its value written at the end.

    `names` gives the entry's name in `COLOURS`, in the order of `values`.
    """
    ax = _axis(ax)
    colours = [COLOURS.get(name, COLOURS["neutral"]) for name in names] or COLOURS["neutral"]
    container = ax.barh(list(values), list(values.values()), color=colours)
    ax.bar_label(container, [f"{value:,.4g}" for value in values.values()], padding=3)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.15)
    return ax
