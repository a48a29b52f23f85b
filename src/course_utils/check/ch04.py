"""Checkers of chapter 04: the 1x1 convolution, and what bottlenecks and reductions cost.

Right answers are counted here, layer by layer or by trying widths, not taken from the
formulas that the exercises ask for.
"""

import math
import textwrap
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real

import numpy as np

from course_utils import reference
from course_utils.check.core import exercise

__all__ = ["bottleneck_params", "conv1x1", "reduction_factor", "widest_bottleneck"]

Mistakes = dict[str, Callable]


def _close(a, b) -> bool:
    """Whether two arrays or numbers have the same shape and nearly the same values."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9)


def _compare(got, cases, names, right: Callable, mistakes: Mistakes) -> str | None:
    """Return None, or the mistake whose formula gives all of `got`, with an example.

    `names` are the arguments' names, for the example in the sentence.
    """
    for answer in got:
        if isinstance(answer, bool) or not isinstance(answer, Real):
            return f"The answer is one number, you gave {answer!r}."
    expected = [right(*case) for case in cases]
    wrong = [i for i, pair in enumerate(zip(got, expected, strict=True)) if not _close(*pair)]
    if not wrong:
        return None
    case, given, answer = (values[wrong[0]] for values in (cases, got, expected))
    where = ", ".join(f"{name} {value}" for name, value in zip(names, case, strict=True))
    example = f"For {where} you gave {given:.6g}; it is {answer:.6g}."
    for sentence, formula in mistakes.items():
        if all(_close(one, formula(*case)) for one, case in zip(got, cases, strict=True)):
            return f"{sentence} {example}"
    return example


def _not_whole(got, what: str) -> str | None:
    """Name a right number of the wrong kind: 14.0 counts nothing."""
    for answer in got:
        if not isinstance(answer, Integral):
            return f"The value is right, but {answer!r} is no whole number, and {what}."
    return None


# --- Exercise 1 -------------------------------------------------------------------------


def _turned(x, w, stride):
    """Channels read as if they came first: a reshape where a transpose is due."""
    x = x[:, ::stride, ::stride]
    n, h, v, c = x.shape
    return (x.reshape(n, c, h * v).transpose(0, 2, 1) @ w).reshape(n, h, v, -1)


CONV1X1_MISTAKES: Mistakes = {
    "You leave the stride out.": lambda x, w, s: x @ w,
    "You take the stride along the rows only. Columns need it too.": lambda x, w, s: (
        x[:, ::s] @ w
    ),
    "You take the stride along the columns only. Rows need it too.": lambda x, w, s: (
        x[:, :, ::s] @ w
    ),
    "You take the stride along the batch and the rows. Axis 0 is the batch.": lambda x, w, s: (
        x[::s, ::s] @ w
    ),
    "You take the stride along the batch too. Axis 0 is the batch.": lambda x, w, s: (
        x[::s, ::s, ::s] @ w
    ),
    "You start at the second pixel. The first one is kept.": lambda x, w, s: (
        x[:, s - 1 :: s, s - 1 :: s] @ w
    ),
    "You average over each stride x stride square. Take its first pixel.": lambda x, w, s: (
        _averaged(x, s) @ w
    ),
    "Each value lands at the wrong pixel or channel: reshape does not move the channels. In "
    "NHWC they are the last axis already.": _turned,
    "There is a ReLU in it. A convolution is linear: negative values stay.": lambda x, w, s: (
        np.maximum(x[:, ::s, ::s] @ w, 0)
    ),
}


def _averaged(x, stride):
    """The mean of each square, incomplete ones at the edge included."""
    rows = [x[:, i : i + stride].mean(axis=1) for i in range(0, x.shape[1], stride)]
    x = np.stack(rows, axis=1)
    columns = [x[:, :, j : j + stride].mean(axis=2) for j in range(0, x.shape[2], stride)]
    return np.stack(columns, axis=2)


def _wrong_shape(y, expected) -> str:
    """Say what a wrong shape suggests."""
    text = f"The shape is {y.shape}, expected {expected.shape}."
    if y.size == expected.size and y.ndim != 4:
        return f"{text} Give the result its four axes back, with reshape."
    if y.ndim == 4 and min(np.subtract(y.shape[1:3], expected.shape[1:3])) < 0:
        return f"{text} The last, incomplete step counts too: ceil(H / stride)."
    if y.ndim == 4 and y.shape[-1] != expected.shape[-1]:
        return f"{text} The last axis holds the output channels, w's second axis."
    return text


def _explained(error: ValueError) -> str:
    """NumPy's own words, and what they mean here."""
    words = textwrap.shorten(str(error), width=110, placeholder=" ...")
    return (
        f"Your function raised ValueError: {words} x is [N, H, W, in] and w is [in, out]: the "
        "last axis of x meets the first of w. Take all sizes from x.shape and w.shape."
    )


