"""Checkers of chapter 11: the units of a layer, their parameters, means of epochs and batches.

Right answers are counted here, step by step, not taken from the formulas that the exercises
ask for.
"""

import warnings
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real

import numpy as np

from course_utils.check.core import exercise, explain

__all__ = ["epoch_means", "mean_over_images", "preact_unit_parameters", "unit_plan"]


def _plain(answer):
    """Return a scalar array or tensor as a Python value, anything else as it is."""
    if hasattr(answer, "__array__") and np.ndim(answer) == 0:
        return np.asarray(answer).item()
    return answer


def _is_number(answer) -> bool:
    """Whether the answer is one plain number; a scalar array counts, True does not."""
    answer = _plain(answer)
    return isinstance(answer, Real) and not isinstance(answer, bool)


def _row(answer) -> list | None:
    """Return the entries of a list, tuple, array or tensor, or None."""
    if hasattr(answer, "__array__"):
        return list(np.asarray(answer)) if np.ndim(answer) else None
    return (
        list(answer) if isinstance(answer, Sequence) and not isinstance(answer, str) else None
    )


# --- Exercise 1 -------------------------------------------------------------------------


def _plan(filter_in: int, filters) -> list[tuple[int, int, bool]]:
    """Walk through the units with the channels in hand."""
    plan, channels = [], filter_in
    for out in filters:
        plan.append((channels, out, channels != out))
        channels = out
    return plan


def _pairs(pairs, projected=lambda i, inside, out: inside != out):
    return [(a, b, projected(i, a, b)) for i, (a, b) in enumerate(pairs)]


def _with(projected):
    return lambda f, c: _pairs([unit[:2] for unit in _plan(f, c)], projected)


def _read_plan(answer) -> list[tuple[int, int, bool]] | str:
    """Return the plan as tuples, or what is wrong with its form."""
    units = _row(answer)
    if hasattr(answer, "__next__"):
        return "Return a list, not a generator."
    if units is None:
        return f"Return a list with one (in, out, projected) for each unit, not {answer!r}."
    plan = []
    for unit in units:
        values = _row(unit)
        if values is None or len(values) != 3:
            return f"Each unit is (in, out, projected), three values; you gave {unit!r}."
        *channels, projected = map(_plain, values)
        if not all(isinstance(n, Integral) for n in channels):
            return f"Channels are whole numbers; you gave {tuple(channels)}."
        if not isinstance(projected, Integral) or projected not in (0, 1):
            return f"projected is True or False; you gave {projected!r}."
        plan.append((*map(int, channels), bool(projected)))
    return plan


@exercise
def unit_plan(candidate) -> str | None:
    """candidate(filter_in, filters): a list of (in, out, projected) for each unit."""
    cases = [(8, (16, 16)), (16, (32, 16, 16)), (4, (4, 4)), (64, (32,)), (3, (5, 7, 5, 9))]
    got = []
    for filter_in, filters in cases:
        given = list(filters)
        plan = _read_plan(candidate(filter_in, given))
        if isinstance(plan, str):
            return plan
        if given != list(filters):
            return "You changed the caller's list. Work on a new one."
        got.append(plan)
    mistakes = {
        "The first unit is missing: it reads filter_in.": (lambda f, c: _pairs(pairwise(c))),
        "The last unit is missing.": lambda f, c: _plan(f, c)[:-1],
        "Only the first unit reads filter_in; each other reads what the one before gave.": (
            lambda f, c: _pairs((f, out) for out in c)
        ),
        "You give (out, in). The channels that come in stand first.": (
            lambda f, c: [(b, a, p) for a, b, p in _plan(f, c)]
        ),
        "Each unit reads what the one before gave, and the first one filter_in.": (
            lambda f, c: _pairs((out, out) for out in c)
        ),
        "projected is the wrong way round: equal channels need no projection.": (
            _with(lambda i, a, b: a == b)
        ),
        "Not every unit has a projection: equal channels can be added as they are.": (
            _with(lambda i, a, b: True)
        ),
        "Where the channels differ there is nothing to add without a projection.": (
            _with(lambda i, a, b: False)
        ),
        "The first unit has a projection only if its channels differ, as any other.": (
            _with(lambda i, a, b: i == 0)
        ),
        "Fewer channels out than in need a projection too.": _with(lambda i, a, b: a < b),
    }

    def say(case, given, answer):
        return (
            f"For filter_in={case[0]} and filters={case[1]} you gave {given}; it is {answer}."
        )

    return explain(got, cases, _plan, mistakes, say, same=lambda a, b: list(a) == list(b))


# --- Exercise 2 -------------------------------------------------------------------------


