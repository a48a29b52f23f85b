"""ResNetV2 of TF1's slim library, on Keras 3. Images are NHWC.

The function is slim's in each detail: a stem without batch norm and activation, bottlenecks
with pre-activation, the stride in the last unit of a block, a bias wherever no batch norm
follows. Layers are named by slim's scopes, with dots for the slashes that Keras does not
allow: `block1.unit_1.bottleneck_v2.conv1`.

[1] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
[2] TensorFlow-Slim: nets/resnet_v2.py and nets/resnet_utils.py, 2016.
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import layers, ops

from course_utils.specs import RESNETS
from course_utils.tf.arguments import check_arguments, is_count
from course_utils.tf.batch_norm import BatchNorm
from course_utils.tf.convolution import Conv2DSame

# Slim draws kernels from a normal distribution cut at two standard deviations. To make up
# for the cut it widens He's variance 2 / fan_in by 1.3; Keras would divide by 0.8796 ** 2.
HE_VARIANCE = 2 * 1.3 * 0.87962566103423978**2
UNIT = ("depth", "depth_bottleneck", "stride")  # the keys of slim's own units
OTHER_SCOPES = ("conv1", "pool1", "postnorm", "pool5", "logits", "spatial_squeeze")
ONE_VALUE = "Batch norm cannot train on one value per channel. Give more or larger images."
VARIABLES = {"kernel": "weights", "bias": "biases"}  # Keras's names -> slim's


class Block(NamedTuple):
    """A row of bottleneck units: its scope, and (depth, bottleneck depth, stride) of each."""

    scope: str
    args: tuple[tuple[int, int, int], ...]


def resnet_v2_block(scope, base_depth, num_units, stride) -> Block:
    """Return a block of equal units, of which the last one has the stride ([2])."""
    unit = (4 * base_depth, base_depth)
    return Block(scope, ((*unit, 1),) * (num_units - 1) + ((*unit, stride),))


def blocks_of_depth(depth) -> tuple[Block, ...]:
    """Return the four blocks of the network with 50, 101, 152 or 200 layers ([1], [2])."""
    spec, strides = RESNETS[depth], (2, 2, 2, 1)
    rows = zip(spec.inner_channels, spec.blocks, strides, strict=True)
    return tuple(resnet_v2_block(f"block{i}", *row) for i, row in enumerate(rows, start=1))


def read_unit(unit) -> tuple[int, int, int]:
    """Return (depth, bottleneck depth, stride) from such a triple or from slim's dictionary."""
    plain = unit
    if isinstance(unit, Mapping) and unit.keys() - {"rate"} == set(UNIT):
        plain = [unit[key] for key in UNIT] if unit.get("rate", 1) == 1 else None
    if not isinstance(plain, (list, tuple)) or len(plain) != 3 or not all(map(is_count, plain)):
        raise ValueError(
            "A unit is (depth, bottleneck depth, stride), three whole numbers of at least 1, "
            f"or slim's dictionary of them with a rate of 1 at most. Got {unit!r}."
        )
    return tuple(plain)


def read_blocks(blocks) -> list[Block]:
    """Return `Block`s of plain units, or raise ValueError."""
    blocks = list(blocks)
    if not blocks or not all(getattr(block, "args", ()) for block in blocks):
        raise ValueError(
            "blocks must be a list of blocks with units, Block(scope, args), got "
            f"{blocks!r}. blocks_of_depth(50) gives those of ResNetV2-50."
        )
    scopes = [block.scope for block in blocks]
    fit = [isinstance(name, str) and name.isidentifier() for name in scopes]
    if not all(fit) or len({*scopes, *OTHER_SCOPES}) < len(scopes) + len(OTHER_SCOPES):
        raise ValueError(
            f"Each block needs a scope of its own, like block1, got {scopes!r}. These are "
            f"taken: {', '.join(OTHER_SCOPES)}."
        )
    return [Block(block.scope, tuple(map(read_unit, block.args))) for block in blocks]


def check_sizes(input_shape, num_classes, blocks, include_root_block) -> None:
    """Raise ValueError for images smaller than the stride of the network, or no counts.

    Sizes that are None stay open. Whatever the stride, 32 pixels are enough.
    """
    stride = prod(unit[-1] for block in blocks for unit in block.args)
    smallest = min(stride * (4 if include_root_block else 1), 32)
    shape = [smallest if size is None else size for size in input_shape[:2]]
    check_arguments(
        (*shape, *input_shape[2:]), 1 if num_classes is None else num_classes, smallest
    )


def conv2d(x, channels, kernel_size, stride, name, *, weight_decay, bias=True):
    """Convolve; the same size at stride 1, every stride-th pixel of that at a stride."""
    kind = Conv2DSame if kernel_size > 1 else layers.Conv2D
    conv = kind(
        channels,
        kernel_size,
        stride,
        use_bias=bias,
        kernel_initializer=keras.initializers.VarianceScaling(HE_VARIANCE),
        kernel_regularizer=keras.regularizers.L2(weight_decay / 2),  # half: as tf.nn.l2_loss
        name=name,
    )
    return conv(x)


