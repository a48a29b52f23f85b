"""Checkers of chapter 12: sizes and parameters of the old ResNet-50, late averages.

Right answers are counted here step by step, not taken from the formulas that the exercises
ask for.
"""

from collections.abc import Callable
from functools import partial
from numbers import Integral

import numpy as np

from course_utils.check.core import exercise, explain

__all__ = ["bottleneck_numbers", "last_side", "start_share"]


def _not_whole(number) -> bool:
    return isinstance(number, bool | np.bool_) or not isinstance(number, Integral)


# --- Exercise 1 -------------------------------------------------------------------------


def _places(size: int, kernel: int, padding: float) -> int:
    """Count the places of a window that moves by two pixels."""
    return len(range(0, size + int(2 * padding) - kernel + 1, 2))


def _last(size, pool_padding, *, conv_padding=3, pool=True, halvings=3) -> int:
    size = _places(size, 7, conv_padding)
    if pool:
        size = _places(size, 3, pool_padding)
    for _ in range(halvings):
        size = _places(size, 1, 0)
    return size


@exercise
def last_side(candidate) -> str | None:
    """candidate(image_size, pool_padding) is the side of the maps that stage 5 returns."""
    cases = [(size, 0) for size in (64, 224, 96, 32, 37, 68, 69, 97, 300, 5)]
    cases += [(size, 1) for size in (64, 65, 224, 225, 36, 1)]
    got = [candidate(*case) for case in cases]
    if any(np.ndim(answer) for answer in got):
        return "Give one number, the side of the maps."
    if any(_not_whole(answer) for answer in got):
        return "A side is a whole number: round as the layers do, with //."
    mistakes = {
        "The pooling is padded by pool_padding, and by nothing where that is 0.": (
            lambda n, p: _last(n, 1)
        ),
        "You leave pool_padding out.": lambda n, p: _last(n, 0),
        "pool_padding is on each side: it counts twice.": lambda n, p: _last(n, p / 2),
        "Rounding down at the end is not enough: each layer rounds.": lambda n, p: n // 32,
        "The 7x7 convolution has three zeros on each side.": partial(_last, conv_padding=0),
        "The stem halves twice: you leave its pooling out.": partial(_last, pool=False),
        "Stage 2 has stride 1: only stages 3, 4 and 5 halve.": partial(_last, halvings=4),
        "Stages 3, 4 and 5 each halve: you count two of them.": partial(_last, halvings=2),
        "That is the side behind the stem. Three stages still halve it.": (
            partial(_last, halvings=0)
        ),
        "A 1x1 convolution with stride 2 rounds up: 15 becomes 8.": (
            lambda n, p: _last(n, p, halvings=0) // 8
        ),
        "You give the number of positions. Give the side.": lambda n, p: _last(n, p) ** 2,
    }

    def say(case, given, answer):
        size, padding = case
        return (
            f"For image_size={size}, pool_padding={padding} you gave {given}; it is {answer}."
        )

    return explain(got, cases, _last, mistakes, say)


# --- Exercise 2 -------------------------------------------------------------------------


def _numbers(
    in_channels, filters, projection, *, kernels=(1, 9, 1), bias=1, norm=4, side=None
) -> int:
    """Count layer by layer; the options make the mistakes of learners."""
    channels = in_channels, *filters
    each = bias + norm  # numbers for one output channel besides the kernel
    total = sum(
        (channels[i] * kernel + each) * channels[i + 1] for i, kernel in enumerate(kernels)
    )
    kernel, each = side or (1, each)
    return total + bool(projection) * (in_channels * kernel + each) * filters[2]


