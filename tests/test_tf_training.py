"""The training loop for Keras models: means over images, resets, graphs, what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

from course_utils import tf as ours
from course_utils.data import load_dataset
from course_utils.tf import training


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", image_size=8)


def linear(seed=0, **dense):
    keras.utils.set_random_seed(seed)
    dense = layers.Dense(10, **dense)
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), dense])


def normed(seed=0):
    """A model with batch norm that does not know its input yet."""
    keras.utils.set_random_seed(seed)
    norm = layers.BatchNormalization(momentum=0.9)
    return keras.Sequential([layers.Flatten(), norm, layers.Dense(10)])


def run(model, data, **settings):
    return ours.fit(model, data, **({"epochs": 1, "progress": False} | settings))


def few(data, train, test=50):
    parts = data.x_train[:train], data.y_train[:train], data.x_test[:test], data.y_test[:test]
    return data._replace(**dict(zip(data._fields, parts, strict=False)))


def by_hand(model, images, labels):
    """Mean loss and accuracy in NumPy, all images at once."""
    logits = np.asarray(model(images, training=False), np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return loss.mean(), (logits.argmax(axis=1) == labels).mean()


def test_history_and_learning(data):
    history = run(normed(), data, epochs=3, lr=0.01)
    assert set(history) == {
        "loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
    }  # fmt: skip
    assert all(len(values) == 3 for values in history.values())
    assert history["loss"][2] < history["loss"][1] < history["loss"][0]
    assert history["test_accuracy"][-1] > 0.9


def test_values_are_those_of_the_last_epoch_over_all_images(data):
    """Partial batches count by their images; the last test is of the model as it is now."""
    part = few(data, train=70, test=300)  # batches of 32, 32, 6 and of 256, 44
    model = linear()
    history = run(model, part, epochs=2, lr=0.0)  # weights stay, so each epoch is known
    loss, accuracy = by_hand(model, part.x_train, part.y_train)
    assert history["loss"] == pytest.approx([loss, loss], rel=1e-5)
    assert history["train_accuracy"] == pytest.approx([accuracy, accuracy])
    model = normed()
    history = run(model, part, epochs=3, lr=0.05)
    loss, accuracy = by_hand(model, part.x_test, part.y_test)
    assert history["test_loss"][-1] == pytest.approx(loss, rel=1e-4)
    assert history["test_accuracy"][-1] == pytest.approx(accuracy)
    assert history["test_accuracy"][0] < accuracy


def test_each_epoch_starts_its_means_anew(data):
    """With one batch an epoch, the second shows the loss of the weights after the first."""
    part, whole = few(data, train=64), {"batch_size": 64, "lr": 0.05}
    once = linear()
    run(once, part, epochs=1, **whole)
    loss, accuracy = by_hand(once, part.x_train, part.y_train)
    history = run(linear(), part, epochs=2, **whole)
    assert history["loss"][1] == pytest.approx(loss, rel=1e-4)
    assert history["train_accuracy"][1] == pytest.approx(accuracy)
    assert history["loss"][0] > 1.1 * loss


def test_step_is_plain_gradient_descent(data):
    x, y = data.x_train[:7], data.y_train[:7]
    model, metrics = linear(), training.make_metrics()
    before = [v.numpy() for v in model.trainable_variables]
    logits = model(x).numpy()
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (softmax - np.eye(10)[y]) / 7
    gradients = (x.reshape(7, -1).T @ error, error.sum(axis=0))
    loss = training.train_step(model, keras.optimizers.SGD(0.5), metrics, x, y)
    for v, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(v, old - 0.5 * gradient, atol=1e-6)
    assert float(loss) == pytest.approx(float(metrics.loss.result()))
    assert float(metrics.accuracy.result()) == pytest.approx((logits.argmax(1) == y).mean())


def test_default_is_adam_with_the_rate_given(data):
    """Adam's first step moves each weight that has a gradient by the learning rate."""
    model, part = linear(), few(data, train=30)
    before = model.layers[-1].bias.numpy()
    run(model, part, lr=0.02)
    np.testing.assert_allclose(np.abs(model.layers[-1].bias - before), 0.02, rtol=0.05)


def test_given_optimizer_is_used_and_keeps_its_state(data):
    optimizer, model = keras.optimizers.SGD(0.1, momentum=0.9), normed()
    run(model, few(data, train=64), optimizer=optimizer)
    run(model, few(data, train=64), optimizer=optimizer)
    assert int(optimizer.iterations) == 4
    run(normed(), few(data, train=64))  # another model and optimizer in the same process


