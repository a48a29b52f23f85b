"""VGG-16 in Keras. Images are `[N, H, W, C]`.

[1] Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image
    Recognition, 2014, table 1, column D.
"""

import keras
from keras import layers

from course_utils.tf.arguments import check_arguments

# (number of 3x3 convolutions, channels as a multiple of the first block's) of each block.
VGG16_BLOCKS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


def pad_to(x, smallest):
    """Put zeros around symbolic NHWC images below `smallest` pixels; an odd one goes after."""
    missing = [max(smallest - size, 0) for size in x.shape[1:3]]
    if not any(missing):
        return x
    return layers.ZeroPadding2D([(n // 2, n - n // 2) for n in missing], name="padding")(x)


def vgg16(
    input_shape=(28, 28, 1),
    num_classes=10,
    width=64,
    hidden=4096,
    kernel_initializer="he_normal",
):
    """Return VGG-16 as a Keras model: 13 convolutions, 3 dense layers, logits.

    `width` is the number of channels of the first block, `hidden` the width of the two
    hidden dense layers; 64 and 4096 are those of [1]. Five poolings halve the images, so
    smaller ones are padded to 32x32 with zeros. Layers are named as in
    `keras.applications.VGG16`, and as there no dropout stands between the dense ones, where
    [1] has it. Without batch norm the first weights matter: with Keras' own default, Glorot's,
    the logits start about a thousand times smaller, and the training starts later.
    """
    check_arguments(input_shape, num_classes)
    same = {"activation": "relu", "kernel_initializer": kernel_initializer}
    inputs = keras.Input(input_shape)
    x = pad_to(inputs, 2 ** len(VGG16_BLOCKS))
    for i, (convs, multiple) in enumerate(VGG16_BLOCKS, start=1):
        for j in range(1, convs + 1):
            name = f"block{i}_conv{j}"
            x = layers.Conv2D(multiple * width, 3, padding="same", name=name, **same)(x)
        x = layers.MaxPooling2D(2, name=f"block{i}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(hidden, name=name, **same)(x)
    x = layers.Dense(num_classes, name="predictions")(x)
    return keras.Model(inputs, x, name="vgg16")
