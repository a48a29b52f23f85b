"""Batch normalisation from scratch, for TensorFlow / Keras 3.

[1] Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift, 2015, algorithms 1 and 2.
"""

from functools import partial

import keras
import tensorflow as tf


def batch_moments(x):
    """Return mean, biased variance and count of values per channel.

    `x` is `[batch, features]` or `[batch, height, width, channels]`. Raises ValueError where
    a channel has a single value: its variance would say nothing. In a graph whose batch
    size is open this is checked when it runs (tf.errors.InvalidArgumentError). Compiled
    with XLA, which drops such checks, a single value counts as variance 0.
    """
    message = (
        f"BatchNorm cannot train on one value per channel, got shape {x.shape}. "
        "Give a larger batch, or evaluate with training=False."
    )
    if x.shape.is_fully_defined() and x.shape.num_elements() < 2 * x.shape[-1]:
        raise ValueError(message)
    count = tf.size(x) // tf.shape(x)[-1]
    check = tf.debugging.assert_greater(count, 1, message)
    with tf.control_dependencies([check]):  # no average may change before it has passed
        mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
    return mean, variance, tf.cast(count, x.dtype)


def input_spec(shape):
    """Return what Keras checks in later calls: as many axes and channels as `shape` has.

    Raises ValueError unless it has 2 or 4 axes. A single channel would otherwise be
    broadcast to all of them, silently.
    """
    if len(shape) not in (2, 4):
        raise ValueError(f"BatchNorm takes 2 or 4 axes, got shape {shape}.")
    return keras.InputSpec(ndim=len(shape), axes={-1: shape[-1]})


@keras.saving.register_keras_serializable("course_utils")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation over the batch, and over height and width of images ([1]).

    Takes `[batch, features]` or NHWC, returns the same shape. `decay` is the weight of the
    old moving average, Keras's momentum. `unbiased_variance` stores n / (n - 1) times the
    batch variance, as [1], PyTorch and slim do and Keras does not.

    The call needs `training=True` or `training=False`, from the caller or from the model
    around it (`fit`, `predict` and `evaluate` give it). Raises ValueError without it, but
    only eagerly: while a graph is traced, Keras too builds models without it, and none
    means evaluation. In mixed precision the statistics stay in the variables' float32.
    """

    def __init__(self, decay=0.997, epsilon=1e-5, unbiased_variance=True, **kwargs):
        super().__init__(**kwargs)
        self.decay, self.epsilon, self.unbiased_variance = decay, epsilon, unbiased_variance

    def build(self, input_shape):
        self.input_spec = input_spec(input_shape)
        add = partial(self.add_weight, shape=(input_shape[-1],), autocast=False)
        self.gamma = add(name="gamma", initializer="ones")
        self.beta = add(name="beta", initializer="zeros")
        self.moving_mean = add(name="moving_mean", initializer="zeros", trainable=False)
        self.moving_variance = add(name="moving_variance", initializer="ones", trainable=False)

    def call(self, x, training=None):
        if training is None and tf.executing_eagerly():
            raise ValueError("BatchNorm was called without training=True or training=False.")
        x = tf.cast(x, self.variable_dtype)  # half precision is too coarse for averages
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance, count = batch_moments(x)
            self.update_moving_statistics(mean, variance, count)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast((x - mean) * scale + self.beta, self.compute_dtype)

    def update_moving_statistics(self, mean, variance, count):
        if self.unbiased_variance:
            variance = variance * (count / tf.maximum(count - 1, 1))
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(self.decay * average + (1 - self.decay) * value)
