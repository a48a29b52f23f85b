"""Checkers of chapter 15: a running spread, a paired comparison, an exponent."""

import math
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from course_utils.check.core import close, exercise, explain

__all__ = ["exponent", "paired_ratio", "running"]


# --- Exercise 1 -------------------------------------------------------------------------


def _running(durations, spread: Callable = statistics.stdev, count=None) -> list:
    """Look at all batches so far again, each time; `count` divides instead of their number."""
    pairs = []
    for i in range(1, len(durations) + 1):
        so_far = durations[:i]
        mean = math.fsum(so_far) / (count or i)
        pairs.append((mean, spread(so_far) if i > 1 else 0.0))
    return pairs


def _old(durations) -> list:
    """What the old timer prints: batches that have not run count as 0 seconds."""
    zeros = [0.0] * len(durations)
    padded = [durations[:i] + zeros[i:] for i in range(1, len(durations) + 1)]
    return [(statistics.fmean(some), statistics.pstdev(some)) for some in padded]


_NEARLY_EQUAL = [0.37 + i % 3 * 1e-10 for i in range(60)]


def _cancels(candidate) -> str | None:
    """Name what happens to durations that are nearly equal, or None."""
    short = "The mean of the squares minus the square of the mean cancels for durations that "
    short += "are nearly equal. Here the difference went below zero, and its root"
    try:
        pairs = np.asarray(candidate(list(_NEARLY_EQUAL)))
    except ValueError:
        return f"{short} raised ValueError."
    if np.iscomplexobj(pairs):
        return f"{short} is a complex number."
    if np.isnan(pairs).any():
        return f"{short} is not a number."
    means, spreads = np.transpose(_running(_NEARLY_EQUAL))
    some = "60 durations that are nearly equal"
    if not np.allclose(pairs[:, 0], means, rtol=1e-12):
        return f"Of {some} you say {pairs[-1, 0]:.12g} is the mean; it is {means[-1]:.12g}."
    if not np.allclose(pairs[:, 1], spreads, rtol=1e-3, atol=1e-14):
        return (
            f"Of {some}, which spread by {spreads[-1]:.1e} s, you say {pairs[-1, 1]:.1e}. Is "
            "there a difference of large numbers, which cancel, or single precision?"
        )
    return None


def _new_mean_only(durations) -> list:
    """Welford's method with both differences from the new mean."""
    pairs, mean, q = [], 0.0, 0.0
    for count, duration in enumerate(durations, start=1):
        mean += (duration - mean) / count
        q += (duration - mean) ** 2
        pairs.append((mean, math.sqrt(q / max(count - 1, 1))))
    return pairs


@exercise
def running(candidate) -> str | None:
    """candidate(durations) is a list of (mean, sample sd), one after each batch."""
    cases = [([1.0, 1.5, 0.5, 2.0],), ([0.25, 0.25, 4.0],), ([3.0],)]
    got = [candidate(list(case[0])) for case in cases]
    if isinstance(got[0], Iterator):
        return "Give a list, not a generator or another iterator."
    shapes = [np.shape(pairs) for pairs in got]
    if shapes[0] == (2,) or shapes[0] == (1, 2):
        return "That is one pair. Give a list with a pair for each batch, as it comes in."
    if shapes[0] == (3, 2):
        return "After the first batch there is a pair too: its mean and a spread of 0."
    expected = [(len(case[0]), 2) for case in cases]
    if shapes != expected:
        return f"Give a list of pairs (mean, sd). Of {cases[0][0]} yours has shape {shapes[0]}."
    if np.isnan(np.asarray(got[2], dtype=float)).any():
        return "One duration has no spread: give 0 for it."
    mistakes = {
        "Divide by the batches that have run, not by all of them.": _old,
        "Divide the sum by the batches that have run, not by all of them.": (
            lambda d: _running(d, count=len(d))
        ),
        "The sample sd divides by the count minus 1: yours is the population's.": (
            partial(_running, spread=statistics.pstdev)
        ),
        "That is the variance. Take its root.": partial(_running, spread=statistics.variance),
        "That is the standard error of the mean. Give the spread of the batches.": (
            partial(_running, spread=lambda d: statistics.stdev(d) / math.sqrt(len(d)))
        ),
        "Multiply the difference from the old mean by that from the new one.": _new_mean_only,
    }

    def say(case, given, answer):
        shown = [
            "[" + ", ".join(f"({m:.3f}, {s:.3f})" for m, s in p) + "]" for p in (given, answer)
        ]
        return f"Of {case[0]} you gave {shown[0]}; it is {shown[1]}."

    return explain(got, cases, _running, mistakes, say) or _cancels(candidate)


# --- Exercise 2 -------------------------------------------------------------------------


def _ratio(ours, theirs) -> float:
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2