@keras.saving.register_keras_serializable("course_utils")
class FusedBatchNorm(BatchNorm):
    """Batch norm of `[N, H, W, C]` by the operation that slim called: the same, but faster.

    Outside of training, without a word about it, and while `trainable` is False, it uses
    the moving statistics, like Keras's own layer. Raises tf.errors.InvalidArgumentError on
    training with a single value for each channel; XLA drops that check.
    """

    def __init__(self, decay=0.997, epsilon=1e-5, **kwargs):
        super().__init__(decay, epsilon, unbiased_variance=True, **kwargs)

    def call(self, x, training=None):
        training = bool(training) and self.trainable
        if x.dtype == tf.float64:  # the operation knows single and half precision only
            return super().call(x, training=training)
        values = tf.size(x) // tf.shape(x)[-1]
        few = [tf.debugging.assert_greater(values, 1, ONE_VALUE)] if training else []
        with tf.control_dependencies(few):  # no average may change before it has passed
            x, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=self.gamma,
                offset=self.beta,
                mean=self.moving_mean,
                variance=self.moving_variance,
                epsilon=self.epsilon,
                is_training=training,
            )
        if training:  # the operation gives n / (n - 1) times the variance that it divides by
            self.moving_mean.assign_sub((1 - self.decay) * (self.moving_mean - mean))
            self.moving_variance.assign_sub(
                (1 - self.decay) * (self.moving_variance - variance)
            )
        return x

    def compute_output_shape(self, input_shape):  # else Keras finds out by tracing the call
        return input_shape


def batch_norm_relu(x, name, relu_name, *, decay, epsilon):
    """Batch norm and ReLU. The moving variance is the unbiased one, as slim stored it."""
    x = FusedBatchNorm(decay, epsilon, name=name)(x)
    return layers.ReLU(name=relu_name)(x)


def conv_norm_relu(x, channels, kernel_size, stride, scope, conv, norm_relu):
    """Convolution, batch norm and ReLU: what `slim.conv2d` was inside the arg_scope."""
    x = conv(x, channels, kernel_size, stride, scope, bias=False)
    return norm_relu(x, f"{scope}.BatchNorm", f"{scope}.Relu")


def subsample(x, stride, name):
    """Take every stride-th pixel."""
    return x if stride == 1 else layers.MaxPooling2D(1, stride, name=name)(x)


def bottleneck(x, depth, bottleneck_depth, stride, scope, conv, norm_relu):
    """Pre-activation bottleneck ([1], figure 4e). The projection reads the activated maps."""
    preact = norm_relu(x, f"{scope}.preact", f"{scope}.preact.Relu")
    if x.shape[-1] == depth:
        shortcut = subsample(x, stride, f"{scope}.shortcut")
    else:
        shortcut = conv(preact, depth, 1, stride, f"{scope}.shortcut")
    residual = conv_norm_relu(preact, bottleneck_depth, 1, 1, f"{scope}.conv1", conv, norm_relu)
    residual = conv_norm_relu(
        residual, bottleneck_depth, 3, stride, f"{scope}.conv2", conv, norm_relu
    )
    residual = conv(residual, depth, 1, 1, f"{scope}.conv3")
    return layers.Add(name=scope)([shortcut, residual])


def root_block(x, conv):
    """The stem: 7x7 with a bias, and no batch norm or ReLU before the pooling."""
    x = conv(x, 64, 7, 2, "conv1")
    return layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)


def stack_blocks(x, blocks, conv, norm_relu):
    """Put the units of all blocks one behind the other."""
    for block in blocks:
        for i, (depth, bottleneck_depth, stride) in enumerate(block.args, start=1):
            scope = f"{block.scope}.unit_{i}.bottleneck_v2"
            x = bottleneck(x, depth, bottleneck_depth, stride, scope, conv, norm_relu)
    return x


