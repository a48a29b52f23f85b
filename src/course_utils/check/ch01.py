"""Checkers of chapter 01: sizes, padding, sliding a kernel, receptive field, cost.

Right answers are counted here, window by window, not taken from the formulas that the
exercises ask for.
"""

import math
from collections.abc import Callable
from numbers import Integral

import numpy as np

from course_utils.check.core import answers, exercise

__all__ = ["convolve", "multiply_adds", "output_size", "receptive_field", "same_padding"]

Mistakes = dict[str, Callable]


def _windows(size: int, kernel: int, stride: int) -> int:
    """Count the places where a kernel lies wholly inside `size` pixels."""
    return len(range(0, size - kernel + 1, stride))


def _same(got, expected) -> bool:
    """Compare numbers or pairs; a list counts as a tuple."""
    if isinstance(got, list | np.ndarray):
        got = tuple(got)
    return isinstance(got, tuple) == isinstance(expected, tuple) and got == expected


def _compare(candidate, cases, names, right: Callable, mistakes: Mistakes) -> str | None:
    """Return None, or the mistake whose formula gives all the candidate's answers.

    `names` are the arguments' names, for the example in the sentence.
    """
    got = answers(candidate, cases)
    expected = [right(*case) for case in cases]
    wrong = [i for i, pair in enumerate(zip(got, expected, strict=True)) if not _same(*pair)]
    if not wrong:
        return _not_whole(got)
    case, given, answer = (values[wrong[0]] for values in (cases, got, expected))
    where = ", ".join(f"{name} {value}" for name, value in zip(names, case, strict=True))
    plain = given.tolist() if isinstance(given, np.generic | np.ndarray) else given
    example = f"For {where} you gave {plain!r}; it is {answer}."
    for sentence, formula in mistakes.items():
        if all(_same(one, formula(*case)) for one, case in zip(got, cases, strict=True)):
            return f"{sentence} {example}"
    return example


def _not_whole(answers) -> str | None:
    """Name a right number of the wrong kind: 14.0 cannot be used as a size."""
    for answer in answers:
        for number in answer if isinstance(answer, tuple | list | np.ndarray) else [answer]:
            if not isinstance(number, Integral):
                return (
                    f"The value is right, but {number!r} is a {type(number).__name__}, and "
                    "pixels are counted in whole numbers. Divide with //."
                )
    return None


