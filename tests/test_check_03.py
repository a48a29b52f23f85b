"""The checkers of chapter 03 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = [
    "batch_norm_training",
    "debiased_average",
    "keras_to_torch",
    "steps_until_forgotten",
]


# --- Batch norm -------------------------------------------------------------------------


def norm(axes=None, ddof=0, root=np.sqrt, inside=True, subtract=True):
    """A candidate for exercise 1 with one choice made differently."""

    def candidate(x, gamma, beta, epsilon):
        over = tuple(range(x.ndim - 1)) if axes is None else axes(x)
        mean = x.mean(over, keepdims=True) if subtract else 0
        var = x.var(over, ddof=ddof, keepdims=True)
        scale = root(var + epsilon) if inside else root(var) + epsilon
        return gamma * (x - mean) / scale + beta

    return candidate


def norm_by_reshaping(x, gamma, beta, epsilon):
    rows = x.reshape(-1, x.shape[-1])
    centred = rows - rows.sum(0) / len(rows)
    scale = gamma / (np.einsum("nc,nc->c", centred, centred) / len(rows) + epsilon) ** 0.5
    return (centred * scale + beta).reshape(x.shape)


def norm_as_affine(x, gamma, beta, epsilon):
    axes = (0,) if x.ndim == 2 else (0, 1, 2)
    factor = gamma / np.sqrt(np.var(x, axis=axes) + epsilon)
    return x * factor + (beta - np.mean(x, axis=axes) * factor)


def norm_in_place(x, gamma, beta, epsilon):
    x -= x.mean(tuple(range(x.ndim - 1)))
    return gamma * x / np.sqrt(x.var(tuple(range(x.ndim - 1))) + epsilon) + beta


def norm_with(gamma=lambda g, b: g, beta=lambda g, b: b, epsilon=lambda e: e):
    """A candidate that computes with other constants than those given."""
    return lambda x, g, b, e: norm()(x, gamma(g, b), beta(g, b), epsilon(e))


# --- The moving average -----------------------------------------------------------------


def average(values, decay, start=0.0):
    for value in values:
        start = decay * start + (1 - decay) * value
    return start


def average_by_weights(values, decay):
    weights = decay ** np.arange(len(values))[::-1]
    return np.average(values, weights=weights)


def average_with_running_weight(values, decay):
    total = weight = 0.0
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
    return total / weight


def debiased_each_step(values, decay):
    result = 0.0
    for n, value in enumerate(values, start=1):
        result = (decay * result + (1 - decay) * value) / (1 - decay**n)
    return result


def average_of_new_values(values, decay):
    result = 0.0
    for value in values:
        result = decay * result + value
    return result / (1 - decay ** len(values))


def average_that_pops(values, decay):
    result, n = 0.0, len(values)
    while values:
        result = decay * result + (1 - decay) * values.pop(0)
    return result / (1 - decay**n)


def history(values, decay):
    return [average(values[: n + 1], decay) for n in range(len(values))]


# --- Steps ------------------------------------------------------------------------------


def steps_by_logarithm(decay, share):
    return math.floor(math.log(share) / math.log(decay)) + 1


def steps_by_counting(decay, share):
    n = 0
    while decay**n >= share:
        n += 1
    return n


def steps_with_numpy(decay, share):
    return int(np.argmax(decay ** np.arange(10_000) < share))


RIGHT = [
    ("batch_norm_training", norm()),
    ("batch_norm_training", norm_by_reshaping),
    ("batch_norm_training", norm_as_affine),
    ("debiased_average", lambda v, d: average(v, d) / (1 - d ** len(v))),
    ("debiased_average", average_by_weights),
    ("debiased_average", average_with_running_weight),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * n / (n - 1))),
    ("keras_to_torch", lambda m, v, n: [1 - m, v / (1 - 1 / n)]),
    ("keras_to_torch", lambda m, v, n: np.array([1 - m, v + v / (n - 1)])),
    ("steps_until_forgotten", steps_by_logarithm),
    ("steps_until_forgotten", steps_by_counting),
    ("steps_until_forgotten", steps_with_numpy),
    ("steps_until_forgotten", lambda d, s: np.int64(steps_by_counting(d, s))),
]

WRONG = [
    ("batch_norm_training", norm_with(lambda g, b: 1, lambda g, b: 0), "Scale and shift"),
    ("batch_norm_training", norm_with(beta=lambda g, b: 0), "shift is missing"),
    ("batch_norm_training", norm_with(gamma=lambda g, b: 1), "scale is missing"),
    ("batch_norm_training", norm_with(lambda g, b: b, lambda g, b: g), "exchanged"),
    ("batch_norm_training", norm_with(beta=lambda g, b: g * b), "Scale first"),
    ("batch_norm_training", norm(root=lambda v: v), "by the variance"),
    ("batch_norm_training", norm(inside=False), "inside the root"),
    ("batch_norm_training", norm_with(epsilon=lambda e: 0), "Epsilon is missing"),
    ("batch_norm_training", norm(ddof=1), "n - 1"),
    ("batch_norm_training", norm(axes=lambda x: (0,)), "over the batch only"),
    ("batch_norm_training", norm(axes=lambda x: None), "over all axes"),
    ("batch_norm_training", norm(axes=lambda x: (-1,)), "over the channels"),
    ("batch_norm_training", norm(axes=lambda x: tuple(range(1, x.ndim))), "layer norm"),
    ("batch_norm_training", norm(subtract=False), "not subtracted"),
    ("batch_norm_training", norm_in_place, "in place"),
    ("batch_norm_training", lambda x, g, b, e: norm()(x, g, b, e).ravel(), "must stay"),
    ("batch_norm_training", norm_with(epsilon=lambda e: 2 * e), "differ from gamma"),
    ("batch_norm_training", norm_with(epsilon=lambda e: 0.1), "epsilon of your own"),
    ("batch_norm_training", norm_with(epsilon=lambda e: 1e-5), "epsilon of your own"),
    ("batch_norm_training", norm(axes=lambda x: (0, 1, 2)), "For x of shape (6, 3)"),
    ("batch_norm_training", norm(axes=lambda x: (1, 2)), "For x of shape (6, 3)"),
    ("debiased_average", average, "not debiased"),
    ("debiased_average", lambda v, d: average(v, 1 - d) / (1 - (1 - d) ** len(v)), "old"),
    ("debiased_average", lambda v, d: average(v, 1 - d), "nothing is debiased"),
    ("debiased_average", lambda v, d: average(v, d) / d ** len(v), "by decay**n"),
    ("debiased_average", lambda v, d: average(v, d) / (1 - d), "by 1 - decay."),
    ("debiased_average", lambda v, d: average(v, d) * (1 - d ** len(v)), "You multiply"),
    ("debiased_average", lambda v, d: average(v, d) / (1 - d ** (len(v) + 1)), "too large"),
    ("debiased_average", debiased_each_step, "every step"),
    ("debiased_average", lambda v, d: average(v[1:], d, v[0]), "first value"),
    ("debiased_average", average_of_new_values, "no weight 1 - decay"),
    ("debiased_average", lambda v, d: np.mean(v), "plain mean"),
    ("debiased_average", lambda v, d: average_by_weights(v[::-1], d), "the newest"),
    ("debiased_average", lambda v, d: average(v[::-1], d), "the newest"),
    ("debiased_average", average_that_pops, "changed the caller's list"),
    ("debiased_average", history, "one number"),
    ("debiased_average", lambda v, d: 2 * average(v, d), "For [5.0] and decay 0.9"),
    ("keras_to_torch", lambda m, v, n: (m, v * n / (n - 1)), "keep the momentum"),
    ("keras_to_torch", lambda m, v, n: (m, v), "keep the momentum"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v), "keep the variance"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * (n - 1) / n), "upside down"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * n / (n + 1)), "n + 1"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * (n + 1) / n), "not (n + 1) / n"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * math.sqrt(n / (n - 1))), "no root"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v * n), "by n only"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v / (n - 1)), "by n - 1 only"),
    ("keras_to_torch", lambda m, v, n: (v * n / (n - 1), 1 - m), "exchanged"),
    ("keras_to_torch", lambda m, v, n: 1 - m, "pair"),
    ("keras_to_torch", lambda m, v, n: (1 - m, v, n), "pair"),
    ("keras_to_torch", lambda m, v, n: (1 / m, v), "0.01"),
    ("keras_to_torch", lambda m, v, n: (1 - m, 3 * v), "yours is 3"),
    ("steps_until_forgotten", lambda d, s: math.ceil(math.log(s) / math.log(d)), "exactly"),
    ("steps_until_forgotten", lambda d, s: int(math.log(s) / math.log(d)), "one step early"),
    ("steps_until_forgotten", lambda d, s: steps_by_counting(d, s) - 1, "one step early"),
    ("steps_until_forgotten", lambda d, s: steps_by_counting(d, s) + 1, "One step too many"),
    ("steps_until_forgotten", lambda d, s: math.log(s) / math.log(d), "round up"),
    ("steps_until_forgotten", lambda d, s: 1 / (1 - d), "window"),
    ("steps_until_forgotten", lambda d, s: round(1 / (1 - d)), "rounded"),
    ("steps_until_forgotten", lambda d, s: math.ceil(math.log(d) / math.log(s)), "upside"),
    ("steps_until_forgotten", lambda d, s: steps_by_counting(d, 1 - s), "*new* values"),
    ("steps_until_forgotten", lambda d, s: steps_by_counting(1 - d, s), "1 - decay as"),
    ("steps_until_forgotten", lambda d, s: float(steps_by_counting(d, s)), "is a float"),
    ("steps_until_forgotten", lambda d, s: 7, "For decay 0.9 and share 0.01"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
