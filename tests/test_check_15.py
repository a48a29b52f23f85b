"""The checkers of chapter 15 accept right answers and name the mistake of wrong ones."""

import math
import statistics

import numpy as np
from checker_tests import CheckerTests, rows

CHECKERS = ["running", "paired_ratio", "exponent"]


def welford(durations):
    pairs, mean, squares = [], 0.0, 0.0
    for count, duration in enumerate(durations, start=1):
        before = duration - mean
        mean += before / count
        squares += before * (duration - mean)
        pairs.append((mean, math.sqrt(squares / (count - 1)) if count > 1 else 0))
    return pairs


def two_passes(durations, ddof=1, root=np.sqrt):
    rows = []
    for i in range(len(durations)):
        some = np.array(durations[: i + 1])
        rows.append([some.mean(), root(some.var(ddof=ddof)) if i else 0])
    return np.array(rows)


def squares(root, counts=lambda count, durations: count):
    """The mean of the squares minus the squared mean, with the sample's n / (n - 1)."""

    def candidate(durations):
        pairs, total, square = [], 0.0, 0.0
        for count, duration in enumerate(durations, start=1):
            total += duration
            square += duration * duration
            mean = total / counts(count, durations)
            variance = square / counts(count, durations) - mean * mean
            pairs.append((mean, root(variance * count / (count - 1)) if count > 1 else 0))
        return pairs

    return candidate


def old_post(durations):
    total = square = 0.0
    pairs = []
    for duration in durations:
        total, square = total + duration, square + duration * duration
        mean = total / len(durations)
        pairs.append((mean, math.sqrt(square / len(durations) - mean * mean)))
    return pairs


def nan_root(value):
    return math.sqrt(value) if value >= 0 else math.nan


def clipped_root(value):
    return math.sqrt(max(value, 0))


def in_single_precision(durations):
    some = np.array(durations, np.float32)
    sds = [0.0] + [float(some[:i].std(ddof=1)) for i in range(2, len(some) + 1)]
    return [(pair[0], sd) for pair, sd in zip(welford(durations), sds, strict=True)]


def mean_that_is_off(durations):
    off = 1e-4 if len(durations) > 10 else 0
    return [(mean + off, sd) for mean, sd in welford(durations)]


def new_mean_only(durations):
    means = [statistics.fmean(durations[: i + 1]) for i in range(len(durations))]
    squares = np.cumsum([(d - mean) ** 2 for d, mean in zip(durations, means, strict=True)])
    pairs = zip(means, squares, strict=True)
    return [(m, math.sqrt(q / max(i, 1))) for i, (m, q) in enumerate(pairs)]


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def line(x, y, degree=1):
    return np.polyfit(x, y, degree)[0]


def by_regression(sizes, seconds):
    logs = [math.log2(n) for n in sizes], [math.log2(t) for t in seconds]
    return statistics.linear_regression(*logs).slope


RIGHT = {
    "running": [
        welford,
        two_passes,
        lambda d: [
            (statistics.fmean(d[:i]), statistics.stdev(d[:i]) if i > 1 else 0)
            for i in range(1, len(d) + 1)
        ],
    ],
    "paired_ratio": [
        lambda a, b: statistics.median(ratios(a, b)),
        lambda a, b: np.quantile(np.array(a) / np.array(b), 0.5),
    ],
    "exponent": [lambda n, t: line(np.log(n), np.log(t)), by_regression],
}

WRONG = {
    "running": [
        (old_post, "not by all of them"),
        (lambda d: [(sum(d[:i]) / len(d), s) for i, (_, s) in enumerate(welford(d), 1)], "sum"),
        (lambda d: two_passes(d, ddof=0), "yours is the population's"),
        (lambda d: two_passes(d, root=float), "Take its root"),
        (lambda d: [(m, s / math.sqrt(i)) for i, (m, s) in enumerate(welford(d), 1)], "error"),
        (squares(math.sqrt), "raised ValueError"),
        (squares(nan_root), "not a number"),
        (squares(lambda v: v**0.5), "is a complex number"),
        (squares(clipped_root), "which spread by 8.2e-11 s, you say"),
        (in_single_precision, "or single precision"),
        (mean_that_is_off, "nearly equal you say 0.3701000001 is the mean"),
        (new_mean_only, "from the old mean by that from the new one"),
        (lambda d: iter(welford(d)), "Give a list, not a generator"),
        (lambda d: (pair for pair in welford(d)), "Give a list, not a generator"),
        (lambda d: welford(d)[-1], "That is one pair"),
        (lambda d: welford(d)[-1:], "That is one pair"),
        (lambda d: welford(d)[1:], "After the first batch"),
        (lambda d: [mean for mean, _ in welford(d)], "pairs (mean, sd)"),
        (
            lambda d: [(m, s if i else math.nan) for i, (m, s) in enumerate(welford(d))],
            "give 0",
        ),
        (
            lambda d: [(statistics.median(d[: i + 1]), 0) for i in range(len(d))],
            "you gave [(1.",
        ),
    ],
    "paired_ratio": [
        (lambda a, b: statistics.median(ratios(b, a)), "theirs by ours"),
        (lambda a, b: statistics.median(a) / statistics.median(b), "ratio of the medians"),
        (lambda a, b: sum(a) / sum(b), "ratio of the means"),
        (lambda a, b: np.mean(ratios(a, b)), "mean of the ratios"),
        (lambda a, b: np.median(np.sort(a) / np.sort(b)), "sort each list"),
        (lambda a, b: min(a) / min(b), "ratio of the fastest"),
        (lambda a, b: np.median(np.subtract(a, b)), "in seconds"),
        (lambda a, b: 100 * np.median(ratios(a, b)), "not per cent"),
        (lambda a, b: np.median(ratios(a, b)) - 1, "1 for equal times"),
        (lambda a, b: sorted(ratios(a, b))[len(a) // 2], "even number of rounds"),
        (lambda a, b: sorted(ratios(a, b))[(len(a) - 1) // 2], "even number of rounds"),
        (lambda a, b: statistics.quantiles(ratios(a, b), n=4), "Give the median alone"),
        (lambda a, b: [1.0, 2.0], "one number"),
        (lambda a, b: 1.0, "you gave 1; it is 2."),
    ],
    "exponent": [
        (line, "logarithm of both"),
        (lambda n, t: line(n, np.log(t)), "of the sizes too"),
        (lambda n, t: line(np.log(n), t), "of the seconds too"),
        (lambda n, t: line(np.log(t), np.log(n)), "axes are exchanged"),
        (lambda n, t: math.log(t[-1] / t[0]) / math.log(n[-1] / n[0]), "first and the last"),
        (lambda n, t: np.mean(np.diff(np.log(t)) / np.diff(np.log(n))), "between neighbours"),
        (lambda n, t: np.dot(np.log(n), np.log(t)) / np.sum(np.log(n) ** 2), "an intercept"),
        (lambda n, t: np.polyfit(np.log(n), np.log(t), 1)[1], "That is the intercept"),
        (lambda n, t: np.polyfit(np.log(n), np.log(t), 1), "slope alone"),
        (lambda n, t: round(by_regression(n, t)), "Do not round"),
        (lambda n, t: np.log(t), "one number"),
        (lambda n, t: 2.5, "you gave 2.5; it is"),
    ],
}


class TestCheckers(CheckerTests):
    right, wrong, checkers = rows(RIGHT), rows(WRONG), CHECKERS
