"""A timer for steps that take milliseconds to seconds, on machines that are never quiet."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

KERAS = ("tensorflow", "keras")  # how the modules of its tensors and variables are called


class Timing(NamedTuple):
    """What `time_run` measured, in seconds per batch.

    `first` is the very first call: it traces, compiles and allocates, so it stands apart
    and is in none of the other numbers. `sd` is the sample standard deviation.
    """

    mean: float
    sd: float
    median: float
    fastest: float
    first: float
    durations: tuple[float, ...]


def synchronise(result) -> None:
    """Wait until the device has finished computing `result`.

    On a GPU a call returns before its work is done. `result` is a tensor of either
    framework, or a list, tuple or dictionary of them. Anything else is not waited for:
    plain values need no wait, but a dataclass or tf.IndexedSlices (the gradient of an
    embedding) would. A TensorFlow tensor is fetched, which copies it: return a small one.
    """
    if isinstance(result, Mapping):
        result = tuple(result.values())
    if isinstance(result, list | tuple):
        for part in result:
            synchronise(part)
        return
    device = getattr(result, "device", None)
    if getattr(device, "type", None) in ("cuda", "mps"):
        import torch

        if device.type == "cuda":
            torch.cuda.synchronize(device)
        else:
            torch.mps.synchronize()
    elif hasattr(result, "numpy") and type(result).__module__.startswith(KERAS):
        result.numpy()


def seconds_of(step: Callable[[], object]) -> float:
    """Return how long one call took, the wait for its result included."""
    start = time.perf_counter()
    synchronise(step())
    return time.perf_counter() - start


def summary(first: float, durations: Sequence[float]) -> Timing:
    """Return the statistics of `durations`, which `first` is not part of."""
    return Timing(
        mean=statistics.fmean(durations),
        sd=statistics.stdev(durations),
        median=statistics.median(durations),
        fastest=min(durations),
        first=first,
        durations=tuple(durations),
    )


def check_counts(count: int, burn_in: int, name: str) -> None:
    """Raise ValueError for fewer than two measurements (no spread) or a negative burn-in."""
    if count < 2 or burn_in < 0:
        raise ValueError(f"Need {name} >= 2 and burn_in >= 0, got {count} and {burn_in}.")


def time_run(
    step: Callable[[], object], *, num_batches: int = 100, burn_in: int = 10
) -> Timing:
    """Time `step()` and return seconds per batch.

    The first call is timed apart, `burn_in` more calls are thrown away (caches, memory
    pools, clock speeds), then `num_batches` calls are timed one by one. Let `step` return
    its result, a small tensor or several, so that the device can be waited for: after None
    the clock stops while a GPU is still busy.

    Raises ValueError for fewer than two batches or a negative burn-in.
    """
    check_counts(num_batches, burn_in, "num_batches")
    first = seconds_of(step)
    for _ in range(burn_in):
        seconds_of(step)
    return summary(first, [seconds_of(step) for _ in range(num_batches)])


def time_in_turns(
    steps: Mapping[str, Callable[[], object]], *, rounds: int = 20, burn_in: int = 3
) -> dict[str, Timing]:
    """Time several steps side by side: name -> seconds per batch.

    Each round calls every step once, every second round in the opposite order. So what
    disturbs the machine for longer than a round disturbs all of them, and the quotients of
    `durations` with the same index are fair. First calls and burn-in are as in `time_run`.
    """
    check_counts(rounds, burn_in, "rounds")
    first = {name: seconds_of(step) for name, step in steps.items()}
    durations = {name: [] for name in steps}
    for i in range(burn_in + rounds):
        for name in list(steps)[:: -1 if i % 2 else 1]:
            durations[name].append(seconds_of(steps[name]))
    return {name: summary(first[name], durations[name][burn_in:]) for name in steps}
