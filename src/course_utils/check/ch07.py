"""Checkers of chapter 07: pooling, stacked 3x3 convolutions, VGG's count, a dead class.

Right answers are counted here, step by step, not taken from the formulas that the exercises
ask for.
"""

import math
from numbers import Integral, Real

import numpy as np

from course_utils.check.core import exercise, explain

__all__ = ["global_average", "loss_floor", "stack_of_threes", "vgg_parameters"]


def _not_a_number(got, expected="The answer is one number") -> str | None:
    """Name an answer that is no single number."""
    for answer in got:
        if isinstance(answer, bool | np.bool_) or not isinstance(answer, Real):
            return f"{expected}, you gave {answer!r}."
    return None


def _not_whole(got) -> str | None:
    """Name a count that is no integer, though its value may be right."""
    for answer in got:
        if not isinstance(answer, Integral):
            return (
                f"A count is a whole number, you gave {answer!r}. Divide whole numbers with //."
            )
    return None


# --- Exercise 1 -------------------------------------------------------------------------


def _mean_of_maps(maps):
    """Add up the pixels of each map, one by one."""
    images, channels, height, width = maps.shape
    sums = np.zeros((images, channels))
    for row in range(height):
        for column in range(width):
            sums += maps[:, :, row, column]
    return sums / (height * width)