def test_losses_of_the_layers_are_trained_on_and_not_reported(data):
    """One step with an L2 penalty: rate x 2 x penalty x kernel further than without."""
    plain, penalized = linear(), linear(kernel_regularizer=keras.regularizers.L2(0.05))
    part, kernel = few(data, train=32), plain.layers[-1].kernel.numpy()
    losses = [
        run(model, part, optimizer=keras.optimizers.SGD(0.1))["loss"]
        for model in (plain, penalized)
    ]
    moved = plain.layers[-1].kernel.numpy() - penalized.layers[-1].kernel.numpy()
    np.testing.assert_allclose(moved, 0.1 * 2 * 0.05 * kernel, atol=1e-6)
    assert losses[0] == pytest.approx(losses[1])


def test_order_depends_on_seed_and_epoch(data):
    part = data._replace(x_train=data.x_train[:64], y_train=data.y_train[:64])

    def first_pixels(seed):
        seen = []
        rngs = [np.random.default_rng((seed, epoch)) for epoch in (0, 1)]

        def step(x, y):
            seen.append(x.sum(axis=(1, 2, 3)))
            return 0.0

        optimizer, metrics = keras.optimizers.SGD(0.1), training.make_metrics()
        for rng in rngs:
            training.train_epoch(step, metrics, optimizer, part, 32, rng)
        return np.concatenate(seen)

    one = first_pixels(1)
    sums = part.x_train.sum(axis=(1, 2, 3))
    for epoch in (one[:64], one[64:]):
        np.testing.assert_allclose(np.sort(epoch), np.sort(sums))  # each image once
    assert not np.allclose(one[:64], one[64:])
    np.testing.assert_array_equal(one, first_pixels(1))
    assert not np.allclose(one, first_pixels(2))


def test_seed_decides(data):
    def weights(seed):
        model = normed()
        run(model, few(data, train=96), seed=seed, epochs=2)
        return np.concatenate([v.numpy().ravel() for v in model.variables])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.allclose(weights(1), weights(2))


def test_last_batch_of_one_is_left_out(data):
    for images, steps in ((65, 2), (66, 3), (64, 2)):
        optimizer = keras.optimizers.SGD(0.1)
        run(normed(), few(data, train=images), optimizer=optimizer)
        assert int(optimizer.iterations) == steps


def test_too_few_images_are_refused(data):
    """A mean over nothing would be 0.0, a loss better than any."""
    for images in (0, 1):
        with pytest.raises(ValueError, match=rf"training images: {images}\..* at least two"):
            run(linear(), few(data, train=images))
    run(linear(), few(data, train=1), batch_size=1)  # one image, and no smaller last batch
    with pytest.raises(ValueError, match="no images to evaluate"):
        run(linear(), few(data, train=32, test=0))
    with pytest.raises(ValueError, match="no images to evaluate"):
        ours.evaluate(linear(), data.x_test[:0], data.y_test[:0])


def test_one_graph_for_batches_of_any_size(data, monkeypatch):
    """Python runs a step once, while its graph is made; sizes here are 32, 6, 256 and 44."""
    graphs, loss = [], training.cross_entropy

    def counting(y, logits):
        graphs.append(logits.shape)
        return loss(y, logits)

    monkeypatch.setattr(training, "cross_entropy", counting)
    run(normed(), few(data, train=70, test=300), epochs=2)
    assert graphs == [(None, 10), (None, 10)]  # one for training, one for evaluation


def test_modes(data):
    """Training moves the averages, evaluation does not."""
    model = normed()
    run(model, few(data, train=32))
    moved = model.layers[1].moving_mean.numpy()
    assert np.abs(moved).max() > 0
    ours.evaluate(model, data.x_test, data.y_test)
    np.testing.assert_array_equal(model.layers[1].moving_mean, moved)


def test_evaluation_does_not_depend_on_the_batch_size(data):
    model = normed()
    run(model, data)
    expected = by_hand(model, data.x_test, data.y_test)
    for n in (1, 7, 1000):
        got = ours.evaluate(model, data.x_test, data.y_test, batch_size=n)
        assert got == pytest.approx(expected, rel=1e-4)


def test_other_number_types_become_float32_and_int64(data):
    part = few(data, train=64)
    part = part._replace(
        x_train=part.x_train.astype(np.float64), y_train=part.y_train.astype(np.uint8)
    )
    assert run(linear(), part)["loss"] == run(linear(), few(data, train=64))["loss"]


def test_diverged_run_names_step_and_rate(data):
    with pytest.raises(ours.DivergedError, match=r"is (nan|inf) at step \d+ .* rate of 1e\+30"):
        run(normed(), data, optimizer=keras.optimizers.SGD(1e30))
    broken = data._replace(x_train=np.full_like(data.x_train, np.nan))
    with pytest.raises(ours.DivergedError, match=r"is nan at step 1 .* rate of 0\.001"):
        run(linear(), broken)


def test_quiet_where_there_is_no_terminal(data, capsys):
    part = few(data, train=32)
    run(linear(), part, progress=True)
    said = capsys.readouterr()
    assert said.err == ""
    assert len(said.out.splitlines()) == 1
    assert said.out.startswith("1 epochs: training loss ")
    run(linear(), part, progress=False)
    assert capsys.readouterr() == ("", "")