@exercise
def paired_ratio(candidate) -> str | None:
    """candidate(ours, theirs) is the median of the ratios of the rounds, ours to theirs."""
    cases = [
        ([1.0, 4.0, 9.0], [2.0, 2.0, 3.0]),
        ([2.0, 6.0, 30.0, 5.0], [2.0, 3.0, 20.0, 1.0]),
        ([8.0, 3.0, 2.0, 9.0, 7.0], [2.0, 4.0, 5.0, 1.0, 8.0]),
    ]
    got = [candidate(list(ours), list(theirs)) for ours, theirs in cases]
    if np.shape(got[0]) == (3,):
        return "These are the ratios of the rounds, or their quartiles. Give the median alone."
    if any(np.ndim(answer) for answer in got):
        return "Give one number."
    median, mean = statistics.median, statistics.fmean
    mistakes = {
        "You divide theirs by ours.": lambda a, b: _ratio(b, a),
        "That is the ratio of the medians: they come from different rounds.": (
            lambda a, b: median(a) / median(b)
        ),
        "That is the ratio of the means: one slow round decides it.": (
            lambda a, b: mean(a) / mean(b)
        ),
        "That is the mean of the ratios: one slow round decides it.": (
            lambda a, b: mean(x / y for x, y in zip(a, b, strict=True))
        ),
        "You sort each list by itself. That takes the rounds apart.": (
            lambda a, b: _ratio(sorted(a), sorted(b))
        ),
        "That is the ratio of the fastest: they come from different rounds.": (
            lambda a, b: min(a) / min(b)
        ),
        "That is the median of the differences, in seconds. Divide.": (
            lambda a, b: median(x - y for x, y in zip(a, b, strict=True))
        ),
        "Give the ratio, not per cent.": lambda a, b: 100 * _ratio(a, b),
        "Give the ratio itself: 1 for equal times.": lambda a, b: _ratio(a, b) - 1,
        "With an even number of rounds the median lies between the two middle ratios.": (
            lambda a, b: statistics.median_high(x / y for x, y in zip(a, b, strict=True))
        ),
        "With an even number of rounds, the median lies between the two in the middle.": (
            lambda a, b: statistics.median_low(x / y for x, y in zip(a, b, strict=True))
        ),
    }

    def say(case, given, answer):
        return f"For ours={case[0]}, theirs={case[1]} you gave {given:.4g}; it is {answer:.4g}."

    return explain(got, cases, _ratio, mistakes, say)


# --- Exercise 3 -------------------------------------------------------------------------


def _slope(x, y) -> float:
    """Return the slope of the line of least squares."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    x = x - x.mean()
    return float(x @ y / (x @ x))


def _exponent(sizes, seconds) -> float:
    return _slope(np.log(sizes), np.log(seconds))


@exercise
def exponent(candidate) -> str | None:
    """candidate(sizes, seconds) is the slope of log seconds against log sizes."""
    cases = [
        ([32, 64, 128], [0.01, 0.03, 0.15]),
        ([1, 2, 4, 16], [0.5, 0.6, 0.9, 2.0]),
        ([3, 6, 12, 24], [0.9, 1.8, 3.6, 7.2]),
        ([2, 5, 7], [8.0, 125.0, 343.0]),
    ]
    got = [candidate(list(sizes), list(seconds)) for sizes, seconds in cases]
    if all(np.shape(answer) == (2,) for answer in got):
        return "np.polyfit gives slope and intercept. Return the slope alone."
    if any(np.ndim(answer) for answer in got):
        return "Give one number."
    log = np.log
    mistakes = {
        "That is the slope of seconds against sizes. Take the logarithm of both.": _slope,
        "Take the logarithm of the sizes too.": lambda n, t: _slope(n, log(t)),
        "Take the logarithm of the seconds too.": lambda n, t: _slope(log(n), t),
        "Your axes are exchanged: sizes go to the right, seconds up.": (
            lambda n, t: _slope(log(t), log(n))
        ),
        "That uses the first and the last point only. Fit all of them.": (
            lambda n, t: log(t[-1] / t[0]) / log(n[-1] / n[0])
        ),
        "That is the mean of the slopes between neighbours. Fit one line to all points.": (
            lambda n, t: np.mean(np.diff(log(t)) / np.diff(log(n)))
        ),
        "You force the line through the point (1, 1 s). Let it have an intercept.": (
            lambda n, t: log(n) @ log(t) / (log(n) @ log(n))
        ),
        "That is the intercept. np.polyfit gives the slope first.": (
            lambda n, t: np.mean(log(t)) - _exponent(n, t) * np.mean(log(n))
        ),
        "Do not round it.": lambda n, t: round(_exponent(n, t)),
    }

    def say(case, given, answer):
        return (
            f"For sizes={case[0]}, seconds={case[1]} you gave {given:.4g}; it is {answer:.4g}."
        )

    return explain(got, cases, _exponent, mistakes, say, same=close)
