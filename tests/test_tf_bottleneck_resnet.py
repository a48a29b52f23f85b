"""The bottleneck network for MNIST: counts, shapes, and equal to the plan with tf.nn."""

import importlib
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from benchmark import multiply_adds

from course_utils.tf import bottleneck_resnet

module = importlib.import_module("course_utils.tf.bottleneck_resnet")
SMALL = ((2, 8, 2), (1, 12, 4), (3, 6, 2))  # also a block that gets narrower
OPTIONS = ("batch_norm", "relu_after_sum", "he_init")


def by_layer(model):
    """Return {layer name: [shape of each of its variables]} of the layers that have some."""
    return {la.name: [tuple(w.shape) for w in la.weights] for la in model.layers if la.weights}


@pytest.fixture(scope="module")
def post():
    keras.utils.set_random_seed(3)
    return bottleneck_resnet()


# --- Counts and shapes --------------------------------------------------------------------


def test_the_post_s_counts(post):
    assert post.count_params() == 5_157_568
    assert len(post.weights) == len(post.trainable_weights) == 80
    assert len(by_layer(post)) == 42
    assert multiply_adds(post) == 252_257_536
    convs = [layer for layer in post.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convs) == 41
    upscale = [la for la in convs if "upscale" in la.name]
    assert [la.use_bias for la in upscale] == [False] * 3
    assert sum(la.count_params() for la in upscale) == 688_128
    assert post.get_layer("linear").count_params() == 10_240


def test_the_post_s_shapes(post):
    shapes = {layer.name: layer.output.shape[1:] for layer in post.layers}
    assert shapes["conv1"] == (14, 14, 64)
    assert shapes["pool"] == (7, 7, 64)
    assert shapes["conv2"] == (7, 7, 128)
    for i, channels in enumerate((128, 256, 512, 1024)):
        assert shapes[f"block_{i}_repeat_2_sum"] == (7, 7, channels)
    assert shapes["average"] == (1024,)
    assert post.output_shape == (None, 10)


def test_the_post_s_names_and_order(post):
    names = list(by_layer(post))
    assert names[:5] == [
        "conv1",
        "conv2",
        "block_0_repeat_0_conv_in",
        "block_0_repeat_0_conv_bottleneck",
        "block_0_repeat_0_conv_out",
    ]
    assert names[11] == "block_0_conv_upscale"
    assert names[-1] == "linear"


def test_quarter_width():
    model = bottleneck_resnet(blocks=module.QUARTER_BLOCKS)
    assert model.count_params() == 330_448
    assert model.get_layer("conv1").filters == 64
    assert model.get_layer("linear").kernel.shape == (256, 10)


def test_batch_norm_takes_the_place_of_every_bias():
    plain = by_layer(bottleneck_resnet(blocks=SMALL))
    model = bottleneck_resnet(blocks=SMALL, batch_norm=True)
    normed = by_layer(model)
    for name, (kernel, *_) in plain.items():
        assert normed.pop(name) == [kernel]
        if name != "linear":
            assert normed.pop(f"{name}_bn") == [kernel[-1:]] * 4
    assert not normed
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon) == (0.9, 1e-3)


# --- The same plan, written down with tf.nn ---------------------------------------------


def reference(w, x, blocks, *, after=False, norm=None):
    """Logits from a dictionary of values: the graph of the post, one function call each."""

    def conv(x, name, stride=1):
        x = tf.nn.conv2d(x, w[f"{name}/kernel"], [1, stride, stride, 1], "SAME")
        if norm:
            return norm(x, f"{name}_bn")
        return x + w.get(f"{name}/bias", 0.0)

    x = tf.maximum(conv(x, "conv1", 2), 0)
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    x = conv(x, "conv2")
    for i, (repeats, *_) in enumerate(blocks):
        for j in range(repeats):
            name = f"block_{i}_repeat_{j}"
            y = tf.maximum(conv(x, f"{name}_conv_in"), 0)
            y = tf.maximum(conv(y, f"{name}_conv_bottleneck"), 0)
            y = conv(y, f"{name}_conv_out")
            x = tf.maximum(x + y, 0) if after else x + tf.maximum(y, 0)
        if i + 1 < len(blocks):
            x = conv(x, f"block_{i}_conv_upscale")
    return tf.linalg.matmul(tf.reduce_mean(x, axis=[1, 2]), w["linear/kernel"])


