"""The checkers of chapter 07 accept right answers and name the mistake of wrong ones."""

import math

import numpy as np
from checker_tests import CheckerTests

CHECKERS = ["stack_of_threes", "vgg_parameters", "global_average", "loss_floor"]


# --- Right answers ----------------------------------------------------------------------


def threes_by_loop(kernel, channels):
    layers = 0
    while 1 + 2 * layers < kernel:
        layers += 1
    return [layers, sum(3 * 3 * channels * channels for _ in range(layers))]


def vgg_by_formula(blocks, image_size, hidden):
    total, c = 0, 1
    for n, out in blocks:
        total += 9 * c * out + 9 * (n - 1) * out**2 + n * out
        c = out
    flat = c * (image_size // 2 ** len(blocks)) ** 2
    return total + (flat + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 10


def vgg_by_list(blocks, image_size, hidden):
    shapes, c = [], 1
    for n, out in blocks:
        for _ in range(n):
            shapes.append((out, c, 3, 3))
            c = out
        image_size = image_size // 2
    shapes += [(hidden, c * image_size * image_size), (hidden, hidden), (10, hidden)]
    return sum(int(np.prod(shape)) + shape[0] for shape in shapes)


def average_by_reshape(maps):
    return maps.reshape(*maps.shape[:2], -1).mean(-1)


def average_by_einsum(maps):
    return np.einsum("nchw->nc", maps) / np.prod(maps.shape[2:])


def floor_by_mean(labels, dead, num_classes):
    return np.isin(labels, dead).mean() * np.log(num_classes)


def floor_by_softmax(labels, dead, num_classes):
    """The loss itself, for logits of 0 in dead classes' images, else 50 at the label."""
    total = 0.0
    for label in labels:
        z = np.zeros(num_classes)
        z[label] = 0 if label in dead else 50
        total += np.log(np.exp(z).sum()) - z[label]
    return total / len(labels)


RIGHT = [
    ("stack_of_threes", lambda k, c: ((k - 1) // 2, (k - 1) // 2 * 9 * c**2)),
    ("stack_of_threes", lambda k, c: np.array([k // 2, k // 2 * 9 * c * c])),
    ("stack_of_threes", threes_by_loop),
    ("vgg_parameters", vgg_by_formula),
    ("vgg_parameters", vgg_by_list),
    ("global_average", lambda maps: maps.mean(axis=(2, 3))),
    ("global_average", average_by_reshape),
    ("global_average", average_by_einsum),
    ("loss_floor", floor_by_mean),
    ("loss_floor", floor_by_softmax),
]


# --- Wrong answers ----------------------------------------------------------------------


def in_place(maps):
    maps /= maps[0, 0].size
    return maps.sum((2, 3))


def vgg(
    conv_bias=1,
    dense_bias=1,
    area=9,
    power=2,
    colours=1,
    last=True,
    second=True,
    size=lambda n, b: n // 2 ** len(b),
):
    """A candidate with one of the usual slips."""

    def candidate(blocks, image_size, hidden):
        total, c = 0, colours
        for n, out in blocks:
            for _ in range(n):
                total += (area * c + conv_bias) * out
                c = out
        flat = c * size(image_size, blocks) ** power
        total += (flat + dense_bias) * hidden
        total += (hidden + dense_bias) * hidden if second else 0
        return total + ((hidden + dense_bias) * 10 if last else 0)

    return candidate


def vgg_one_convolution(blocks, image_size, hidden):
    return vgg_by_formula([(1, out) for _, out in blocks], image_size, hidden)


def vgg_same_inputs(blocks, image_size, hidden):
    total, c = 0, 1
    for n, out in blocks:
        total += n * (9 * c + 1) * out
        c = out
    convs = vgg_convolutions(blocks, image_size, hidden)
    return vgg_by_formula(blocks, image_size, hidden) - convs + total


def vgg_convolutions(blocks, image_size, hidden):
    total, c = 0, 1
    for n, out in blocks:
        total += (9 * c + 1) * out + (n - 1) * (9 * out + 1) * out
        c = out
    return total


def share(labels, dead):
    return np.isin(labels, dead).mean()


WRONG = [
    ("stack_of_threes", lambda k, c: (k // 3, 9 * c * c * (k // 3)), "see 5 pixels, not 6"),
    ("stack_of_threes", lambda k, c: (k - 1, 9 * c * c * (k - 1)), "halve it"),
    ("stack_of_threes", lambda k, c: (k - 2, 9 * c * c * (k - 2)), "adds 2 pixels, not 1"),
    ("stack_of_threes", lambda k, c: ((k - 3) // 2, 9), "its own 3"),
    ("stack_of_threes", lambda k, c: ((k + 1) // 2, 9), "one layer too many"),
    ("stack_of_threes", lambda k, c: (round(k * k / 9), 9), "compare areas"),
    ("stack_of_threes", lambda k, c: (k // 2, 9 * c * c), "weights of one layer"),
    ("stack_of_threes", lambda k, c: (k // 2, k // 2 * 9 * c), "channels twice"),
    ("stack_of_threes", lambda k, c: (k // 2, k // 2 * 9), "channels are missing"),
    ("stack_of_threes", lambda k, c: (k // 2, k // 2 * (9 * c + 1) * c), "biases"),
    ("stack_of_threes", lambda k, c: (k // 2, k // 2 * 3 * c * c), "9 weights, not 3"),
    ("stack_of_threes", lambda k, c: (k // 2, k * k * c * c), "one large kernel"),
    ("stack_of_threes", lambda k, c: (k // 2, 9 * c), "you gave 576 weights"),
    ("stack_of_threes", lambda k, c: ((k - 1) / 2, (k - 1) / 2 * 9 * c**2), "whole number"),
    ("stack_of_threes", lambda k, c: k // 2, "you gave one: 2"),
    ("stack_of_threes", lambda k, c: (k // 2, c, 9), "you gave 3 of them: (2, 64, 9)"),
    ("stack_of_threes", lambda k, c: "ab", "Each of the two answers is a number, you gave 'a'"),
    ("stack_of_threes", lambda k, c: [k // 2 * 9 * c**2, k // 2], "exchanged"),
    ("vgg_parameters", vgg(conv_bias=0, dense_bias=0), "the biases out"),
    ("vgg_parameters", vgg(conv_bias=0), "only with `bias=True`"),
    ("vgg_parameters", vgg(dense_bias=0), "biases of the dense layers"),
    ("vgg_parameters", vgg(colours=3), "one channel, not 3"),
    ("vgg_parameters", vgg(area=3), "9 weights for each input channel"),
    ("vgg_parameters", vgg(area=1), "3x3 out"),
    ("vgg_parameters", vgg_one_convolution, "one convolution for each block"),
    ("vgg_parameters", vgg_same_inputs, "first convolution reads"),
    ("vgg_parameters", vgg(power=1), "side times side"),
    ("vgg_parameters", vgg(power=0), "not the channels alone"),
    ("vgg_parameters", vgg(size=lambda n, b: n / 2 ** len(b)), "do not round down"),
    ("vgg_parameters", vgg(size=lambda n, b: math.ceil(n / 2 ** len(b))), "You round up"),
    ("vgg_parameters", vgg(size=lambda n, b: n), "poolings out"),
    ("vgg_parameters", vgg(size=lambda n, b: n // 32), "five times"),
    ("vgg_parameters", vgg(last=False), "to the classes"),
    ("vgg_parameters", vgg(second=False), "second hidden layer"),
    ("vgg_parameters", vgg_convolutions, "convolutions alone"),
    ("vgg_parameters", lambda *a: vgg_by_list(*a) - vgg_convolutions(*a), "layers alone"),
    ("vgg_parameters", lambda *a: 43_093_322, "images of 32 and hidden=256"),
    ("vgg_parameters", lambda *a: [vgg_by_list(*a)], "one number"),
    ("vgg_parameters", lambda *a: float(vgg_by_list(*a)), "whole number"),
    ("global_average", lambda m: m.mean((2, 3), keepdims=True), "two axes of size 1"),
    ("global_average", lambda m: m.sum((2, 3)), "That is the sum"),
    ("global_average", lambda m: m.max((2, 3)), "largest pixel"),
    ("global_average", lambda m: m[:, :, 0, 0], "first pixel"),
    ("global_average", lambda m: m.mean((1, 2)), "in NHWC"),
    ("global_average", lambda m: m.mean(1), "over the channels"),
    ("global_average", lambda m: m.mean((1, 2, 3)), "all but the images"),
    ("global_average", lambda m: m.mean((0, 2, 3)), "over the batch"),
    ("global_average", lambda m: m.mean(3), "width only"),
    ("global_average", lambda m: m.mean(2), "height only"),
    ("global_average", lambda m: m.reshape(len(m), -1), "flatten"),
    ("global_average", in_place, "changed the caller"),
    ("global_average", lambda m: m.sum((2, 3)) / m.shape[2], "height only, or by width"),
    ("global_average", lambda m: np.median(m, (2, 3)), "For maps (2, 10, 5, 5) the values"),
    (
        "global_average",
        lambda m: m.sum((2, 3)) / m.shape[2] ** 2,
        "For maps (3, 4, 2, 6) the values differ from the mean",
    ),
    ("loss_floor", lambda y, d, k: (1 - share(y, d)) * np.log(k), "living classes"),
    ("loss_floor", lambda y, d, k: len(d) / k * np.log(k), "equally frequent"),
    ("loss_floor", lambda y, d, k: np.log(k) if d else 0.0, "Average over all"),
    ("loss_floor", lambda y, d, k: np.log(k), "in every case"),
    ("loss_floor", lambda y, d, k: share(y, d) * len(y) * np.log(k), "Divide by their number"),
    ("loss_floor", lambda y, d, k: share(y, d), "share of the images"),
    ("loss_floor", lambda y, d, k: share(y, d) * np.log(max(len(d), 1)), "shared by all"),
    ("loss_floor", lambda y, d, k: share(y, d) * np.log(k - len(d)), "too little"),
    ("loss_floor", lambda y, d, k: share(y, d) * np.log(10), "You write ln(10)"),
    ("loss_floor", lambda y, d, k: -share(y, d) * np.log(k), "sign is wrong"),
    ("loss_floor", lambda y, d, k: share(y, d) * np.log2(k), "base 2"),
    ("loss_floor", lambda y, d, k: share(y, d) * np.log10(k), "base 10"),
    ("loss_floor", lambda y, d, k: 0.5, "12 of 40 images"),
    ("loss_floor", lambda y, d, k: np.log(k) * np.isin(y, d), "one number"),
]


class TestCheckers(CheckerTests):
    right, wrong, checkers = RIGHT, WRONG, CHECKERS


def test_the_posts_own_network_counts_as_published():
    """The count that both right answers give is that of the old post's VGG."""
    blocks = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
    assert vgg_by_formula(blocks, 224, 4096) == vgg_by_list(blocks, 224, 4096) == 43_093_322
