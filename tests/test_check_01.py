"""The checkers of chapter 01 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
import pytest
from checker_tests import said

from course_utils import conv_arithmetic, reference

CHECKERS = ["output_size", "same_padding", "convolve", "receptive_field", "multiply_adds"]


def count_windows(size, kernel, stride, padding):
    padded = [0] * (size + 2 * padding)
    return sum(len(padded[i : i + kernel]) == kernel for i in range(0, len(padded), stride))


def pad_by_windows(size, kernel, stride):
    outputs = math.ceil(size / stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return [math.floor(total / 2), math.ceil(total / 2)]


def slide_by_loops(x, w, stride):
    k = w.shape[0]
    y = np.zeros(((x.shape[0] - k) // stride + 1, (x.shape[1] - k) // stride + 1))
    for i, j in np.ndindex(*y.shape):
        for a, b in np.ndindex(k, k):
            y[i, j] += w[a, b] * x[i * stride + a, j * stride + b]
    return y


def slide_with_channels(x, w, stride):
    y = reference.conv2d(x[None, :, :, None], w[:, :, None, None], stride=stride)
    return y[0, :, :, 0].tolist()


def field_backwards(layers):
    field = 1
    for kernel, stride in reversed(layers):
        field = (field - 1) * stride + kernel
    return field


def field_that_empties_its_list(layers):
    field = 1
    while layers:
        kernel, stride = layers.pop()
        field = (field - 1) * stride + kernel
    return field


def field_that_reverses_its_list(layers):
    layers.reverse()
    return field_backwards(layers[::-1])


def pixels_read(layers):
    pixels = {0}
    for kernel, stride in reversed(layers):
        pixels = {pixel * stride + i for pixel in pixels for i in range(kernel)}
    return len(pixels)


def macs_by_counting(size, in_channels, out_channels, kernel, stride, padding):
    side = count_windows(size, kernel, stride, padding)
    return int(np.prod([side, side, kernel, kernel, in_channels, out_channels]))


def macs_by_package(size, in_channels, out_channels, kernel, stride, padding):
    side = conv_arithmetic.output_size(size, kernel, stride, padding)
    return conv_arithmetic.conv_macs(in_channels, out_channels, kernel, side)


@pytest.mark.parametrize(
    ("name", "candidate"),
    [
        ("output_size", conv_arithmetic.output_size),
        ("output_size", count_windows),
        ("output_size", lambda n, k, s, p: int((n + 2 * p - k) / s) + 1),
        ("output_size", lambda n, k, s, p: np.int64(math.floor((n + 2 * p - k) / s + 1))),
        ("same_padding", conv_arithmetic.same_padding),
        ("same_padding", pad_by_windows),
        ("same_padding", lambda *case: np.array(pad_by_windows(*case))),
        ("convolve", slide_by_loops),
        ("convolve", slide_with_channels),
        ("receptive_field", conv_arithmetic.receptive_field),
        ("receptive_field", field_backwards),
        ("receptive_field", field_that_empties_its_list),
        ("receptive_field", field_that_reverses_its_list),
        ("multiply_adds", macs_by_counting),
        ("multiply_adds", macs_by_package),
    ],
)
def test_right_answers_pass(name, candidate, capsys):
    assert said(capsys, name, candidate) == (True, f"{name}: correct")


def split(total):
    return total // 2, total - total // 2


def same_total(size, kernel, stride):
    return max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)


def slide_into_whole_numbers(x, w, stride):
    y = np.zeros(slide_by_loops(x, w, stride).shape, dtype=int)
    y[:] = slide_by_loops(x, w, stride)
    return y


def slide_with_holes(x, w, stride):
    y = np.zeros([n - len(w) + 1 for n in x.shape])
    for i in range(0, y.shape[0], stride):
        for j in range(0, y.shape[1], stride):
            y[i, j] = (w * x[i : i + len(w), j : j + len(w)]).sum()
    return y


def slide_too_few(x, w, stride):
    rows, cols = ((n - len(w) + 1) // stride for n in x.shape)
    return slide_by_loops(x, w, stride)[:rows, :cols]


def slide_but(window=lambda a, w: (a * w).sum(), step=None):
    """A sliding kernel with one thing changed."""

    def slide(x, w, stride):
        k, s = len(w), stride if step is None else step
        y = np.zeros([(n - k) // stride + 1 for n in x.shape])
        for i, j in np.ndindex(*y.shape):
            y[i, j] = window(x[i * s : i * s + k, j * s : j * s + k], w)
        return y

    return slide


def field_but(start=1, update_first=False, product=True):
    """The receptive field with one thing changed."""

    def field(layers):
        total, step = start, 1
        for kernel, stride in layers:
            if update_first:
                step *= stride
            total += (kernel - 1) * step
            if not update_first:
                step = step * stride if product else stride
        return total

    return field


def macs_but(side=None, **changed):
    """The multiply-adds with one thing changed."""

    def macs(size, in_channels, out_channels, kernel, stride, padding):
        numbers = {"size": size, "stride": stride, "padding": padding} | {
            key: changed[key] for key in changed if key in ("size", "stride", "padding")
        }
        output = (numbers["size"] + 2 * numbers["padding"] - kernel) // numbers["stride"] + 1
        output = side(size) if side else output
        i, o = changed.get("i", in_channels), changed.get("o", out_channels)
        area = kernel ** changed.get("axes", 2)
        return output ** changed.get("outputs", 2) * area * i * o * changed.get("times", 1)

    return macs


@pytest.mark.parametrize(
    ("name", "word", "candidate"),
    [
        ("output_size", "without the floor", lambda n, k, s, p: (n + 2 * p - k) / s + 1),
        ("output_size", "nearest", lambda n, k, s, p: round((n + 2 * p - k) / s + 1)),
        ("output_size", "round up", lambda n, k, s, p: math.ceil((n + 2 * p - k) / s) + 1),
        ("output_size", "left out the + 1", lambda n, k, s, p: (n + 2 * p - k) // s),
        ("output_size", "inside the division", lambda n, k, s, p: (n + 2 * p - k + 1) // s),
        ("output_size", "both sides", lambda n, k, s, p: (n + p - k) // s + 1),
        ("output_size", "padding out", lambda n, k, s, p: (n - k) // s + 1),
        ("output_size", "stride out", lambda n, k, s, p: n + 2 * p - k + 1),
        ("output_size", "SAME", lambda n, k, s, p: math.ceil(n / s)),
        ("output_size", "is a float", lambda n, k, s, p: (n + 2 * p - k) // s + 1.0),
        ("output_size", "it is 13", lambda n, k, s, p: 5),
        ("output_size", "size // stride, whatever", lambda n, k, s, p: n // s),
        ("output_size", "you gave '13'", lambda n, k, s, p: str(count_windows(n, k, s, p))),
        ("output_size", "you gave 5;", lambda n, k, s, p: np.int64(5)),
        ("same_padding", "wrong side", lambda n, k, s: split(same_total(n, k, s))[::-1]),
        ("same_padding", "PyTorch", lambda n, k, s: (k // 2, k // 2)),
        ("same_padding", "conv2d_same", lambda n, k, s: split(k - 1)),
        ("same_padding", "max(total, 0)", lambda n, k, s: split(
            (math.ceil(n / s) - 1) * s + k - n)),
        ("same_padding", "round down", lambda n, k, s: split(
            max((n // s - 1) * s + k - n, 0))),
        ("same_padding", "(outputs - 1)", lambda n, k, s: split(
            max(math.ceil(n / s) * s + k - n, 0))),
        ("same_padding", "each side", lambda n, k, s: (same_total(n, k, s),) * 2),
        ("same_padding", "in half", lambda n, k, s: (same_total(n, k, s) / 2,) * 2),
        ("same_padding", "two numbers", same_total),
        ("same_padding", "is a float", lambda n, k, s: tuple(
            map(float, split(same_total(n, k, s))))),
        ("same_padding", "it is (2, 3)", lambda n, k, s: (1, 1)),
        ("convolve", "flip the kernel", lambda x, w, s: slide_by_loops(x, w[::-1, ::-1], s)),
        ("convolve", "kernel is transposed", lambda x, w, s: slide_by_loops(x, w.T, s)),
        ("convolve", "output is transposed", lambda x, w, s: slide_by_loops(x, w, s).T),
        ("convolve", "ignore the stride", lambda x, w, s: slide_by_loops(x, w, 1)),
        ("convolve", "starts at i * stride", slide_but(step=1)),
        ("convolve", "without multiplying", slide_but(lambda a, w: a.sum())),
        ("convolve", "element by element", slide_but(lambda a, w: (a @ w).sum())),
        ("convolve", "mean", slide_but(lambda a, w: (a * w).mean())),
        ("convolve", "dtype=int", slide_into_whole_numbers),
        ("convolve", "holes", slide_with_holes),
        ("convolve", "(n - k) // stride + 1", slide_too_few),
        ("convolve", "has the shape", lambda x, w, s: np.zeros_like(x)),
        ("convolve", "yours is 0", slide_but(lambda a, w: 0)),
        ("receptive_field", "without the strides", lambda ls: 1 + sum(k - 1 for k, _ in ls)),
        ("receptive_field", "share a pixel", lambda ls: sum(k for k, _ in ls)),
        ("receptive_field", "by adding", lambda ls: math.prod(k for k, _ in ls)),
        ("receptive_field", "before you use it", field_but(update_first=True)),
        ("receptive_field", "multiply", field_but(product=False)),
        ("receptive_field", "start from 0", field_but(start=0)),
        ("receptive_field", "total stride", lambda ls: math.prod(s for _, s in ls)),
        ("receptive_field", "from last to first", lambda ls: field_but()(ls[::-1])),
        ("receptive_field", "gaps", pixels_read),
        ("receptive_field", "from last to first", lambda ls: (
            ls.reverse() or field_but()(ls))),
        ("receptive_field", "is a float", lambda ls: float(field_backwards(ls))),
        ("multiply_adds", "OUTPUT", macs_but(side=lambda size: size)),
        ("multiply_adds", "size // stride", lambda n, i, o, k, s, p: (
            (n // s) ** 2 * k**2 * i * o)),
        ("multiply_adds", "ceil(size / stride)", lambda n, i, o, k, s, p: (
            math.ceil(n / s) ** 2 * k**2 * i * o)),
        ("multiply_adds", "bias", lambda n, i, o, k, s, p: (
            count_windows(n, k, s, p) ** 2 * (k**2 * i + 1) * o)),
        ("multiply_adds", "rows and columns", macs_but(outputs=1)),
        ("multiply_adds", "input channels", macs_but(i=1)),
        ("multiply_adds", "output channels", macs_but(o=1)),
        ("multiply_adds", "one axis", macs_but(axes=1)),
        ("multiply_adds", "FLOPs", macs_but(times=2)),
        ("multiply_adds", "parameters", macs_but(outputs=0)),
        ("multiply_adds", "padding out", macs_but(padding=0)),
        ("multiply_adds", "stride out", macs_but(stride=1)),
        ("multiply_adds", "no floor", lambda n, i, o, k, s, p: (
            ((n + 2 * p - k) / s + 1) ** 2 * k * k * i * o)),
    ],
)  # fmt: skip
def test_wrong_answers_are_named(name, word, candidate, capsys):
    passed, line = said(capsys, name, candidate)
    assert not passed
    assert line.startswith(f"{name}: not yet. ")
    assert word in line


@pytest.mark.parametrize("name", CHECKERS)
def test_an_untouched_stub_is_not_written_yet(name, capsys):
    assert said(capsys, name, lambda *_: None) == (False, f"{name}: not written yet")


@pytest.mark.parametrize("name", CHECKERS)
def test_an_error_is_named(name, capsys):
    passed, line = said(capsys, name, lambda *_: [][0])
    assert not passed
    assert "IndexError: list index out of range" in line
