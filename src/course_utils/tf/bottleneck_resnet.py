"""A residual network of bottlenecks for small images, on Keras 3. Images are NHWC.

It is the network of an old TensorFlow 1 tutorial on MNIST, not one of the paper's: no batch
norm, no projection on a shortcut, and a 1x1 convolution on the main path between stages.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
[2] He, Zhang, Ren, Sun: Delving Deep into Rectifiers, 2015.
"""

from functools import partial
from typing import NamedTuple

import keras
from keras import initializers, layers

from course_utils.tf.arguments import is_count


class LayerBlock(NamedTuple):
    """A stage: how many bottlenecks, their channels outside, their channels inside."""

    num_repeats: int
    num_filters: int
    bottleneck_size: int


BLOCKS = (
    LayerBlock(3, 128, 32),
    LayerBlock(3, 256, 64),
    LayerBlock(3, 512, 128),
    LayerBlock(3, 1024, 256),
)
QUARTER_BLOCKS = tuple(LayerBlock(n, wide // 4, thin // 4) for n, wide, thin in BLOCKS)


def check_arguments(input_shape, num_classes, blocks):
    """Raise ValueError unless `bottleneck_resnet` can build a network from these."""
    if not _is_row(input_shape):
        raise ValueError(
            f"input_shape is {input_shape}, but images are (height, width, channels), three "
            "whole numbers above 0. Give (28, 28, 1) for MNIST, without the batch."
        )
    if min(input_shape[:2]) < 5:
        raise ValueError(
            f"The images have {input_shape[0]}x{input_shape[1]} pixels, and the stem halves "
            "twice, so that a single pixel would be left. Give at least 5x5, or enlarge them."
        )
    if not is_count(num_classes):
        raise ValueError(f"num_classes is {num_classes!r}. Give a whole number above 0.")
    if not isinstance(blocks, (list, tuple)) or not blocks or not all(map(_is_row, blocks)):
        raise ValueError(
            f"blocks is {blocks}, but it is a list of blocks, and each block is "
            "(num_repeats, num_filters, bottleneck_size), whole numbers above 0. Take "
            "BLOCKS or QUARTER_BLOCKS."
        )


def _is_row(numbers):
    """Say whether these are three whole numbers above 0."""
    return (
        isinstance(numbers, (list, tuple)) and len(numbers) == 3 and all(map(is_count, numbers))
    )


def weights_like_the_post():
    """Return first weights for kernel and bias: truncated normal of 0.02, for both.

    A new initializer each time, because one that is used again draws the same numbers.
    """
    return {
        "kernel_initializer": initializers.TruncatedNormal(stddev=0.02),
        "bias_initializer": initializers.TruncatedNormal(stddev=0.02),
    }


def conv2d(
    x, channels, size, name, *, stride=1, relu=False, bias=True, batch_norm=False, he_init=False
):
    """Convolve with SAME padding; then batch norm and ReLU, if asked for.

    Under batch norm the convolution has no bias: the mean is subtracted right after it.
    Decay 0.9 and epsilon 0.001 are those of the tutorial's own batch norm.
    """
    start = {"kernel_initializer": "he_normal"} if he_init else weights_like_the_post()
    use_bias = bias and not batch_norm
    conv = layers.Conv2D(
        channels, size, stride, padding="same", use_bias=use_bias, name=name, **start
    )
    x = conv(x)
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def bottleneck(x, block, name, conv, relu_after_sum=False):
    """1x1, 3x3 and 1x1 convolutions by `conv`, and the sum with `x`; the shape stays.

    The ReLU of the last convolution stands before the sum, or after it as in [1].
    """
    residual = conv(x, block.bottleneck_size, 1, f"{name}_conv_in", relu=True)
    residual = conv(residual, block.bottleneck_size, 3, f"{name}_conv_bottleneck", relu=True)
    residual = conv(residual, block.num_filters, 1, f"{name}_conv_out", relu=not relu_after_sum)
    x = layers.Add(name=f"{name}_sum")([residual, x])
    return layers.ReLU(name=f"{name}_relu")(x) if relu_after_sum else x


def bottleneck_resnet(
    input_shape=(28, 28, 1),
    num_classes=10,
    blocks=BLOCKS,
    *,
    batch_norm=False,
    relu_after_sum=False,
    he_init=False,
):
    """Return the network: images `[N, *input_shape]` to logits `[N, num_classes]`.

    The defaults are the old tutorial's network, 5,157,568 parameters. `blocks` has a row
    for each stage; with `QUARTER_BLOCKS`, a quarter as wide behind the stem, it has 330,448.

    Three arguments put right what the tutorial lacks: `batch_norm` behind each convolution,
    `relu_after_sum` as in [1] instead of before the sum, and `he_init`, the first weights
    of [2] with biases of 0 instead of normal numbers of 0.02 for weights and biases.

    Raises ValueError for images below 5x5 and for numbers that are no counts.
    """
    check_arguments(input_shape, num_classes, blocks)
    conv = partial(conv2d, batch_norm=batch_norm, he_init=he_init)
    blocks = [LayerBlock(*block) for block in blocks]
    images = keras.Input(input_shape)
    x = conv(images, 64, 7, "conv1", stride=2, relu=True)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)
    x = conv(x, blocks[0].num_filters, 1, "conv2")
    for i, block in enumerate(blocks):
        if i > 0:
            x = conv(x, block.num_filters, 1, f"block_{i - 1}_conv_upscale", bias=False)
        for j in range(block.num_repeats):
            x = bottleneck(x, block, f"block_{i}_repeat_{j}", conv, relu_after_sum)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    start = "he_normal" if he_init else initializers.RandomNormal(stddev=0.02)
    logits = layers.Dense(num_classes, use_bias=False, kernel_initializer=start, name="linear")
    return keras.Model(images, logits(x), name="bottleneck_resnet")
