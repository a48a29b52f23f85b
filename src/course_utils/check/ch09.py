"""Checkers of chapter 09: sizes and parameters of ResNet-18's stages, folded batch norm.

Right answers are counted or computed here step by step, not taken from the formulas that
the exercises ask for.
"""

from collections.abc import Callable
from functools import partial
from numbers import Integral

import numpy as np

from course_utils.check.core import exercise, explain

__all__ = ["fold", "map_sides", "stage_parameters"]


def _same(a, b) -> bool:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9)


def _not_whole(number) -> bool:
    return isinstance(number, bool | np.bool_) or not isinstance(number, Integral)


# --- Exercise 1 -------------------------------------------------------------------------


def _half(size: int, kernel: int = 3, padding: int = 1) -> int:
    """Count the places of a window that moves by two pixels."""
    return len(range(0, size + 2 * padding - kernel + 1, 2))


def _sides(size: int, half: Callable = _half) -> list[int]:
    stem = half(half(size))
    sides = [stem, stem]
    for _ in range(3):
        sides.append(half(sides[-1]))
    return sides


def _in_each_stage(size: int) -> list[int]:
    return [*_sides(size)[1:], _half(_sides(size)[-1])]


def _without_pooling(size: int) -> list[int]:
    stem = _half(size)
    return [stem, stem, *_halvings(stem, 3)]


def _halvings(size: int, count: int) -> list[int]:
    sides = []
    for _ in range(count):
        size = _half(size)
        sides.append(size)
    return sides