def _unit(inside: int, out: int, *, kernel=9, bn1=None, stored=2, trained=2, **other):
    """Count (all values, trained values) of a unit, layer by layer. `other`: a mistake."""
    bias, projection = other.get("bias", 1), other.get("projection", "needed")
    norms = (inside if bn1 is None else out) + (0 if other.get("one_norm") else out)
    convs = (kernel * inside + bias) * out
    convs += (kernel * (inside if other.get("same_inputs") else out) + bias) * out
    if projection == "always" or (projection == "needed" and inside != out):
        convs += inside * other.get("projection_kernel", 1) * out
        convs += other.get("projection_bias", bias) * out
    return convs + (trained + stored) * norms, convs + trained * norms


@exercise
def preact_unit_parameters(candidate) -> str | None:
    """candidate(in_channels, out_channels): (all values, trained values) of a unit."""
    cases = [(8, 16), (16, 16), (32, 64), (5, 3), (1, 2)]
    got = []
    for case in cases:
        answer = candidate(*case)
        row = _row(answer)
        if row is None or len(row) != 2 or not all(map(_is_number, row)):
            return f"Return two numbers, all values and trained values; you gave {answer!r}."
        got.append(tuple(map(_plain, row)))

    def counted(**other):
        return lambda a, b: _unit(a, b, **other)

    mistakes = {
        "You give (trained, all). All values stand first.": lambda a, b: _unit(a, b)[::-1],
        "The moving mean and variance are values of the network too, though not trained.": (
            counted(stored=0)
        ),
        "The second number counts what is trained, not what is not.": (
            lambda a, b: (_unit(a, b)[0], 2 * (a + b))
        ),
        "The moving mean and variance are not trained.": lambda a, b: (_unit(a, b)[0],) * 2,
        "The first batch norm stands in front: it has the channels that come in.": (
            counted(bn1="out")
        ),
        "There are two batch norms, one before each convolution.": counted(one_norm=True),
        "Batch norm is missing: gamma, beta, moving mean and variance for each channel.": (
            counted(stored=0, trained=0)
        ),
        "Each batch norm trains two numbers for each channel, gamma and beta.": (
            counted(trained=1, stored=2)
        ),
        "The biases are missing: the post's convolutions have one for each output channel.": (
            counted(bias=0)
        ),
        "The 3x3 convolutions have biases too, one for each output channel.": (
            counted(bias=0, projection_bias=1)
        ),
        "The projection has a bias too, one for each output channel.": (
            counted(projection_bias=0)
        ),
        "Where the channels differ there is a projection, a 1x1 convolution with a bias.": (
            counted(projection="never")
        ),
        "Where the channels agree there is no projection.": counted(projection="always"),
        "The projection is a 1x1 convolution, not 3x3.": counted(projection_kernel=9),
        "The second convolution reads what the first gave: out_channels.": (
            counted(same_inputs=True)
        ),
        "A 3x3 kernel has 9 weights for each pair of channels.": counted(kernel=3),
    }

    def say(case, given, answer):
        return f"For {case[0]} to {case[1]} channels you gave {given}; it is {answer}."

    problem = explain(got, cases, _unit, mistakes, say)
    if problem is None and not all(isinstance(n, Integral) for pair in got for n in pair):
        return "A count is a whole number. Divide with //, or not at all."
    return problem


# --- Exercise 3 -------------------------------------------------------------------------


def _printed(own) -> np.ndarray:
    """What a metric shows that is never reset, for epochs of equal length."""
    return np.cumsum(own) / np.arange(1, len(own) + 1)


def _own(printed) -> np.ndarray:
    """Take out what the epochs before have added up to."""
    own, total = [], 0.0
    for epoch, mean in enumerate(printed, start=1):
        own.append(epoch * mean - total)
        total += own[-1]
    return np.array(own)


def _before(printed, first=0.0):
    """The value printed one epoch earlier."""
    return np.concatenate([[first], np.asarray(printed)[:-1]])


def _epochs(printed):
    return np.arange(1, len(printed) + 1)


@exercise
def epoch_means(candidate) -> str | None:
    """candidate(printed): each epoch's own mean, from means over all epochs so far."""
    own = [(0.25, 0.75, 0.875, 0.5), (0.9,), (3.0, 1.0, 0.5, 0.25, 0.125), (0.2, 0.2, 0.8)]
    cases = [(_printed(values),) for values in own]
    got = []
    for (printed,) in cases:
        given = np.array(printed)
        answer = candidate(given)
        if not np.array_equal(given, printed):
            return "You changed the caller's array. Work on a new one."
        row = _row(answer)
        if row is None or len(row) != len(printed):
            return (
                f"Return one number for each epoch: {len(printed)} for the input "
                f"{np.round(printed, 4).tolist()}, you gave {answer!r}."
            )
        got.append(np.asarray(row, dtype=float))
    mistakes = {
        "A difference of two means is not enough: each mean stands for all epochs so far.": (
            lambda p: np.diff(p, prepend=0.0)
        ),
        "That is what was printed. Take the earlier epochs out.": lambda p: np.array(p),
        "You take means once more. The printed values are means already.": _printed,
        "That is the sum over all epochs so far. Subtract the sum of the epochs before.": (
            lambda p: _epochs(p) * p
        ),
        "The mean printed before stands for epoch - 1 epochs, not for one.": (
            lambda p: _epochs(p) * p - _before(p)
        ),
        "The mean printed before stands for epoch - 1 epochs, not for epoch.": (
            lambda p: _epochs(p) * (p - _before(p))
        ),
        "Twice the new mean less the old one is right for the second epoch only.": (
            lambda p: np.concatenate([p[:1], 2 * p[1:] - p[:-1]])
        ),
        "Epochs are counted from 1: the first mean stands for one epoch.": (
            lambda p: (_epochs(p) - 1) * p - np.maximum(_epochs(p) - 2, 0) * _before(p)
        ),
        "The first value is right as printed; you lost it.": (
            lambda p: np.concatenate([[0.0], _own(p)[1:]])
        ),
    }

    def say(case, given, answer):
        printed, given, answer = (np.round(v, 4).tolist() for v in (case[0], given, answer))
        return f"For the printed {printed} you gave {given}; it is {answer}."

    return explain(got, cases, _own, mistakes, say)


