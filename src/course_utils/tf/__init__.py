"""The TensorFlow half of the course, on Keras 3. Images are NHWC."""

from course_utils.tf import slim, slim_checkpoint
from course_utils.tf.batch_norm import BatchNorm
from course_utils.tf.blocks import (
    BasicBlock,
    Bottleneck,
    Highway,
    PreActBottleneck,
    ResNetSettings,
    convolutional_block,
    identity_block,
)
from course_utils.tf.bottleneck_resnet import bottleneck_resnet
from course_utils.tf.convolution import Conv2DSame, conv2d_same
from course_utils.tf.preact_resnet import PreActUnit, preact_resnet
from course_utils.tf.resnet50 import (
    APPLICATIONS,
    POST,
    PYTORCH,
    applications_names,
    copy_weights,
    resnet,
    resnet50,
)
from course_utils.tf.training import DivergedError, evaluate, fit
from course_utils.tf.vgg import vgg16

__all__ = [
    "APPLICATIONS",
    "POST",
    "PYTORCH",
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "Conv2DSame",
    "DivergedError",
    "Highway",
    "PreActBottleneck",
    "PreActUnit",
    "ResNetSettings",
    "applications_names",
    "bottleneck_resnet",
    "conv2d_same",
    "convolutional_block",
    "copy_weights",
    "evaluate",
    "fit",
    "identity_block",
    "preact_resnet",
    "resnet",
    "resnet50",
    "slim",
    "slim_checkpoint",
    "vgg16",
]