@exercise
def map_sides(candidate) -> str | None:
    """candidate(image_size) is the list of sides behind the stem and stages 1 to 4."""
    sizes = [96, 224, 28, 32, 33, 50, 299]
    cases = [(size,) for size in sizes]
    got = [candidate(size) for size in sizes]
    for answer in got:
        if np.ndim(answer) != 1 or len(answer) != 5:
            return f"Give a list of five sides: stem and stages 1 to 4. You gave {answer!r}."
    mistakes = {
        "Stage 1 has no stride: it keeps the size of the stem.": _in_each_stage,
        "The stem halves twice: its convolution has stride 2, and so has its pooling.": (
            _without_pooling
        ),
        "Those are the five halvings. The stem has two of them, and stage 1 has none.": (
            partial(_halvings, count=5)
        ),
        "You list the convolution of the stem and leave the last stage out.": (
            lambda n: [_half(n), *_sides(n)[:-1]]
        ),
        "You round down. Padding makes it (n + 1) // 2: 7 pixels become 4.": (
            partial(_sides, half=lambda n: n // 2)
        ),
        "You do not round: divide with //.": partial(_sides, half=lambda n: n / 2),
        "Divide (n + 1) by 2 with //: a side is a whole number.": (
            partial(_sides, half=lambda n: (n + 1) / 2)
        ),
        "You give both sides multiplied. Give the side.": (
            lambda n: [side**2 for side in _sides(n)]
        ),
        "Those are the channels. Give the sides of the maps.": (
            lambda n: [64, 64, 128, 256, 512]
        ),
        "Every second block would halve here; only the first block of stages 2 to 4 does.": (
            lambda n: [_sides(n)[0], *_halvings(_sides(n)[0], 8)[1::2]]
        ),
    }

    def say(case, given, answer):
        return f"For images of {case[0]} you gave {list(given)}; it is {answer}."

    named = explain(got, cases, _sides, mistakes, say, same=_same)
    if named is None and any(_not_whole(side) for answer in got for side in answer):
        return "The values are right, but a side is a whole number. Divide with //."
    return named


# --- Exercise 2 -------------------------------------------------------------------------


def _stage(
    blocks,
    inside,
    out,
    stride,
    *,
    kernel=9,
    each=2,
    project=lambda inside, out, stride: stride != 1 or inside != out,
    projection_kernel=1,
    projection_each=2,
    everywhere=False,
    channels=None,
) -> int:
    """Count a stage, layer by layer; the options make the mistakes of learners.

    `each` numbers stand beside the kernels for each output channel: gamma, beta, a bias.
    """
    total = 0
    for i in range(blocks):
        first = inside if i == 0 or channels == "inside" else out
        for source in (first, out):
            total += kernel * source * out + each * out
        if (i == 0 or everywhere) and project(inside, out, stride):
            total += projection_kernel * first * out + projection_each * out
    return total


@exercise
def stage_parameters(candidate) -> str | None:
    """candidate(blocks, in_channels, out_channels, stride) is a stage's parameters."""
    cases = [(2, 64, 128, 2), (2, 64, 64, 1), (3, 64, 64, 2), (1, 32, 48, 1), (6, 128, 256, 2)]
    got = [candidate(*case) for case in cases]
    for answer in got:
        if np.ndim(answer):
            return "Give one number, the parameters of all blocks together."
        if _not_whole(answer):
            return f"The answer is one whole number, you gave {answer!r}."
    never, always = (lambda *shape: False), (lambda *shape: True)

    def one_conv(b, i, o, s):
        second = sum(9 * o * o + 2 * o for _ in range(b))
        return _stage(b, i, o, s) - second

    mistakes = {
        "The projection of the first block is missing.": partial(_stage, project=never),
        "A projection is needed only where stride or channels change.": (
            partial(_stage, project=always)
        ),
        "The stride alone needs a projection too, with equal channels.": (
            partial(_stage, project=lambda i, o, s: i != o)
        ),
        "Other channels need a projection too, with stride 1.": (
            partial(_stage, project=lambda i, o, s: s != 1)
        ),
        "Only the first block of a stage has a projection.": partial(_stage, everywhere=True),
        "Only the first block has a projection, and only where stride or channels change.": (
            partial(_stage, everywhere=True, project=always)
        ),
        "The projection is 1x1, not 3x3.": partial(_stage, projection_kernel=9),
        "The projection has a batch norm too: gamma and beta.": (
            partial(_stage, projection_each=0)
        ),
        "You leave batch norm out: gamma and beta for each output channel.": (
            partial(_stage, each=0, projection_each=0)
        ),
        "Batch norm trains two numbers for each channel, gamma and beta.": (
            partial(_stage, each=1, projection_each=1)
        ),
        "Each of the two 3x3 convolutions has a batch norm of its own.": (
            partial(_stage, each=1)
        ),
        "Moving mean and variance are buffers, not parameters.": (
            partial(_stage, each=4, projection_each=4)
        ),
        "Convolutions before batch norm have no bias here.": (
            partial(_stage, each=3, projection_each=3)
        ),
        "The two 3x3 convolutions have no bias, as batch norm follows them.": (
            partial(_stage, each=3)
        ),
        "That is the post's block: biases, and no batch norm on the projection.": (
            partial(_stage, each=3, projection_each=1)
        ),
        "A 3x3 kernel has 9 weights for each pair of channels, not 3.": (
            partial(_stage, kernel=3)
        ),
        "You leave the kernels' 3x3 out.": partial(_stage, kernel=1),
        "From the second block on, out_channels go in.": partial(_stage, channels="inside"),
        "That is the first block only.": lambda b, i, o, s: _stage(1, i, o, s),
        "A basic block has two 3x3 convolutions, you count one.": one_conv,
        "Every block after the first reads out_channels and has no projection.": (
            lambda b, i, o, s: b * _stage(1, i, o, s)
        ),
    }

    def say(case, given, answer):
        blocks, inside, out, stride = case
        return (
            f"For blocks={blocks}, in_channels={inside}, out_channels={out}, stride={stride} "
            f"you gave {given:,}; it is {answer:,}."
        )

    return explain(got, cases, _stage, mistakes, say, same=_same)


# --- Exercise 3 -------------------------------------------------------------------------


def _layer(seed: int, out: int, inside: int, kernel: int):
    """Random weights of a convolution and its batch norm; variances above zero."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(out, inside, kernel, kernel))
    gamma, beta, mean = rng.normal(size=(3, out))
    return weight, gamma, beta, mean, rng.uniform(0.2, 3, out)


def _folded(weight, gamma, beta, mean, variance, epsilon=1e-5):
    """Fold channel by channel."""
    weights, biases = [], []
    for channel, kernel in enumerate(weight):
        scale = gamma[channel] / (variance[channel] + epsilon) ** 0.5
        weights.append(scale * kernel)
        biases.append(scale * (0 - mean[channel]) + beta[channel])
    return np.array(weights), np.array(biases)


def _by(scale: Callable, bias: Callable):
    """A folding from formulas for the scale and for the bias."""

    def formula(weight, gamma, beta, mean, variance, epsilon=1e-5):
        s = scale(gamma, variance, epsilon)
        return weight * s[:, None, None, None], bias(s, beta, mean)

    return formula


def _right_scale(gamma, variance, epsilon):
    return gamma / np.sqrt(variance + epsilon)


def _right_bias(scale, beta, mean):
    return beta - mean * scale


def _on_inputs(weight, gamma, beta, mean, variance, epsilon=1e-5):
    scale = _right_scale(gamma, variance, epsilon)
    return weight * scale[None, :, None, None], beta - mean * scale


_FOLDS = {
    "Use the epsilon that is given, not 1e-5.": _by(
        lambda g, v, e: g / np.sqrt(v + 1e-5), _right_bias
    ),
    "gamma scales output channels, the first axis of weight, not the second.": _on_inputs,
    "The standard deviation is the root of variance + epsilon.": _by(
        lambda g, v, e: g / (v + e), _right_bias
    ),
    "epsilon stands inside the root, with the variance.": _by(
        lambda g, v, e: g / (np.sqrt(v) + e), _right_bias
    ),
    "epsilon is missing: it is added to the variance.": _by(
        lambda g, v, e: g / np.sqrt(v), _right_bias
    ),
    "gamma is missing in the scale.": _by(lambda g, v, e: 1 / np.sqrt(v + e), _right_bias),
    "Batch norm divides by the standard deviation.": _by(
        lambda g, v, e: g * np.sqrt(v + e), _right_bias
    ),
    "The scale is right, but the bias lacks the mean, scaled and subtracted.": _by(
        _right_scale, lambda s, b, m: b
    ),
    "The mean is scaled before it is subtracted: beta - mean * scale.": _by(
        _right_scale, lambda s, b, m: b - m
    ),
    "The mean is subtracted, not added.": _by(_right_scale, lambda s, b, m: b + m * s),
    "beta is added after scaling; only the mean is scaled.": _by(
        _right_scale, lambda s, b, m: (b - m) * s
    ),
    "beta is missing in the bias.": _by(_right_scale, lambda s, b, m: -m * s),
}


@exercise
def fold(candidate) -> str | None:
    """candidate(weight, gamma, beta, mean, variance, epsilon) is (weight, bias) folded."""
    cases = [
        (*_layer(1, 4, 4, 3), 0.1),
        (*_layer(2, 5, 3, 1), 1e-5),
        (*_layer(3, 2, 6, 3), 0.5),
    ]
    before = [[np.copy(value) for value in case] for case in cases]
    # The first case has as many inputs as outputs, so that no wrong axis can raise.
    try:
        got = [candidate(*case) for case in cases[:1]]
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        return (
            f"{error}. A scale for each output channel needs three more axes to multiply "
            "weight: scale[:, None, None, None]."
        )
    if not isinstance(got[0], tuple | list) or len(got[0]) != 2:
        return "Return two arrays, weight and bias."
    problem = _fold_mistake(got, cases[:1])
    if problem is None:
        got = [candidate(*case) for case in cases]
        problem = _fold_mistake(got, cases)
    if not all(
        np.array_equal(a, b)
        for c, d in zip(cases, before, strict=True)
        for a, b in zip(c, d, strict=True)
    ):
        return "You changed the caller's arrays. Work on new ones."
    if problem is None and not _same_pair(candidate(*cases[1][:5]), _folded(*cases[1][:5])):
        return "Without epsilon the answer differs. Keep the default of 1e-5."
    return problem


def _same_pair(got, expected) -> bool:
    return all(map(_same, got, expected))


def _fold_mistake(got, cases) -> str | None:
    """Name the mistake of folded weights and biases."""
    wrong = [(g, c) for g, c in zip(got, cases, strict=True) if not _same_pair(g, _folded(*c))]
    if not wrong:
        return None
    (weight, bias), case = wrong[0]
    expected = _folded(*case)
    if _same_pair((bias, weight), expected):
        return "The order is weight, bias."
    for what, given, right in zip(("weight", "bias"), (weight, bias), expected, strict=True):
        if np.shape(given) != right.shape:
            return f"{what} must have the shape {right.shape}, yours has {np.shape(given)}."
    for sentence, formula in _FOLDS.items():
        if all(_same_pair(g, formula(*c)) for g, c in zip(got, cases, strict=True)):
            return sentence
    index = 0 if not _same(weight, expected[0]) else 1
    given, right = np.ravel((weight, bias)[index]), np.ravel(expected[index])
    what = ("weight", "bias")[index]
    return f"The first {what} should be {right[0]:.4f}, yours is {given[0]:.4f}."
