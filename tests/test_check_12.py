"""The checkers of chapter 12 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests, rows

CHECKERS = ["last_side", "bottleneck_numbers", "start_share"]


def side_by_formula(size, pool_padding=0):
    size = ((size + 6 - 7) // 2 + 1 + 2 * pool_padding - 3) // 2 + 1
    for _ in range(3):
        size = (size + 1) // 2
    return size


def side_by_rounding(size, pool_padding):
    return np.int64(math.ceil((size if pool_padding else size - 4) / 32))


def numbers_by_layers(in_channels, filters, projection):
    a, b, c = filters
    total = in_channels * a + 9 * a * b + b * c + 5 * (a + b + c)
    return total + (in_channels * c + 5 * c if projection else 0)


def numbers_by_lists(in_channels, filters, projection):
    layers = [(in_channels, filters[0], 1), (*filters[:2], 3), (*filters[1:], 1)]
    layers += [(in_channels, filters[2], 1)] * bool(projection)
    return sum(k * k * i * o + o + 4 * o for i, o, k in layers)


def share_by_power(images, batch_size, epochs, decay):
    return decay ** (epochs * -(-images // batch_size))


def share_by_logarithm(images, batch_size, epochs, decay):
    return np.exp(epochs * math.ceil(images / batch_size) * np.log(decay))


RIGHT = {
    "last_side": [side_by_formula, side_by_rounding],
    "bottleneck_numbers": [numbers_by_layers, numbers_by_lists],
    "start_share": [share_by_power, share_by_logarithm],
}


def halved(size, times):
    return -(-size // 2**times)


def stem(size, pool_padding):
    return (halved(size, 1) + 2 * pool_padding - 3) // 2 + 1


def block(kernel=9, bias=1, norm=4, project=lambda i, c, p, n: p * (i + 1 + n) * c):
    def candidate(i, filters, projection):
        a, b, c = filters
        each = (bias + norm) * (a + b + c)
        side = project(i, c, projection, norm) - (1 - bias) * projection * c
        return i * a + kernel * a * b + b * c + each + side

    return candidate


WRONG = {
    "last_side": [
        (lambda n, p: halved(n, 5), "by nothing where that is 0"),
        (lambda n, p: side_by_formula(n), "leave pool_padding out"),
        (lambda n, p: halved((halved(n, 1) + p - 3) // 2 + 1, 3), "it counts twice"),
        (lambda n, p: n // 32, "each layer rounds"),
        (
            lambda n, p: halved(((n - 7) // 2 + 1 + 2 * p - 3) // 2 + 1, 3),
            "three zeros on each side",
        ),
        (lambda n, p: halved(n, 4), "you leave its pooling out"),
        (lambda n, p: halved(stem(n, p), 4), "Stage 2 has stride 1"),
        (lambda n, p: halved(stem(n, p), 2), "you count two of them"),
        (stem, "behind the stem"),
        (lambda n, p: stem(n, p) // 8, "rounds up: 15 becomes 8"),
        (lambda n, p: side_by_formula(n, p) ** 2, "number of positions"),
        (
            lambda n, p: side_by_formula(n, p) + 1,
            "For image_size=64, pool_padding=0 you gave 3; it is 2.",
        ),
        (lambda n, p: n / 32, "whole number"),
        (lambda n, p: (side_by_formula(n, p),) * 2, "one number"),
    ],
    "bottleneck_numbers": [
        (block(bias=0), "have biases here"),
        (block(norm=2), "four numbers for each channel"),
        (block(norm=0), "leave batch norm out"),
        (block(kernel=1), "9 weights"),
        (block(kernel=3), "not 3"),
        (block(project=lambda i, c, p, n: 0), "projection is missing"),
        (block(project=lambda i, c, p, n: p * (i + 1) * c), "a batch norm too"),
        (block(project=lambda i, c, p, n: p * (i + 4) * c), "convolution has a bias too"),
        (block(project=lambda i, c, p, n: p * i * c), "a bias and a batch norm too"),
        (block(project=lambda i, c, p, n: p * (9 * i + 5) * c), "is a 1x1 convolution"),
        (block(project=lambda i, c, p, n: (i != c) * (i + 5) * c), "even when the channels ag"),
        (
            lambda i, f, p: block()(i, f, p) + 8 * (i * f[0] + f[1] * f[2]),
            "Only the middle kernel",
        ),
        (block(project=lambda i, c, p, n: (i + 5) * c), "stores nothing"),
        (lambda i, f, p: block()(i, f, 0) + p * (f[1] + 5) * f[2], "reads the block's input"),
        (lambda i, f, p: 1, "you gave 1; it is 76,928."),
        (lambda i, f, p: 0.5, "whole number"),
        (lambda i, f, p: [1, 2], "one number"),
    ],
    "start_share": [
        (lambda n, b, e, d: d ** (n // b * e), "smaller batch of an epoch is a step"),
        (lambda n, b, e, d: d ** (n / b * e), "round up in each epoch"),
        (lambda n, b, e, d: d ** math.ceil(n * e / b), "before you multiply"),
        (lambda n, b, e, d: d ** math.ceil(n / b), "one epoch"),
        (lambda n, b, e, d: 1 - share_by_power(n, b, e, d), "left of the start"),
        (lambda n, b, e, d: share_by_power(n, b, e, 1 - d), "not by 1 - decay"),
        (lambda n, b, e, d: d ** (n * e), "not once for each image"),
        (lambda n, b, e, d: d**e, "not once for each epoch"),
        (lambda n, b, e, d: 100 * share_by_power(n, b, e, d), "not per cent"),
        (lambda n, b, e, d: 1 - (1 - d) * e * math.ceil(n / b), "take the same away"),
        (lambda n, b, e, d: 0.1, "epochs=2, decay=0.99 you gave 0.1; it is 0.5049"),
        (lambda n, b, e, d: np.array([0.5]), "one number"),
    ],
}


class TestCheckers(CheckerTests):
    right, wrong, checkers = rows(RIGHT), rows(WRONG), CHECKERS
