"""Convolution whose padding does not depend on the size of the image.

TensorFlow's own SAME padding puts the odd pixel at the bottom and the right, and how much
it pads depends on the size and the stride. Here an odd kernel gets (kernel_size - 1) // 2
on both sides, as in PyTorch and in slim's `conv2d_same`.
"""

import keras
import tensorflow as tf


def pad_same(x, kernel_size):
    """Pad NHWC images so that a kernel fits around every pixel; odd remainders go after."""
    before = (kernel_size - 1) // 2
    after = kernel_size - 1 - before
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])


def conv2d_same(x, kernel, stride=1):
    """Convolve NHWC images with a square HWIO kernel.

    The result is the stride-1 SAME convolution, of which every stride-th pixel is kept. For
    an odd kernel, output pixel (0, 0) is centred on input pixel (0, 0).
    """
    return tf.nn.conv2d(pad_same(x, kernel.shape[0]), kernel, stride, padding="VALID")


@keras.saving.register_keras_serializable("course_utils")
class Conv2DSame(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with the padding of `conv2d_same` at every stride.

    Maps `[N, H, W, in]` to `[N, ceil(H / stride), ceil(W / stride), filters]`. The kernel
    is square and its size odd: only then does a pixel have a centre to be kept.
    """

    def __init__(self, filters, kernel_size, strides=1, **kwargs):
        if not isinstance(kernel_size, int) or kernel_size % 2 == 0:
            raise ValueError(f"Conv2DSame takes one odd kernel_size, got {kernel_size!r}.")
        kwargs["padding"] = "same" if strides == 1 else "valid"
        super().__init__(filters, kernel_size, strides=strides, **kwargs)

    def get_config(self):  # Keras would save pairs, which __init__ does not take
        size, step = self.kernel_size[0], self.strides[0]
        return super().get_config() | {"kernel_size": size, "strides": step}

    def call(self, x):
        if self.padding == "valid":
            x = pad_same(x, self.kernel_size[0])
        return super().call(x)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        size = [None if n is None else -(-n // self.strides[0]) for n in size]
        return (batch, *size, self.filters)
