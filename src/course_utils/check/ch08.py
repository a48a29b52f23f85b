"""Checkers of chapter 08: an inception block's parameters, its reductions, its order.

Right answers are counted here, step by step, not taken from the formulas that the exercises
ask for.
"""

from numbers import Integral, Real

import numpy as np

from course_utils.check.core import exercise, explain

__all__ = ["inception_parameters", "largest_reduction", "reorder_inputs"]


def _not_a_count(got) -> str | None:
    """Name an answer that is no whole number."""
    for answer in got:
        if isinstance(answer, bool | np.bool_) or not isinstance(answer, Real):
            hint = " Take it out with .item()." if hasattr(answer, "item") else ""
            return f"The answer is one number, you gave {answer!r}.{hint}"
        if not isinstance(answer, Integral):
            return f"A count is a whole number, you gave {answer!r}. Put int(...) around it."
    return None


# --- Exercise 1 -------------------------------------------------------------------------


def _layers(in_channels, path1, path2, path3, path4):
    """List (inputs, outputs, side of the kernel) of the six convolutions."""
    return [
        (in_channels, path1, 1),
        (in_channels, path2[0], 1),
        (path2[0], path2[1], 3),
        (in_channels, path3[0], 1),
        (path3[0], path3[1], 5),
        (in_channels, path4, 1),
    ]


def _block(*block, leave_out=(), bias=1, kernel=lambda k: k * k) -> int:
    """Count the block's numbers; the keywords make typical mistakes."""
    layers = [layer for i, layer in enumerate(_layers(*block)) if i not in leave_out]
    return sum((kernel(k) * inputs + bias) * outputs for inputs, outputs, k in layers)


def _direct(in_channels, path1, path2, path3, path4) -> int:
    """Count the block without its reductions."""
    layers = [(path1, 1), (path2[1], 9), (path3[1], 25), (path4, 1)]
    return sum((in_channels * taps + 1) * outputs for outputs, taps in layers)


def _all_from_input(*block) -> int:
    """Let the 3x3 and the 5x5 convolution read the block's input beside the reductions."""
    return sum((k * k * block[0] + 1) * outputs for _, outputs, k in _layers(*block))


@exercise
def inception_parameters(candidate) -> str | None:
    """candidate(in_channels, path1, path2, path3, path4): parameters with biases."""
    cases = [
        (192, 64, (96, 128), (16, 32), 32),
        (528, 256, (160, 320), (32, 128), 128),
        (7, 2, (3, 5), (4, 6), 11),
    ]
    got = [candidate(*case) for case in cases]

    def counted(**other):
        return lambda *case: _block(*case, **other)

    mistakes = {
        "You leave the biases out: one for each output channel of each convolution.": counted(
            bias=0
        ),
        "The path behind the pooling has a 1x1 convolution too.": counted(leave_out=(5,)),
        "The first path, a 1x1 convolution, is missing.": counted(leave_out=(0,)),
        "The two reductions are layers with weights too.": counted(leave_out=(1, 3)),
        "Those are the 1x1 convolutions alone. Add the 3x3 and the 5x5.": counted(
            leave_out=(2, 4)
        ),
        "A 3x3 kernel has 9 weights for each input channel, a 5x5 has 25.": counted(
            kernel=lambda k: k
        ),
        "The kernels' 3x3 and 5x5 are missing.": counted(kernel=lambda k: 1),
        "The third path has a 5x5 kernel, with 25 weights for each input channel.": counted(
            kernel=lambda k: min(k, 3) ** 2
        ),
        "That is the block without reductions. Here the 3x3 and 5x5 read reduced channels.": (
            _direct
        ),
        "The 3x3 and the 5x5 read the channels of their reductions, not the block's input.": (
            _all_from_input
        ),
        "The first number of a pair is the reduction, the second the path's output.": (
            lambda c, p1, p2, p3, p4: _block(c, p1, p2[::-1], p3[::-1], p4)
        ),
        "The pooling has no weights; the convolution behind it is 1x1.": lambda *case: (
            _block(*case) + 8 * case[0] * case[4]
        ),
    }

    def say(case, given, answer):
        return f"For {case} you gave {given:,}; it is {answer:,}."

    named = None
    if all(isinstance(answer, Real) for answer in got):
        named = explain(got, cases, _block, mistakes, say)
    return named or _not_a_count(got)


# --- Exercise 2 -------------------------------------------------------------------------


def _largest(in_channels, out_channels, kernel, share) -> int:
    """Add reduced channels as long as the path stays within its share."""
    direct = kernel * kernel * in_channels * out_channels
    reduced = 0
    while (reduced + 1) * (in_channels + kernel * kernel * out_channels) <= share * direct:
        reduced += 1
    return reduced


