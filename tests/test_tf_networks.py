"""The networks of the TensorFlow half: counts, shapes, values, saving, what they refuse.

preact_resnet is compared with plain tf.nn functions on a dictionary of weights, VGG-16 with
the one of keras.applications.
"""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from course_utils import tf as ours
from course_utils.conv_arithmetic import conv_macs
from course_utils.tf.vgg import VGG16_BLOCKS


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def randomize(model, seed=0):
    """Give every variable a random value; variances above zero."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        spread = 0.3 if "kernel" in v.path else 0.5
        value = rng.normal(scale=spread, size=v.shape)
        v.assign(np.abs(value) + 0.5 if "variance" in v.path else value)
    return model


# The pre-activation network


def test_preact_counts_and_shapes_of_the_post():
    model = ours.preact_resnet()
    assert count(model.variables) == 577_066
    assert count(model.trainable_variables) == 576_282
    assert (len(model.variables), len(model.trainable_variables)) == (84, 60)
    parts = {
        "conv1": (28, 28, 8, 80),
        "res1_unit1": (28, 28, 16, 3_728),
        "res1_unit2": (28, 28, 16, 4_768),
        "pool1": (14, 14, 16, 0),
        "res2_unit1": (14, 14, 32, 14_624),
        "res2_unit2": (14, 14, 32, 18_752),
        "pool2": (7, 7, 32, 0),
        "res3_unit1": (7, 7, 64, 57_920),
        "res3_unit2": (7, 7, 64, 74_368),
        "flatten": (3_136, 0),
        "dense1": (128, 401_536),
        "logits": (10, 1_290),
    }
    assert [layer.name for layer in model.layers[1:]] == list(parts)
    for name, expected in parts.items():
        layer = model.get_layer(name)
        assert (*layer.output.shape[1:], layer.count_params()) == expected, name


def test_preact_multiply_adds_of_the_post():
    model = ours.preact_resnet()
    total, size, inside = conv_macs(1, 8, 3, 28), 28, 8
    for name in ("res1", "res2", "res3"):
        for unit in (model.get_layer(f"{name}_unit{i}") for i in (1, 2)):
            for conv in filter(None, (unit.conv1, unit.conv2, unit.projection)):
                kernel, _, inputs, outputs = conv.kernel.shape
                total += conv_macs(inputs, outputs, kernel, size)
            assert unit.conv1.kernel.shape[2] == inside
            inside = unit.conv1.kernel.shape[3]
        size //= 2
    total += 3136 * 128 + 128 * 10
    assert total == 19_726_720


def test_final_norm_and_projection_input_change_what_they_say():
    plain, normed = ours.preact_resnet(), ours.preact_resnet(final_norm=True)
    assert count(normed.variables) - count(plain.variables) == 4 * 64
    names = [layer.name for layer in normed.layers]
    assert names[-5:] == ["final_bn", "final_relu", "flatten", "dense1", "logits"]
    other = ours.preact_resnet(projection_input="preactivated")
    assert count(other.variables) == count(plain.variables)


def norm(x, w, name, training):
    mean, var = (w[f"{name}/moving_mean"], w[f"{name}/moving_variance"])
    if training:
        mean, var = tf.nn.moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(
        x, mean, var, w[f"{name}/beta"], w[f"{name}/gamma"], variance_epsilon=1e-3
    )


def conv(x, w, name):
    return tf.nn.conv2d(x, w[f"{name}/kernel"], 1, "SAME") + w[f"{name}/bias"]


def plain_preact(x, w, layers, final_norm, projection_input, training):
    """The network again, from tf.nn functions and a dictionary of weights."""
    x = tf.nn.relu(conv(x, w, "conv1"))
    for i, units in enumerate(layers, start=1):
        x = x if i == 1 else tf.nn.max_pool2d(x, 2, 2, "VALID")
        for j in range(1, units + 1):
            name = f"res{i}_unit{j}"
            pre = tf.nn.relu(norm(x, w, f"{name}/bn1", training))
            branch = conv(pre, w, f"{name}/conv1")
            branch = tf.nn.relu(norm(branch, w, f"{name}/bn2", training))
            branch = conv(branch, w, f"{name}/conv2")
            if f"{name}/projection/kernel" in w:
                reads = x if projection_input == "raw" else pre
                x = conv(reads, w, f"{name}/projection")
            x = x + branch
    if final_norm:
        x = tf.nn.relu(norm(x, w, "final_bn", training))
    x = tf.reshape(x, [len(x), -1])
    x = tf.nn.relu(x @ w["dense1/kernel"] + w["dense1/bias"])
    return x @ w["logits/kernel"] + w["logits/bias"]


def named_weights(model):
    """Variables by a name that does not depend on how often Keras has numbered a layer."""
    named = {}
    for layer in model.layers:
        if isinstance(layer, ours.PreActUnit):
            parts = ("bn1", "conv1", "bn2", "conv2", "projection")
            inside = {f"{layer.name}/{part}": getattr(layer, part) for part in parts}
        else:
            inside = {layer.name: layer}
        for name, one in inside.items():
            named |= {f"{name}/{v.name}": v for v in getattr(one, "variables", [])}
    return named


@pytest.fixture
def float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("final_norm", "projection_input"),
    itertools.product((False, True), ("raw", "preactivated")),
)
def test_preact_equals_plain_functions(float64, final_norm, projection_input):
    model = ours.preact_resnet(
        (9, 8, 2), 3, ((4, 4), (4, 6)), final_norm=final_norm, projection_input=projection_input
    )
    randomize(model)
    named = named_weights(model)
    assert len(named) == len(model.variables)
    # keras.Input is of float32, so these are numbers that float32 holds.
    x = np.random.default_rng(1).normal(size=(5, 9, 8, 2)).astype(np.float32).astype(float)
    for training in (False, True):
        w = {name: tf.convert_to_tensor(v.value) for name, v in named.items()}
        with tf.GradientTape() as tape:
            tape.watch(w)
            expected = plain_preact(x, w, (2, 2), final_norm, projection_input, training)
            total = tf.reduce_sum(tf.square(expected))
        gradients = tape.gradient(total, w)
        with tf.GradientTape() as tape:
            got = model(x, training=training)
            total = tf.reduce_sum(tf.square(got))
        ours_by_name = dict(
            zip(
                (v.path for v in model.trainable_variables),
                tape.gradient(total, model.trainable_variables),
                strict=True,
            )
        )
        np.testing.assert_allclose(got, expected, rtol=1e-9)
        for name, v in named.items():
            if v.trainable:
                scale = np.abs(gradients[name]).max()
                np.testing.assert_allclose(
                    ours_by_name[v.path], gradients[name], rtol=0, atol=1e-8 * max(scale, 1)
                )


def test_projection_is_chosen_by_the_channels_that_come():
    for inputs, outputs in ((3, 4), (1, 4), (4, 4), (4, 3)):
        unit = ours.PreActUnit(outputs)
        y = unit(np.ones((2, 5, 5, inputs), np.float32), training=False)
        assert y.shape == (2, 5, 5, outputs)
        assert (unit.projection is not None) == (inputs != outputs)


def test_built_unit_refuses_other_channels():
    unit = ours.PreActUnit(4)
    unit(np.ones((2, 5, 5, 4), np.float32), training=False)
    with pytest.raises(ValueError, match="4"):
        unit(np.ones((2, 5, 5, 1), np.float32), training=False)


def test_decay_is_the_weight_of_the_old_average():
    unit = ours.PreActUnit(2, decay=0.75)
    x = np.full((2, 4, 4, 2), 8.0, np.float32)
    unit(x, training=True)
    np.testing.assert_allclose(unit.bn1.moving_mean, [2, 2])  # 0.75 * 0 + 0.25 * 8
    unit(x, training=False)
    unit(x)  # evaluation is the default
    np.testing.assert_allclose(unit.bn1.moving_mean, [2, 2])


def test_decay_reaches_every_batch_norm():
    for decay, settings in ((0.99, {}), (0.75, {"decay": 0.75})):
        model = ours.preact_resnet((4, 4, 1), 2, ((2,), (3,)), final_norm=True, **settings)
        units = [model.get_layer(name) for name in ("res1_unit1", "res2_unit1")]
        norms = [norm for unit in units for norm in (unit.bn1, unit.bn2)]
        norms.append(model.get_layer("final_bn"))
        assert [norm.momentum for norm in norms] == [decay] * 5


# VGG-16


def test_vgg_counts():
    # 13 convolutions on one channel: the published 14,714,688 of three, less 2 * 9 * 64.
    convs = 14_714_688 - 2 * 9 * 64
    dense = (512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10
    model = ours.vgg16(kernel_initializer="zeros")
    assert count(model.variables) == convs + dense == 33_637_066
    assert sum("conv" in layer.name for layer in model.layers) == 13
    assert sum(convs for convs, _ in VGG16_BLOCKS) == 13


def test_vgg_equals_keras_applications():
    shape = (40, 33, 3)  # more than 32, uneven: nothing is padded
    theirs = keras.applications.VGG16(
        weights=None, input_shape=shape, classes=5, classifier_activation=None
    )
    model = ours.vgg16(shape, 5)
    names = [layer.name for layer in model.layers]
    assert names[1:] == [layer.name for layer in theirs.layers][1:]
    for layer in theirs.layers[1:]:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    x = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    got, expected = model(x, training=False), theirs(x, training=False)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_vgg_pads_small_images_with_zeros():
    small, large = ours.vgg16((28, 31, 1), 4, 4, 8), ours.vgg16((32, 32, 1), 4, 4, 8)
    large.set_weights(small.get_weights())
    x = np.random.default_rng(0).random((3, 28, 31, 1)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (2, 2), (0, 1), (0, 0)])
    got = small(x)
    assert np.ptp(got) > 0.01
    np.testing.assert_allclose(got, large(padded), atol=1e-6)
    outside = np.pad(x, [(0, 0), (0, 4), (1, 0), (0, 0)])
    assert not np.allclose(got, large(outside), atol=1e-6)


def test_vgg_narrow_widths():
    model = ours.vgg16((28, 28, 1), 10, width=16, hidden=256)
    widths = [layer.filters for layer in model.layers if "conv" in layer.name]
    assert widths == [16] * 2 + [32] * 2 + [64] * 3 + [128] * 6
    assert [model.get_layer(name).units for name in ("fc1", "fc2")] == [256, 256]


def test_first_weights_keep_the_signal():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((8, 28, 28, 1)).astype(np.float32)
    he, glorot = (
        float(np.std(ours.vgg16(width=8, hidden=64, kernel_initializer=name)(x)))
        for name in ("he_normal", "glorot_uniform")
    )
    assert he > 100 * glorot


# Both


BUILDERS = {
    "preact": lambda: ours.preact_resnet((12, 12, 1), 3, ((4, 4), (6,)), True, "preactivated"),
    "vgg": lambda: ours.vgg16((12, 12, 1), 3, width=2, hidden=8),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_weights_round_trip(name, tmp_path):
    model, other = BUILDERS[name](), BUILDERS[name]()
    x = np.random.default_rng(0).random((2, 12, 12, 1)).astype(np.float32)
    expected = randomize(model)(x)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    assert not np.allclose(other(x), expected)
    other.load_weights(path)
    np.testing.assert_array_equal(other(x), expected)


def test_whole_models_open_in_a_fresh_process(tmp_path):
    x = np.random.default_rng(0).random((2, 12, 12, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for name, build in BUILDERS.items():
        model = randomize(build())
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", model(x))
    code = (
        "import sys, keras, numpy as np, course_utils.tf\n"
        "folder = sys.argv[1]\n"
        "for name in sys.argv[2:]:\n"
        "    model = keras.models.load_model(f'{folder}/{name}.keras')\n"
        "    y = model(np.load(f'{folder}/x.npy'))\n"
        "    np.testing.assert_array_equal(y, np.load(f'{folder}/{name}.npy'))\n"
        "    print(name, 'equal')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), *BUILDERS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["preact", "equal", "vgg", "equal"], done.stderr


@pytest.mark.parametrize("build", [ours.preact_resnet, ours.vgg16])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (None, 28, 28, 1)}, "Leave the batch out"),
        ({"input_shape": (28, 28)}, "three whole numbers"),
        ({"input_shape": (28, 28, 0)}, "at least 1, got"),
        ({"num_classes": 0}, "num_classes .* got 0"),
        ({"num_classes": 10.0}, "num_classes .* got 10.0"),
        ({"num_classes": True}, "num_classes .* got True"),
    ],
)
def test_bad_arguments_are_named(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_preact_refuses_images_that_the_poolings_use_up():
    ours.preact_resnet((4, 5, 1), filters=((2,), (2,), (2,)))
    with pytest.raises(ValueError, match="at least 4x4 pixels, got 5x3"):
        ours.preact_resnet((5, 3, 1))


@pytest.mark.parametrize("filters", [(), ((16, 16), ())])
def test_preact_refuses_filters_without_units(filters):
    with pytest.raises(ValueError, match="one tuple for each layer"):
        ours.preact_resnet(filters=filters)


def test_unit_refuses_an_unknown_projection_input():
    with pytest.raises(ValueError, match=r"one of .*raw.*preactivated.*, got 'normed'"):
        ours.PreActUnit(4, projection_input="normed")
