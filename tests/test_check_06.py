"""The checkers of chapter 06 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
import torch
from checker_tests import CheckerTests

CHECKERS = ["xavier_bound", "lenet_flat", "lenet_parameters", "accuracy"]


# --- Xavier's bound ---------------------------------------------------------------------


def bound_by_area(shape):
    area = math.prod(shape[2:])
    return math.sqrt(6 / (area * (shape[0] + shape[1])))


def bound_by_numpy(shape):
    fan_in, fan_out = np.prod(shape[1:]), np.prod(shape) / shape[1]
    return np.sqrt(3) * np.sqrt(2 / (fan_in + fan_out))


def bound_by_torch(shape):
    area = math.prod(shape[2:])
    return torch.sqrt(torch.tensor(6 / (area * (shape[0] + shape[1]))))


def bound_of_keras(shape):
    return math.sqrt(6 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))


def bound_of_four(shape):
    n_out, n_in, height, width = shape
    return math.sqrt(6 / (height * width * (n_in + n_out)))


def with_fans(formula):
    """A candidate from a formula of n_in and n_out."""

    def candidate(shape):
        area = math.prod(shape[2:])
        return formula(shape[1] * area, shape[0] * area)

    return candidate


# --- LeNet's flat size and parameters -----------------------------------------------------


def flat_by_steps(image_size, padding):
    for conv_padding in (padding, 0):
        image_size = (image_size + 2 * conv_padding - 5 + 1) // 2
    return 16 * image_size * image_size


def flat_side(image_size, padding, half=lambda n: n // 2, taken=4):
    return half(half(image_size + 2 * padding - taken) - taken)


def parameters_by_loop(in_channels, num_classes, flat):
    counts, layers = [], [(in_channels * 25, 6), (6 * 25, 16), (flat, 120), (120, 84)]
    for inputs, outputs in [*layers, (84, num_classes)]:
        counts.append(inputs * outputs + outputs)
    return counts


def parameters_by_generator(c, k, f):
    yield from parameters_by_loop(c, k, f)


def parameters_by_name(c, k, f):
    names = ["conv 1", "conv 2", "dense 1", "dense 2", "dense 3"]
    return dict(zip(names, parameters_by_loop(c, k, f), strict=True))


def parameters(kernel=25, bias=1):
    def candidate(c, k, f):
        inputs, outputs = [c * kernel, 6 * kernel, f, 120, 84], [6, 16, 120, 84, k]
        return [(n + bias) * m for n, m in zip(inputs, outputs, strict=True)]

    return candidate


def bias_for_each_input(c, k, f):
    weights = parameters(bias=0)(c, k, f)
    return [a + b for a, b in zip(weights, [c, 6, f, 120, 84], strict=True)]


# --- Accuracy -----------------------------------------------------------------------------


def accuracy_by_loop(logits, labels):
    hits = 0
    for row, label in zip(logits, labels, strict=True):
        hits += list(row).index(max(row)) == label
    return hits / len(labels)


def probabilities(logits):
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def of_the_label(values, labels):
    return values[np.arange(len(labels)), labels]


def accuracy_in_place(logits, labels):
    logits -= logits.max(axis=1, keepdims=True)
    return (logits.argmax(axis=1) == labels).mean()


def accuracy_over_images(logits, labels):
    best = logits.argmax(axis=0)
    n = min(len(best), len(labels))
    return (best[:n] == labels[:n]).mean()


def accuracy_by_torch(logits, labels):
    right = torch.from_numpy(logits).argmax(1) == torch.from_numpy(labels)
    return right.float().mean()


RIGHT = [
    ("xavier_bound", bound_by_torch),
    ("lenet_parameters", parameters_by_generator),
    ("lenet_parameters", parameters_by_name),
    ("accuracy", accuracy_by_torch),
    ("xavier_bound", bound_by_area),
    ("xavier_bound", bound_by_numpy),
    ("xavier_bound", with_fans(lambda n_in, n_out: (6 / (n_in + n_out)) ** 0.5)),
    ("lenet_flat", flat_by_steps),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p) ** 2),
    ("lenet_flat", lambda n, p: np.int64(16 * ((n + 2 * p - 12) // 4) ** 2)),
    ("lenet_parameters", parameters_by_loop),
    ("lenet_parameters", lambda *sizes: tuple(parameters()(*sizes))),
    ("lenet_parameters", lambda *sizes: np.array(parameters()(*sizes))),
    ("accuracy", lambda logits, labels: (logits.argmax(axis=1) == labels).mean()),
    ("accuracy", accuracy_by_loop),
    (
        "accuracy",
        lambda logits, labels: np.mean(probabilities(logits).argmax(-1) == labels),
    ),
]

WRONG = [
    ("xavier_bound", with_fans(lambda a, b: 2 / (a + b)), "the variance"),
    ("xavier_bound", with_fans(lambda a, b: 1 / math.sqrt(a)), "PyTorch's own"),
    ("xavier_bound", bound_of_keras, "order of Keras"),
    ("xavier_bound", bound_of_four, "For the shape (120, 400), a dense layer, your function"),
    ("xavier_bound", lambda s: torch.tensor([0.1, 0.2]), "one number"),
    ("lenet_parameters", lambda c, k, f: ["156"] * 5, "five numbers"),
    ("lenet_parameters", lambda c, k, f: len, "five numbers"),
    ("accuracy", lambda x, y: (x.argmax(axis=0) == y).mean(), "axis 1"),
    ("accuracy", lambda x, y: (x.argmax() == y).mean(), "without an axis"),
    ("accuracy", lambda x, y: (x.max(1) == y).mean(), "its position, argmax"),
    ("accuracy", lambda x, y: round((x.argmax(1) == y).mean(), 3), "round"),
    ("accuracy", lambda x, y: round((x.argmax(1) == y).mean(), 2), "round"),
    ("accuracy", lambda x, y: float(y[0] > 1) / 7, "With the logits [["),
    ("xavier_bound", lambda s: math.sqrt(6 / (s[0] + s[1])), "height and width out"),
    ("xavier_bound", with_fans(lambda a, b: math.sqrt(2 / (a + b))), "standard deviation"),
    ("xavier_bound", with_fans(lambda a, b: math.sqrt(3 / (a + b))), "3 belongs"),
    ("xavier_bound", with_fans(lambda a, b: 6 / (a + b)), "root is missing"),
    ("xavier_bound", with_fans(lambda a, b: math.sqrt(6 / a)), "inputs only."),
    ("xavier_bound", with_fans(lambda a, b: math.sqrt(3 / a)), "inputs only, and the 3"),
    ("xavier_bound", with_fans(lambda a, b: math.sqrt(6 / b)), "outputs only"),
    (
        "xavier_bound",
        lambda s: math.sqrt(6 / (math.prod(s[1:]) + s[0])),
        "outputs of a convolution",
    ),
    (
        "xavier_bound",
        lambda s: math.sqrt(6 / (math.prod(s) / s[1] + s[1])),
        "inputs and outputs both",
    ),
    (
        "xavier_bound",
        lambda s: math.sqrt(6 / ((s[0] + s[1]) * (s[2] if len(s) > 2 else 1))),
        "first side only",
    ),
    ("xavier_bound", lambda s: math.sqrt(6 / math.prod(s)), "number of weights"),
    ("xavier_bound", lambda s: 0.1, "with 400 inputs and 120 outputs, you gave 0.1"),
    ("xavier_bound", lambda s: [0.1, 0.2], "one number"),
    ("lenet_flat", lambda n, p: flat_side(n, p) ** 2, "That is one map"),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p), "16 times one side"),
    ("lenet_flat", lambda n, p: flat_side(n, p), "side of the last map"),
    ("lenet_flat", lambda n, p: 6 * flat_side(n, p) ** 2, "6 maps"),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, 0) ** 2, "leave the padding out"),
    ("lenet_flat", lambda n, p: 16 * int(flat_side(n, p / 2)) ** 2, "padding once"),
    (
        "lenet_flat",
        lambda n, p: 16 * (((n + 2 * p - 4) // 2 + 2 * p - 4) // 2) ** 2,
        "pad both",
    ),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p, taken=5) ** 2, "4 pixels away, not 5"),
    ("lenet_flat", lambda n, p: 16 * (n // 2 // 2) ** 2, "convolutions shrink"),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p, lambda x: x / 2) ** 2, "not round down"),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p, lambda x: -(-x // 2)) ** 2, "round up"),
    ("lenet_flat", lambda n, p: 16 * flat_side(n, p, lambda x: x) ** 2, "pooling out"),
    ("lenet_flat", lambda n, p: 16 * ((n + 2 * p - 4) // 2 - 4) ** 2, "second pooling"),
    ("lenet_flat", lambda n, p: 400, "images of 28 with padding 0 you gave 400; it is 256"),
    ("lenet_flat", lambda n, p: float(16 * flat_side(n, p) ** 2), "no whole number"),
    ("lenet_flat", lambda n, p: True, "one number"),
    ("lenet_parameters", lambda c, k, f: sum(parameters()(c, k, f)), "not their sum"),
    ("lenet_parameters", lambda c, k, f: parameters()(c, k, f)[:4], "you gave 4 numbers"),
    ("lenet_parameters", parameters(bias=0), "biases out"),
    (
        "lenet_parameters",
        lambda c, k, f: [n + 1 for n in parameters(bias=0)(c, k, f)],
        "one bias for each layer",
    ),
    ("lenet_parameters", bias_for_each_input, "bias for each input"),
    ("lenet_parameters", parameters(kernel=5), "25 weights"),
    ("lenet_parameters", parameters(kernel=1), "5x5 out"),
    (
        "lenet_parameters",
        lambda c, k, f: [156, 416, *parameters()(c, k, f)[2:]],
        "all input channels",
    ),
    ("lenet_parameters", lambda c, k, f: parameters()(1, k, f), "not use in_channels"),
    ("lenet_parameters", lambda c, k, f: parameters()(c, 10, f), "not use num_classes"),
    ("lenet_parameters", lambda c, k, f: parameters()(c, k, 400), "not use flat"),
    ("lenet_parameters", lambda c, k, f: parameters()(c, k, 16), "16 channels"),
    (
        "lenet_parameters",
        lambda c, k, f: [156, 2416, 48120, 10164, 850],
        "in_channels=3, num_classes=10, flat=576 layer 1 of 5 has 456",
    ),
    ("accuracy", lambda x, y: (x.argmax(1) == y).sum(), "number of right answers"),
    ("accuracy", lambda x, y: 100 * (x.argmax(1) == y).mean(), "percentage"),
    ("accuracy", lambda x, y: (x.argmax(1) != y).mean(), "error rate"),
    ("accuracy", lambda x, y: (x.argmin(1) == y).mean(), "smallest logit"),
    ("accuracy", accuracy_over_images, "axis 1"),
    ("accuracy", lambda x, y: of_the_label(probabilities(x), y).mean(), "mean probability"),
    ("accuracy", lambda x, y: (of_the_label(probabilities(x), y) > 0.5).mean(), "below 0.5"),
    ("accuracy", lambda x, y: (x.argmax(1) == y).sum() / x.size, "number of logits"),
    ("accuracy", lambda x, y: (of_the_label(x, y) > 0).mean(), "above 0"),
    ("accuracy", lambda x, y: x.argmax(1) == y, "an array (3,)"),
    ("accuracy", accuracy_in_place, "caller's arrays"),
    ("accuracy", lambda x, y: 0.1234, "you gave 0.1234"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
