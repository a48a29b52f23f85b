"""Sizes against the frameworks' own layers; counts against hand-computed cases."""

import itertools

import keras
import numpy as np
import pytest
import torch

from course_utils import conv_arithmetic as ca
from course_utils.specs import RESNETS

SIZES, KERNELS, STRIDES = range(1, 41), range(1, 12), range(1, 5)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_output_size_is_pytorchs(padding, dilation):
    refused = 0
    for kernel, stride in itertools.product(KERNELS, STRIDES):
        layer = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation, device="meta")
        for size in SIZES:
            x = torch.empty(1, 1, size, device="meta")
            if dilation * (kernel - 1) + 1 > size + 2 * padding:
                refused += 1
                with pytest.raises(ValueError, match="does not fit"):
                    ca.output_size(size, kernel, stride, padding, dilation)
                with pytest.raises(RuntimeError):
                    layer(x)
            else:
                expected = layer(x).shape[-1]
                assert ca.output_size(size, kernel, stride, padding, dilation) == expected
    assert refused > 0


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_output_size_is_tensorflows(padding):
    dilated = [(stride, 1) for stride in STRIDES] + [(1, 2), (1, 3)]  # Keras allows no more
    for kernel, (stride, dilation) in itertools.product(KERNELS, dilated):
        layer = keras.layers.Conv1D(1, kernel, stride, padding, dilation_rate=dilation)
        for size in SIZES:
            if padding == "valid" and dilation * (kernel - 1) + 1 > size:
                with pytest.raises(ValueError, match="does not fit"):
                    ca.output_size(size, kernel, stride, padding, dilation)
                continue
            expected = layer(np.zeros((1, size, 1), "float32")).shape[1]
            assert ca.output_size(size, kernel, stride, padding, dilation) == expected


def test_same_padding_puts_the_odd_pixel_after():
    assert ca.same_padding(28, 7, 2) == (2, 3)
    assert ca.same_padding(14, 3, 2) == (0, 1)
    assert ca.same_padding(33, 3, 2) == (1, 1)
    assert ca.same_padding(8, 1, 3) == (0, 0)


def test_uneven_padding_counts_both_sides():
    assert ca.output_size(28, 7, 2, (2, 3)) == ca.output_size(28, 7, 2, "same") == 14
    assert ca.output_size(28, 7, 2, (0, 0)) == 11


def test_numpys_whole_numbers_count_as_whole():
    size, kernel, stride, padding = np.array([28, 7, 2, 3])
    assert ca.output_size(size, kernel, stride, padding) == 14
    assert ca.same_padding(size, kernel, stride) == (2, 3)
    with pytest.raises(ValueError, match="size must be a whole number"):
        ca.output_size(np.float64(28), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), "size must be a whole number"),
        ((8, 0), "kernel must be a whole number"),
        ((8, 3, 0), "stride must be a whole number"),
        ((8.0, 3), "size must be a whole number"),
        ((8, 3, 1, -1), "must not be negative"),
        ((8, 3, 1, "full"), '"same", "valid" or a number'),
        ((8, 3, 1, 0, 0), "dilation must be a whole number"),
    ],
)
def test_bad_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.output_size(*arguments)


def test_receptive_field_by_hand_and_by_gradient():
    assert ca.receptive_field([]) == 1
    assert ca.receptive_field([(3, 1), (3, 1)]) == 5  # two 3x3 see what one 5x5 sees
    assert ca.receptive_field([(7, 2), (3, 2)]) == 11  # the stem of every ResNet
    assert ca.receptive_field([(3, 1, 2), (3, 2), (3, 1)]) == 11
    assert ca.receptive_field([(1, 2), (3, 1)]) == 5  # 3 are read, the 2 gaps count
    layers = [(3, 2, 1), (5, 1, 2), (2, 3, 1), (3, 1, 1)]
    net = torch.nn.Sequential(*[torch.nn.Conv1d(1, 1, k, s, dilation=d) for k, s, d in layers])
    for layer in net:
        torch.nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 101, requires_grad=True)
    net(x)[0, 0, 3].backward()
    touched = torch.nonzero(x.grad[0, 0]).flatten()
    assert ca.receptive_field(layers) == touched.max() - touched.min() + 1
    assert ca.total_stride(layers) == 6


def test_params_and_macs_are_pytorchs():
    layer = torch.nn.Conv2d(5, 7, 3)
    assert ca.conv_params(5, 7, 3, bias=True) == sum(p.numel() for p in layer.parameters())
    assert ca.conv_params(5, 7, 3) == layer.weight.numel()
    multiply_adds = layer(torch.zeros(1, 5, 9, 9)).numel() * layer.weight[0].numel()
    assert ca.conv_macs(5, 7, 3, output_size=7) == multiply_adds


def _batch_norm(channels):
    return 2 * channels


def _count_v1(spec):
    """Trained values of the v1 network of `spec`, RGB, 1,000 classes."""
    total, channels = ca.conv_params(3, 64, 7) + _batch_norm(64), 64
    for blocks, inner, out in zip(
        spec.blocks, spec.inner_channels, spec.out_channels, strict=True
    ):
        for _ in range(blocks):
            kernels = [(channels, inner, 1), (inner, inner, 3), (inner, out, 1)]
            if not spec.bottleneck:
                kernels = [(channels, inner, 3), (inner, inner, 3)]
            kernels += [(channels, out, 1)] if channels != out else []
            total += sum(ca.conv_params(*k) + _batch_norm(k[1]) for k in kernels)
            channels = out
    return total + channels * 1000 + 1000


def _count_v2(spec):
    """Trained values of slim's pre-activation network of `spec`, RGB, 1,000 classes."""
    total, channels = ca.conv_params(3, 64, 7, bias=True), 64
    for blocks, inner, out in zip(
        spec.blocks, spec.inner_channels, spec.out_channels, strict=True
    ):
        for _ in range(blocks):
            total += _batch_norm(channels) + 2 * _batch_norm(inner)
            total += ca.conv_params(channels, inner, 1) + ca.conv_params(inner, inner, 3)
            total += ca.conv_params(inner, out, 1, bias=True)
            total += ca.conv_params(channels, out, 1, bias=True) if channels != out else 0
            channels = out
    return total + _batch_norm(channels) + channels * 1000 + 1000


@pytest.mark.parametrize("spec", RESNETS.values(), ids=lambda spec: f"depth {spec.depth}")
def test_specs_give_the_published_depth_and_counts(spec):
    convs_per_block = 3 if spec.bottleneck else 2
    assert spec.depth == convs_per_block * sum(spec.blocks) + 2
    assert RESNETS[spec.depth] is spec
    published = [
        (spec.params_v1, _count_v1),
        (spec.params_v2, _count_v2),
    ]
    assert any(number for number, _ in published)
    for number, count in published:
        if number is not None:
            assert count(spec) == number
