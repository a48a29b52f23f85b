"""The timer on a clock that the test turns, and its wait for the device."""

import statistics
import time
from collections import namedtuple

import pytest
import torch

from course_utils import timing


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock; `clock.now` is turned by the steps themselves."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(time, "perf_counter", lambda: Clock.now)
    return Clock


def steps_that_take(clock, durations):
    remaining = iter(durations)

    def step():
        clock.now += next(remaining)

    return step


def test_first_call_apart_burn_in_thrown_away_statistics_of_the_rest(clock):
    kept = [3.0, 1.0, 2.0, 6.0]
    step = steps_that_take(clock, [100.0, 50.0, 40.0, *kept])  # one more would raise
    timed = timing.time_run(step, num_batches=4, burn_in=2)
    assert timed.durations == tuple(kept)
    assert timed.first == 100
    assert (timed.mean, timed.median, timed.fastest) == (3.0, 2.5, 1.0)
    assert timed.sd == pytest.approx(statistics.stdev(kept))
    assert clock.now == 202  # every duration was used


def test_equal_durations_have_no_spread(clock):
    timed = timing.time_run(steps_that_take(clock, [0.25] * 9), num_batches=8, burn_in=0)
    assert timed.sd == 0  # the old timer took the root of a negative number here
    assert timed.first == timed.mean == 0.25


@pytest.mark.parametrize(("num_batches", "burn_in"), [(1, 0), (0, 0), (5, -1)])
def test_wrong_arguments_are_refused_before_any_call(num_batches, burn_in):
    with pytest.raises(ValueError, match=f"got {num_batches} and {burn_in}"):
        timing.time_run(pytest.fail, num_batches=num_batches, burn_in=burn_in)


class OnGpu:
    """Stands for a tensor on a device that this machine lacks."""

    def __init__(self, device):
        self.device = torch.device(device)


@pytest.fixture
def waited(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: seen.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: seen.append("mps"))
    return seen


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (0.5, x),
        lambda x: [torch.zeros(1), [x]],
        lambda x: {"loss": x},
        lambda x: namedtuple("Result", "loss hits")(x, 3),
    ],
    ids=["tensor", "tuple", "nested list", "dictionary", "named tuple"],
)
@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_tensor_is_waited_for_wherever_it_stands(waited, wrap, device):
    timing.synchronise(wrap(OnGpu(device)))
    assert waited == [device]


def test_plain_values_need_no_wait(waited):
    for result in (None, 1.5, "text", [], {}, torch.zeros(2), [torch.zeros(1)]):
        timing.synchronise(result)
    assert waited == []


def test_the_wait_is_inside_the_measured_time(clock, monkeypatch):
    def wait(device):
        clock.now += 7

    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    timed = timing.time_run(lambda: OnGpu("cuda"), num_batches=2, burn_in=0)
    assert timed.durations == (7, 7)


def test_tensorflow_is_waited_for_inside_the_measured_time():
    import tensorflow as tf

    @tf.function
    def work(x):
        for _ in range(4):
            x = tf.tanh(x @ x)
        return tf.reduce_sum(x)

    def no_result(x):
        work(x)

    x = tf.random.stateless_uniform((500, 500), seed=(0, 1))
    tf.config.experimental.set_synchronous_execution(False)  # calls return early, as on a GPU
    try:
        waited = timing.time_run(lambda: work(x), num_batches=3, burn_in=1)
        forgotten = timing.time_run(lambda: no_result(x), num_batches=3, burn_in=1)
        work(x).numpy()
    finally:
        tf.config.experimental.set_synchronous_execution(True)
    assert waited.fastest > 2 * forgotten.fastest


def test_what_is_no_tensor_and_no_collection_is_not_waited_for(waited):
    class Result:
        logits = OnGpu("cuda")

    timing.synchronise(Result())
    assert waited == []


def test_tensorflows_tensors_are_fetched(monkeypatch):
    import keras
    import tensorflow as tf

    results = [tf.constant(1.0), tf.Variable(2.0), keras.ops.ones(2), keras.Variable(3.0)]
    for result in results:
        owner = next(cls for cls in type(result).__mro__ if "numpy" in vars(cls))
        fetched = []
        with monkeypatch.context() as patch:
            patch.setattr(owner, "numpy", lambda self, seen=fetched: seen.append(self))
            timing.synchronise((result,))
        assert len(fetched) == 1, type(result)


def test_steps_in_turns_and_every_second_round_the_other_way_round(clock):
    calls = []

    def step(name, durations):
        remaining = iter(durations)

        def one():
            calls.append(name)
            clock.now += next(remaining)

        return one

    steps = {"a": step("a", [50.0, 9.0, 1.0, 3.0]), "b": step("b", [60.0, 8.0, 2.0, 6.0])}
    timed = timing.time_in_turns(steps, rounds=2, burn_in=1)
    assert "".join(calls) == "ababbaab"
    assert (timed["a"].first, timed["b"].first) == (50, 60)
    assert (timed["a"].durations, timed["b"].durations) == ((1, 3), (2, 6))
    assert (timed["b"].mean, timed["b"].sd) == (4, pytest.approx(8**0.5))


@pytest.mark.parametrize(("rounds", "burn_in"), [(1, 0), (5, -1)])
def test_wrong_rounds_are_refused_before_any_call(rounds, burn_in):
    with pytest.raises(ValueError, match=f"rounds >= 2 .* got {rounds} and {burn_in}"):
        timing.time_in_turns({"a": pytest.fail}, rounds=rounds, burn_in=burn_in)