def normalise(w, training):
    """Batch norm from the dictionary, with the batch's statistics or the stored ones."""

    def norm(x, name):
        mean, variance = w[f"{name}/moving_mean"], w[f"{name}/moving_variance"]
        if training:
            mean = tf.reduce_mean(x, axis=[0, 1, 2])
            variance = tf.reduce_mean((x - mean) ** 2, axis=[0, 1, 2])
        return (x - mean) / tf.sqrt(variance + 1e-3) * w[f"{name}/gamma"] + w[f"{name}/beta"]

    return norm


def filled(seed=0, **options):
    """A small network in double precision, every variable at random, and its dictionary."""
    rng = np.random.default_rng(seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = bottleneck_resnet((13, 10, 3), 4, SMALL, **options)
    finally:
        keras.config.set_dtype_policy(policy)
    values = {}
    for variable in model.weights:
        value = rng.normal(size=variable.shape) * 0.4
        if variable.name in ("gamma", "moving_variance"):
            value = 0.5 + abs(value)
        variable.assign(value)
        values[variable.path] = tf.constant(value)
    images = rng.normal(size=(3, 13, 10, 3)).astype("float32")  # Keras rounds its inputs to it
    return model, values, tf.constant(images, "float64")


@pytest.mark.parametrize("after", [False, True])
def test_equal_to_tf_nn(after):
    model, values, images = filled(relu_after_sum=after)
    assert len(values) == len(model.weights)
    np.testing.assert_allclose(
        model(images), reference(values, images, SMALL, after=after), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("training", [False, True])
def test_equal_to_tf_nn_with_batch_norm(training):
    model, values, images = filled(batch_norm=True)
    expected = reference(values, images, SMALL, norm=normalise(values, training))
    np.testing.assert_allclose(model(images, training=training), expected, rtol=1e-9, atol=1e-9)


def test_gradients_equal_those_of_tf_nn():
    model, values, images = filled(seed=1)
    labels = tf.constant([0, 3, 1])

    def loss(logits):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    with tf.GradientTape() as tape:
        ours = loss(model(images, training=True))
    gradients = tape.gradient(ours, model.trainable_variables)
    with tf.GradientTape() as tape:
        tape.watch(values)
        expected = loss(reference(values, images, SMALL))
    expected = tape.gradient(expected, values)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.abs(gradient).max() > 0, variable.path
        np.testing.assert_allclose(gradient, expected[variable.path], rtol=1e-8, atol=1e-10)


# --- First weights ------------------------------------------------------------------------


def test_first_weights_of_the_post(post):
    # A normal distribution cut at two standard deviations keeps 0.8796 of the deviation.
    for layer in post.layers:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        for weight in layer.weights:
            values = weight.numpy()
            assert 0 < abs(values).max() <= 0.04 + 1e-6
            if values.size > 10_000:
                assert abs(values.std() / (0.8796 * 0.02) - 1) < 0.03
    linear = post.get_layer("linear").kernel.numpy()
    assert abs(linear.std() / 0.02 - 1) < 0.05
    assert abs(linear).max() > 0.06  # not truncated
    biases = np.concatenate([w.numpy() for w in post.weights if w.name == "bias"])
    assert abs(biases.std() / (0.8796 * 0.02) - 1) < 0.05


def test_first_weights_of_he():
    model = bottleneck_resnet(he_init=True)
    for layer in model.layers:
        if layer.weights:
            kernel = layer.kernel.numpy()
            fan_in = np.prod(kernel.shape[:-1])
            tolerance = 5 / np.sqrt(kernel.size)
            assert abs(kernel.std() / np.sqrt(2 / fan_in) - 1) < tolerance, layer.name
            assert not any(w.numpy().any() for w in layer.weights if w.name == "bias")


@pytest.mark.parametrize("he_init", [False, True])
def test_no_two_layers_start_equal(he_init):
    model = bottleneck_resnet(blocks=SMALL, he_init=he_init)
    kernels = [w.numpy() for w in model.weights if w.name == "kernel"]
    for a, b in itertools.combinations(kernels, 2):
        assert a.shape != b.shape or not np.array_equal(a, b)


def test_a_seed_gives_the_same_weights():
    def draw():
        keras.utils.set_random_seed(5)
        return bottleneck_resnet(blocks=SMALL).get_weights()

    for a, b in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(a, b)


# --- Saving -------------------------------------------------------------------------------


def test_weights_round_trip(tmp_path):
    first, second = (bottleneck_resnet(blocks=SMALL, batch_norm=True) for _ in range(2))
    first.save_weights(tmp_path / "some.weights.h5")
    second.load_weights(tmp_path / "some.weights.h5")
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_model_opens_in_a_fresh_process(tmp_path):
    model = bottleneck_resnet(
        (9, 8, 2), 3, SMALL, batch_norm=True, relu_after_sum=True, he_init=True
    )
    images = np.random.default_rng(0).random((2, 9, 8, 2), dtype="float32")
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "seen.npz", images=images, logits=model(images, training=False))
    script = (
        "import keras, numpy as np, sys\n"
        "seen = np.load(sys.argv[1] + '/seen.npz')\n"
        "model = keras.saving.load_model(sys.argv[1] + '/model.keras')\n"
        "np.testing.assert_allclose(model(seen['images']), seen['logits'], atol=1e-6)\n"
        "print('equal')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.strip() == "equal", result.stderr


# --- Bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (28, 28)}, r"\(28, 28\).*three whole numbers"),
        ({"input_shape": (None, 28, 28, 1)}, "without the batch"),
        ({"input_shape": (28, 28, 0)}, "above 0"),
        ({"input_shape": (28.0, 28, 1)}, "whole numbers"),
        ({"input_shape": (4, 28, 1)}, "4x28 pixels.*at least 5x5"),
        ({"input_shape": (28, 1, 1)}, "28x1 pixels"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": True}, "num_classes is True"),
        ({"num_classes": "ten"}, "num_classes is 'ten'"),
        ({"input_shape": None}, "input_shape is None"),
        ({"blocks": ()}, "QUARTER_BLOCKS"),
        ({"blocks": module.LayerBlock(3, 128, 32)}, "a list of blocks"),
        ({"blocks": (block for block in SMALL)}, "a list of blocks"),
        ({"blocks": ((3, 128),)}, "num_repeats, num_filters, bottleneck_size"),
        ({"blocks": ((3, 128, 0),)}, "above 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        bottleneck_resnet(**arguments)


def test_the_smallest_images_pass():
    assert bottleneck_resnet((5, 5, 1), 2, SMALL)(np.zeros((1, 5, 5, 1))).shape == (1, 2)


def test_wrong_images_are_refused(post):
    with pytest.raises(ValueError, match="shape"):
        post(np.zeros((2, 28, 28, 3), "float32"))


def test_the_options_make_eight_networks():
    """Not one of the three arguments is ignored, alone or with the others."""
    images = np.random.default_rng(0).random((2, 9, 9, 1), dtype="float32")
    seen = []
    for choice in itertools.product([False, True], repeat=len(OPTIONS)):
        keras.utils.set_random_seed(0)
        options = dict(zip(OPTIONS, choice, strict=True))
        seen.append(bottleneck_resnet((9, 9, 1), 3, [(1, 8, 2)], **options)(images).numpy())
    for a, b in itertools.combinations(seen, 2):
        assert not np.array_equal(a, b)