def _one_conv1x1(candidate, x, w, *stride) -> str | None:
    """Compare one call, with the stride or without it."""
    step = stride[0] if stride else 1
    where = f"(stride {step if stride else 'not given'}, x of shape {x.shape})"
    expected = reference.conv2d(x, w[None, None], stride=step)
    kept = x.copy(), w.copy()
    try:
        y = np.asarray(candidate(x, w, *stride))
    except ValueError as error:
        return f"{_explained(error)} {where}"
    if not (np.array_equal(x, kept[0]) and np.array_equal(w, kept[1])):
        return "You changed x or w in place. Build a new array."
    if _close(y, expected):
        return None
    if not stride:
        return "The stride is 1 if it is not given. Keep the default of the stub."
    for sentence, wrong in CONV1X1_MISTAKES.items():
        if _close(y, wrong(x, w, step)):
            return f"{sentence} {where}"
    if y.shape != expected.shape:
        return f"{_wrong_shape(y, expected)} {where}"
    return f"Shape right, values wrong at stride {step}: each pixel is x[n, i, j] @ w."


@exercise
def conv1x1(candidate) -> str | None:
    """candidate(x, w, stride) is the 1x1 convolution of NHWC images with a matrix [in, out]."""
    rng = np.random.default_rng(41)
    for stride in ((1,), (2,), (3,), ()):
        for shape, out_channels in (((2, 4, 6, 3), 4), ((3, 5, 7, 6), 2)):
            x, w = rng.normal(size=shape), rng.normal(size=(shape[-1], out_channels))
            if mistake := _one_conv1x1(candidate, x, w, *stride):
                return mistake
    return None


# --- Exercise 2 -------------------------------------------------------------------------


def _block_params(c, m, o, projection) -> int:
    """Count a block layer by layer: weights, gammas and betas."""
    layers = [(c, m, 1), (m, m, 3), (m, o, 1)] + ([(c, o, 1)] if projection else [])
    return sum(i * j * k * k + j + j for i, j, k in layers)


def _weights(c, m, o, projection) -> int:
    return c * m + 9 * m * m + m * o + projection * c * o


PARAMS_MISTAKES: Mistakes = {
    "The batch norms are missing: two trained numbers for each channel that leaves a "
    "convolution.": _weights,
    "The projection's batch norm is missing.": lambda c, m, o, p: (
        _block_params(c, m, o, p) - 2 * o * p
    ),
    "The projection's convolution is missing, its batch norm is there.": lambda c, m, o, p: (
        _block_params(c, m, o, False) + 2 * o * p
    ),
    "You leave the projection out.": lambda c, m, o, p: _block_params(c, m, o, False),
    "You decide from the channels. The argument projection decides: with a stride of 2 equal "
    "channels need one too.": lambda c, m, o, p: _block_params(c, m, o, c != o),
    "You always count a projection.": lambda c, m, o, p: _block_params(c, m, o, True),
    "projection=True and False are exchanged.": lambda c, m, o, p: _block_params(
        c, m, o, not p
    ),
    "Your projection starts from the bottleneck channels. The shortcut starts at the block's "
    "input.": lambda c, m, o, p: _block_params(c, m, o, False) + p * (m * o + 2 * o),
    "The batch norm after the last 1x1 convolution is missing.": lambda c, m, o, p: (
        _block_params(c, m, o, p) - 2 * o
    ),
    "Your batch norms count the channels that go into the convolutions. They stand behind them "
    "and normalise what comes out.": lambda c, m, o, p: (
        _weights(c, m, o, p) + 2 * (c + m + m + p * c)
    ),
    "You count one number for each channel of a batch norm. gamma and beta are two.": (
        lambda c, m, o, p: _weights(c, m, o, p) + 2 * m + o + p * o
    ),
    "You count four numbers for each channel of a batch norm. The moving averages are stored, "
    "not trained.": lambda c, m, o, p: _weights(c, m, o, p) + 4 * (2 * m + o + p * o),
    "You count biases too. These convolutions have none.": lambda c, m, o, p: (
        _block_params(c, m, o, p) + 2 * m + o + p * o
    ),
    "Your 3x3 convolution counts as a 1x1: nine weights for each pair of channels.": (
        lambda c, m, o, p: _block_params(c, m, o, p) - 8 * m * m
    ),
    "Your 3x3 convolution counts 3 weights for each pair of channels; a 3x3 kernel has 9.": (
        lambda c, m, o, p: _block_params(c, m, o, p) - 6 * m * m
    ),
    "Your 3x3 convolution works on the outer channels. It stands in the narrow place.": (
        lambda c, m, o, p: _block_params(c, m, o, p) - 9 * m * m + 9 * c * o
    ),
    "You count three 3x3 convolutions. The first and the last are 1x1.": lambda c, m, o, p: (
        _block_params(c, m, o, p) + 8 * m * (c + o)
    ),
    "You count the projection as a 3x3 convolution. The projection is a 1x1.": (
        lambda c, m, o, p: _block_params(c, m, o, p) + 8 * c * o * p
    ),
    "Only one 1x1 convolution is there, the reducing one.": lambda c, m, o, p: (
        _block_params(c, m, o, p) - m * o
    ),
    "Only one 1x1 convolution is there, the expanding one.": lambda c, m, o, p: (
        _block_params(c, m, o, p) - c * m
    ),
}


