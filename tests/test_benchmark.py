"""The long benchmark on cases small enough for a test: rows, tables, names."""

import csv
import json
import math
import subprocess
import sys
import time

import benchmark
import numpy as np
import pytest
from benchmark import BOTH, FORWARD, STEP, Case

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
        seconds = [
            {"case": case.name, "network": name, "seconds": "1 2"}
            for name in (("slim", "keras") if case.network == "pair" else (case.network,))
        ]
        return {"case": case.name, "median (s)": str(len(measured))}, seconds

    monkeypatch.setattr(benchmark, "in_fresh_process", instead)
    return measured


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("direction", [FORWARD, BOTH])
@pytest.mark.parametrize("run_as", ["eager", "tf.function"])
def test_a_row_says_what_was_measured(tiny_networks, direction, run_as):
    row, (durations,) = benchmark.measure(TINY._replace(direction=direction, run_as=run_as))
    assert row["case"] == f"slim-50/32/2/{direction}/{run_as}"
    # 7x7 to 16x16; at 8x8: the projection and the bottleneck; the logits
    unit = 64 * (64 * 16 + 64 * 4 + 9 * 4 * 4 + 4 * 16)
    expected = 16 * 16 * 49 * 3 * 64 + unit + 16 * 10
    assert row["million multiply-adds forward, an image"] == round(expected / 1e6) == 3
    low, high = map(float, row["quartiles (s)"].split(" to "))
    assert 0 < low <= float(row["median (s)"]) <= high
    assert float(row["first call (s)"]) > 0
    assert row["batches"] == 20
    assert 10 < row["peak memory (MiB)"] < 100_000
    assert all(str(value) for value in row.values())
    assert (durations["case"], durations["network"]) == (row["case"], "slim")
    each = [float(one) for one in durations["seconds of each batch"].split()]
    assert len(each) == 20
    assert np.median(each) == pytest.approx(float(row["median (s)"]), rel=1e-3)


def test_a_run_says_on_what_it_measured():
    run = benchmark.conditions()
    assert all(run.values())
    assert "tensorflow 2." in run["versions"]
    assert 1 <= run["usable cores"] <= 1024
    assert float(run["load before"]) >= 0


def test_the_work_of_others_is_told_from_ones_own(monkeypatch):
    at = {"time": 10.0, "all": 50.0, "own": 3.0}
    monkeypatch.setattr(time, "perf_counter", lambda: at["time"])
    monkeypatch.setattr(time, "process_time", lambda: at["own"])
    monkeypatch.setattr(benchmark, "busy_seconds", lambda: at["all"])
    before = benchmark.clocks()
    at |= {"time": 20.0, "all": 68.0, "own": 13.0}  # of 18 s of work in 10 s, 10 are its own
    assert benchmark.others(before) == "0.80"
    at["all"] = math.nan
    assert benchmark.others(before) == "unknown"


def test_the_work_of_this_machine_is_counted():
    before = benchmark.busy_seconds()
    assert math.isnan(before) or 0 < before <= benchmark.busy_seconds()


def test_a_step_returns_what_needs_the_gradients(tiny_networks):
    model = benchmark.build("slim", 50, 32)
    loss, norm = benchmark.make_step(TINY._replace(direction=BOTH), model)()
    assert loss > 0
    assert norm > 0
    logits = benchmark.make_step(TINY, model)()
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("run_as", ["eager", "tf.function"])
def test_a_training_step_is_plain_gradient_descent_without_penalties(tiny_networks, run_as):
    import tensorflow as tf

    case = TINY._replace(direction=STEP, run_as=run_as)
    model = benchmark.build("slim", 50, 32)
    assert model.losses  # the penalties, which the step leaves out
    images = tf.random.stateless_uniform((2, 32, 32, 3), seed=(0, 1))
    before = model.get_weights()
    with tf.GradientTape() as tape:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.range(2), model(images, training=True)
        )
        loss = tf.reduce_mean(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    expected = [
        variable - benchmark.RATE * gradient
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    model.set_weights(before)
    np.testing.assert_allclose(benchmark.make_step(case, model)(), loss, rtol=1e-5)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-6)


def test_a_pair_gives_the_median_of_its_ratios_and_how_sure_it_is(tiny_networks, monkeypatch):
    from course_utils import timing

    ours = timing.summary(9.0, [float(i) for i in range(1, 21)])
    theirs = timing.summary(9.0, [2.0] * 20)
    monkeypatch.setattr(
        timing, "time_in_turns", lambda steps, **_: {"slim": ours, "keras": theirs}
    )
    row, durations = benchmark.measure_pair(Case("pair", 50, 32, 2, STEP))
    assert row["median of the rounds' ratios"] == "5.250"
    assert row["96% interval of that median"] == "3.000 to 7.500"  # the 6th to the 15th
    assert row["quartiles of the ratios"] == "2.625 to 7.875"
    assert (row["slim, median (s)"], row["keras, median (s)"]) == ("10.5", "2")
    assert [one["network"] for one in durations] == ["slim", "keras"]
    assert durations[0]["seconds of each batch"].split() == [str(i) for i in range(1, 21)]


def test_the_interval_holds_the_median_as_often_as_it_says():
    draw = np.random.default_rng(0)
    low, high = benchmark.SKIPPED, benchmark.ROUNDS - benchmark.SKIPPED - 1
    samples = np.sort(draw.normal(1, 0.03, size=(20_000, benchmark.ROUNDS)), axis=1)
    held = (samples[:, low] <= 1) & (samples[:, high] >= 1)
    assert abs(held.mean() - benchmark.confidence()) < 0.01


def test_every_case_is_recorded_once_and_again_replaces_its_row(tables, tmp_path):
    assert benchmark.main() == 0
    names = [case.name for case in benchmark.cases()]
    assert [row["case"] for row in rows(tmp_path / "benchmark.csv")] == names
    pairs = [case.name for case in benchmark.pairs()]
    assert [row["case"] for row in rows(tmp_path / "benchmark_pairs.csv")] == pairs
    kept = [row["case"] for row in rows(tmp_path / "benchmark_durations.csv")]
    assert kept == [*names, *(name for name in pairs for _ in "12")]
    count = len(tables)
    benchmark.main(names[3])
    again = rows(tmp_path / "benchmark.csv")
    assert [row["case"] for row in again] == names
    assert [float(row["median (s)"]) for row in again[2:5]] == [3, count + 1, 5]
    assert len(rows(tmp_path / "benchmark_durations.csv")) == len(kept)


def test_each_row_names_its_run_and_runs_without_rows_go(tables, tmp_path):
    first, second = (case.name for case in benchmark.cases()[:2])
    benchmark.main(first)
    benchmark.main(second)
    assert [row["run"] for row in rows(tmp_path / "benchmark.csv")] == ["1", "2"]
    assert [row["run"] for row in rows(tmp_path / "benchmark_runs.csv")] == ["1", "2"]
    benchmark.main(first)
    assert [row["run"] for row in rows(tmp_path / "benchmark.csv")] == ["3", "2"]
    (two, three) = rows(tmp_path / "benchmark_runs.csv")
    assert (two["run"], three["run"]) == ("2", "3")
    assert three["processor"]


def test_rows_of_cases_that_are_no_more_go(tables, tmp_path):
    path = tmp_path / "benchmark.csv"
    path.write_text("case,run\nlenet/28,1\n")
    benchmark.main(benchmark.cases()[0].name)
    assert [row["case"] for row in rows(path)] == [benchmark.cases()[0].name]


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
            assert Case("slim", depth, 224, batch, FORWARD) in known
    assert [case.direction for case in benchmark.pairs()] == [FORWARD, STEP]
    assert benchmark.ROUNDS >= 12
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
        return subprocess.CompletedProcess(
            command, 0, "log\n" + json.dumps([{"case": "x"}, []]), ""
        )

    monkeypatch.setattr(subprocess, "run", run)
    assert benchmark.in_fresh_process(TINY) == ({"case": "x"}, [])
    assert said == [[sys.executable, benchmark.__file__, "--measure", TINY.name]]


def test_a_case_that_fails_says_so():
    with pytest.raises(SystemExit, match="slim-50/32/2/forward/eager did not run:"):
        benchmark.in_fresh_process(TINY)
