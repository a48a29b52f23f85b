"""A timer for steps that take milliseconds to seconds, on machines that are never quiet."""

import statistics
import time
from collections.abc import Callable, Mapping
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
    framework, or a list, tuple or dictionary of them. Plain Python values need no wait.
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


def time_run(
    step: Callable[[], object], *, num_batches: int = 100, burn_in: int = 10
) -> Timing:
    """Time `step()` and return seconds per batch.

    The first call is timed apart, `burn_in` more calls are thrown away (caches, memory
    pools, clock speeds), then `num_batches` calls are timed one by one. Let `step` return
    its result, a small tensor or several, so that the device can be waited for: after None
    the clock stops while a GPU is still busy.

    Raises ValueError for fewer than two batches (no spread) or a negative burn-in.
    """
    if num_batches < 2 or burn_in < 0:
        raise ValueError(
            f"Need num_batches >= 2 and burn_in >= 0, got {num_batches} and {burn_in}."
        )

    def one_call() -> float:
        start = time.perf_counter()
        synchronise(step())
        return time.perf_counter() - start

    first = one_call()
    for _ in range(burn_in):
        one_call()
    durations = tuple(one_call() for _ in range(num_batches))
    return Timing(
        mean=statistics.fmean(durations),
        sd=statistics.stdev(durations),
        median=statistics.median(durations),
        fastest=min(durations),
        first=first,
        durations=durations,
    )
