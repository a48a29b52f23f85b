"""The checkers of chapter 11 accept right answers and name the mistake of wrong ones."""

import re
from itertools import accumulate, pairwise

import numpy as np
from checker_tests import CheckerTests, said

CHECKERS = ["unit_plan", "preact_unit_parameters", "epoch_means", "mean_over_images"]


# --- Right answers ----------------------------------------------------------------------


def plan_by_zip(filter_in, filters):
    inputs = [filter_in, *filters]
    return [(a, b, a != b) for a, b in zip(inputs, filters, strict=False)]


def plan_by_pairwise(filter_in, filters):
    return tuple([a, b, int(a != b)] for a, b in pairwise([filter_in, *filters]))


def plan_as_array(filter_in, filters):
    return np.array(plan_by_zip(filter_in, filters))


class Tensor:
    """What a tensor of a framework shows of itself: a shape, and an array on demand."""

    def __init__(self, value):
        self.value = np.asarray(value, np.float32)
        self.ndim = self.value.ndim

    def __array__(self, dtype=None, copy=None):
        return self.value.astype(dtype or self.value.dtype)

    def __len__(self):
        return len(self.value)


def epochs_as_tensor(printed):
    return Tensor(epochs_by_difference(printed))


def images_as_tensor(means, num_images, batch_size):
    return Tensor(images_by_repeat(means, num_images, batch_size))


def unit_by_formula(c, d):
    trained = 2 * (c + d) + 9 * c * d + 9 * d * d + 2 * d + (c != d) * (c * d + d)
    return trained + 2 * (c + d), trained


def unit_by_shapes(c, d):
    shapes = [(c,), (c,), (3, 3, c, d), (d,), (d,), (d,), (3, 3, d, d), (d,)]
    shapes += [(1, 1, c, d), (d,)] if c != d else []
    trained = sum(int(np.prod(shape)) for shape in shapes)
    return np.array([trained + c + c + d + d, trained])


def epochs_by_difference(printed):
    return np.diff(np.arange(1, len(printed) + 1) * printed, prepend=0)


def epochs_by_loop(printed):
    own = [printed[0]]
    for k in range(1, len(printed)):
        own.append((k + 1) * printed[k] - k * printed[k - 1])
    return own


def images_by_repeat(means, num_images, batch_size):
    return np.repeat(means, batch_size)[:num_images].mean()


def images_by_sizes(means, num_images, batch_size):
    full = num_images // batch_size
    total = sum(means[:full]) * batch_size
    if num_images % batch_size:
        total += means[-1] * (num_images - full * batch_size)
    return total / num_images


RIGHT = [
    ("unit_plan", plan_by_zip),
    ("unit_plan", plan_by_pairwise),
    ("preact_unit_parameters", unit_by_formula),
    ("preact_unit_parameters", unit_by_shapes),
    ("unit_plan", plan_as_array),
    ("epoch_means", epochs_as_tensor),
    ("mean_over_images", images_as_tensor),
    ("epoch_means", epochs_by_difference),
    ("epoch_means", epochs_by_loop),
    ("mean_over_images", images_by_repeat),
    ("mean_over_images", images_by_sizes),
]


# --- Wrong answers ----------------------------------------------------------------------


def pairs(f, c):
    return list(pairwise([f, *c]))


def changes_its_input(printed):
    for k in range(len(printed) - 1, 0, -1):
        printed[k] = (k + 1) * printed[k] - k * printed[k - 1]
    return printed