@exercise
def bottleneck_numbers(candidate) -> str | None:
    """candidate(in_channels, filters, projection) is what Keras's count_params says."""
    cases = [
        (64, (64, 64, 256), True),
        (256, (64, 64, 256), False),
        (256, (128, 128, 512), True),
        (7, (2, 3, 7), False),
        (5, (2, 3, 11), True),
        (16, (4, 4, 16), True),
    ]
    got = [candidate(*case) for case in cases]
    if any(np.ndim(answer) for answer in got):
        return "Give one number, everything that the block stores."
    if any(_not_whole(answer) for answer in got):
        return "The answer is a whole number."
    mistakes = {
        "The convolutions have biases here, one for each output channel.": (
            partial(_numbers, bias=0)
        ),
        "Batch norm stores four numbers for each channel; its averages count too.": (
            partial(_numbers, norm=2)
        ),
        "You leave batch norm out: four numbers for each output channel.": (
            partial(_numbers, norm=0)
        ),
        "The middle convolution is 3x3: 9 weights for each pair of channels.": (
            partial(_numbers, kernels=(1, 1, 1))
        ),
        "A 3x3 kernel has 9 weights for each pair of channels, not 3.": (
            partial(_numbers, kernels=(1, 3, 1))
        ),
        "Only the middle kernel is 3x3.": partial(_numbers, kernels=(9, 9, 9)),
        "The projection is missing.": partial(_numbers, side=(0, 0)),
        "The projection has a batch norm too.": partial(_numbers, side=(1, 1)),
        "The projection's convolution has a bias too: one for each output channel.": (
            partial(_numbers, side=(1, 4))
        ),
        "The projection has a bias and a batch norm too.": partial(_numbers, side=(1, 0)),
        "The projection is a 1x1 convolution.": partial(_numbers, side=(9, 5)),
        "A convolutional block projects even when the channels agree; go by the argument "
        "projection.": lambda i, f, p: _numbers(i, f, i != f[2]),
        "An identity shortcut stores nothing: count the projection only if there is one.": (
            lambda i, f, p: _numbers(i, f, True)
        ),
        "The projection reads the block's input, not its last maps.": (
            lambda i, f, p: _numbers(i, f, False) + p * (f[1] + 5) * f[2]
        ),
    }

    def say(case, given, answer):
        return (
            f"For in_channels={case[0]}, filters={case[1]}, projection={case[2]} you gave "
            f"{given:,}; it is {answer:,}."
        )

    return explain(got, cases, _numbers, mistakes, say)


# --- Exercise 3 -------------------------------------------------------------------------


def _share(images, batch_size, epochs, decay, *, steps: Callable | None = None) -> float:
    """Multiply once for each step."""
    count = steps(images, batch_size) if steps else len(range(0, images, batch_size))
    share = 1.0
    for _ in range(int(count * epochs)):
        share *= decay
    return share


@exercise
def start_share(candidate) -> str | None:
    """candidate(images, batch_size, epochs, decay) is the weight of the start value."""
    cases = [(1080, 32, 2, 0.99), (864, 32, 2, 0.99), (100, 32, 3, 0.9), (64, 64, 1, 0.5)]
    got = [candidate(*case) for case in cases]
    if any(np.ndim(answer) for answer in got):
        return "Give one number, a share between 0 and 1."
    mistakes = {
        "The last, smaller batch of an epoch is a step too.": (
            partial(_share, steps=lambda n, b: n // b)
        ),
        "A part of a batch is a whole step: round up in each epoch.": (
            lambda n, b, e, d: d ** (n / b * e)
        ),
        "Each epoch ends with a smaller batch. Round up before you multiply by epochs.": (
            lambda n, b, e, d: d ** len(range(0, n * e, b))
        ),
        "That is one epoch.": lambda n, b, e, d: _share(n, b, 1, d),
        "That is the share of the batches. Give what is left of the start.": (
            lambda n, b, e, d: 1 - _share(n, b, e, d)
        ),
        "decay is the weight of the old value: multiply by decay, not by 1 - decay.": (
            lambda n, b, e, d: _share(n, b, e, 1 - d)
        ),
        "The averages move once for each step, not once for each image.": (
            lambda n, b, e, d: d ** (n * e)
        ),
        "The averages move once for each step, not once for each epoch.": (
            lambda n, b, e, d: d**e
        ),
        "Give a share, not per cent.": lambda n, b, e, d: 100 * _share(n, b, e, d),
        "Each step multiplies what is left by decay; it does not take the same away.": (
            lambda n, b, e, d: 1 - (1 - d) * e * len(range(0, n, b))
        ),
    }

    def say(case, given, answer):
        images, batch_size, epochs, decay = case
        return (
            f"For images={images}, batch_size={batch_size}, epochs={epochs}, decay={decay} "
            f"you gave {given:.4g}; it is {answer:.4g}."
        )

    return explain(got, cases, _share, mistakes, say)
