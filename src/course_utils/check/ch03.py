"""Checkers of chapter 03: batch norm, a debiased average, conventions, the start value.

Right answers are computed here by other means than those that the exercises ask for.
"""

import math
from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np

from course_utils.check.core import exercise

__all__ = [
    "batch_norm_training",
    "debiased_average",
    "keras_to_torch",
    "steps_until_forgotten",
]

Mistakes = dict[str, Callable]


def _close(a, b) -> bool:
    """Whether two arrays or numbers have the same shape and nearly the same values."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9)


def _explains(wrong: Callable, case, answer) -> bool:
    """Whether a wrong formula gives this answer; one that fails on the case does not."""
    try:
        with np.errstate(all="ignore"):
            return _close(answer, wrong(*case))
    except (ValueError, TypeError, ZeroDivisionError):
        return False


def _recognise(got: list, cases: Iterable, mistakes: Mistakes) -> str | None:
    """Return the sentence of the first mistake that explains all answers."""
    for sentence, wrong in mistakes.items():
        if all(_explains(wrong, *pair) for pair in zip(cases, got, strict=True)):
            return sentence
    return None


def _normalise(x, gamma, beta, epsilon, axes=None, ddof=0, outside=0.0, inside=1.0):
    """Batch norm with the choices that learners mix up."""
    axes = tuple(range(x.ndim - 1)) if axes is None else axes
    mean, var = x.mean(axes, keepdims=True), x.var(axes, ddof=ddof, keepdims=True)
    return gamma * (x - mean) / (np.sqrt(var + inside * epsilon) + outside) + beta


def _divided_by_variance(x, gamma, beta, epsilon):
    mean, var = (f(x, tuple(range(x.ndim - 1))) for f in (np.mean, np.var))
    return gamma * (x - mean) / (var + epsilon) + beta


def _batch_norm_mistakes() -> Mistakes:
    """Wrong formulas of exercise 1, each with the sentence that names it."""
    return {
        "Scale and shift are missing: multiply by gamma, add beta.": (
            lambda x, g, b, e: _normalise(x, 1, 0, e)
        ),
        "The shift is missing: add beta.": lambda x, g, b, e: _normalise(x, g, 0, e),
        "The scale is missing: multiply by gamma.": lambda x, g, b, e: _normalise(x, 1, b, e),
        "gamma and beta are exchanged: gamma multiplies, beta is added.": (
            lambda x, g, b, e: _normalise(x, b, g, e)
        ),
        "You add beta before you multiply by gamma. Scale first, then shift.": (
            lambda x, g, b, e: g * (_normalise(x, 1, 0, e) + b)
        ),
        "You divide by the variance. Divide by its square root.": _divided_by_variance,
        "You add epsilon to the standard deviation. It belongs inside the root.": (
            lambda x, g, b, e: _normalise(x, g, b, e, outside=e, inside=0)
        ),
        "Epsilon is missing: add it to the variance, inside the root.": (
            lambda x, g, b, e: _normalise(x, g, b, e, inside=0)
        ),
        "Your variance is divided by n - 1. Batch norm normalises with the biased one.": (
            lambda x, g, b, e: _normalise(x, g, b, e, ddof=1)
        ),
        "You average over the batch only. For images average over height and width too.": (
            lambda x, g, b, e: _normalise(x, g, b, e, axes=(0,))
        ),
        "You average over all axes. The channels, the last axis, must stay.": (
            lambda x, g, b, e: _normalise(x, g, b, e, axes=tuple(range(x.ndim)))
        ),
        "You average over the channels. That is the one axis that must stay.": (
            lambda x, g, b, e: _normalise(x, g, b, e, axes=(-1,))
        ),
        "That is layer norm: you normalise each observation by itself.": (
            lambda x, g, b, e: _normalise(x, g, b, e, axes=tuple(range(1, x.ndim)))
        ),
        "The mean is not subtracted.": (
            lambda x, g, b, e: g * x / np.sqrt(x.var(tuple(range(x.ndim - 1))) + e) + b
        ),
    }


def _channel_by_channel(x, gamma, beta, epsilon):
    """The right answer, one channel after the other, in plain sums."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        values = x[..., c]
        mean = values.sum() / values.size
        var = ((values - mean) ** 2).sum() / values.size
        y[..., c] = gamma[c] * (values - mean) / math.sqrt(var + epsilon) + beta[c]
    return y