@exercise
def bottleneck_params(candidate) -> str | None:
    """candidate(in_channels, bottleneck_channels, out_channels, projection): parameters."""
    channels = [(256, 64, 256), (64, 64, 256), (256, 128, 512), (24, 6, 40), (1, 1, 1)]
    cases = [(*row, False) for row in channels if row[0] == row[2]]  # else the sum fails
    cases += [(*row, True) for row in channels]
    got = [candidate(*case) for case in cases]
    names = ("in_channels", "bottleneck_channels", "out_channels", "projection")
    named = _compare(got, cases, names, _block_params, PARAMS_MISTAKES)
    return named or _not_whole(got, "parameters are counted")


# --- Exercise 3 -------------------------------------------------------------------------


def _factor(c, r, o, k) -> float:
    """Count the weights of both paths, kernel by kernel."""
    return (o * c * k * k) / (r * c + o * r * k * k)


FACTOR_MISTAKES: Mistakes = {
    "It is the other way round: without the reduction over with it.": lambda c, r, o, k: (
        1 / _factor(c, r, o, k)
    ),
    "The weights of the 1x1 convolution are missing.": lambda c, r, o, k: c / r,
    "That is the saved share, 1 - with / without. Asked is without / with.": (
        lambda c, r, o, k: 1 - 1 / _factor(c, r, o, k)
    ),
    "You count kernel weights for each pair of channels. A square kernel has kernel**2.": (
        lambda c, r, o, k: (o * c * k) / (r * c + o * r * k)
    ),
    "You forget the kernel's size: it has kernel**2 weights for each pair of channels.": (
        lambda c, r, o, k: (o * c) / (r * c + o * r)
    ),
    "Your reduction goes to out_channels. It goes to reduced channels.": (
        lambda c, r, o, k: (o * c * k * k) / (o * c + o * r * k * k)
    ),
    "You count the kernel on the reduced channels in both cases. Without the reduction it "
    "reads all in_channels.": lambda c, r, o, k: (r * o * k * k) / (r * c + o * r * k * k),
    "You counted biases.": lambda c, r, o, k: (
        (o * c * k * k + o) / (r * c + r + o * r * k * k + o)
    ),
    "You rounded down. The factor is no whole number.": lambda c, r, o, k: math.floor(
        _factor(c, r, o, k)
    ),
    "You rounded. The factor is no whole number.": lambda c, r, o, k: round(
        _factor(c, r, o, k)
    ),
    "That is the saved share in per cent. Asked is without / with.": lambda c, r, o, k: (
        100 * (1 - 1 / _factor(c, r, o, k))
    ),
    "That is the difference. A factor is a quotient: /, not -.": lambda c, r, o, k: (
        o * c * k * k - (r * c + o * r * k * k)
    ),
    "kernel**2 is missing below the line. The second convolution has it there too.": (
        lambda c, r, o, k: (o * c * k * k) / (r * c + o * r)
    ),
    "That says how much they grow. Asked is by what factor: without / with, nothing taken "
    "away.": lambda c, r, o, k: _factor(c, r, o, k) - 1,
}


