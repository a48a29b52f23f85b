"""Checkers of chapter 06: Xavier's bound, LeNet's sizes and parameters, accuracy.

Right answers are counted here, step by step, not taken from the formulas that the exercises
ask for.
"""

import math
from functools import partial
from numbers import Integral, Real

import numpy as np

from course_utils.check.core import NotWrittenError, close, exercise, explain

__all__ = ["accuracy", "lenet_flat", "lenet_parameters", "xavier_bound"]


def _plain(answer):
    """Return a number that stands in an array or a tensor without axes as itself."""
    return answer.item() if getattr(answer, "ndim", None) == 0 else answer


def _not_a_number(got) -> str | None:
    """Name an answer that is no single number."""
    for answer in got:
        if isinstance(answer, bool | np.bool_) or not isinstance(answer, Real):
            return f"The answer is one number, you gave {answer!r}."
    return None


# --- Exercise 1 -------------------------------------------------------------------------


def _fans(shape) -> tuple[int, int]:
    """Count what one output sums over, and how many outputs one input goes to."""
    weights = np.ones(shape)
    return int(weights[0].sum()), int(weights[:, 0].sum())


def _glorot(shape, square: int = 6) -> float:
    return math.sqrt(square / sum(_fans(shape)))


def _of_keras(shape) -> float:
    """Take the kernel's area where Keras stores it, in front."""
    return math.sqrt(6 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))


def _stopped(candidate, shapes) -> str | None:
    """Name the shape for which the learner's function fails."""
    for shape in shapes:
        try:
            candidate(shape)
        except NotWrittenError:
            raise
        except Exception as error:
            kind = "dense layer" if len(shape) == 2 else "convolution"
            return (
                f"For the shape {shape}, a {kind}, your function raised "
                f"{type(error).__name__}: {error}"
            )
    return None


@exercise
def xavier_bound(candidate) -> str | None:
    """candidate(shape) is the bound of Xavier's uniform weights for a kernel of this shape."""
    shapes = [(120, 400), (10, 84), (6, 1, 5, 5), (16, 6, 5, 5), (64, 32, 3, 3), (8, 16, 1, 7)]
    cases = [(shape,) for shape in shapes]
    if stopped := _stopped(candidate, shapes):
        return stopped
    got = [_plain(candidate(shape)) for shape in shapes]
    mistakes = {
        "That is the variance. The bound is the root of three times the variance.": (
            lambda s: 2 / sum(_fans(s))
        ),
        "That is the bound of PyTorch's own weights. Xavier's is sqrt(6 / (n_in + n_out)).": (
            lambda s: 1 / math.sqrt(_fans(s)[0])
        ),
        "You read the shape in the order of Keras. PyTorch has (out, in, height, width).": (
            _of_keras
        ),
        "You leave the kernel's height and width out. An output sums over all of them.": (
            lambda s: math.sqrt(6 / (s[0] + s[1]))
        ),
        "That is the standard deviation. A uniform number up to a has a / sqrt(3): use 6.": (
            partial(_glorot, square=2)
        ),
        "3 belongs to the variance kept in one direction. Two directions share the 6.": (
            partial(_glorot, square=3)
        ),
        "That is the square of the bound, or its root is missing.": lambda s: _glorot(s) ** 2,
        "You use the inputs only. Xavier takes inputs and outputs: n_in + n_out.": (
            lambda s: math.sqrt(6 / _fans(s)[0])
        ),
        "You use the inputs only, and the 3 of one direction.": (
            lambda s: math.sqrt(3 / _fans(s)[0])
        ),
        "You use the outputs only. Xavier takes inputs and outputs: n_in + n_out.": (
            lambda s: math.sqrt(6 / _fans(s)[1])
        ),
        "The outputs of a convolution count with the kernel's area too.": (
            lambda s: math.sqrt(6 / (_fans(s)[0] + s[0]))
        ),
        "You count the kernel's area once; inputs and outputs both have it.": (
            lambda s: math.sqrt(6 / (_fans(s)[1] + s[1]))
        ),
        "You take the kernel's first side only. Multiply all sides after the first two.": (
            lambda s: math.sqrt(6 / ((s[0] + s[1]) * (s[2] if len(s) > 2 else 1)))
        ),
        "You divide by the number of weights. Add the two counts instead.": (
            lambda s: math.sqrt(6 / math.prod(s))
        ),
    }

    def say(case, given, answer):
        n_in, n_out = _fans(*case)
        return (
            f"For {case[0]}, with {n_in} inputs and {n_out} outputs, you gave {given:.5g}; "
            f"it is {answer:.5g}."
        )

    return _not_a_number(got) or explain(got, cases, _glorot, mistakes, say)


# --- Exercise 2 -------------------------------------------------------------------------


def _windows(size: int, kernel: int, stride: int = 1) -> int:
    """Count the places where a kernel lies wholly inside `size` pixels."""
    return len(range(0, size - kernel + 1, stride))


def _flat(size: int, padding: int) -> int:
    """Walk through the four layers of LeNet that change the size; 16 maps at the end."""
    size = _windows(_windows(size + 2 * padding, 5), 2, 2)
    return 16 * _windows(_windows(size, 5), 2, 2) ** 2


