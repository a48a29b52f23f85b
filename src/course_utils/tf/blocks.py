"""Residual and highway blocks for TensorFlow / Keras 3. Images are `[N, H, W, C]`.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
[2] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
[3] Srivastava, Greff, Schmidhuber: Highway Networks, 2015.
"""

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
    The stride sits on the 3x3 convolution, as in torchvision ("V1.5"); [1] has it on the
    first 1x1, which then never looks at three of four pixels.
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


def _main_path(x, kernel_size, filters, stride, name):
    """1x1, kernel, 1x1, each with batch norm: the path that both blocks below share."""
    settings = zip("abc", filters, (1, kernel_size, 1), (stride, 1, 1), strict=True)
    for letter, channels, size, step in settings:
        conv_name, bn_name = f"res{name}_branch2{letter}", f"bn{name}_branch2{letter}"
        x = layers.Conv2D(channels, size, step, padding="same", name=conv_name)(x)
        x = layers.BatchNormalization(name=bn_name)(x)
        if letter != "c":
            x = layers.ReLU()(x)
    return x


def identity_block(x, kernel_size, filters, stage, block):
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
    residual = _main_path(x, kernel_size, filters, 1, f"{stage}{block}")
    return layers.ReLU()(layers.Add()([x, residual]))


def convolutional_block(x, kernel_size, filters, stage, block, stride=2):
    """Bottleneck around a projected shortcut, as a piece of a functional Keras model.

    The stride sits on the first 1x1 convolution and on the projection, as in [1] and in
    the old assignment. Other arguments as in `identity_block`.
    """
    name = f"{stage}{block}"
    residual = _main_path(x, kernel_size, filters, stride, name)
    shortcut = layers.Conv2D(filters[-1], 1, stride, name=f"res{name}_branch1")(x)
    shortcut = layers.BatchNormalization(name=f"bn{name}_branch1")(shortcut)
    return layers.ReLU()(layers.Add()([shortcut, residual]))
