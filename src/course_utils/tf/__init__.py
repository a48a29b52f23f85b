"""The TensorFlow half of the course, on Keras 3. Images are NHWC."""

from course_utils.tf.batch_norm import BatchNorm
from course_utils.tf.blocks import (
    BasicBlock,
    Bottleneck,
    Highway,
    PreActBottleneck,
    convolutional_block,
    identity_block,
)
from course_utils.tf.convolution import Conv2DSame, conv2d_same

__all__ = [
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "Conv2DSame",
    "Highway",
    "PreActBottleneck",
    "conv2d_same",
    "convolutional_block",
    "identity_block",
]
