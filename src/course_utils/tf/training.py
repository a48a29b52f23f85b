"""One plain training loop for Keras models on TensorFlow: compiled steps, no callbacks."""

import time
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

HISTORY = ("loss", "train_accuracy", "test_loss", "test_accuracy")


class DivergedError(ArithmeticError):
    """The loss is not a number; the text names the step and the learning rate."""


class Metrics(NamedTuple):
    """What one pass over images adds up: the mean loss and the share of right answers."""

    loss: keras.metrics.Metric
    accuracy: keras.metrics.Metric


def make_metrics():
    """Return fresh metrics, both at zero."""
    return Metrics(keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy())


def cross_entropy(y, logits):
    """Return the loss of each image, `[N]`, for labels `[N]` and logits `[N, classes]`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)


def train_step(model, optimizer, metrics, x, y):
    """Take one step on a batch, add the batch to `metrics`, and return the loss.

    That is the mean cross-entropy and what the model adds by itself, like L2 penalties.
    """
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        losses = cross_entropy(y, logits)
        loss = tf.reduce_mean(losses) + sum(model.losses)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    metrics.loss.update_state(losses)  # one number for each image: a small batch counts less
    metrics.accuracy.update_state(y, logits)
    return loss


def test_step(model, metrics, x, y):
    """Add a batch to `metrics`, in evaluation mode."""
    logits = model(x, training=False)
    metrics.loss.update_state(cross_entropy(y, logits))
    metrics.accuracy.update_state(y, logits)


def compiled(step, *fixed, image_shape):
    """Return `step(*fixed, x, y)` as one graph for float32 batches of any number of images."""
    x, y = tf.TensorSpec((None, *image_shape), tf.float32), tf.TensorSpec((None,), tf.int64)
    return tf.function(partial(step, *fixed), input_signature=[x, y])


def batches(images, labels, batch_size, order=None):
    """Yield x `[N, H, W, C]` float32 and y `[N]` int64; the last batch may be smaller.

    `order` has the indices in the order of the epoch.
    """
    order = np.arange(len(images)) if order is None else order
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield np.asarray(images[chosen], np.float32), np.asarray(labels[chosen], np.int64)


def results(metrics):
    """Return the values of `metrics` as numbers."""
    return tuple(float(metric.result()) for metric in metrics)


def evaluate_epoch(step, metrics, images, labels, batch_size=256):
    """Run a compiled `test_step` over all images; return mean loss and accuracy."""
    if len(images) == 0:
        raise ValueError("There are no images to evaluate. Give at least one.")
    for metric in metrics:
        metric.reset_state()
    for x, y in batches(images, labels, batch_size):
        step(x, y)
    return results(metrics)


def evaluate(model, images, labels, *, batch_size=256):
    """Return mean cross-entropy and accuracy of `model` in evaluation mode."""
    metrics = make_metrics()
    step = compiled(test_step, model, metrics, image_shape=images.shape[1:])
    return evaluate_epoch(step, metrics, images, labels, batch_size)


def check_finite(loss, number, optimizer):
    """Raise DivergedError if the loss of step `number` is infinite or not a number.

    Weights that the last step of an epoch spoils show in the test loss only.
    """
    if not np.isfinite(loss):
        rate = float(optimizer.learning_rate)
        raise DivergedError(
            f"The loss is {float(loss)} at step {number} of this epoch, with a learning rate "
            f"of {rate:g}. Take a smaller learning rate, and look at the inputs."
        )


def train_epoch(step, metrics, optimizer, data, batch_size, rng):
    """Run one epoch in an order drawn from `rng`; return mean loss and accuracy.

    A last batch of one image is left out: batch norm has no variance there. Raises
    ValueError if no batch is left.
    """
    order = rng.permutation(len(data.x_train))
    if len(order) % batch_size == 1:
        order = order[:-1]
    if len(order) == 0:
        raise ValueError(
            f"No batch to train on, training images: {len(data.x_train)}. A last batch of one "
            "is left out. Give at least two."
        )
    for metric in metrics:
        metric.reset_state()
    steps = batches(data.x_train, data.y_train, batch_size, order)
    for number, (x, y) in enumerate(steps, start=1):
        check_finite(step(x, y), number, optimizer)
    return results(metrics)


def fit(
    model, data, *, epochs, lr=1e-3, batch_size=32, optimizer=None, seed=0, progress=True
) -> dict[str, list[float]]:
    """Train `model` on a `course_utils.data.Dataset`; return its history, by epoch.

    `model` maps NHWC images to logits. `optimizer` is a Keras optimizer, which has its own
    learning rate; without one it is Adam with `lr`. The order of an epoch depends on `seed`
    and its number alone. `progress` shows a bar on a terminal and prints one line at the
    end. Losses that layers add by themselves (L2 penalties) are trained on, not reported.

    Raises DivergedError for a loss that is not a number, and ValueError where there is
    nothing to train on or to test with.
    """
    optimizer = keras.optimizers.Adam(lr) if optimizer is None else optimizer
    model(data.x_train[:1], training=False)  # builds a model that knows no shapes yet
    optimizer.build(model.trainable_variables)  # now, not inside the graph
    shape = data.x_train.shape[1:]
    trained, tested = make_metrics(), make_metrics()
    train = compiled(train_step, model, optimizer, trained, image_shape=shape)
    test = compiled(test_step, model, tested, image_shape=shape)
    history = {name: [] for name in (*HISTORY, "seconds")}
    for epoch in tqdm(range(epochs), disable=not progress or None):
        start, rng = time.perf_counter(), np.random.default_rng((seed, epoch))
        values = train_epoch(train, trained, optimizer, data, batch_size, rng)
        values += evaluate_epoch(test, tested, data.x_test, data.y_test)
        for name, value in zip(HISTORY, values, strict=True):
            history[name].append(value)
        history["seconds"].append(time.perf_counter() - start)
    if progress:
        report(history)
    return history


def report(history) -> None:
    """Print what the last epoch ended with, in one line."""
    if history["loss"]:
        print(
            f"{len(history['loss'])} epochs: training loss {history['loss'][-1]:.3f}, test "
            f"accuracy {history['test_accuracy'][-1]:.1%}, {sum(history['seconds']):.0f} s"
        )
