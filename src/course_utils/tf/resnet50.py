"""ResNet-50 of the old assignment, and its weights' way to keras.applications and back.

Images are `[N, H, W, C]`.

[1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, table 1.
"""

from string import ascii_lowercase

import keras
from keras import layers

from course_utils.specs import RESNETS
from course_utils.tf.blocks import (
    POST,
    ResNetSettings,
    convolutional_block,
    identity_block,
)
from course_utils.tf.convolution import Conv2DSame

# As keras.applications.ResNet50 has it, and as torchvision's weights need it.
APPLICATIONS = ResNetSettings(epsilon=1.001e-5, pool_padding=1)
PYTORCH = ResNetSettings(
    epsilon=1e-5,
    decay=0.9,
    use_bias=False,
    stride_on_3x3=True,
    pool_padding=1,
    kernel_initializer="he_normal",
)


def check_arguments(spec, input_shape, num_classes, pool_padding):
    """Raise ValueError, and say why, for a network that cannot be built."""
    if not spec.bottleneck or max(spec.blocks) > len(ascii_lowercase):
        raise ValueError(
            f"resnet builds bottlenecks and names the blocks of a stage a to z; {spec} has "
            "other blocks or more of them."
        )
    if len(input_shape) != 3 or not isinstance(input_shape[2], int) or input_shape[2] < 1:
        raise ValueError(
            f"input_shape is (height, width, channels), and channels a number; got "
            f"{tuple(input_shape)}. Height and width may be None, for images of any size."
        )
    smallest = 1 if pool_padding else 5
    if any(size is not None and size < smallest for size in input_shape[:2]):
        raise ValueError(
            f"input_shape {tuple(input_shape)} is too small: the pooling of the stem needs "
            f"images of at least {smallest}x{smallest}."
        )
    if num_classes < 1:
        raise ValueError(f"num_classes must be 1 or more, got {num_classes}.")


def resnet_stem(x, channels, settings):
    """7x7 convolution and max-pooling, each with stride 2: a quarter of the size."""
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(
        channels,
        7,
        strides=2,
        use_bias=settings.use_bias,
        kernel_initializer=settings.kernel_initializer,
        name="conv1",
    )(x)
    norm = {"momentum": settings.decay, "epsilon": settings.epsilon}
    x = layers.BatchNormalization(**norm, name="bn_conv1")(x)
    x = layers.ReLU()(x)
    if settings.pool_padding:  # zeros never win: behind a ReLU nothing is smaller
        x = layers.ZeroPadding2D(settings.pool_padding, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1")(x)


def resnet(spec, input_shape=(64, 64, 3), num_classes=6, settings=POST):
    """Return a bottleneck ResNet for a `ResNetSpec`: `[N, H, W, C]` to logits ([1], table 1).

    Stages are numbered 2 to 5 as in [1], and their blocks a, b, c and so on. The head takes
    the mean over all positions, so H and W may be None: images of any size.
    """
    check_arguments(spec, input_shape, num_classes, settings.pool_padding)
    inputs = keras.Input(input_shape)
    x = resnet_stem(inputs, spec.inner_channels[0], settings)
    sizes = zip(spec.blocks, spec.inner_channels, spec.out_channels, strict=True)
    for stage, (blocks, inner, out) in enumerate(sizes, start=2):
        filters, stride = (inner, inner, out), 1 if stage == 2 else 2
        x = convolutional_block(x, 3, filters, stage, "a", stride, settings)
        for letter in ascii_lowercase[1:blocks]:
            x = identity_block(x, 3, filters, stage, letter, settings)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x)
    head = layers.Dense(
        num_classes, kernel_initializer=settings.kernel_initializer, name=f"fc{num_classes}"
    )
    return keras.Model(inputs, head(layers.Flatten()(x)), name=f"resnet{spec.depth}")


def resnet50(input_shape=(64, 64, 3), num_classes=6, settings=POST):
    """Return ResNet-50; without arguments it is the old assignment's, less its softmax."""
    return resnet(RESNETS[50], input_shape, num_classes, settings)