@exercise
def global_average(candidate) -> str | None:
    """candidate(maps): global average pooling, maps [N, C, H, W] to [N, C]."""
    rng = np.random.default_rng(7)
    cases = [(rng.normal(size=shape),) for shape in ((2, 10, 5, 5), (3, 4, 2, 6), (1, 7, 1, 1))]
    got = []
    for (maps,) in cases:
        given = maps.copy()
        got.append(np.asarray(candidate(given)))
        if not np.array_equal(given, maps):
            return "You changed the caller's maps. Work on a new array."
    mistakes = {
        "You keep two axes of size 1. The result has the shape [N, C].": (
            lambda m: m.mean((2, 3), keepdims=True)
        ),
        "That is the sum over height and width. Divide by the number of pixels.": (
            lambda m: m.sum((2, 3))
        ),
        "That is the largest pixel of each map. Take the mean.": lambda m: m.max((2, 3)),
        "That is the pixel in the middle. Take the mean over all.": (
            lambda m: m[:, :, m.shape[2] // 2, m.shape[3] // 2]
        ),
        "That is the first pixel of each map. Take the mean over all.": lambda m: m[:, :, 0, 0],
        "You average over axes 1 and 2, which are height and width only in NHWC. Here they are "
        "axes 2 and 3.": lambda m: m.mean((1, 2)),
        "You average over the channels: each map keeps a value of its own.": lambda m: m.mean(
            1
        ),
        "You average over all but the images. Each channel keeps its own value.": (
            lambda m: m.mean((1, 2, 3))
        ),
        "You average over the batch too. Each image keeps its own values.": (
            lambda m: m.mean((0, 2, 3))
        ),
        "You average over the width only. Height goes too.": lambda m: m.mean(3),
        "You average over the height only. Width goes too.": lambda m: m.mean(2),
        "That is flatten: it keeps every pixel. Take the mean of each map.": (
            lambda m: m.reshape(len(m), -1)
        ),
        "You divide by height only, or by width only. Divide by height times width.": (
            lambda m: m.sum((2, 3)) / m.shape[2]
        ),
    }

    def say(case, given, answer):
        if given.shape != answer.shape:
            return (
                f"For maps {case[0].shape} you gave the shape {given.shape}; "
                f"it is {answer.shape}."
            )
        return f"For maps {case[0].shape} the values differ from the mean of each map."

    return explain(got, cases, _mean_of_maps, mistakes, say)


# --- Exercise 2 -------------------------------------------------------------------------


def _threes(kernel: int, channels: int) -> tuple[int, int]:
    """Stack 3x3 convolutions until one output sees `kernel` pixels along an axis."""
    field, layers = 1, 0
    while field < kernel:
        field, layers = field + 2, layers + 1
    return layers, layers * 9 * channels**2


@exercise
def stack_of_threes(candidate) -> str | None:
    """candidate(kernel, channels): how many 3x3 layers see as much, and their weights."""
    cases = [(5, 64), (7, 3), (3, 16), (11, 1), (9, 2)]
    got = [candidate(*case) for case in cases]
    for answer in got:
        if isinstance(answer, Real) or len(answer) != 2:
            count = "one" if isinstance(answer, Real) else f"{len(answer)} of them"
            return f"Return two numbers, layers and weights; you gave {count}: {answer!r}."
    numbers = [n for pair in got for n in pair]
    if named := _not_a_number(numbers, "Each of the two answers is a number"):
        return named
    if all(tuple(pair)[::-1] == _threes(*case) for pair, case in zip(got, cases, strict=True)):
        return "The two numbers are exchanged: the layers come first."
    layers = {
        "Two layers see 5 pixels, not 6: each further layer adds 2, one on each side.": (
            lambda k, c: k // 3
        ),
        "Each further layer adds 2 pixels, not 1: one on each side.": lambda k, c: k - 2,
        "A layer adds 2 pixels along the axis, one on each side: halve it.": (
            lambda k, c: k - 1
        ),
        "The first layer starts from one pixel: its own 3 count too.": (
            lambda k, c: (k - 3) // 2
        ),
        "That is one layer too many: the first sees 3 pixels at once.": (
            lambda k, c: (k + 1) // 2
        ),
        "You compare areas. What counts is the width of the field along one axis.": (
            lambda k, c: round(k * k / 9)
        ),
    }

    def say_layers(case, given, answer):
        return f"For {case[0]}x{case[0]} you gave {given} layers; it takes {answer}."

    first = [pair[0] for pair in got]
    if named := explain(first, cases, lambda k, c: _threes(k, c)[0], layers, say_layers):
        return named
    weights = {
        "The layers are right. You count the weights of one layer; all of them count.": (
            lambda k, c: 9 * c * c
        ),
        "The layers are right. Each output channel reads all input channels: channels twice.": (
            lambda k, c: _threes(k, c)[1] / c
        ),
        "The layers are right. The channels are missing: inputs times outputs.": (
            lambda k, c: 9 * _threes(k, c)[0]
        ),
        "The layers are right. You count biases; the exercise leaves them out.": (
            lambda k, c: _threes(k, c)[0] * (9 * c * c + c)
        ),
        "The layers are right. A 3x3 kernel has 9 weights, not 3.": (
            lambda k, c: _threes(k, c)[1] / 3
        ),
        "The layers are right. Those are the weights of the one large kernel.": (
            lambda k, c: k * k * c * c
        ),
    }

    def say_weights(case, given, answer):
        return (
            f"For {case[0]}x{case[0]} and {case[1]} channels you gave {given} weights; "
            f"it is {answer}."
        )

    second = [pair[1] for pair in got]
    named = explain(second, cases, lambda k, c: _threes(k, c)[1], weights, say_weights)
    return named or _not_whole(numbers)


# --- Exercise 3 -------------------------------------------------------------------------


def _halved(size: int, poolings: int) -> int:
    """Count the 2x2 windows along an axis, pooling after pooling."""
    for _ in range(poolings):
        size = len(range(0, size - 1, 2))
    return size


def _vgg(
    blocks, image_size, hidden, *, conv_bias=1, dense_bias=1, kernel=9, colours=1, **other
) -> int:
    """Count VGG's weights and biases, layer by layer. `other` makes a typical mistake."""
    total, channels = 0, colours
    for convs, out in blocks:
        for i in range(other.get("convs", convs)):
            inputs = channels if i == 0 or other.get("same_inputs") else out
            total += (inputs * kernel + conv_bias) * out
        channels = out
    if other.get("convs_only"):
        return total
    side = other.get("side", _halved)(image_size, other.get("poolings", len(blocks)))
    flat = channels * side ** other.get("power", 2)
    layers = [(flat, hidden), (hidden, hidden), (hidden, 10)]
    dense = sum((n + dense_bias) * m for n, m in layers[: other.get("dense", 3)])
    return dense if other.get("dense_only") else total + dense


@exercise
def vgg_parameters(candidate) -> str | None:
    """candidate(blocks, image_size, hidden): VGG's parameters for grey images, 10 classes."""
    narrow = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
    cases = [
        (narrow, 224, 4096),
        (narrow, 32, 256),
        (((1, 8), (2, 16)), 31, 20),
        (((2, 4), (3, 6), (1, 12)), 47, 7),
    ]
    got = [candidate(*case) for case in cases]

    def counted(**other):
        return lambda *case: _vgg(*case, **other)

    mistakes = {
        "You leave the biases out: one for each output channel or feature.": (
            counted(conv_bias=0, dense_bias=0)
        ),
        "You leave the biases of the convolutions out. `conv_params` counts them only with "
        "`bias=True`.": counted(conv_bias=0),
        "You leave the biases of the dense layers out.": counted(dense_bias=0),
        "Grey images have one channel, not 3.": counted(colours=3),
        "A 3x3 kernel has 9 weights for each input channel, not 3.": counted(kernel=3),
        "You leave the kernels' 3x3 out.": counted(kernel=1),
        "You count one convolution for each block.": counted(convs=1),
        "Only a block's first convolution reads the previous block's channels; the others "
        "read the block's own.": counted(same_inputs=True),
        "The first dense layer reads side times side numbers of each map.": counted(power=1),
        "The first dense layer reads all pixels of the last maps, not the channels alone.": (
            counted(power=0)
        ),
        "You do not round down: a pooling window that sticks out is dropped.": (
            counted(side=lambda n, p: n / 2**p)
        ),
        "You round up: a pooling window that sticks out is dropped.": (
            counted(side=lambda n, p: math.ceil(n / 2**p))
        ),
        "You leave the poolings out: each block halves the side.": counted(poolings=0),
        "You halve the side five times. Each block has one pooling.": counted(poolings=5),
        "The last dense layer, to the classes, is missing.": counted(dense=2),
        "The second hidden layer is missing: there are two.": lambda b, n, h: (
            _vgg(b, n, h) - (h + 1) * h
        ),
        "Those are the convolutions alone. Add the dense layers.": counted(convs_only=True),
        "Those are the dense layers alone. Add the convolutions.": counted(dense_only=True),
    }

    def say(case, given, answer):
        return (
            f"For {case[0]}, images of {case[1]} and hidden={case[2]} you gave {given:,}; "
            f"it is {answer:,}."
        )

    return _not_a_number(got) or explain(got, cases, _vgg, mistakes, say) or _not_whole(got)


# --- Exercise 4 -------------------------------------------------------------------------


def _floor(labels, dead, num_classes) -> float:
    """Mean cross-entropy where dead classes give equal logits and the others no loss."""
    losses = [math.log(num_classes) if label in set(dead) else 0.0 for label in labels.tolist()]
    return math.fsum(losses) / len(losses)


@exercise
def loss_floor(candidate) -> str | None:
    """candidate(labels, dead, num_classes): the least mean loss if logits are >= 0."""
    rng = np.random.default_rng(3)
    even = np.arange(40) % 10
    uneven = np.concatenate([np.zeros(12, int), rng.integers(0, 10, 18)])
    cases = [(even, [2, 7, 8], 10), (uneven, [0, 4], 10), (even % 4, [1], 4), (even, [], 10)]
    got = [candidate(labels.copy(), list(dead), k) for labels, dead, k in cases]

    def share(labels, dead):
        return float(np.isin(labels, dead).mean())

    mistakes = {
        "You count the images of the living classes. Their loss can reach 0.": lambda y, d, k: (
            (1 - share(y, d)) * math.log(k)
        ),
        "That holds if the classes are equally frequent. Count the images.": lambda y, d, k: (
            len(d) / k * math.log(k)
        ),
        "That is the loss of one image of a dead class. Average over all images.": (
            lambda y, d, k: math.log(k) if share(y, d) else 0.0
        ),
        "That is ln(classes) in every case. Living classes can reach 0.": (
            lambda y, d, k: math.log(k)
        ),
        "That is the sum over the images. Divide by their number.": lambda y, d, k: (
            share(y, d) * len(y) * math.log(k)
        ),
        "That is the share of the images. Each of them costs ln(classes).": (
            lambda y, d, k: share(y, d)
        ),
        "The logit 0 is shared by all classes: ln of all of them, not of the dead ones.": (
            lambda y, d, k: share(y, d) * math.log(max(len(d), 1))
        ),
        "ln of the living classes is too little: the dead one has a share of its own.": (
            lambda y, d, k: share(y, d) * math.log(k - len(d))
        ),
        "You write ln(10). There are `num_classes` classes.": lambda y, d, k: (
            share(y, d) * math.log(10)
        ),
        "The sign is wrong: a cross-entropy is never negative.": lambda y, d, k: (
            -share(y, d) * math.log(k)
        ),
        "Cross-entropy takes the natural logarithm, not base 2.": lambda y, d, k: (
            share(y, d) * math.log2(k)
        ),
        "Cross-entropy takes the natural logarithm, not base 10.": lambda y, d, k: (
            share(y, d) * math.log10(k)
        ),
    }

    def say(case, given, answer):
        images = round(share(case[0], case[1]) * len(case[0]))
        return (
            f"With {images} of {len(case[0])} images in dead classes and {case[2]} classes you "
            f"gave {given:.4g}; it is {answer:.4g}."
        )

    return _not_a_number(got) or explain(got, cases, _floor, mistakes, say)