@exercise
def largest_reduction(candidate) -> str | None:
    """candidate(in_channels, out_channels, kernel, share): the most reduced channels."""
    # The second case meets its share exactly: 36 reduced channels are half of the weights.
    cases = [
        (192, 128, 3, 0.5),
        (144, 16, 3, 0.5),
        (480, 48, 5, 0.25),
        (100, 7, 5, 0.1),
        (256, 256, 1, 0.75),
        (8, 1, 3, 0.05),  # not even one
    ]
    got = [candidate(*case) for case in cases]

    def ratio(i, o, k, s):
        return s * k * k * i * o / (i + k * k * o)

    mistakes = {
        "You round up: that path costs more than its share. Round down.": lambda *case: int(
            -(-ratio(*case) // 1)
        ),
        "You leave the 1x1 reduction's own weights out.": lambda i, o, k, s: int(s * i),
        "You leave the convolution behind the reduction out.": lambda i, o, k, s: int(
            s * k * k * o
        ),
        "A kernel has kernel times kernel weights for each pair of channels.": (
            lambda i, o, k, s: int(s * k * i * o / (i + k * o))
        ),
        "The reduction is 1x1; the other convolution and the direct one have the kernel.": (
            lambda i, o, k, s: int(s * i * o / (i + o))
        ),
        "Reduced channels are whole: round down.": ratio,
        "`share` is what may be left, not what is to be saved.": lambda i, o, k, s: int(
            ratio(i, o, k, 1 - s)
        ),
        "That is where both cost the same. The path may cost `share` of it.": (
            lambda i, o, k, s: int(ratio(i, o, k, 1))
        ),
        "One more still fits: at exactly the share it is not too much.": lambda *case: (
            _largest(*case) - (_largest(*case) == ratio(*case))
        ),
    }

    def say(case, given, answer):
        return (
            f"From {case[0]} to {case[1]} channels with kernel {case[2]} and share {case[3]:g} "
            f"you gave {given}; it is {answer}."
        )

    named = None
    if all(isinstance(answer, Real) for answer in got):
        named = explain(got, cases, _largest, mistakes, say)
    return named or _not_a_count(got)


# --- Exercise 3 -------------------------------------------------------------------------


def _blocks_of(weight, channels):
    """Cut the inputs of a weight [out, in, k, k] into those of each path."""
    parts, start = [], 0
    for count in channels:
        parts.append(weight[:, start : start + count])
        start += count
    return parts


def _reordered(weight, channels, order):
    parts = _blocks_of(weight, channels)
    return np.concatenate([parts[path] for path in order], axis=1)


def _inverse(order):
    return [order.index(place) for place in range(len(order))]


def _equal_parts(weight, channels, order):
    return np.concatenate([np.array_split(weight, len(channels), 1)[p] for p in order], 1)


def _outputs(weight, channels, order):
    """Cut and join along the outputs instead."""
    parts = np.split(weight, np.cumsum(channels)[:-1], axis=0)
    return np.concatenate([parts[path] for path in order], axis=0)


def _outputs_where_possible(weight, channels, order):
    """Reorder the outputs instead, where there are as many."""
    fits = weight.shape[0] == sum(channels)
    return _outputs(weight, channels, order) if fits else weight


def _cut_at_widths(weight, channels, order):
    """Give the widths where np.split wants the places."""
    parts = np.split(weight, channels, axis=1)
    return np.concatenate([parts[path] for path in order], axis=1)


def _single(weight, channels, order):
    """Take the paths' numbers for channels."""
    return weight[:, list(order)]


@exercise
def reorder_inputs(candidate) -> str | None:
    """candidate(weight, channels, order): the weight for inputs joined in another order."""
    rng = np.random.default_rng(8)
    cases = [
        (rng.normal(size=(5, 10, 1, 1)), [2, 4, 1, 3], [0, 2, 1, 3]),
        (rng.normal(size=(10, 10, 3, 3)), [3, 1, 4, 2], [2, 0, 3, 1]),
        (rng.normal(size=(4, 6, 5, 5)), [1, 2, 3], [1, 2, 0]),
    ]
    got = []
    for weight, channels, order in cases:
        given = weight.copy()
        got.append(np.asarray(candidate(given, list(channels), list(order))))
        if not np.array_equal(given, weight):
            return "You changed the caller's weight. Work on a new array."
    mistakes = {
        "You undo the order instead of applying it: order[0] is the path that comes first.": (
            lambda w, c, o: _reordered(w, c, _inverse(o))
        ),
        "That is the weight unchanged.": lambda w, c, o: w,
        "You reorder the output channels. The paths are the inputs: axis 1.": _outputs,
        "You reorder the output channels, not the inputs: axis 1.": _outputs_where_possible,
        "np.split wants the places where to cut: the running sums of the channels.": (
            _cut_at_widths
        ),
        "You cut the inputs into equal parts. Each path has its own number of channels.": (
            _equal_parts
        ),
        "You take one channel for each path. A path has several.": _single,
        "You only turn the paths round.": lambda w, c, o: _reordered(
            w, c, list(range(len(c)))[::-1]
        ),
        "You turn all the channels round.": lambda w, c, o: w[:, ::-1],
        "You use the new order to cut. The weight still has the old one.": lambda w, c, o: (
            np.concatenate([_blocks_of(w, [c[p] for p in o])[p] for p in o], axis=1)
        ),
    }

    def say(case, given, answer):
        if given.shape != answer.shape:
            return (
                f"For a weight of shape {case[0].shape} you gave the shape {given.shape}; "
                f"it is {answer.shape}."
            )
        return f"For paths of {case[1]} channels and the order {case[2]} some inputs differ."

    return explain(got, cases, _reordered, mistakes, say)