@exercise
def output_size(candidate) -> str | None:
    """candidate(size, kernel, stride, padding) is the output's size along one axis."""
    cases = [
        (28, 3, 2, 0),
        (28, 3, 2, 1),
        (28, 7, 2, 3),
        (8, 3, 1, 1),
        (3, 3, 1, 0),
        (6, 2, 4, 0),
        (11, 3, 3, 1),
        (12, 5, 4, 2),
        (224, 7, 2, 3),
    ]
    mistakes = {
        "That is the formula without the floor, and there is no half pixel.": (
            lambda n, k, s, p: (n + 2 * p - k) / s + 1
        ),
        "You round to the nearest number. A window that sticks out is dropped: round down.": (
            lambda n, k, s, p: round((n + 2 * p - k) / s + 1)
        ),
        "You round up. A window that sticks out is dropped: round down.": (
            lambda n, k, s, p: math.ceil((n + 2 * p - k) / s) + 1
        ),
        "You left out the + 1, which counts the first window.": (
            lambda n, k, s, p: (n + 2 * p - k) // s
        ),
        "Your + 1 is inside the division; it counts the first window and stands outside.": (
            lambda n, k, s, p: (n + 2 * p - k + 1) // s
        ),
        "You add the padding once; it lies on both sides.": (
            lambda n, k, s, p: (n + p - k) // s + 1
        ),
        "You leave the padding out.": lambda n, k, s, p: (n - k) // s + 1,
        "You leave the stride out.": lambda n, k, s, p: n + 2 * p - k + 1,
        "That is ceil(size / stride), the size under SAME padding, whatever p is.": (
            lambda n, k, s, p: -(-n // s)
        ),
        "That is size // stride, whatever the kernel and the padding are.": (
            lambda n, k, s, p: n // s
        ),
    }
    return _compare(
        candidate,
        cases,
        ("size", "kernel", "stride", "padding"),
        lambda n, k, s, p: _windows(n + 2 * p, k, s),
        mistakes,
    )


def _padded_until_same(n: int, k: int, s: int) -> tuple[int, int]:
    """Add pixels, one at a time, until SAME's number of windows fits."""
    total = 0
    while _windows(n + total, k, s) < math.ceil(n / s):
        total += 1
    return total // 2, total - total // 2


def _split_same(n, k, s, *, outputs=None, least=0) -> tuple[int, int]:
    """Return SAME's padding from another number of outputs or another smallest total."""
    outputs = -(-n // s) if outputs is None else outputs
    total = max((outputs - 1) * s + k - n, least)
    return total // 2, total - total // 2


@exercise
def same_padding(candidate) -> str | None:
    """candidate(size, kernel, stride) is SAME's padding along one axis, (before, after)."""
    cases = [
        (28, 7, 2),
        (14, 3, 2),
        (33, 7, 2),
        (8, 3, 1),
        (8, 4, 1),
        (8, 1, 1),
        (8, 1, 2),
        (10, 3, 4),
        (7, 2, 3),
    ]
    first = candidate(*cases[0])
    if not isinstance(first, tuple | list | np.ndarray) or len(first) != 2:
        return f"Return two numbers, (before, after). You gave {first!r}."
    mistakes = {
        "The odd pixel is on the wrong side: TensorFlow puts it after.": (
            lambda n, k, s: _padded_until_same(n, k, s)[::-1]
        ),
        "That is PyTorch's symmetric padding; SAME depends on size and stride.": (
            lambda n, k, s: (k // 2, k // 2)
        ),
        "That is a symmetric padding; SAME depends on size and stride.": (
            lambda n, k, s: ((k - 1) // 2, (k - 1) // 2)
        ),
        "That is the padding of conv2d_same; SAME depends on size and stride.": (
            lambda n, k, s: ((k - 1) // 2, k - 1 - (k - 1) // 2)
        ),
        "Where stride exceeds kernel your total is negative: take max(total, 0).": (
            lambda n, k, s: _split_same(n, k, s, least=-k - s)
        ),
        "The output has ceil(size / stride) pixels; you round down.": (
            lambda n, k, s: _split_same(n, k, s, outputs=n // s)
        ),
        "The last window starts at (outputs - 1) * stride, not at outputs * stride.": (
            lambda n, k, s: _split_same(n, k, s, outputs=-(-n // s) + 1)
        ),
        "You give the whole total to each side; share it between the two.": (
            lambda n, k, s: (sum(_padded_until_same(n, k, s)),) * 2
        ),
        "You split a pixel in half; the odd one goes after.": (
            lambda n, k, s: (sum(_padded_until_same(n, k, s)) / 2,) * 2
        ),
    }
    names = ("size", "kernel", "stride")
    return _compare(candidate, cases, names, _padded_until_same, mistakes)


def _slide(x: np.ndarray, w: np.ndarray, stride: int) -> np.ndarray:
    """Multiply and add under every window."""
    k = len(w)
    rows, cols = (range(0, n - k + 1, stride) for n in x.shape)
    return np.array([[(x[i : i + k, j : j + k] * w).sum() for j in cols] for i in rows])


def _slide_wrongly(x, w, stride, window: Callable, step=None) -> np.ndarray:
    """The right shape, filled by `window(patch, w)`, with `step` pixels between windows."""
    k, step = len(w), stride if step is None else step
    rows, cols = (_windows(n, k, stride) for n in x.shape)
    patches = [
        [x[i * step : i * step + k, j * step : j * step + k] for j in range(cols)]
        for i in range(rows)
    ]
    return np.array([[window(patch, w) for patch in row] for row in patches])


def _slide_with_holes(x, w, stride) -> np.ndarray:
    """The results at their places in the output of stride 1, zeros between."""
    y = np.zeros_like(_slide(x, w, 1))
    y[::stride, ::stride] = _slide(x, w, stride)
    return y


def _slide_too_few(x, w, stride) -> np.ndarray:
    """The first (n - k + 1) // stride rows and columns."""
    rows, cols = ((n - len(w) + 1) // stride for n in x.shape)
    return _slide(x, w, stride)[:rows, :cols]


CONVOLVE_MISTAKES: Mistakes = {
    "You flip the kernel. Deep-learning libraries do not.": (
        lambda x, w, s: _slide(x, w[::-1, ::-1], s)
    ),
    "Your kernel is transposed: its first index goes down, like the image's.": (
        lambda x, w, s: _slide(x, w.T, s)
    ),
    "Your output is transposed: rows and columns are exchanged.": (
        lambda x, w, s: _slide(x, w, s).T
    ),
    "You ignore the stride; the windows move by one pixel.": (lambda x, w, s: _slide(x, w, 1)),
    "The shape is right, but window i starts at i * stride, not at i.": (
        lambda x, w, s: _slide_wrongly(x, w, s, lambda a, b: (a * b).sum(), step=1)
    ),
    "You add the pixels under the window without multiplying by the kernel.": (
        lambda x, w, s: _slide_wrongly(x, w, s, lambda a, b: a.sum())
    ),
    "You multiply matrices (@). The kernel is multiplied element by element (*).": (
        lambda x, w, s: _slide_wrongly(x, w, s, lambda a, b: (a @ b).sum())
    ),
    "You take the mean; a convolution takes the sum.": (
        lambda x, w, s: _slide_wrongly(x, w, s, lambda a, b: (a * b).mean())
    ),
    "Your output has holes: it has one row for each window, and the window that starts at "
    "i * stride belongs into row i.": _slide_with_holes,
    "You divide before you count the first window: the number of rows is "
    "(n - k) // stride + 1.": _slide_too_few,
    "Your output holds whole numbers only; make it with np.zeros and without dtype=int.": (
        lambda x, w, s: np.trunc(_slide(x, w, s))
    ),
}


@exercise
def convolve(candidate) -> str | None:
    """candidate(x, w, stride) slides a square kernel over an image, both without channels."""
    random = np.random.default_rng(0)
    cases = [
        (random.integers(-9, 10, shape).astype(float), random.integers(-3, 4, (k, k)), stride)
        for shape, k, stride in [((5, 7), 3, 1), ((9, 6), 3, 2), ((7, 8), 2, 3), ((4, 4), 4, 1)]
    ]
    cases[1] = (cases[1][0], cases[1][1] / 2, cases[1][2])  # halves: not all whole numbers
    got = [np.asarray(candidate(x.copy(), w.copy(), stride), float) for x, w, stride in cases]
    if all(map(np.array_equal, got, (_slide(*case) for case in cases))):
        return None
    for sentence, wrong in CONVOLVE_MISTAKES.items():
        if all(_close(one, wrong(*case)) for one, case in zip(got, cases, strict=True)):
            return sentence
    for one, (x, w, stride) in zip(got, cases, strict=True):
        expected = _slide(x, w, stride)
        where = f"an image of {x.shape}, a kernel of {w.shape} and stride {stride}"
        if one.shape != expected.shape:
            return f"For {where} your output has the shape {one.shape}, not {expected.shape}."
        if not _close(one, expected):
            i, j = np.argwhere(~np.isclose(one, expected))[0]
            return f"For {where} y[{i}, {j}] is {expected[i, j]:g}, and yours is {one[i, j]:g}."
    return None


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b)


def _reach(layers) -> int:
    """Walk back from one output pixel; return the pixels from the first to the last read."""
    first = last = 0
    for kernel, stride in reversed(layers):
        first, last = first * stride, last * stride + kernel - 1
    return last - first + 1


def _read(layers) -> int:
    """The same walk, but gaps between the pixels read are left out."""
    pixels = {0}
    for kernel, stride in reversed(layers):
        pixels = {pixel * stride + i for pixel in pixels for i in range(kernel)}
    return len(pixels)


def _field(layers, *, start=1, own_stride=False, product=True) -> int:
    """The formula for the receptive field, with switches for its usual slips."""
    field, step = start, 1
    for kernel, stride in layers:
        longer = step * stride if product else stride
        field += (kernel - 1) * (longer if own_stride else step)
        step = longer
    return field


@exercise
def receptive_field(candidate) -> str | None:
    """candidate(layers) is the receptive field of a list of (kernel, stride)."""
    cases = [
        ([(7, 2), (3, 2)],),
        ([(3, 1), (3, 1), (3, 1)],),
        ([(3, 2), (3, 2), (3, 2), (5, 1)],),
        ([(5, 3)],),
        ([],),
        ([(7, 2), (3, 2), (1, 1), (3, 2), (1, 1), (3, 1)],),
        ([(1, 2), (3, 1)],),
    ]
    mistakes = {
        "You add (kernel - 1) without the strides before it; behind a stride of 2 a step is 2 "
        "input pixels long.": lambda layers: 1 + sum(k - 1 for k, _ in layers),
        "You add up the kernels. Neighbouring layers share a pixel: each adds kernel - 1 "
        "steps.": lambda layers: sum(k for k, _ in layers),
        "You multiply the kernels; the receptive field grows by adding.": (
            lambda layers: math.prod(k for k, _ in layers)
        ),
        "You update the step before you use it: a layer's own stride counts only for the "
        "layers after it.": lambda layers: _field(layers, own_stride=True),
        "You use only the stride of the layer before; all strides before it multiply.": (
            lambda layers: _field(layers, product=False)
        ),
        "You start from 0; before the first layer an output pixel is one input pixel.": (
            lambda layers: _field(layers, start=0)
        ),
        "That is the total stride, the distance between two neighbours; the question is how "
        "many pixels one of them sees.": lambda layers: math.prod(s for _, s in layers),
        "You go through the layers from last to first with the rule for first to last.": (
            lambda layers: _field(layers[::-1])
        ),
        "You count the pixels that are read. The field runs from the first to the last of "
        "them, gaps included.": _read,
    }
    return _compare(candidate, cases, ("layers",), _reach, mistakes)


@exercise
def multiply_adds(candidate) -> str | None:
    """candidate(size, in_channels, out_channels, kernel, stride, padding) counts MACs."""
    cases = [
        (28, 1, 64, 7, 2, 3),
        (224, 3, 64, 7, 2, 3),
        (56, 64, 256, 1, 1, 0),
        (14, 16, 8, 3, 2, 1),
        (9, 2, 5, 3, 2, 0),
        (9, 2, 5, 3, 2, 1),  # from here on the output is not size // stride
        (28, 1, 6, 5, 1, 0),
        (33, 1, 4, 7, 2, 3),
    ]

    def right(n, i, o, k, s, p):
        return _windows(n + 2 * p, k, s) ** 2 * k * k * i * o

    mistakes = {
        "You use the input's size; the kernel is applied once for each OUTPUT pixel.": (
            lambda n, i, o, k, s, p: n * n * k * k * i * o
        ),
        "You count one row of output pixels; the output has rows and columns.": (
            lambda n, i, o, k, s, p: _windows(n + 2 * p, k, s) * k * k * i * o
        ),
        "You leave the input channels out; each output value reads all of them.": (
            lambda n, i, o, k, s, p: right(n, 1, o, k, s, p)
        ),
        "You leave the output channels out; each has a kernel of its own.": (
            lambda n, i, o, k, s, p: right(n, i, 1, k, s, p)
        ),
        "You count the kernel along one axis; it is kernel x kernel.": (
            lambda n, i, o, k, s, p: right(n, i, o, k, s, p) // k
        ),
        "That is twice the number: you count the multiplication and the addition apart "
        "(FLOPs).": lambda n, i, o, k, s, p: 2 * right(n, i, o, k, s, p),
        "That is the number of parameters; each is used once for every output pixel.": (
            lambda n, i, o, k, s, p: k * k * i * o
        ),
        "You leave the padding out of the output's size.": (
            lambda n, i, o, k, s, p: right(n, i, o, k, s, 0)
        ),
        "You leave the stride out of the output's size.": (
            lambda n, i, o, k, s, p: right(n, i, o, k, 1, p)
        ),
        "You take size // stride for the output's size; kernel and padding count too.": (
            lambda n, i, o, k, s, p: (n // s) ** 2 * k * k * i * o
        ),
        "You take ceil(size / stride) for the output's size; kernel and padding count too.": (
            lambda n, i, o, k, s, p: (-(-n // s)) ** 2 * k * k * i * o
        ),
        "You count a bias as well; this convolution has none.": (
            lambda n, i, o, k, s, p: right(n, i, o, k, s, p) * (k * k * i + 1) // (k * k * i)
        ),
        "Your output size has no floor.": (
            lambda n, i, o, k, s, p: ((n + 2 * p - k) / s + 1) ** 2 * k * k * i * o
        ),
    }
    names = ("size", "in_channels", "out_channels", "kernel", "stride", "padding")
    return _compare(candidate, cases, names, right, mistakes)