@exercise
def reduction_factor(candidate) -> str | None:
    """candidate(in_channels, reduced, out_channels, kernel): weights without over with."""
    cases = [
        (192, 96, 128, 3),
        (192, 16, 32, 5),
        (832, 48, 128, 5),
        (8, 16, 4, 3),
        (4, 2, 8, 7),
    ]
    got = [candidate(*case) for case in cases]
    names = ("in_channels", "reduced", "out_channels", "kernel")
    return _compare(got, cases, names, _factor, FACTOR_MISTAKES)


# --- Exercise 4 -------------------------------------------------------------------------


def _widest(cost: Callable, channels: int, budget: int, strict: bool = False) -> int:
    """Try one width after the other."""
    m = 0
    while cost(channels, m + 1) < budget or (not strict and cost(channels, m + 1) == budget):
        m += 1
    return m


def _branch(c, m):
    return c * m + 9 * m * m + m * c


def _root(c, budget) -> float:
    """Where the branch costs exactly the budget, up to rounding."""
    return (math.sqrt(c * c + 9 * budget) - c) / 9


WIDEST_MISTAKES: Mistakes = {
    "You stop one too early where the budget fits exactly: at most includes it.": (
        lambda c, b: _widest(_branch, c, b, strict=True)
    ),
    "You go one too far: the first width that does not fit.": (
        lambda c, b: _widest(_branch, c, b) + 1
    ),
    "Return 0 where not even one channel fits.": lambda c, b: max(_widest(_branch, c, b), 1),
    "You count one 1x1 convolution. There are two, one to reduce and one to expand.": (
        lambda c, b: _widest(lambda c, m: c * m + 9 * m * m, c, b)
    ),
    "You count the 3x3 convolution only.": (lambda c, b: _widest(lambda c, m: 9 * m * m, c, b)),
    "You count the 1x1 convolutions only.": (
        lambda c, b: _widest(lambda c, m: 2 * c * m, c, b)
    ),
    "Your 3x3 convolution has one weight for each pair of channels; it has nine.": (
        lambda c, b: _widest(lambda c, m: 2 * c * m + m * m, c, b)
    ),
    "Your 3x3 convolution has three weights for each pair of channels; a 3x3 kernel has 9.": (
        lambda c, b: _widest(lambda c, m: 2 * c * m + 3 * m * m, c, b)
    ),
    "Your 3x3 convolution grows with m; it grows with m * m.": (
        lambda c, b: _widest(lambda c, m: 2 * c * m + 9 * m, c, b)
    ),
    "You count batch norms too. The budget is for the three convolutions.": (
        lambda c, b: _widest(lambda c, m: _branch(c, m) + 4 * m + 2 * c, c, b)
    ),
    "A quarter of the channels is the usual choice; it does not look at the budget.": (
        lambda c, b: c // 4
    ),
    "You round to the nearest number, which may be too wide. Round down.": lambda c, b: round(
        _root(c, b)
    ),
    "You round up, which is too wide for the budget. Round down.": lambda c, b: math.ceil(
        _root(c, b)
    ),
    "Your square root loses digits and may miss a width that fits exactly.": (
        lambda c, b: int(math.sqrt((c / 9) ** 2 + b / 9) - c / 9)
    ),
    "You never go above the outer channels. A large budget allows it.": (
        lambda c, b: min(_widest(_branch, c, b), c)
    ),
}


@exercise
def widest_bottleneck(candidate) -> str | None:
    """candidate(channels, max_weights): most bottleneck channels within the budget."""
    cases = [(256, 69_632), (256, 69_631), (256, 100_000), (64, 5_000), (64, 300), (64, 136)]
    cases += [(16, 1_000_000), (1024, 1_114_112), (4, 17), (4, 16), (256, 1_179_648)]
    cases += [(4, 1_177)]  # fits 11 exactly; some square roots come out below 11
    try:
        got = [candidate(*case) for case in cases]
    except ValueError as error:
        if "empty" in str(error):  # of max() or min()
            return f"Your function raised ValueError: {error}. Return 0 where no width fits."
        raise
    right = partial(_widest, _branch)
    named = _compare(got, cases, ("channels", "max_weights"), right, WIDEST_MISTAKES)
    return named or _not_whole(got, "channels are counted")