def _flat_by(size: int, padding: int, *, first=4, second=4, half=lambda n: n // 2) -> float:
    """LeNet's flat size where the convolutions take `first` and `second` pixels away."""
    side = half(half(size + 2 * padding - first) - second)
    return 16 * side**2


@exercise
def lenet_flat(candidate) -> str | None:
    """candidate(image_size, padding) is how many numbers LeNet's flatten gives."""
    cases = [(28, 2), (28, 0), (32, 0), (29, 0), (31, 2), (64, 1), (16, 0), (33, 2)]
    got = [_plain(candidate(*case)) for case in cases]
    mistakes = {
        "That is one map. LeNet's second convolution makes 16 of them.": (
            lambda n, p: _flat(n, p) / 16
        ),
        "That is 16 times one side. A map is a square: side times side.": (
            lambda n, p: 16 * math.sqrt(_flat(n, p) / 16)
        ),
        "That is the side of the last map. Flattened are 16 maps of side times side.": (
            lambda n, p: math.sqrt(_flat(n, p) / 16)
        ),
        "You count the 6 maps of the first convolution; the last one makes 16.": (
            lambda n, p: 6 * _flat(n, p) / 16
        ),
        "You leave the padding out.": lambda n, p: _flat(n, 0),
        "You add the padding once; it lies on both sides.": lambda n, p: _flat_by(n, p / 2),
        "You pad both convolutions. Only the first has a padding.": (
            lambda n, p: _flat_by(n, p, second=4 - 2 * p)
        ),
        "A 5x5 kernel takes 4 pixels away, not 5: its first window counts.": (
            lambda n, p: _flat_by(n, p, first=5, second=5)
        ),
        "The convolutions shrink the map too, by 4 pixels each without padding.": (
            lambda n, p: _flat_by(n, 0, first=0, second=0)
        ),
        "You do not round down: a pooling window that sticks out is dropped.": (
            lambda n, p: _flat_by(n, p, half=lambda size: size / 2)
        ),
        "You round up. A pooling window that sticks out is dropped: round down.": (
            lambda n, p: _flat_by(n, p, half=lambda size: -(-size // 2))
        ),
        "You leave the pooling out. Each one halves the side.": (
            lambda n, p: _flat_by(n, p, half=lambda size: size)
        ),
        "The second pooling is missing.": lambda n, p: 16 * ((n + 2 * p - 4) // 2 - 4) ** 2,
    }

    def say(case, given, answer):
        return f"For images of {case[0]} with padding {case[1]} you gave {given:g}; " + (
            f"it is {answer}."
        )

    named = _not_a_number(got) or explain(got, cases, _flat, mistakes, say)
    whole = all(isinstance(answer, Integral) for answer in got)
    if named or whole:
        return named
    return f"The value is right, but {got[0]!r} is no whole number. Divide with //."


# --- Exercise 3 -------------------------------------------------------------------------


def _by_layer(in_channels, num_classes, flat, *, kernel=25, bias=1) -> list[int]:
    """Count LeNet's weights and biases, layer by layer."""
    inputs = [in_channels * kernel, 6 * kernel, flat, 120, 84]
    return [(n + bias) * m for n, m in zip(inputs, [6, 16, 120, 84, num_classes], strict=True)]


def _as_list(answer) -> list:
    """Return the numbers of a list, an array, a generator or a dictionary's values."""
    values = answer.values() if isinstance(answer, dict) else answer
    return [_plain(value) for value in values] if hasattr(values, "__iter__") else []


@exercise
def lenet_parameters(candidate) -> str | None:
    """candidate(in_channels, num_classes, flat) is the list of LeNet's five counts."""
    cases = [(1, 10, 400), (3, 10, 576), (1, 26, 256), (2, 4, 64)]
    got = [_plain(candidate(*case)) for case in cases]
    for i, answer in enumerate(got):
        if isinstance(answer, Real):
            return (
                "Give a list of five numbers, one for each layer with weights, not their sum."
            )
        got[i] = _as_list(answer)
        if _not_a_number(got[i] or [answer]):
            return f"Give a list of five numbers; you gave {answer!r}."
        if len(got[i]) != 5:
            return (
                f"LeNet has five layers with weights, two convolutions and three dense layers; "
                f"you gave {len(got[i])} numbers."
            )

    def one_bias(c, k, f):
        return [n + 1 for n in _by_layer(c, k, f, bias=0)]

    def input_bias(c, k, f):
        inputs = [c, 6, f, 120, 84]
        return [a + b for a, b in zip(_by_layer(c, k, f, bias=0), inputs, strict=True)]

    def one_map(c, k, f):
        return [26 * 6, 26 * 16, *_by_layer(c, k, f)[2:]]

    mistakes = {
        "You leave the biases out: one for each output channel or feature.": (
            partial(_by_layer, bias=0)
        ),
        "You count one bias for each layer. Each output channel or feature has its own.": (
            one_bias
        ),
        "You count a bias for each input. Biases belong to the outputs.": input_bias,
        "A 5x5 kernel has 25 weights for each input channel, not 5.": partial(
            _by_layer, kernel=5
        ),
        "You leave the kernels' 5x5 out.": partial(_by_layer, kernel=1),
        "Each kernel of a convolution reads all input channels, not one of them.": one_map,
        "You do not use in_channels.": lambda c, k, f: _by_layer(1, k, f),
        "You do not use num_classes.": lambda c, k, f: _by_layer(c, 10, f),
        "You do not use flat.": lambda c, k, f: _by_layer(c, k, 400),
        "The third layer reads all flattened numbers, not the 16 channels.": (
            lambda c, k, f: _by_layer(c, k, 16)
        ),
    }

    def say(case, given, answer):
        i = next(i for i in range(5) if not close(given[i], answer[i]))
        return (
            f"For in_channels={case[0]}, num_classes={case[1]}, flat={case[2]} layer {i + 1} "
            f"of 5 has {answer[i]:,} parameters; you gave {given[i]:,}."
        )

    return explain(got, cases, _by_layer, mistakes, say)


# --- Exercise 4 -------------------------------------------------------------------------


def _right_share(logits, labels) -> float:
    """Count the images whose largest logit stands at their label."""
    hits = [max(range(len(row)), key=row.__getitem__) for row in logits.tolist()]
    return sum(a == b for a, b in zip(hits, labels.tolist(), strict=True)) / len(labels)


def _rounded(digits: int, logits, labels) -> float:
    return round(_right_share(logits, labels), digits)


def _batch(seed: int, images: int, classes: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) - 2  # a threshold at 0 misses most
    logits[np.arange(images), labels] += 1.2
    return logits, labels


def _over_images(logits, labels) -> float:
    """Look for the largest logit along the wrong axis."""
    best = logits.argmax(0)
    n = min(len(best), len(labels))
    return (best[:n] == labels[:n]).mean()


def _answers(candidate, cases) -> list | None:
    """Return the answers, or None where the wrong axis fits no batch but the square one."""
    first = _plain(candidate(*cases[0]))
    try:
        return [first, *(_plain(candidate(*case)) for case in cases[1:])]
    except NotWrittenError:
        raise
    except Exception:
        if isinstance(first, Real) and close(first, _over_images(*cases[0])):
            return None
        raise


@exercise
def accuracy(candidate) -> str | None:
    """candidate(logits, labels): the share of images whose largest logit is the right one."""
    tiny = np.array([[-3.0, -0.4, -2.0], [-2.5, -4.0, -0.5], [-0.7, -3.5, -2.2]])
    cases = [(tiny, np.array([1, 0, 1])), _batch(1, 37, 10), _batch(2, 23, 4), _batch(4, 1, 3)]
    axis = "That is the largest logit over the images. Look along the classes, axis 1."
    before = [(logits.copy(), labels.copy()) for logits, labels in cases]
    if (got := _answers(candidate, cases)) is None:
        return axis
    for now, then in zip(cases, before, strict=True):
        if not all(map(np.array_equal, now, then)):
            return "You changed the caller's arrays. Work on new ones."
    if shape := tuple(getattr(got[0], "shape", ())):
        return f"Give one number, the mean over the images; you gave an array {shape}."

    def softmax(logits):
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    mistakes = {
        "That is the number of right answers. Divide it by the number of images.": (
            lambda x, y: _right_share(x, y) * len(y)
        ),
        "That is a percentage. The share lies between 0 and 1.": (
            lambda x, y: 100 * _right_share(x, y)
        ),
        "That is the error rate, the share of wrong answers.": (
            lambda x, y: 1 - _right_share(x, y)
        ),
        "You take the smallest logit. The answer is the largest.": (
            lambda x, y: (x.argmin(1) == y).mean()
        ),
        axis: _over_images,
        "That is the mean probability of the right class. Accuracy counts whole answers.": (
            lambda x, y: softmax(x)[np.arange(len(y)), y].mean()
        ),
        "An answer counts when its logit is the largest, even with a probability below 0.5.": (
            lambda x, y: (softmax(x)[np.arange(len(y)), y] > 0.5).mean()
        ),
        "You divide by the number of logits. Divide by the number of images.": (
            lambda x, y: _right_share(x, y) / x.shape[1]
        ),
        "A logit is right when it is the largest, not when it is above 0.": (
            lambda x, y: (x[np.arange(len(y)), y] > 0).mean()
        ),
        "argmax without an axis gives one position for the whole array. Give it axis 1.": (
            lambda x, y: (x.argmax() == y).mean()
        ),
        "You compare the largest logit itself with the label; you need its position, argmax.": (
            lambda x, y: (x.max(1) == y).mean()
        ),
    }
    for digits in (2, 3, 4):
        mistakes[f"Do not round; you keep {digits} decimals."] = partial(_rounded, digits)

    def say(case, given, answer):
        batch = f"For {len(case[1])} images"
        if case[0] is tiny:
            batch = f"With the logits {tiny.tolist()} and the labels {case[1].tolist()}"
        return f"{batch} you gave {given:.4g}; it is {answer:.4g}."

    return _not_a_number(got) or explain(got, cases, _right_share, mistakes, say)
