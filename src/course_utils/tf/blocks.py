"""Residual and highway blocks for TensorFlow / Keras 3. Images are `[N, H, W, C]`.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
[2] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
[3] Srivastava, Greff, Schmidhuber: Highway Networks, 2015.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from course_utils.tf.batch_norm import BatchNorm
from course_utils.tf.convolution import Conv2DSame


def conv(out_channels, kernel_size, stride=1, bias=False):
    """Return a convolution padded by (kernel_size - 1) // 2 on every side."""
    return Conv2DSame(
        out_channels, kernel_size, stride, use_bias=bias, kernel_initializer="he_normal"
    )


def projection(in_channels, out_channels, stride, decay):
    """Return the shortcut's 1x1 convolution and batch norm, or None where shapes agree."""
    if stride == 1 and in_channels == out_channels:
        return None
    return keras.Sequential([conv(out_channels, 1, stride), BatchNorm(decay)])


@keras.saving.register_keras_serializable("course_utils")
class BasicBlock(layers.Layer):
    """Two 3x3 convolutions and a shortcut ([1], figure 2).

    Maps `[N, H, W, in_channels]` to `[N, ceil(H / stride), ceil(W / stride), out_channels]`.
    The shortcut is the identity where the shapes agree, else a projection ([1], option B).
    """

    def __init__(self, in_channels, out_channels, stride=1, decay=0.9, **kwargs):
        super().__init__(**kwargs)
        # Without this, one channel would be broadcast to many in the sum.
        self.input_spec = layers.InputSpec(ndim=4, axes={-1: in_channels})
        self.conv1 = conv(out_channels, 3, stride)
        self.bn1 = BatchNorm(decay)
        self.conv2 = conv(out_channels, 3)
        self.bn2 = BatchNorm(decay)
        self.downsample = projection(in_channels, out_channels, stride, decay)

    def build(self, input_shape):
        self.call(keras.Input(batch_shape=input_shape))  # builds the layers inside

    def call(self, x, training=None):
        shortcut = x if self.downsample is None else self.downsample(x, training=training)
        residual = ops.relu(self.bn1(self.conv1(x), training=training))
        residual = self.bn2(self.conv2(residual), training=training)
        return ops.relu(shortcut + residual)


@keras.saving.register_keras_serializable("course_utils")
class Bottleneck(layers.Layer):
    """1x1, 3x3 and 1x1 convolutions and a shortcut ([1], figure 5, right).

    Maps `[N, H, W, in_channels]` to `[N, ceil(H / stride), ceil(W / stride), out_channels]`.
    The stride sits on the 3x3 convolution, as in torchvision ("V1.5"). The models that the
    authors of [1] published have it on the first 1x1, which then never looks at three of
    four pixels; the paper does not say where.
    """

    def __init__(
        self, in_channels, bottleneck_channels, out_channels, stride=1, decay=0.9, **kwargs
    ):
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=4, axes={-1: in_channels})
        self.conv1 = conv(bottleneck_channels, 1)
        self.bn1 = BatchNorm(decay)
        self.conv2 = conv(bottleneck_channels, 3, stride)
        self.bn2 = BatchNorm(decay)
        self.conv3 = conv(out_channels, 1)
        self.bn3 = BatchNorm(decay)
        self.downsample = projection(in_channels, out_channels, stride, decay)

    def build(self, input_shape):
        self.call(keras.Input(batch_shape=input_shape))  # builds the layers inside

    def call(self, x, training=None):
        shortcut = x if self.downsample is None else self.downsample(x, training=training)
        residual = ops.relu(self.bn1(self.conv1(x), training=training))
        residual = ops.relu(self.bn2(self.conv2(residual), training=training))
        residual = self.bn3(self.conv3(residual), training=training)
        return ops.relu(shortcut + residual)


@keras.saving.register_keras_serializable("course_utils")
class PreActBottleneck(layers.Layer):
    """Bottleneck with batch norm and ReLU before the weights ([2], figure 4e), as in slim.

    Maps `[N, H, W, in_channels]` to `[N, ceil(H / stride), ceil(W / stride), out_channels]`.
    Nothing follows the sum. The projection reads the pre-activated input; it and `conv3`
    have a bias and no batch norm. An identity shortcut with a stride takes every
    stride-th pixel.
    """

    def __init__(
        self, in_channels, bottleneck_channels, out_channels, stride=1, decay=0.9, **kwargs
    ):
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=4, axes={-1: in_channels})
        self.stride = stride
        self.preact = BatchNorm(decay)
        self.conv1 = conv(bottleneck_channels, 1)
        self.bn1 = BatchNorm(decay)
        self.conv2 = conv(bottleneck_channels, 3, stride)
        self.bn2 = BatchNorm(decay)
        self.conv3 = conv(out_channels, 1, bias=True)
        self.projection = None
        if in_channels != out_channels:
            self.projection = conv(out_channels, 1, stride, bias=True)

    def build(self, input_shape):
        self.call(keras.Input(batch_shape=input_shape))  # builds the layers inside

    def call(self, x, training=None):
        preact = ops.relu(self.preact(x, training=training))
        if self.projection is None:
            shortcut = x[:, :: self.stride, :: self.stride]
        else:
            shortcut = self.projection(preact)
        residual = ops.relu(self.bn1(self.conv1(preact), training=training))
        residual = ops.relu(self.bn2(self.conv2(residual), training=training))
        return shortcut + self.conv3(residual)


