"""The long benchmark on cases small enough for a test: rows, tables, names."""

import csv
import json
import subprocess
import sys

import benchmark
import pytest
from benchmark import BOTH, FORWARD, Case

from course_utils.tf import slim

TINY = Case("slim", 50, 32, 2, FORWARD, "eager")


@pytest.fixture
def tiny_networks(monkeypatch):
    """Replace the networks by one unit."""
    blocks = [slim.resnet_v2_block("block1", 4, 1, 1)]

    def build(network, depth, size):
        shape = (size, size, 3)
        return slim.resnet_v2(blocks, 10, input_shape=shape, spatial_squeeze=True)

    monkeypatch.setattr(benchmark, "build", build)


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Write into an empty folder, and measure nothing."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    measured = []

    def instead(case):
        measured.append(case.name)
        return {"case": case.name, "median (s)": str(len(measured))}

    monkeypatch.setattr(benchmark, "in_fresh_process", instead)
    return measured


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("direction", [FORWARD, BOTH])
@pytest.mark.parametrize("run_as", ["eager", "tf.function"])
def test_a_row_says_what_was_measured_and_where(tiny_networks, direction, run_as):
    row = benchmark.measure(TINY._replace(direction=direction, run_as=run_as))
    assert row["case"] == f"slim-50/32/2/{direction}/{run_as}"
    # 7x7 to 16x16; at 8x8: the projection and the bottleneck; the logits
    unit = 64 * (64 * 16 + 64 * 4 + 9 * 4 * 4 + 4 * 16)
    expected = 16 * 16 * 49 * 3 * 64 + unit + 16 * 10
    assert row["forward multiply-adds of an image"] == expected
    first, *times = (float(v) for k, v in row.items() if k.endswith("(s)"))
    assert min(first, *times) > 0
    assert row["batches"] == 20
    assert 10 < row["peak memory (MiB)"] < 100_000
    assert all(str(value) for value in row.values())


def test_a_step_returns_what_needs_the_gradients(tiny_networks):
    model = benchmark.build("slim", 50, 32)
    loss, norm = benchmark.make_step(TINY._replace(direction=BOTH), model)()
    assert loss > 0
    assert norm > 0
    logits = benchmark.make_step(TINY, model)()
    assert logits.shape == (2, 10)


def test_a_pair_gives_the_quartiles_of_its_ratios(tiny_networks, monkeypatch):
    from course_utils import timing

    ours = timing.summary(9.0, [1.0, 2.0, 3.0])
    theirs = timing.summary(9.0, [2.0, 2.0, 2.0])
    monkeypatch.setattr(
        timing, "time_in_turns", lambda steps, **_: {"slim": ours, "keras": theirs}
    )
    row = benchmark.measure_pair(Case("pair", 50, 32, 2, FORWARD))
    ratios = [value for name, value in row.items() if "ratio" in name]
    assert ratios == ["0.500", "1.000", "1.500"]
    assert (row["slim, median (s)"], row["keras, median (s)"]) == ("2", "2")


def test_every_case_is_recorded_once_and_again_replaces_its_row(tables, tmp_path):
    assert benchmark.main() == 0
    names = [case.name for case in benchmark.cases()]
    assert [row["case"] for row in rows(tmp_path / "benchmark.csv")] == names
    assert len(rows(tmp_path / "benchmark_pairs.csv")) == len(benchmark.pairs())
    count = len(tables)
    benchmark.main(names[3])
    again = rows(tmp_path / "benchmark.csv")
    assert [row["case"] for row in again] == names
    assert [float(row["median (s)"]) for row in again[2:5]] == [3, count + 1, 5]


def test_what_was_cut_off_goes_on_with_the_missing_cases(tables, tmp_path):
    last = benchmark.cases()[-1].name
    benchmark.main(last)
    benchmark.main("missing")
    assert tables.count(last) == 1
    assert len(tables) == len(benchmark.cases() + benchmark.pairs())
    assert rows(tmp_path / "benchmark.csv")[-1]["case"] == last


def test_the_cases_that_the_book_quotes_are_there():
    known = benchmark.cases() + benchmark.pairs()
    assert len({case.name for case in known}) == len(known)
    for depth in (50, 101, 152, 200):
        for batch in (1, 8):
            assert Case("slim", depth, 224, batch, BOTH) in known
    assert {f"keras-{depth}/224/8/forward/tf.function" for depth in (50, 101, 152)} <= {
        case.name for case in known
    }


def test_an_unknown_case_is_named(tables):
    with pytest.raises(SystemExit, match=r"no case 'slim-51'; there are:\s+slim-50/224/1/fo"):
        benchmark.main("slim-51")
    assert not tables


def test_the_row_comes_back_from_a_fresh_process(monkeypatch):
    said = []

    def run(command, **_):
        said.append(command)
        return subprocess.CompletedProcess(command, 0, "log\n" + json.dumps({"case": "x"}), "")

    monkeypatch.setattr(subprocess, "run", run)
    assert benchmark.in_fresh_process(TINY) == {"case": "x"}
    assert said == [[sys.executable, benchmark.__file__, "--measure", TINY.name]]


def test_a_case_that_fails_says_so():
    with pytest.raises(SystemExit, match="slim-50/32/2/forward/eager did not run:"):
        benchmark.in_fresh_process(TINY)