@exercise
def batch_norm_training(candidate) -> str | None:
    """candidate(x, gamma, beta, epsilon) is batch norm of x with the batch's statistics."""
    rng = np.random.default_rng(3)
    cases = []
    for shape, epsilon in (((6, 3), 0.1), ((2, 4, 5, 3), 0.5), ((3, 3), 0.02)):
        x = rng.normal(1, 2, shape)
        gamma, beta = rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])
        cases.append((x, gamma, beta, epsilon))
    got = []
    for x, *rest in cases:
        given = x.copy()
        try:
            got.append(candidate(given, *rest))
        except np.exceptions.AxisError as error:
            return f"For x of shape {x.shape}: {error}. Average over all axes but the last."
        if not np.array_equal(given, x):
            return "You changed the caller's x in place. Build a new array: x - mean."
    if all(_close(y, _channel_by_channel(*case)) for y, case in zip(got, cases, strict=True)):
        return None
    if named := _recognise(got, cases, _batch_norm_mistakes()):
        return named
    for y, (x, *_) in zip(got, cases, strict=True):
        if np.shape(y) != x.shape:
            return f"For x of shape {x.shape} you returned shape {np.shape(y)}; it must stay."
    x, gamma, beta, _ = cases[0]
    if _close(candidate(x.copy(), gamma, beta, 0.1), candidate(x.copy(), gamma, beta, 0.9)):
        return "You use an epsilon of your own. Take the argument."
    return "The values differ from gamma * (x - mean) / sqrt(var + epsilon) + beta."


def _average(values, decay, new=None, initial=0.0):
    """The plain moving average; `new` is the weight of the new value."""
    average = initial
    for value in values:
        average = decay * average + (1 - decay if new is None else new) * value
    return average


