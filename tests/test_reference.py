"""The NumPy reference against PyTorch's functions in float64, and against hand counting."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_utils import reference


def nchw(x):
    return torch.tensor(np.moveaxis(x, -1, 1))


def nhwc(x):
    return np.moveaxis(x.numpy(), 1, -1)


CASES = [
    (stride, padding, dilation)
    for stride, padding, dilation in itertools.product([1, 2, 3], [0, 2], [1, 2])
]


@pytest.mark.parametrize(("stride", "padding", "dilation"), CASES)
def test_conv2d_is_pytorchs(stride, padding, dilation):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 3))
    w, b = rng.normal(size=(3, 2, 3, 4)), rng.normal(size=4)
    kernel = torch.tensor(w.transpose(3, 2, 0, 1))
    expected = F.conv2d(nchw(x), kernel, torch.tensor(b), stride, padding, dilation)
    got = reference.conv2d(x, w, b, stride, padding, dilation)
    np.testing.assert_allclose(got, nhwc(expected), rtol=0, atol=1e-12)


def test_conv2d_same_pads_the_odd_pixel_after():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(1, 8, 7, 2)), rng.normal(size=(3, 3, 2, 5))
    padded = F.pad(nchw(x), (1, 1, 0, 1))  # width 7 needs both sides, height 8 only below
    expected = F.conv2d(padded, torch.tensor(w.transpose(3, 2, 0, 1)), stride=2)
    got = reference.conv2d(x, w, stride=2, padding="same")
    np.testing.assert_allclose(got, nhwc(expected), rtol=0, atol=1e-12)


def test_conv2d_names_wrong_channels():
    with pytest.raises(ValueError, match="x has 3 channels, but the kernel takes 2"):
        reference.conv2d(np.zeros((1, 4, 4, 3)), np.zeros((3, 3, 2, 1)))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, None, 0), (3, 2, 1), (3, 1, 0)])
def test_max_pool_is_pytorchs_and_padding_never_wins(kernel, stride, padding):
    x = -1 - np.random.default_rng(2).random((2, 7, 8, 3))  # a zero in the padding would win
    expected = nhwc(F.max_pool2d(nchw(x), kernel, stride, padding))
    np.testing.assert_array_equal(reference.max_pool2d(x, kernel, stride, padding), expected)


def test_batch_norm_is_pytorchs_in_both_modes():
    rng = np.random.default_rng(3)
    x = rng.normal(2.0, 3.0, size=(4, 5, 6, 3))
    gamma, beta, mean, var = rng.random((4, 3)) + 0.5
    batch_mean, batch_var = reference.batch_statistics(x)
    for training, used in ((True, (batch_mean, batch_var)), (False, (mean, var))):
        theirs = F.batch_norm(
            nchw(x), *map(torch.tensor, (mean, var, gamma, beta)), training, eps=1e-3
        )
        got = reference.batch_norm(x, gamma, beta, mean=used[0], var=used[1], epsilon=1e-3)
        np.testing.assert_allclose(got, nhwc(theirs), rtol=0, atol=1e-12)


def test_ema_by_hand():
    np.testing.assert_allclose(reference.ema([1, 2, 4], 0.5), [0.5, 1.25, 2.625])
    np.testing.assert_allclose(reference.ema([1, 2, 4], 0), [1, 2, 4])
    vectors = reference.ema([[1.0, 0.0], [1.0, 4.0]], 0.75, initial=1.0)
    np.testing.assert_allclose(vectors, [[1, 0.75], [1, 1.5625]])
    constant = reference.ema(np.ones(5), 0.9)
    np.testing.assert_allclose(constant, 1 - 0.9 ** np.arange(1, 6))


@pytest.mark.parametrize("decay", [1, 1.5, -0.1, float("nan")])
def test_ema_refuses_a_decay_that_does_not_average(decay):
    with pytest.raises(ValueError, match=f"decay must be at least 0 and below 1, got {decay}"):
        reference.ema([1, 2], decay)


def test_activations_keep_dtype_and_do_not_overflow():
    x = np.array([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [reference.sigmoid(x), reference.softmax(x), reference.relu(x)]
    expected = [torch.sigmoid, lambda t: torch.softmax(t, -1), torch.relu]
    for got, function in zip(values, expected, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, function(torch.tensor(x)).numpy(), atol=1e-7)


def test_highway_between_its_two_ends():
    rng = np.random.default_rng(4)
    x, w_h, b_h = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    shut = reference.highway(x, w_h, b_h, np.zeros((3, 3)), np.full(3, -50.0))
    open_ = reference.highway(x, w_h, b_h, np.zeros((3, 3)), np.full(3, 50.0))
    half = reference.highway(x, w_h, b_h, np.zeros((3, 3)), np.zeros(3))
    np.testing.assert_allclose(shut, x, atol=1e-12)
    np.testing.assert_allclose(open_, np.maximum(x @ w_h + b_h, 0), atol=1e-12)
    np.testing.assert_allclose(half, (shut + open_) / 2, atol=1e-12)


def test_global_average_pool_by_hand():
    x = np.arange(8.0).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(reference.global_average_pool(x), [[3.0, 4.0]])