def resnet_v2(
    blocks,
    num_classes=None,
    global_pool=True,
    include_root_block=True,
    input_shape=(224, 224, 3),
    name="resnet_v2",
    *,
    spatial_squeeze=False,
    weight_decay=1e-4,
    batch_norm_decay=0.997,
    batch_norm_epsilon=1e-5,
):
    """Return slim's `resnet_v2` as a functional Keras model ([2]).

    It maps NHWC images `[N, *input_shape]` to logits `[N, 1, 1, num_classes]`, which
    `spatial_squeeze` makes `[N, num_classes]`. Without `num_classes` it stops before the
    logits, without `global_pool` height and width stay. Without `include_root_block` the
    images go straight into the first block.

    `blocks` are `Block`s, or slim's own with (scope, unit_fn, args). `name` is the scope of
    the network. Height and width may be None, for images of any size. The last three
    arguments are those of slim's `resnet_arg_scope`. The L2 penalties are in `model.losses`;
    `fit`, Keras's and the course's, adds them to the loss.

    Raises ValueError for blocks and units that are none, for counts below 1, for images
    smaller than the stride of the network (32, if it is larger), and for `spatial_squeeze`
    without `global_pool`.
    """
    blocks = read_blocks(blocks)
    check_sizes(input_shape, num_classes, blocks, include_root_block)
    if spatial_squeeze and not global_pool:
        raise ValueError("spatial_squeeze drops the 1x1 that global_pool leaves. Take both.")
    conv = partial(conv2d, weight_decay=weight_decay)
    norm_relu = partial(batch_norm_relu, decay=batch_norm_decay, epsilon=batch_norm_epsilon)
    images = keras.Input(input_shape)
    x = root_block(images, conv) if include_root_block else images
    x = stack_blocks(x, blocks, conv, norm_relu)
    x = norm_relu(x, "postnorm", "postnorm.Relu")
    if global_pool:
        x = layers.GlobalAveragePooling2D(keepdims=True, name="pool5")(x)
    if num_classes is not None:
        x = conv(x, num_classes, 1, 1, "logits")
    if spatial_squeeze:
        x = layers.Flatten(name="spatial_squeeze")(x)
    return keras.Model(images, x, name=name)


def resnet_v2_50(num_classes=None, global_pool=True, name="resnet_v2_50", **arguments):
    """Return ResNetV2-50; all arguments are those of `resnet_v2`."""
    return resnet_v2(blocks_of_depth(50), num_classes, global_pool, name=name, **arguments)


def resnet_v2_101(num_classes=None, global_pool=True, name="resnet_v2_101", **arguments):
    """Return ResNetV2-101; all arguments are those of `resnet_v2`."""
    return resnet_v2(blocks_of_depth(101), num_classes, global_pool, name=name, **arguments)


def resnet_v2_152(num_classes=None, global_pool=True, name="resnet_v2_152", **arguments):
    """Return ResNetV2-152; all arguments are those of `resnet_v2`."""
    return resnet_v2(blocks_of_depth(152), num_classes, global_pool, name=name, **arguments)


def resnet_v2_200(num_classes=None, global_pool=True, name="resnet_v2_200", **arguments):
    """Return ResNetV2-200; all arguments are those of `resnet_v2`."""
    return resnet_v2(blocks_of_depth(200), num_classes, global_pool, name=name, **arguments)


def variables(model, scope=None) -> dict[str, keras.Variable]:
    """Return slim's name -> variable for all of a `resnet_v2`, in the order of the layers.

    `scope` stands before each name; without it, the name of the model.
    """
    scope = model.name if scope is None else scope
    found = {}
    for layer in in_slims_order(model):
        for variable in layer.weights:
            path = (scope, *layer.name.split("."), VARIABLES.get(variable.name, variable.name))
            found["/".join(path)] = variable
    return found


def in_slims_order(model) -> list:
    """Return the layers as slim made them: a unit's shortcut first, not just before the sum."""
    place = {layer.name: i for i, layer in enumerate(model.layers)}
    return sorted(
        model.layers,
        key=lambda layer: place[layer.name.replace(".shortcut", ".preact.Relu")],
    )


def end_point_tensors(model) -> dict[str, keras.KerasTensor]:
    """Return slim's name -> symbolic NHWC output for what slim collected on the way.

    That is each convolution, after its batch norm and ReLU if it has them, each unit, each
    block, and the softmax of the logits as `predictions`. With `keras.Model(model.input,
    tensor)` any of them becomes a network of its own.
    """
    found = {}
    for layer in in_slims_order(model):
        scope = layer.name.removesuffix(".Relu")
        if isinstance(layer, (layers.Conv2D, layers.Add)) or scope in found:
            found[scope] = layer.output
        if isinstance(layer, layers.Add):
            block = scope.partition(".")[0]
            found.pop(block, None)  # the last unit of a block is its output
            found[block] = layer.output
    found = {f"{model.name}/{scope.replace('.', '/')}": out for scope, out in found.items()}
    logits = f"{model.name}/logits"
    return found | ({"predictions": ops.softmax(found[logits])} if logits in found else {})


def end_points(model, x, training=False) -> dict[str, object]:
    """Return slim's name -> values `[N, H, W, C]` for NHWC images, as `end_point_tensors`.

    With `training=True` the batch's own statistics are used, and the moving ones move.
    """
    tensors = end_point_tensors(model)
    values = keras.Model(model.input, [*tensors.values()])(x, training=training)
    return dict(zip(tensors, values, strict=True))