def _weighted_mean(values, decay):
    """The right answer: the mean of the values, weighted by decay to the power of the age."""
    weights = [decay**age for age in reversed(range(len(values)))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def _debiased_each_step(values, decay):
    average = 0.0
    for n, value in enumerate(values, start=1):
        average = (decay * average + (1 - decay) * value) / (1 - decay**n)
    return average


_AVERAGE_MISTAKES: Mistakes = {
    "It is not debiased: divide by the sum of the weights, 1 - decay**n.": _average,
    "You give decay to the new value. It is the weight of the old average.": (
        lambda v, d: _average(v, 1 - d) / (1 - (1 - d) ** len(v))
    ),
    "You give decay to the new value, and nothing is debiased.": (
        lambda v, d: _average(v, 1 - d)
    ),
    "You divide by decay**n, the weight of the start. Divide by 1 - decay**n.": (
        lambda v, d: _average(v, d) / d ** len(v)
    ),
    "You divide by 1 - decay. After n values the weights sum to 1 - decay**n.": (
        lambda v, d: _average(v, d) / (1 - d)
    ),
    "You multiply by 1 - decay**n. Divide by it.": (
        lambda v, d: _average(v, d) * (1 - d ** len(v))
    ),
    "The power is one too small: after n values it is decay**n.": (
        lambda v, d: _average(v, d) / (1 - d ** (len(v) - 1))
    ),
    "The power is one too large: after n values it is decay**n.": (
        lambda v, d: _average(v, d) / (1 - d ** (len(v) + 1))
    ),
    "You debias in every step and go on with the result. Debias once, at the end.": (
        _debiased_each_step
    ),
    "The average starts at the first value. Start at 0, and debias.": (
        lambda v, d: _average(v[1:], d, initial=v[0])
    ),
    "The new value has no weight 1 - decay in your sum.": (
        lambda v, d: _average(v, d, new=1) / (1 - d ** len(v))
    ),
    "That is the plain mean: all values weigh the same.": lambda v, d: np.mean(v),
    "You go through the values backwards. The last one is the newest and weighs most.": (
        lambda v, d: _weighted_mean(v[::-1], d)
    ),
    "You go backwards (the last value is the newest), and nothing is debiased.": (
        lambda v, d: _average(v[::-1], d)
    ),
}


@exercise
def debiased_average(candidate) -> str | None:
    """candidate(values, decay): moving average from 0, over the sum of its weights."""
    lists = [[5.0], [3.0, -1.0], [2.0, 4.0, 1.0, 7.0], [1.0, 0.0, 0.0, 0.0, 0.0, 6.0]]
    cases = [(values, decay) for values in lists for decay in (0.9, 0.6, 0.25)]
    got = []
    for values, decay in cases:
        given = list(values)
        got.append(candidate(given, decay))
        if given != values:
            return "You changed the caller's list of values."
    if all(_close(a, _weighted_mean(*case)) for a, case in zip(got, cases, strict=True)):
        return None
    if named := _recognise(got, cases, _AVERAGE_MISTAKES):
        return named
    wrong = [i for i, case in enumerate(cases) if not _close(got[i], _weighted_mean(*case))]
    (values, decay), given = cases[wrong[0]], got[wrong[0]]
    if np.ndim(given):
        return "Return one number, the average after the last value."
    right = _weighted_mean(values, decay)
    return f"For {values} and decay {decay} you gave {given:.4g}; it is {right:.4g}."


_FACTOR_MISTAKES: Mistakes = {
    "You keep the variance. Keras stores the biased one, PyTorch n / (n - 1) times it.": (
        lambda n: 1
    ),
    "The factor is upside down: the unbiased variance is the larger one.": (
        lambda n: (n - 1) / n
    ),
    "Divide by n - 1, not by n + 1: the factor is n / (n - 1).": lambda n: n / (n + 1),
    "The factor is n / (n - 1), not (n + 1) / n.": lambda n: (n + 1) / n,
    "That is the factor of the standard deviation. The variance has no root.": (
        lambda n: math.sqrt(n / (n - 1))
    ),
    "You multiply by n only: divide by n - 1.": lambda n: n,
    "You divide by n - 1 only: multiply by n.": lambda n: 1 / (n - 1),
}


@exercise
def keras_to_torch(candidate) -> str | None:
    """candidate(momentum, moving_variance, n): PyTorch's (momentum, running_var)."""
    cases = [(m, v, n) for m in (0.99, 0.9, 0.7) for v, n in ((3.0, 2), (0.5, 8), (7.0, 128))]
    got = [candidate(*case) for case in cases]
    if bad := [pair for pair in got if np.shape(pair) != (2,)]:
        return f"Return a pair of numbers, (momentum, running_var). You gave {bad[0]!r}."
    factors = [n / (n - 1) for _, _, n in cases]
    rates, variances = ([pair[i] for pair in got] for i in (0, 1))
    if not _close(rates, [1 - m for m, _, _ in cases]):
        if _close(rates, [m for m, _, _ in cases]):
            return (
                "You keep the momentum. In Keras it is the weight of the old value, in "
                "PyTorch that of the new one: 1 - momentum."
            )
        if _close(rates, [v * n / (n - 1) for _, v, n in cases]):
            return "The two are exchanged: first the momentum, then the variance."
        return f"For Keras momentum 0.99 you gave {rates[0]}; in PyTorch it is 0.01."
    found = [stored / v for stored, (_, v, _) in zip(variances, cases, strict=True)]
    if _close(found, factors):
        return None
    named = _recognise(found, [(n,) for _, _, n in cases], _FACTOR_MISTAKES)
    return named or f"For n = 2 the factor is 2; yours is {found[0]:.4g}."


def _count_steps(decay, share) -> int:
    """The right answer, step by step."""
    steps, weight = 0, 1.0
    while weight >= share:
        steps, weight = steps + 1, weight * decay
    return steps


_STEP_MISTAKES: Mistakes = {
    "At exactly `share` it is not yet less. One step more is needed there.": (
        lambda d, s: math.ceil(math.log(s) / math.log(d))
    ),
    "You stop one step early: after rounding down the weight is still too large.": (
        lambda d, s: math.floor(math.log(s) / math.log(d))
    ),
    "One step too many.": lambda d, s: _count_steps(d, s) + 1,
    "That is not a whole number of steps: round up.": (lambda d, s: math.log(s) / math.log(d)),
    "That is the window 1 / (1 - decay). After it the start still weighs about 37 %.": (
        lambda d, s: 1 / (1 - d)
    ),
    "That is the window 1 / (1 - decay), rounded. The start still weighs about 37 %.": (
        lambda d, s: round(1 / (1 - d))
    ),
    "The quotient is upside down: log(share) over log(decay).": (
        lambda d, s: math.ceil(math.log(d) / math.log(s))
    ),
    "You count until the *new* values weigh less than share. The start has decay**n.": (
        lambda d, s: _count_steps(d, 1 - s)
    ),
    "You use 1 - decay as the decay.": lambda d, s: _count_steps(1 - d, s),
}


@exercise
def steps_until_forgotten(candidate) -> str | None:
    """candidate(decay, share): the smallest whole n with decay**n < share."""
    cases = [(0.9, 0.01), (0.99, 0.01), (0.997, 0.5), (0.5, 0.25), (0.25, 0.3), (0.5, 0.125)]
    got = [candidate(*case) for case in cases]
    expected = [_count_steps(*case) for case in cases]
    if got == expected:
        if wrong := next((n for n in got if not isinstance(n, Integral)), None):
            kind = type(wrong).__name__
            return f"The value is right, but steps are whole: {wrong!r} is a {kind}."
        return None
    named = _recognise(got, cases, _STEP_MISTAKES)
    i = next(i for i, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1])
    (decay, share), given = cases[i], got[i]
    example = f"For decay {decay} and share {share} you gave {given}; it is {expected[i]}."
    return f"{named} {example}" if named else example
