"""The checkers of chapter 08 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests, said

CHECKERS = ["inception_parameters", "largest_reduction", "reorder_inputs"]


# --- Right answers ----------------------------------------------------------------------


def parameters_by_formula(c, p1, p2, p3, p4):
    ones = (c + 1) * (p1 + p2[0] + p3[0] + p4)
    return ones + p2[1] * (9 * p2[0] + 1) + p3[1] * (25 * p3[0] + 1)


def parameters_by_shapes(c, p1, p2, p3, p4):
    shapes = [(p1, c, 1, 1), (p2[0], c, 1, 1), (p2[1], p2[0], 3, 3)]
    shapes += [(p3[0], c, 1, 1), (p3[1], p3[0], 5, 5), (p4, c, 1, 1)]
    return np.int64(sum(np.prod(shape) + shape[0] for shape in shapes))


def parameters(bias=1, three=9, five=25, reductions=True, pool=True, first=True, direct=False):
    def candidate(c, p1, p2, p3, p4):
        total = (c + bias) * (p1 * first + p4 * pool)
        if reductions:
            total += (c + bias) * (p2[0] + p3[0])
        inside2, inside3 = (c, c) if direct else (p2[0], p3[0])
        return total + p2[1] * (three * inside2 + bias) + p3[1] * (five * inside3 + bias)

    return candidate


def reduction_by_floor(c, out, kernel, share):
    return math.floor(share * kernel**2 * c * out / (c + kernel**2 * out))


def reduction_by_search(c, out, kernel, share):
    fitting = [
        r for r in range(2000) if r * c + kernel**2 * r * out <= share * kernel**2 * c * out
    ]
    return max(fitting)


def reduction(formula):
    return lambda *case: int(formula(*case))


def reorder_by_split(weight, channels, order):
    parts = np.split(weight, np.cumsum(channels)[:-1], axis=1)
    return np.concatenate([parts[path] for path in order], axis=1)


def reorder_by_places(weight, channels, order):
    starts = [sum(channels[:path]) for path in range(len(channels))]
    places = [starts[path] + i for path in order for i in range(channels[path])]
    return weight[:, places]


RIGHT = [
    ("inception_parameters", parameters_by_formula),
    ("inception_parameters", parameters_by_shapes),
    ("inception_parameters", parameters()),
    ("largest_reduction", reduction_by_floor),
    ("largest_reduction", reduction_by_search),
    ("reorder_inputs", reorder_by_split),
    ("reorder_inputs", reorder_by_places),
]


# --- Wrong answers ------------------------------------------------------------------------


def reorder_inverse(weight, channels, order):
    return reorder_by_split(weight, channels, np.argsort(order))


def reorder_inverse_widths(weight, channels, order):
    """Cut by the widths of the new order."""
    return reorder_by_split(weight, [channels[path] for path in order], order)


def reorder_outputs(weight, channels, order):
    if len(weight) != sum(channels):
        return weight
    return reorder_by_split(weight.swapaxes(0, 1), channels, order).swapaxes(0, 1)


def reorder_outputs_anyhow(weight, channels, order):
    parts = np.split(weight, np.cumsum(channels)[:-1], axis=0)
    return np.concatenate([parts[path] for path in order], axis=0)


def reorder_cut_at_widths(weight, channels, order):
    parts = np.split(weight, channels, axis=1)
    return np.concatenate([parts[path] for path in order], axis=1)


def reorder_in_place(weight, channels, order):
    weight[:] = reorder_by_split(weight, channels, order)
    return weight


def reorder_equal_parts(weight, channels, order):
    parts = np.array_split(weight, len(channels), axis=1)
    return np.concatenate([parts[path] for path in order], axis=1)


WRONG = [
    ("inception_parameters", parameters(bias=0), "biases"),
    ("inception_parameters", parameters(pool=False), "behind the pooling"),
    ("inception_parameters", parameters(first=False), "first path"),
    ("inception_parameters", parameters(reductions=False), "two reductions are layers"),
    ("inception_parameters", parameters(three=3, five=5), "9 weights"),
    ("inception_parameters", parameters(three=1, five=1), "3x3 and 5x5 are missing"),
    ("inception_parameters", parameters(five=9), "third path has a 5x5"),
    ("inception_parameters", parameters(reductions=False, direct=True), "without reductions"),
    ("inception_parameters", parameters(direct=True), "channels of their reductions"),
    (
        "inception_parameters",
        lambda c, p1, p2, p3, p4: (c + 1) * (p1 + p2[0] + p3[0] + p4),
        "1x1 convolutions alone",
    ),
    (
        "inception_parameters",
        lambda c, p1, p2, p3, p4: parameters_by_formula(c, p1, p2[::-1], p3[::-1], p4),
        "first number of a pair",
    ),
    (
        "inception_parameters",
        lambda *block: parameters_by_formula(*block) + 8 * block[0] * block[4],
        "pooling has no weights",
    ),
    ("inception_parameters", lambda *block: float(parameters_by_formula(*block)), "int(...)"),
    (
        "inception_parameters",
        lambda *block: np.array([parameters_by_formula(*block)]),
        ".item()",
    ),
    ("inception_parameters", lambda *block: (1, 2), "one number"),
    ("inception_parameters", lambda *block: 163_696, "it is"),
    ("inception_parameters", lambda c, p1, p2, p3, p4: c + p2, "raised TypeError"),
    ("largest_reduction", lambda *case: reduction_by_floor(*case) + 1, "it is"),
    (
        "largest_reduction",
        reduction(lambda c, o, k, s: math.ceil(s * k * k * c * o / (c + k * k * o))),
        "round up",
    ),
    ("largest_reduction", reduction(lambda c, o, k, s: s * c), "reduction's own weights"),
    ("largest_reduction", reduction(lambda c, o, k, s: s * k * k * o), "behind the reduction"),
    (
        "largest_reduction",
        reduction(lambda c, o, k, s: s * k * c * o / (c + k * o)),
        "kernel times kernel",
    ),
    ("largest_reduction", reduction(lambda c, o, k, s: s * c * o / (c + o)), "is 1x1"),
    (
        "largest_reduction",
        lambda c, o, k, s: reduction_by_floor(c, o, k, 1 - s),
        "what may be left",
    ),
    ("largest_reduction", lambda c, o, k, s: reduction_by_floor(c, o, k, 1), "cost the same"),
    (
        "largest_reduction",
        lambda c, o, k, s: max(
            r for r in range(2000) if r * (c + k * k * o) < s * k * k * c * o
        ),
        "still fits",
    ),
    (
        "largest_reduction",
        lambda c, o, k, s: s * k * k * c * o / (c + k * k * o),
        "whole: round down",
    ),
    (
        "largest_reduction",
        lambda c, o, k, s: (s * k * k * c * o) // (c + k * k * o),
        "Put int(...) around it",
    ),
    ("largest_reduction", lambda *case: max(1, reduction_by_floor(*case)), "it is 0"),
    ("largest_reduction", lambda *case: "36", "one number"),
    ("reorder_inputs", reorder_inverse, "undo the order"),
    ("reorder_inputs", lambda w, c, o: w, "unchanged"),
    ("reorder_inputs", reorder_outputs, "output channels"),
    ("reorder_inputs", reorder_outputs_anyhow, "output channels"),
    ("reorder_inputs", reorder_cut_at_widths, "running sums"),
    ("reorder_inputs", reorder_equal_parts, "equal parts"),
    ("reorder_inputs", lambda w, c, o: w[:, o], "one channel for each path"),
    ("reorder_inputs", lambda w, c, o: w[:, ::-1], "all the channels round"),
    (
        "reorder_inputs",
        lambda w, c, o: reorder_by_split(w, c, range(len(c))[::-1]),
        "only turn the paths",
    ),
    ("reorder_inputs", reorder_inverse_widths, "still has the old one"),
    ("reorder_inputs", reorder_in_place, "changed the caller's"),
    ("reorder_inputs", lambda w, c, o: w[:, :2], "shape"),
    ("reorder_inputs", lambda w, c, o: w + 1, "some inputs differ"),
]


def test_whole_number_is_asked_for_where_the_value_is_right(capsys):
    """A float of the right value is told about the kind of number, not about the value."""
    _, text = said(capsys, "largest_reduction", lambda *c: float(reduction_by_floor(*c)))
    assert "whole number" in text


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