@keras.saving.register_keras_serializable("course_utils")
class Highway(layers.Layer):
    """Fully connected highway layer y = H(x) T(x) + x (1 - T(x)) ([3], equation 3).

    Maps `[N, units]` to `[N, units]`. A negative `gate_bias` starts the layer near the
    identity ([3], section 2.2).
    """

    def __init__(self, units, gate_bias=-2.0, **kwargs):
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=2, axes={-1: units})
        self.transform = layers.Dense(units)
        self.gate = layers.Dense(units, bias_initializer=keras.initializers.Constant(gate_bias))

    def build(self, input_shape):
        self.call(keras.Input(batch_shape=input_shape))  # builds the layers inside

    def gate_values(self, x):
        return ops.sigmoid(self.gate(x))

    def call(self, x):
        gate = self.gate_values(x)
        return ops.relu(self.transform(x)) * gate + x * (1 - gate)


@dataclass(frozen=True)
class ResNetSettings:
    """What ResNets of the same depth and channels still differ in.

    The defaults are those of the old assignment and of this module's functions.
    `epsilon` and `decay` go to every batch norm, `use_bias` to every convolution,
    `kernel_initializer` to these and the dense layer. `stride_on_3x3` says which convolution
    of a block's main path has the stride: the middle one, or the first. `pool_padding` is the
    zero pixels around the maps that the stem's pooling reads.

    Give the initializer by its name, or as a dictionary with "class_name" and "config": one
    object, given to many layers, draws the same numbers for each kernel of one shape.
    """

    epsilon: float = 1e-3
    decay: float = 0.99
    use_bias: bool = True
    stride_on_3x3: bool = False
    pool_padding: int = 0
    kernel_initializer: str | dict | keras.initializers.Initializer = "glorot_uniform"


POST = ResNetSettings()


def conv_and_norm(x, channels, kernel_size, stride, name, settings):
    """Convolve NHWC maps without a loss at the edges, then normalize: `res...`, `bn...`."""
    # TensorFlow's own "same" is lopsided at a stride; PyTorch's padding is not.
    kind = Conv2DSame if stride > 1 and kernel_size > 1 else layers.Conv2D
    padding = {} if kind is Conv2DSame else {"padding": "same"}
    x = kind(
        channels,
        kernel_size,
        stride,
        use_bias=settings.use_bias,
        kernel_initializer=settings.kernel_initializer,
        name=f"res{name}",
        **padding,
    )(x)
    norm = {"momentum": settings.decay, "epsilon": settings.epsilon}
    return layers.BatchNormalization(**norm, name=f"bn{name}")(x)


def main_path(x, kernel_size, filters, stride, name, settings):
    """1x1, kernel, 1x1, each with batch norm: the path that both blocks below share."""
    strides = (1, stride, 1) if settings.stride_on_3x3 else (stride, 1, 1)
    sizes = (1, kernel_size, 1)
    for letter, channels, size, step in zip("abc", filters, sizes, strides, strict=True):
        x = conv_and_norm(x, channels, size, step, f"{name}_branch2{letter}", settings)
        if letter != "c":
            x = layers.ReLU()(x)
    return x


def identity_block(x, kernel_size, filters, stage, block, settings=POST):
    """Bottleneck around an identity shortcut, as a piece of a functional Keras model.

    `x` is a symbolic NHWC tensor, `filters` the channels of the three convolutions. The
    layers are named `res<stage><block>_branch2a` and so on, as the old assignment has them.

    Raises ValueError when the last of `filters` differs from the channels of `x`: then
    there is nothing to add, and `convolutional_block` is the one to take.
    """
    if x.shape[-1] != filters[-1]:
        raise ValueError(
            f"identity_block adds its input of {x.shape[-1]} channels to {filters[-1]} "
            "channels. Take convolutional_block, which projects the shortcut."
        )
    residual = main_path(x, kernel_size, filters, 1, f"{stage}{block}", settings)
    return layers.ReLU()(layers.Add()([x, residual]))


def convolutional_block(x, kernel_size, filters, stage, block, stride=2, settings=POST):
    """Bottleneck around a projected shortcut, as a piece of a functional Keras model.

    The stride sits on the projection and, as in the models that the authors of [1] published
    and in the old assignment, on the first 1x1 convolution, unless the settings say otherwise.
    Other arguments as in `identity_block`.
    """
    name = f"{stage}{block}"
    residual = main_path(x, kernel_size, filters, stride, name, settings)
    shortcut = conv_and_norm(x, filters[-1], 1, stride, f"{name}_branch1", settings)
    return layers.ReLU()(layers.Add()([shortcut, residual]))
