"""The pre-activation network of an old post on MNIST. Images are `[N, H, W, C]`.

[1] He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, 2016.
"""

import keras
from keras import layers, ops

from course_utils.tf.arguments import check_arguments, check_choice, check_filters


@keras.saving.register_keras_serializable("course_utils")
class PreActUnit(layers.Layer):
    """Batch norm, ReLU and 3x3 convolution, twice, and a shortcut ([1], figure 4e).

    Maps `[N, H, W, in]` to `[N, H, W, channels]`. Where the channels differ, a 1x1
    projection makes the shortcut. It reads the input as it comes ("raw", as the old post
    has it) or behind the first batch norm and ReLU ("preactivated", as in [1] and slim).
    Nothing follows the sum. `decay` is the weight of the old moving average.
    """

    def __init__(self, channels, projection_input="raw", decay=0.99, **kwargs):
        super().__init__(**kwargs)
        check_choice("projection_input", projection_input, ("raw", "preactivated"))
        self.channels, self.projection_input = channels, projection_input
        self.bn1 = layers.BatchNormalization(momentum=decay)
        self.conv1 = layers.Conv2D(channels, 3, padding="same")
        self.bn2 = layers.BatchNormalization(momentum=decay)
        self.conv2 = layers.Conv2D(channels, 3, padding="same")
        self.projection = None

    def build(self, input_shape):
        if input_shape[-1] != self.channels:  # the channels that come, not declared ones
            self.projection = layers.Conv2D(self.channels, 1)
        self.call(keras.Input(batch_shape=input_shape))  # builds the layers inside

    def call(self, x, training=None):
        preact = ops.relu(self.bn1(x, training=training))
        shortcut = x
        if self.projection is not None:
            shortcut = self.projection(x if self.projection_input == "raw" else preact)
        residual = self.conv1(preact)
        residual = self.conv2(ops.relu(self.bn2(residual, training=training)))
        return shortcut + residual


def preact_layer(x, filters, name, **settings):
    """Put one PreActUnit for each number in `filters` behind `x`, a symbolic NHWC tensor."""
    for i, channels in enumerate(filters, start=1):
        x = PreActUnit(channels, **settings, name=f"{name}_unit{i}")(x)
    return x


def preact_head(x, num_classes):
    """Put the post's head behind feature maps: flatten, 128 hidden units, logits."""
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="dense1")(x)
    return layers.Dense(num_classes, name="logits")(x)


def preact_resnet(
    input_shape=(28, 28, 1),
    num_classes=10,
    filters=((16, 16), (32, 32), (64, 64)),
    final_norm=False,
    projection_input="raw",
    decay=0.99,
):
    """Return a Keras model: stem, stages of units with poolings between, dense head, logits.

    `filters` has the channels of each unit, stage by stage; the stem has half of the first.
    `final_norm` puts a batch norm and a ReLU behind the last unit, as [1] does and the old
    post does not. `projection_input` and `decay` are those of PreActUnit.

    Raises ValueError for images that the poolings would use up, and for filters that are no
    stages of units.
    """
    check_arguments(input_shape, num_classes, smallest=2 ** (len(filters) - 1))
    check_filters(filters)
    settings = {"projection_input": projection_input, "decay": decay}
    inputs = keras.Input(input_shape)
    stem = layers.Conv2D(
        max(filters[0][0] // 2, 1), 3, padding="same", activation="relu", name="conv1"
    )
    x = preact_layer(stem(inputs), filters[0], "res1", **settings)
    for i, channels in enumerate(filters[1:], start=1):
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        x = preact_layer(x, channels, f"res{i + 1}", **settings)
    if final_norm:
        x = layers.BatchNormalization(momentum=decay, name="final_bn")(x)
        x = layers.ReLU(name="final_relu")(x)
    return keras.Model(inputs, preact_head(x, num_classes), name="preact_resnet")
