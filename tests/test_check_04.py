"""The checkers of chapter 04 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["conv1x1", "bottleneck_params", "reduction_factor", "widest_bottleneck"]


# --- Exercise 1 -------------------------------------------------------------------------


def by_reshape(x, w, stride=1):
    x = x[:, ::stride, ::stride, :]
    n, h, v, c = x.shape
    return (x.reshape(n * h * v, c) @ w).reshape(n, h, v, w.shape[1])


def by_pixel(x, w, stride=1):
    n, h, v, _ = x.shape
    rows, columns = range(0, h, stride), range(0, v, stride)
    y = [[[w.T @ x[k, i, j] for j in columns] for i in rows] for k in range(n)]
    return np.array(y)


def without_reshaping_back(x, w, stride=1):
    x = x[:, ::stride, ::stride]
    return x.reshape(-1, x.shape[-1]) @ w


def channels_first(x, w, stride=1):
    x = x[:, ::stride, ::stride]
    n, h, v, c = x.shape
    return (x.reshape(n, c, h * v).transpose(0, 2, 1) @ w).reshape(n, h, v, w.shape[1])


def averaged(x, w, stride=1):
    h, v = x.shape[1:3]
    rows = [x[:, i : i + stride].mean(1) for i in range(0, h, stride)]
    x = np.stack(rows, 1)
    return np.stack([x[:, :, j : j + stride].mean(2) for j in range(0, v, stride)], 2) @ w


def channels_of_the_first_case(x, w, stride=1):
    """A reshape with the sizes of one example written into it."""
    x = x[:, ::stride, ::stride]
    return (x.reshape(-1, 3) @ w).reshape(*x.shape[:3], 4)


def rounded_down(x, w, stride=1):
    """The output's size without the last, incomplete step."""
    h, v = x.shape[1:3]
    y = x[:, ::stride, ::stride] @ w
    return y[:, : h // stride, : v // stride]


def reshaped_down(x, w, stride=1):
    n, h, v, _ = x.shape
    return (x[:, ::stride, ::stride] @ w).reshape(n, h // stride, v // stride, -1)


def in_place(x, w, stride=1):
    w *= 2
    return x[:, ::stride, ::stride] @ w / 2


# --- Exercises 2 to 4 -------------------------------------------------------------------


def params(c, m, o, projection, norm=2, bias=0, kernel=9):
    """The count of a bottleneck block, with what a learner may count otherwise."""
    total = c * m + kernel * m * m + m * o + (norm + bias) * (2 * m + o)
    return total + (c * o + (norm + bias) * o if projection else 0)


def params_by_layers(in_channels, bottleneck_channels, out_channels, projection):
    shapes = [(in_channels, bottleneck_channels, 1)]
    shapes += [(bottleneck_channels, bottleneck_channels, 3)]
    shapes += [(bottleneck_channels, out_channels, 1)]
    if projection:
        shapes.append((in_channels, out_channels, 1))
    return sum(np.ones((k, k, i, o), dtype=int).sum() + 2 * o for i, o, k in shapes)


def params_or_error(c, m, o, projection):
    """Refuses a block whose sum does not fit."""
    if c != o and not projection:
        raise ValueError("without a projection the shapes differ")
    return params(c, m, o, projection)


def all_3x3(c, m, o, projection):
    return params(c, m, o, projection) + 8 * (c * m + m * o)


def norms_by_channels_in(c, m, o, projection):
    return params(c, m, o, projection, norm=0) + 2 * (c + 2 * m + projection * c)


def factor(c, r, o, k):
    return k**2 * c * o / (c * r + k**2 * r * o)


def widest(c, budget, ones=2, threes=9, power=2, extra=0, first=0):
    m = first
    while ones * c * (m + 1) + threes * (m + 1) ** power + extra * (m + 1) <= budget:
        m += 1
    return m


def widest_by_integer_root(c, budget):
    return (math.isqrt(c * c + 9 * budget) - c) // 9


def widest_by_float_root(c, budget):
    return int((math.sqrt(c * c + 9 * budget) - c) / 9)


def widest_by_lossy_root(c, budget):
    return int(math.sqrt((c / 9) ** 2 + budget / 9) - c / 9)


def nearest(c, budget):
    return round((math.sqrt(c * c + 9 * budget) - c) / 9)


def smallest_too_wide(c, budget):
    return math.ceil((math.sqrt(c * c + 9 * budget) - c) / 9)


def largest_of_list(c, budget):
    return max(m for m in range(1, 1000) if 2 * c * m + 9 * m * m <= budget)


def too_early(c, budget):
    return widest(c, budget - 1)


RIGHT = [
    ("conv1x1", lambda x, w, stride=1: x[:, ::stride, ::stride] @ w),
    ("conv1x1", by_reshape),
    ("conv1x1", by_pixel),
    ("conv1x1", lambda x, w, s=1: np.einsum("nhwc,cd->nhwd", x, w)[:, ::s, ::s]),
    ("bottleneck_params", params),
    ("bottleneck_params", params_by_layers),
    ("bottleneck_params", params_or_error),
    ("reduction_factor", factor),
    ("reduction_factor", lambda c, r, o, k: 1 / (r / (k * k * o) + r / c)),
    ("widest_bottleneck", widest),
    ("widest_bottleneck", widest_by_integer_root),
    ("widest_bottleneck", widest_by_float_root),
    ("widest_bottleneck", lambda c, b: np.int64(widest(c, b))),
]

WRONG = [
    ("conv1x1", lambda x, w, s=1: x @ w, "leave the stride out"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s] @ w, "rows only"),
    ("conv1x1", lambda x, w, s=1: x[:, :, ::s] @ w, "columns only"),
    ("conv1x1", lambda x, w, s=1: x[::s, ::s] @ w, "Axis 0 is the batch"),
    ("conv1x1", lambda x, w, s=1: x[:, s - 1 :: s, s - 1 :: s] @ w, "second pixel"),
    ("conv1x1", averaged, "average"),
    ("conv1x1", channels_first, "reshape does not move"),
    ("conv1x1", lambda x, w, s=1: np.maximum(x[:, ::s, ::s] @ w, 0), "ReLU"),
    ("conv1x1", without_reshaping_back, "four axes"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s, ::s] @ w[:, :3], "output channels"),
    ("conv1x1", lambda x, w, s=1: 2 * (x[:, ::s, ::s] @ w), "values wrong"),
    ("conv1x1", in_place, "in place"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s, ::s] @ w.T, "raised ValueError"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s, ::s] @ w.T, "the last axis of x meets"),
    ("conv1x1", lambda x, w, s=1: w @ x[:, ::s, ::s], "the last axis of x meets"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s, ::s] * w, "the last axis of x meets"),
    ("conv1x1", lambda x, w, s=1: x[:, ::s, ::s] @ w[0, 0], "the last axis of x meets"),
    ("conv1x1", lambda x, w, s=1: x[:, :, ::s, ::s] @ w, "the last axis of x meets"),
    ("conv1x1", lambda x, w, s=1: x[::s, ::s, ::s] @ w, "the batch too"),
    ("conv1x1", channels_of_the_first_case, "from x.shape and w.shape"),
    ("conv1x1", lambda x, w, s=2: x[:, ::s, ::s] @ w, "stride is 1 if it is not given"),
    ("conv1x1", lambda x, w, s: x[:, ::s, ::s] @ w, "missing 1 required positional argument"),
    ("conv1x1", rounded_down, "incomplete step counts too"),
    ("conv1x1", reshaped_down, "incomplete step counts too"),
    ("bottleneck_params", lambda *a: params(*a, norm=0), "batch norms are missing"),
    ("bottleneck_params", lambda *a: params(*a, norm=1), "gamma and beta are two"),
    ("bottleneck_params", lambda *a: params(*a, norm=4), "not trained"),
    ("bottleneck_params", lambda *a: params(*a, bias=1), "biases"),
    ("bottleneck_params", lambda *a: params(*a, kernel=1), "counts as a 1x1"),
    ("bottleneck_params", lambda *a: params(*a, kernel=3), "3 weights"),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, False), "leave the projection"),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, True), "always count"),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, not p), "exchanged"),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, p) - 2 * o * p,
        "projection's batch norm is missing",
    ),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, p) - c * o * p,
        "projection's convolution is missing",
    ),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, False) + p * (m * o + 2 * o),
        "starts from the bottleneck",
    ),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, p, kernel=0) + 9 * c * o,
        "narrow place",
    ),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, p) - m * o, "the reducing one"),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, p) - c * m, "the expanding one"),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, c != o), "from the channels"),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, p and c != o),
        "from the channels",
    ),
    ("bottleneck_params", lambda c, m, o, p: params(c, m, o, p) - 2 * o, "after the last 1x1"),
    ("bottleneck_params", all_3x3, "first and the last are 1x1"),
    (
        "bottleneck_params",
        lambda c, m, o, p: params(c, m, o, p) + 8 * c * o * p,
        "projection is a 1x1",
    ),
    ("bottleneck_params", norms_by_channels_in, "go into"),
    ("bottleneck_params", lambda *a: float(params(*a)), "no whole number"),
    ("bottleneck_params", lambda *a: str(params(*a)), "one number"),
    ("bottleneck_params", lambda *a: params(*a) + 1, "you gave 70401; it is 70400"),
    ("reduction_factor", lambda *a: 1 / factor(*a), "other way round"),
    ("reduction_factor", lambda c, r, o, k: c / r, "1x1 convolution are missing"),
    ("reduction_factor", lambda *a: 1 - 1 / factor(*a), "saved share"),
    ("reduction_factor", lambda c, r, o, k: c * o * k / (c * r + k * r * o), "kernel**2"),
    ("reduction_factor", lambda c, r, o, k: c * o / (c * r + r * o), "forget the kernel"),
    ("reduction_factor", lambda c, r, o, k: c * o / (r * (c + o)), "forget the kernel"),
    (
        "reduction_factor",
        lambda c, r, o, k: k * k * c * o / (c * o + k * k * r * o),
        "goes to reduced",
    ),
    (
        "reduction_factor",
        lambda c, r, o, k: k * k * r * o / (c * r + k * k * r * o),
        "reads all in_channels",
    ),
    (
        "reduction_factor",
        lambda c, r, o, k: (k * k * c * o + o) / (c * r + r + k * k * r * o + o),
        "biases",
    ),
    ("reduction_factor", lambda *a: factor(*a) // 1, "rounded down"),
    ("reduction_factor", lambda *a: int(factor(*a)), "rounded down"),
    ("reduction_factor", lambda *a: round(factor(*a)), "You rounded. "),
    ("reduction_factor", lambda *a: 100 * (1 - 1 / factor(*a)), "per cent"),
    (
        "reduction_factor",
        lambda c, r, o, k: k * k * c * o - (c * r + k * k * r * o),
        "/, not -",
    ),
    ("reduction_factor", lambda c, r, o, k: k * k * c * o / (c * r + r * o), "below the line"),
    ("reduction_factor", lambda *a: factor(*a) - 1, "by what factor"),
    ("reduction_factor", lambda *a: (factor(*a),), "one number"),
    ("reduction_factor", lambda *a: factor(*a) + 2, "in_channels 192, reduced 96"),
    ("widest_bottleneck", too_early, "at most includes it"),
    ("widest_bottleneck", lambda c, b: widest(c, b) + 1, "one too far"),
    ("widest_bottleneck", lambda c, b: max(widest(c, b), 1), "not even one"),
    ("widest_bottleneck", lambda c, b: widest(c, b, ones=1), "There are two"),
    ("widest_bottleneck", lambda c, b: widest(c, b, ones=0), "3x3 convolution only"),
    ("widest_bottleneck", lambda c, b: widest(c, b, threes=0), "1x1 convolutions only"),
    ("widest_bottleneck", lambda c, b: widest(c, b, threes=1), "it has nine"),
    ("widest_bottleneck", lambda c, b: widest(c, b, threes=3), "has 9"),
    ("widest_bottleneck", nearest, "Round down"),
    ("widest_bottleneck", smallest_too_wide, "round up"),
    ("widest_bottleneck", widest_by_lossy_root, "max_weights 1177 you gave 10; it is 11"),
    ("widest_bottleneck", widest_by_lossy_root, "loses digits"),
    ("widest_bottleneck", largest_of_list, "Return 0 where no width"),
    ("widest_bottleneck", lambda c, b: widest(c, b, power=1), "m * m"),
    ("widest_bottleneck", lambda c, b: widest(c, b - 2 * c, extra=4), "batch norms too"),
    ("widest_bottleneck", lambda c, b: c // 4, "does not look at the budget"),
    ("widest_bottleneck", lambda c, b: min(widest(c, b), c), "above the outer channels"),
    ("widest_bottleneck", lambda c, b: float(widest(c, b)), "no whole number"),
    ("widest_bottleneck", lambda c, b: widest(c, b) + 7, "max_weights 69632"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS
