"""The checkers of chapter 09 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["map_sides", "stage_parameters", "fold"]


# --- Sizes ------------------------------------------------------------------------------


def sides_by_rounding(size):
    return [math.ceil(size / 2**k) for k in (2, 2, 3, 4, 5)]


def sides_by_formula(size):
    sides = [((size + 1) // 2 + 1) // 2] * 2
    while len(sides) < 5:
        sides.append((sides[-1] + 2 - 3) // 2 + 1)
    return np.array(sides)


def sides(half=lambda n: (n + 1) // 2, strides=(4, 1, 2, 2, 2)):
    """A candidate from the stride of each part, powers of two."""

    def candidate(size):
        found = []
        for stride in strides:
            for _ in range(int(math.log2(stride))):
                size = half(size)
            found.append(size)
        return found

    return candidate


# --- Parameters ---------------------------------------------------------------------------


def params_by_layers(blocks, inside, out, stride):
    counts = []
    for i in range(blocks):
        counts += [9 * (inside if i == 0 else out) * out, 2 * out, 9 * out * out, 2 * out]
    if stride > 1 or inside != out:
        counts += [inside * out, out, out]
    return sum(counts)


def params(
    kernel=9,
    norm=2,
    bias=0,
    shortcut_norm=2,
    shortcut_bias=None,
    shortcut_kernel=1,
    needs=lambda i, o, s: s != 1 or i != o,
    projections=1,
    source=lambda i, o: o,
):
    def candidate(blocks, i, o, s):
        beside = shortcut_norm + (bias if shortcut_bias is None else shortcut_bias)
        total = kernel * i * o + (blocks - 1) * kernel * source(i, o) * o
        total += blocks * (kernel * o * o + 2 * (norm + bias) * o)
        if needs(i, o, s):
            total += shortcut_kernel * i * o + beside * o
            if projections != 1:
                total += (blocks - 1) * (o * o + beside * o)
        return total

    return candidate


# --- Folding ------------------------------------------------------------------------------


def fold_by_broadcast(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = gamma / np.sqrt(variance + epsilon)
    return (weight.T * scale).T, beta - mean * scale


def fold_by_einsum(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = gamma * (variance + epsilon) ** -0.5
    return [np.einsum("oikl,o->oikl", weight, scale), -mean * scale + beta]


def fold(scale=lambda g, v, e: g / np.sqrt(v + e), bias=lambda s, b, m: b - m * s):
    def candidate(weight, gamma, beta, mean, variance, epsilon=1e-5):
        s = scale(gamma, variance, epsilon)
        return weight * s[:, None, None, None], bias(s, beta, mean)

    return candidate


def fold_inputs(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = gamma / np.sqrt(variance + epsilon)
    return weight * scale[:, None, None], beta - mean * scale


def fold_last_axis(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = gamma / np.sqrt(variance + epsilon)
    return weight * scale, beta - mean * scale


def fold_in_place(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = gamma / np.sqrt(variance + epsilon)
    weight *= scale[:, None, None, None]
    return weight, beta - mean * scale


def fold_other_default(weight, gamma, beta, mean, variance, epsilon=1e-2):
    return fold_by_broadcast(weight, gamma, beta, mean, variance, epsilon)


def fold_fixed_epsilon(weight, gamma, beta, mean, variance, epsilon=1e-5):
    return fold_by_broadcast(weight, gamma, beta, mean, variance)


RIGHT = [
    ("map_sides", sides_by_rounding),
    ("map_sides", sides_by_formula),
    ("map_sides", lambda n: tuple(sides()(n))),
    ("stage_parameters", params_by_layers),
    ("stage_parameters", params()),
    ("stage_parameters", lambda *case: np.int64(params()(*case))),
    ("fold", fold_by_broadcast),
    ("fold", fold_by_einsum),
    ("fold", fold()),
]

WRONG = [
    ("map_sides", sides(strides=(4, 2, 2, 2, 2)), "Stage 1 has no stride"),
    ("map_sides", sides(strides=(2, 1, 2, 2, 2)), "stem halves twice"),
    ("map_sides", sides(strides=(2, 2, 1, 2, 2)), "leave the last stage out"),
    ("map_sides", sides(strides=(2, 2, 2, 2, 2)), "the five halvings"),
    ("map_sides", sides(half=lambda n: n // 2), "round down"),
    ("map_sides", sides(half=lambda n: n / 2), "do not round"),
    ("map_sides", sides(half=lambda n: (n + 1) / 2), "Divide (n + 1)"),
    ("map_sides", lambda n: [side**2 for side in sides()(n)], "Give the side"),
    ("map_sides", lambda n: [64, 64, 128, 256, 512], "the channels"),
    ("map_sides", sides(strides=(4, 4, 4, 4, 4)), "only the first block"),
    ("map_sides", lambda n: sides()(n)[1:], "five sides"),
    ("map_sides", lambda n: sides()(n)[-1], "five sides"),
    (
        "map_sides",
        lambda n: [24, 24, 12, 6, 3],
        "For images of 224 you gave [24, 24, 12, 6, 3]",
    ),
    ("map_sides", lambda n: [float(side) for side in sides()(n)], "whole number"),
    ("stage_parameters", params(needs=lambda *shape: False), "projection of the first"),
    ("stage_parameters", params(needs=lambda *shape: True), "only where stride or"),
    ("stage_parameters", params(needs=lambda i, o, s: i != o), "stride alone"),
    ("stage_parameters", params(needs=lambda i, o, s: s != 1), "Other channels need"),
    ("stage_parameters", params(projections=2), "Only the first block of a stage"),
    (
        "stage_parameters",
        params(projections=2, needs=lambda *shape: True),
        "and only where stride or channels change",
    ),
    ("stage_parameters", params(shortcut_kernel=9), "1x1, not 3x3"),
    ("stage_parameters", params(shortcut_norm=0), "projection has a batch norm"),
    ("stage_parameters", params(norm=0, shortcut_norm=0), "leave batch norm out"),
    ("stage_parameters", params(norm=1, shortcut_norm=1), "two numbers"),
    ("stage_parameters", params(norm=1), "a batch norm of its own"),
    ("stage_parameters", params(norm=4, shortcut_norm=4), "buffers, not parameters"),
    ("stage_parameters", params(bias=1), "Convolutions before batch norm have no bias"),
    ("stage_parameters", params(bias=1, shortcut_bias=0), "The two 3x3 convolutions have no"),
    ("stage_parameters", params(bias=1, shortcut_norm=0), "the post's block"),
    ("stage_parameters", params(kernel=3), "9 weights"),
    ("stage_parameters", params(kernel=1), "3x3 out"),
    ("stage_parameters", params(source=lambda i, o: i), "out_channels go in"),
    ("stage_parameters", lambda b, i, o, s: params()(1, i, o, s), "first block only"),
    (
        "stage_parameters",
        lambda b, i, o, s: b * params()(1, i, o, s),
        "Every block after the first",
    ),
    (
        "stage_parameters",
        lambda b, i, o, s: params()(b, i, o, s) - b * (9 * o * o + 2 * o),
        "two 3x3",
    ),
    ("stage_parameters", lambda *case: float(params()(*case)), "whole number"),
    ("stage_parameters", lambda *case: [1, 2], "Give one number"),
    ("stage_parameters", lambda *case: 525_568, "stride=1 you gave 525,568; it is 147,968"),
    ("fold", fold_inputs, "output channels, the first axis"),
    ("fold", fold_last_axis, "needs three more axes"),
    ("fold", fold(scale=lambda g, v, e: g / (v + e)), "root of variance"),
    ("fold", fold(scale=lambda g, v, e: g / (np.sqrt(v) + e)), "inside the root"),
    ("fold", fold(scale=lambda g, v, e: g / np.sqrt(v)), "epsilon is missing"),
    ("fold", fold(scale=lambda g, v, e: 1 / np.sqrt(v + e)), "gamma is missing"),
    ("fold", fold(scale=lambda g, v, e: g * np.sqrt(v + e)), "divides by"),
    ("fold", fold(bias=lambda s, b, m: b), "lacks the mean"),
    ("fold", fold(bias=lambda s, b, m: b - m), "scaled before it is subtracted"),
    ("fold", fold(bias=lambda s, b, m: b + m * s), "subtracted, not added"),
    ("fold", fold(bias=lambda s, b, m: (b - m) * s), "added after scaling"),
    ("fold", fold(bias=lambda s, b, m: -m * s), "beta is missing"),
    ("fold", fold_in_place, "caller's arrays"),
    ("fold", fold_other_default, "default of 1e-5"),
    ("fold", fold_fixed_epsilon, "epsilon that is given"),
    ("fold", lambda *layer: fold_by_broadcast(*layer)[::-1], "The order is weight, bias"),
    ("fold", fold(bias=lambda s, b, m: b - 2 * m * s), "The first bias should be"),
    ("fold", lambda *layer, **more: layer[0], "two arrays"),
    ("fold", lambda w, g, b, m, v, e=0: (w[:1], b), "weight must have the shape (4, 4, 3, 3)"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS

    @staticmethod
    def is_named(words, line):
        return any(word in line for word in words.split("|"))