def applications_names(spec=RESNETS[50], num_classes=6) -> dict[str, str]:
    """Return our name -> name in keras.applications, for each layer with weights."""
    names = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"}
    for stage, blocks in enumerate(spec.blocks, start=2):
        for i, letter in enumerate(ascii_lowercase[:blocks]):
            places = {"2a": 1, "2b": 2, "2c": 3} | ({} if i else {"1": 0})
            for branch, number in places.items():
                ours, theirs = f"{stage}{letter}_branch{branch}", f"conv{stage}_block{i + 1}"
                names[f"res{ours}"] = f"{theirs}_{number}_conv"
                names[f"bn{ours}"] = f"{theirs}_{number}_bn"
    return names | {f"fc{num_classes}": "predictions"}


def facts(model, names) -> dict[str, object]:
    """Return the shapes of each layer's weights, and what no weight shows.

    `names` maps the names that the answer uses to the model's own.
    """
    found = {}
    for name, own in names.items():
        layer = model.get_layer(own)
        found[f"shapes of {name}"] = [tuple(weight.shape) for weight in layer.weights]
        if isinstance(layer, layers.Conv2D):
            found[f"stride of {name}"] = layer.strides[0]
            if not own.startswith("conv1_") and own != "conv1":  # the stem's is a layer
                found[f"zeros around {name}"] = zeros_around(layer)
        elif isinstance(layer, layers.BatchNormalization):
            found[f"epsilon of {name}"] = layer.epsilon
        elif isinstance(layer, layers.Dense):
            found[f"activation of {name}"] = layer.activation.__name__
    pools = [layer for layer in model.layers if isinstance(layer, layers.MaxPooling2D)]
    found["window, stride, rounding of pool1"] = [
        (pool.pool_size[0], pool.strides[0], "down" if pool.padding == "valid" else "up")
        for pool in pools
    ]
    for name in ("conv1", "pool1"):
        pads = [layer.padding[0][0] for layer in model.layers if layer.name == f"{name}_pad"]
        found[f"padding before {name}"] = sum(pads)
    return found


def zeros_around(conv) -> int | str:
    """Return the zeros on each side that a convolution adds to its maps."""
    if isinstance(conv, Conv2DSame) or (conv.padding == "same" and conv.strides == (1, 1)):
        return (conv.kernel_size[0] - 1) // 2
    # At a stride Keras's "same" depends on the size of the maps; a 1x1 kernel needs none.
    return "same" if conv.padding == "same" and conv.kernel_size != (1, 1) else 0


def weighted(model) -> set[str]:
    """Return the names of the layers that have weights."""
    return {layer.name for layer in model.layers if layer.weights}


def strangers(own, names, which) -> list[str]:
    """Say which of `names` are not among a network's `own`, and which it has besides."""
    missing = [f"{which} has no layer {name}" for name in names if name not in own]
    extra = [f"{name} of {which} has no partner" for name in sorted(own - set(names))]
    return shorten(missing) + shorten(extra)


def differences(found, expected) -> list[str]:
    """Say where the facts of the source differ from the target's: the first of each kind."""
    kinds = {}
    for what in found | expected:
        one, other = (some.get(what, "unknown") for some in (found, expected))
        if one != other:
            kinds.setdefault(what.split()[0], []).append(f"{what} {one} for {other}")
    return [line for problems in kinds.values() for line in shorten(problems)]


def shorten(problems) -> list[str]:
    return [f"{problems[0]} and {len(problems) - 1} more"] if problems[1:] else problems


def refuse(problems, source, target):
    """Raise ValueError that lists the problems, if there are any."""
    if problems:
        raise ValueError(
            f"Nothing was copied from {source} to {target}: {'; '.join(problems)}. "
            "Build both networks with the same sizes and settings."
        )


def copy_weights(source, target, names) -> None:
    """Copy all weights of a Keras ResNet into another one, or none.

    `names` maps the source's names of layers to the target's; `applications_names` gives
    them, and turned round they lead back. Raises ValueError, and changes nothing, unless
    every layer with weights has a partner with the same shapes, stride, padding, epsilon and
    activation, and the stems pad and pool alike.
    """
    problems = strangers(weighted(source), names, "the source")
    problems += strangers(weighted(target), names.values(), "the target")
    if not problems:
        problems = differences(facts(source, {n: n for n in names}), facts(target, names))
    refuse(problems, source.name, target.name)
    for one, other in names.items():
        target.get_layer(other).set_weights(source.get_layer(one).get_weights())