WRONG = [
    (
        "unit_plan",
        lambda f, c: [(a, b, a != b) for a, b in pairwise(c)],
        "first unit is missing",
    ),
    ("unit_plan", lambda f, c: plan_by_zip(f, c)[:-1], "last unit is missing"),
    ("unit_plan", lambda f, c: [(f, b, f != b) for b in c], "Only the first unit reads"),
    ("unit_plan", lambda f, c: [(b, a, a != b) for a, b in pairs(f, c)], r"give \(out, in\)"),
    ("unit_plan", lambda f, c: [(a, b, a == b) for a, b in pairs(f, c)], "wrong way round"),
    ("unit_plan", lambda f, c: [(a, b, True) for a, b in pairs(f, c)], "Not every unit has"),
    (
        "unit_plan",
        lambda f, c: [(a, b, False) for a, b in pairs(f, c)],
        "nothing to add without",
    ),
    ("unit_plan", lambda f, c: [(a, b, a < b) for a, b in pairs(f, c)], "Fewer channels out"),
    (
        "unit_plan",
        lambda f, c: [(a, b, i == 0) for i, (a, b) in enumerate(pairs(f, c))],
        "first unit has a projection only if",
    ),
    ("unit_plan", pairs, "three values; you gave"),
    ("unit_plan", lambda f, c: len(c), "Return a list"),
    ("unit_plan", lambda f, c: (pair for pair in pairs(f, c)), "not a generator"),
    ("unit_plan", lambda f, c: [(a + 0.9, b, a != b) for a, b in pairs(f, c)], "whole numbers"),
    ("unit_plan", lambda f, c: [(a, b, "yes") for a, b in pairs(f, c)], "True or False"),
    ("unit_plan", lambda f, c: plan_by_zip(f, [c.pop(0) for _ in [*c]]), "the caller's list"),
    ("unit_plan", lambda f, c: [(f, f, False)], r"you gave \[\(8, 8, False\)\]; it is"),
    (
        "preact_unit_parameters",
        lambda c, d: unit_by_formula(c, d)[::-1],
        r"give \(trained, all",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: (unit_by_formula(c, d)[1],) * 2,
        "are values of the network too",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: (unit_by_formula(c, d)[0],) * 2,
        "variance are not trained",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(
            n + k * (d - c) for n, k in zip(unit_by_formula(c, d), (4, 2), strict=True)
        ),
        "it has the channels that come in",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n - (2 + (c != d)) * d for n in unit_by_formula(c, d)),
        "biases are missing",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n - (c != d) * (c * d + d) for n in unit_by_formula(c, d)),
        "there is a projection",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n + (c == d) * (c * d + d) for n in unit_by_formula(c, d)),
        "there is no projection",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: (unit_by_formula(c, d)[1] - 2 * (c + d),) * 2,
        "Batch norm is missing",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n + 9 * d * (c - d) for n in unit_by_formula(c, d)),
        "second convolution reads",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(float(n) for n in unit_by_formula(c, d)),
        "whole number",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n - 2 * d for n in unit_by_formula(c, d)),
        "3x3 convolutions have biases too",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: tuple(n - (c != d) * d for n in unit_by_formula(c, d)),
        "projection has a bias too",
    ),
    (
        "preact_unit_parameters",
        lambda c, d: (unit_by_formula(c, d)[0], 2 * (c + d)),
        "what is trained, not what is not",
    ),
    ("preact_unit_parameters", lambda c, d: unit_by_formula(c, d)[0], "Return two numbers"),
    (
        "preact_unit_parameters",
        lambda c, d: (c, d),
        r"you gave \(8, 16\); it is \(3728, 3680\)",
    ),
    ("epoch_means", lambda p: np.diff(p, prepend=0), "difference of two means"),
    ("epoch_means", lambda p: p, "what was printed"),
    ("epoch_means", lambda p: np.arange(1, len(p) + 1) * p, "sum over all epochs"),
    (
        "epoch_means",
        lambda p: [s / k for k, s in enumerate(accumulate(p), start=1)],
        "means once more",
    ),
    (
        "epoch_means",
        lambda p: [k * (a - b) for k, (b, a) in enumerate(pairwise([0, *p]), start=1)],
        "not for epoch",
    ),
    (
        "epoch_means",
        lambda p: [k * a - b for k, (b, a) in enumerate(pairwise([0, *p]), start=1)],
        "not for one",
    ),
    ("epoch_means", lambda p: [p[0], *(2 * p[1:] - p[:-1])], "second epoch only"),
    ("epoch_means", lambda p: epochs_by_difference(p)[1:], "one number for each epoch"),
    ("epoch_means", changes_its_input, "changed the caller's array"),
    ("epoch_means", lambda p: 3 * p + 1, "For the printed"),
    ("mean_over_images", lambda m, n, b: sum(m) / len(m), "mean over batches"),
    (
        "mean_over_images",
        lambda m, n, b: (sum(m[:-1]) * b + m[-1] * (n % b)) / n,
        "but the last batch is full",
    ),
    (
        "mean_over_images",
        lambda m, n, b: images_by_repeat(m, n, b) * n,
        "Divide by their number",
    ),
    (
        "mean_over_images",
        lambda m, n, b: images_by_repeat(m, n, b) * n / len(m),
        "number of batches",
    ),
    (
        "mean_over_images",
        lambda m, n, b: images_by_repeat(m, n, b) * n / (len(m) * b),
        "room of all batches",
    ),
    ("mean_over_images", lambda m, n, b: sum(m) * b / n, "counts as a full one"),
    (
        "mean_over_images",
        lambda m, n, b: (
            images_by_repeat(m[::-1], n, b) * 0
            + sum(
                v * w
                for v, w in zip(m, [n - (len(m) - 1) * b, *[b] * (len(m) - 1)], strict=True)
            )
            / n
        ),
        "last one, not the first",
    ),
    ("mean_over_images", lambda m, n, b: np.mean(m[:-1]), "leave the last batch out"),
    ("mean_over_images", lambda m, n, b: images_by_repeat([m.pop(0)], 1, b), "caller's list"),
    ("mean_over_images", lambda m, n, b: m, "one number"),
    ("mean_over_images", lambda m, n, b: 7.0, "you gave 7; it is 0.5"),
]


def test_an_error_of_the_learner_is_named(capsys):
    passed, line = said(capsys, "unit_plan", lambda f, c: f + c)
    assert passed is False
    assert "Your function raised TypeError" in line


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS

    @staticmethod
    def is_named(words, line):
        return re.search(words, line)
