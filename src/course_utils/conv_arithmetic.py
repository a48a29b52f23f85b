"""Sizes, padding, receptive field, parameters and multiply-adds of convolutions.

Integers only, no framework. Everything is about one spatial axis: height and width follow
the same rules, each with its own numbers.

[1] Dumoulin, Visin: A guide to convolution arithmetic for deep learning, 2016.
"""

from collections.abc import Iterable, Sequence
from numbers import Integral


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def dilated_kernel(kernel: int, dilation: int = 1) -> int:
    """Pixels that a kernel spans: `dilation - 1` gaps lie between neighbouring taps."""
    return dilation * (kernel - 1) + 1


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Return the (before, after) padding that TensorFlow's SAME adds along one axis.

    The output has ceil(size / stride) pixels. An odd total puts the extra pixel after.
    """
    _check_positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    output = -(-size // stride)
    total = max((output - 1) * stride + dilated_kernel(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def resolve_padding(
    size: int, kernel: int, stride: int, padding: int | str | Sequence[int], dilation: int
) -> tuple[int, int]:
    """Return `padding` as (before, after), whatever form it was given in."""
    if isinstance(padding, str):
        if padding.lower() == "same":
            return same_padding(size, kernel, stride, dilation)
        if padding.lower() == "valid":
            return 0, 0
        raise ValueError(f'padding must be "same", "valid" or a number, got "{padding}".')
    before, after = (padding, padding) if isinstance(padding, Integral) else padding
    if before < 0 or after < 0:
        raise ValueError(f"padding must not be negative, got {padding}.")
    return before, after


def output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int = 1,
) -> int:
    """Return how many pixels a convolution or a pooling gives along one axis.

    floor((size + before + after - span) / stride) + 1, where span is the kernel's width
    with its gaps ([1], relationship 15). `padding` is one number for both sides, a pair
    (before, after), "same" or "valid".

    Raises ValueError when the kernel does not fit into the padded input once.
    """
    _check_positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    before, after = resolve_padding(size, kernel, stride, padding, dilation)
    span = dilated_kernel(kernel, dilation)
    if span > size + before + after:
        raise ValueError(
            f"A kernel that spans {span} pixels does not fit into {size} pixels with "
            f"{before} + {after} of padding. Take a smaller kernel or more padding."
        )
    return (size + before + after - span) // stride + 1


def receptive_field(layers: Iterable[Sequence[int]]) -> int:
    """Return the pixels from the first to the last input that one output can depend on.

    Along one axis, gaps included: a stride above the kernel leaves pixels between unread.
    `layers` are (kernel, stride) or (kernel, stride, dilation), first layer first. Padding
    does not matter. Each layer adds (span - 1) steps, and a step is as long as the strides
    of all layers before it multiply to.
    """
    field, step = 1, 1
    for kernel, stride, *dilation in layers:
        _check_positive(kernel=kernel, stride=stride)
        field += (dilated_kernel(kernel, *dilation) - 1) * step
        step *= stride
    return field


def total_stride(layers: Iterable[Sequence[int]]) -> int:
    """Return how many input pixels lie between two neighbouring output pixels."""
    step = 1
    for _, stride, *_ in layers:
        step *= stride
    return step


def conv_params(in_channels: int, out_channels: int, kernel: int, bias: bool = False) -> int:
    """Return the number of trained values of a square 2-D convolution."""
    _check_positive(in_channels=in_channels, out_channels=out_channels, kernel=kernel)
    return kernel * kernel * in_channels * out_channels + (out_channels if bias else 0)


def conv_macs(in_channels: int, out_channels: int, kernel: int, output_size: int) -> int:
    """Return the multiply-adds of a square 2-D convolution for one image.

    `output_size` is the side of the square output, in pixels. Biases are not counted.
    """
    _check_positive(output_size=output_size)
    return conv_params(in_channels, out_channels, kernel) * output_size * output_size


def smallest_input(layers: Iterable[Sequence[int]]) -> int:
    """Return the smallest input that leaves one output pixel behind all `layers`.

    `layers` are (kernel, stride, padding), first layer first.
    """
    size = 1
    for kernel, stride, padding in reversed(list(layers)):
        _check_positive(kernel=kernel, stride=stride)
        size = max((size - 1) * stride + kernel - 2 * padding, 1)
    return size
