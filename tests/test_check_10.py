"""The checkers of chapter 10 accept right answers and name the mistake of wrong ones."""

import itertools
import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["double_softmax_bounds", "weight_layers", "misclassification_error"]
E = math.e


# --- Right answers ------------------------------------------------------------------------


def bounds_by_array(n):
    answer = np.r_[1.0, np.zeros(n - 1)]
    total = np.log(np.exp(answer).sum())
    return np.array([total - 1, total])


def layers_by_loop(blocks):
    layers = variables = 0
    for i, block in enumerate(blocks):
        layers += 3 * block[0] + (i > 0)
        variables += 6 * block[0] + (i > 0)
    return layers + 3, variables + 5


def error_by_generator(batches):
    wrong = total = 0
    for logits, labels in batches:
        wrong += int((np.argmax(logits, 1) != labels).sum())
        total += len(labels)
    return wrong / total


def error_by_concatenation(batches):
    logits, labels = zip(*batches, strict=True)
    predicted = np.concatenate(logits).argmax(axis=-1)
    return 1 - np.mean(predicted == np.concatenate(labels))


def layers_by_name(blocks):
    units = sum(block.num_repeats for block in blocks)
    return 3 * units + len(blocks) + 2, 6 * units + len(blocks) + 4


def layers_where_wider(blocks):
    widths = [width for _, width, _ in blocks]
    between = sum(a != b for a, b in itertools.pairwise(widths))
    units = sum(repeats for repeats, *_ in blocks)
    return 3 * units + between + 3, 6 * units + between + 5


def error_with_axis(axis):
    def candidate(batches):
        wrong = [np.sum(z.argmax(axis=axis) != y) for z, y in batches]
        return sum(wrong) / sum(len(y) for _, y in batches)

    return candidate


RIGHT = [
    ("double_softmax_bounds", lambda n: (math.log(1 + (n - 1) / E), math.log(n - 1 + E))),
    ("double_softmax_bounds", lambda n: [math.log(E + n - 1) - 1, math.log(E + n - 1)]),
    ("double_softmax_bounds", bounds_by_array),
    ("weight_layers", layers_by_loop),
    ("weight_layers", layers_by_name),
    (
        "weight_layers",
        lambda blocks: (
            2 + 3 * sum(b[0] for b in blocks) + len(blocks),
            4 + 6 * sum(b[0] for b in blocks) + len(blocks),
        ),
    ),
    ("misclassification_error", error_by_generator),
    ("misclassification_error", error_by_concatenation),
]


# --- Wrong ones ---------------------------------------------------------------------------


def log_pair(low, high):
    return lambda n: (math.log(low(n)), math.log(high(n)))


def counted(layers, variables):
    """A candidate from formulas of repeats and stages."""

    def candidate(blocks):
        repeats, stages = sum(b[0] for b in blocks), len(blocks)
        return layers(repeats, stages), variables(repeats, stages)

    return candidate


def batch_errors(batches):
    return [float(np.mean(z.argmax(1) != y)) for z, y in batches]


WRONG = [
    # the bounds of the loss
    ("double_softmax_bounds", lambda n: 1.46, "two numbers"),
    ("double_softmax_bounds", lambda n: (0.0, math.inf), "bounds of one softmax"),
    ("double_softmax_bounds", lambda n: bounds_by_array(n)[::-1], "Lowest first"),
    ("double_softmax_bounds", lambda n: bounds_by_array(n) / math.log(10), "natural"),
    ("double_softmax_bounds", lambda n: bounds_by_array(n) / math.log(2), "base 2"),
    (
        "double_softmax_bounds",
        log_pair(lambda n: 1 + n / E, lambda n: n + E),
        "num_classes - 1",
    ),
    ("double_softmax_bounds", lambda n: (1 + (n - 1) / E, n - 1 + E), "inside the logarithm"),
    ("double_softmax_bounds", lambda n: (1 / (n - 1 + E), E / (n - 1 + E)), "probability"),
    ("double_softmax_bounds", lambda n: tuple(-bounds_by_array(n)[::-1]), "minus before"),
    ("double_softmax_bounds", log_pair(lambda n: 1 + (n - 1) / E, lambda n: n), "equal prob"),
    ("double_softmax_bounds", lambda n: (bounds_by_array(n)[0], math.inf), "finite too"),
    ("double_softmax_bounds", lambda n: bounds_by_array(10), "For 2 classes you gave 1.4612"),
    (
        "double_softmax_bounds",
        log_pair(lambda n: 1 + (n - 1) / E, lambda n: n - 2 + E),
        "right class counts too",
    ),
    ("double_softmax_bounds", lambda n: -bounds_by_array(n), "signs changed"),
    # layers and variables
    ("weight_layers", layers_where_wider, "even where both have the same"),
    ("weight_layers", lambda blocks: 42, "two numbers"),
    ("weight_layers", lambda blocks: (42, 80), "repeats [2, 5]"),
    ("weight_layers", counted(lambda r, s: 3 * r + 3, lambda r, s: 6 * r + 5), "between"),
    ("weight_layers", counted(lambda r, s: 3 * r + s + 3, lambda r, s: 6 * r + s + 5), "fewer"),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 2, lambda r, s: 6 * r + 2 * s + 3),
        "between the stages have no bias",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 2, lambda r, s: 6 * r + s + 5),
        "linear layer has no bias",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 2, lambda r, s: 2 * (3 * r + s + 2)),
        "Not every one has a bias",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 2, lambda r, s: 3 * r + s + 2),
        "have a bias each",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 1, lambda r, s: 6 * r + s + 3),
        "linear layer is missing",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * r + s + 1, lambda r, s: 6 * r + s + 2),
        "7x7 and 1x1",
    ),
    (
        "weight_layers",
        counted(lambda r, s: 3 * s + s + 2, lambda r, s: 6 * s + s + 4),
        "repeats its unit",
    ),
    ("weight_layers", counted(lambda r, s: r + s + 2, lambda r, s: 2 * r + s + 4), "count one"),
    ("weight_layers", lambda b: layers_by_loop(b)[::-1], "Layers first"),
    ("weight_layers", lambda b: tuple(map(float, layers_by_loop(b))), "whole numbers"),
    # the error of batches
    ("misclassification_error", error_with_axis(None), "of each row: argmax(axis=1)"),
    ("misclassification_error", error_with_axis(0), "do not fit your predictions"),
    ("misclassification_error", lambda b: batch_errors(b), "one number"),
    ("misclassification_error", lambda b: np.mean(batch_errors(b)), "small batch"),
    ("misclassification_error", lambda b: 1 - error_by_generator(b), "That is the accuracy"),
    ("misclassification_error", lambda b: 1 - np.mean(batch_errors(b)), "mean accuracy"),
    ("misclassification_error", lambda b: 100 * error_by_generator(b), "percentage"),
    ("misclassification_error", lambda b: batch_errors(b)[-1], "last batch"),
    ("misclassification_error", lambda b: sum(batch_errors(b)), "add the batches"),
    (
        "misclassification_error",
        lambda b: sum(int((z.argmax(1) != y).sum()) for z, y in b),
        "how many images",
    ),
    (
        "misclassification_error",
        lambda b: error_by_generator((-z, y) for z, y in b),
        "not the smallest",
    ),
    (
        "misclassification_error",
        lambda b: error_by_generator(b[i] for i in range(len(b))),
        "raised TypeError",
    ),
    (
        "misclassification_error",
        lambda b: (
            sum(int((z.argmax(1) != y).sum()) for z, y in b) / sum(len(y) for _, y in b)
            if isinstance(b, list)
            else 0.0
        ),
        "generator",
    ),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