# --- Exercise 4 -------------------------------------------------------------------------


def _sizes(num_images: int, batch_size: int) -> list[int]:
    """Cut the images into batches, the last one as small as it comes out."""
    return [min(batch_size, num_images - start) for start in range(0, num_images, batch_size)]


def _mean(means, num_images, batch_size) -> float:
    sizes = _sizes(num_images, batch_size)
    return sum(m * n for m, n in zip(means, sizes, strict=True)) / num_images


def _weighted(last, divisor=None):
    """A mean whose last batch has the weight `last(remainder, batch_size)`."""

    def formula(means, num_images, batch_size):
        weights = [batch_size] * len(means)
        weights[-1] = last(num_images % batch_size, batch_size)
        total = sum(m * w for m, w in zip(means, weights, strict=True))
        over = sum(weights) if divisor is None else divisor(means, num_images, batch_size)
        return total / over if over else float("nan")

    return formula


def _first(remainder, batch_size):
    return remainder or batch_size


def _one_batch_last(means, num_images, batch_size):
    """The small batch taken to be the first."""
    sizes = _sizes(num_images, batch_size)[::-1]
    return sum(m * n for m, n in zip(means, sizes, strict=True)) / num_images


@exercise
def mean_over_images(candidate) -> str | None:
    """candidate(batch_means, num_images, batch_size): the mean over all images."""
    cases = [
        ([0.5, 0.25, 1.0], 10, 4),
        ([0.125, 0.75], 8, 4),
        ([0.5], 3, 8),
        ([2.0, 1.0, 0.5, 4.0], 97, 32),
        ([0.25, 0.5, 0.5, 0.0, 1.0], 14, 3),
    ]
    got = []
    for means, images, size in cases:
        given = list(means)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, for the mean of nothing
            answer = candidate(given, images, size)
        if given != means:
            return "You changed the caller's list. Work on a new one."
        if not _is_number(answer):
            return f"The answer is one number, you gave {answer!r}."
        got.append(_plain(answer))
    mistakes = {
        "You take the mean over batches. The last one has fewer images and counts less.": (
            lambda m, n, b: sum(m) / len(m)
        ),
        "Where the images fill every batch, the remainder is 0 and the last batch is lost.": (
            _weighted(lambda r, b: r)
        ),
        "Where the images fill every batch the remainder is 0, but the last batch is full.": (
            _weighted(lambda r, b: r, lambda m, n, b: n)
        ),
        "You leave the last batch out. It counts too, by its images.": (
            lambda m, n, b: sum(m[:-1]) / len(m[:-1]) if m[:-1] else float("nan")
        ),
        "The last batch counts as a full one here, but you divide by the images.": (
            lambda m, n, b: sum(m) * b / n
        ),
        "The last batch has the images that are left over, not those that it lacks.": (
            _weighted(lambda r, b: b - r)
        ),
        "You divide by the room of all batches. Divide by the images.": (
            _weighted(_first, lambda m, n, b: len(m) * b)
        ),
        "That is the sum over all images. Divide by their number.": (
            lambda m, n, b: _mean(m, n, b) * n
        ),
        "You divide by the number of batches. Divide by the images.": (
            lambda m, n, b: _mean(m, n, b) * n / len(m)
        ),
        "The small batch is the last one, not the first.": _one_batch_last,
    }

    def say(case, given, answer):
        return (
            f"For the means {case[0]} of {case[1]} images in batches of {case[2]} you gave "
            f"{float(given):.6g}; it is {answer:.6g}."
        )

    return explain(got, cases, _mean, mistakes, say, same=_same)


def _same(a, b) -> bool:
    """Equal numbers; a formula that divides by nothing equals none."""
    return bool(np.isclose(float(a), float(b), rtol=1e-6, atol=1e-9, equal_nan=True))
