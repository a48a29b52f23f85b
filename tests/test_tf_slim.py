"""Slim's ResNetV2: counts and names to the unit, equal to genuine slim and to a TF1 graph."""

import collections
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from benchmark import multiply_adds
from tf1_slim import Slim

from course_utils import pt
from course_utils import tf as ours
from course_utils.specs import RESNETS
from course_utils.tf import slim

ORACLE = os.environ.get("COURSE_ORACLE_DIR")
needs_oracle = pytest.mark.skipif(
    not ORACLE, reason="COURSE_ORACLE_DIR is not set: nothing written by slim to compare with"
)
TINY = [slim.resnet_v2_block("block1", 4, 2, 2), slim.resnet_v2_block("block2", 8, 2, 1)]


def put(model, values):
    """Give a network its values by slim's names, and return its variables."""
    variables = slim.variables(model)
    assert set(variables) == set(values)
    for name, variable in variables.items():
        variable.assign(values[name])
    return variables


def error(found, expected):
    """The largest difference, in spreads of the expected values."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / (expected.std() + 1e-7)


def gradient_error(found, expected):
    """The largest difference, in the largest gradient: some are zero but for rounding."""
    largest = max(np.abs(value).max() for value in expected.values())
    return max(np.abs(found[n] - value).max() for n, value in expected.items()) / largest


def step(model, images, labels, variables):
    """Return loss, L2 penalties and gradients of both, after one call in training mode."""
    trained = {name: v.value for name, v in variables.items() if v.trainable}
    with tf.GradientTape(persistent=True) as tape:
        logits = tf.reshape(model(images, training=True), (len(labels), -1))
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        entropy, penalty = tf.reduce_mean(entropy), sum(model.losses)
        total = entropy + penalty
    gradients = [tape.gradient(loss, trained) for loss in (entropy, total)]
    return entropy, penalty, *gradients


# Counts and names

COUNTS = {  # with 1001 classes: all numbers, trained numbers, variables, multiply-adds
    50: (25_615_849, 25_570_409, 272, 3_482_257_408),
    101: (44_677_609, 44_579_945, 544, 7_194_478_592),
    152: (60_382_697, 60_238_953, 816, 10_906_699_776),
    200: (64_896_489, 64_728_169, 1072, 14_400_555_008),
}
BUILDERS = {depth: getattr(slim, f"resnet_v2_{depth}") for depth in COUNTS}


def names_of_slim(depth):
    """All names of a published network in slim's order, by what is said about them."""
    scope, norm = f"resnet_v2_{depth}", ("gamma", "beta", "moving_mean", "moving_variance")
    names = ["conv1/weights", "conv1/biases"]
    for block, units in enumerate(RESNETS[depth].blocks, start=1):
        for unit in range(1, units + 1):
            at = f"block{block}/unit_{unit}/bottleneck_v2"
            names += [f"{at}/preact/{what}" for what in norm]
            if unit == 1:
                names += [f"{at}/shortcut/weights", f"{at}/shortcut/biases"]
            for conv in ("conv1", "conv2"):
                names += [f"{at}/{conv}/weights"]
                names += [f"{at}/{conv}/BatchNorm/{what}" for what in norm]
            names += [f"{at}/conv3/weights", f"{at}/conv3/biases"]
    names += [f"postnorm/{what}" for what in norm] + ["logits/weights", "logits/biases"]
    return [f"{scope}/{name}" for name in names]


@functools.cache
def network(depth):
    return BUILDERS[depth](1001)


@pytest.mark.parametrize("depth", COUNTS)
def test_published_networks(depth):
    model, expected = network(depth), COUNTS[depth]
    variables = slim.variables(model)
    assert list(variables) == names_of_slim(depth)
    trained = sum(np.prod(v.shape) for v in model.trainable_weights)
    assert (model.count_params(), trained, len(variables), multiply_adds(model)) == expected
    assert RESNETS[depth].params_v2 == trained - 2049  # one class less
    assert model.output.shape == (None, 1, 1, 1001)
    assert sum(map(len, (block.args for block in slim.blocks_of_depth(depth)))) * 3 + 2 == depth


def test_layers_and_shapes_of_the_50():
    model = network(50)
    kinds = collections.Counter(type(layer).__name__ for layer in model.layers)
    assert (kinds["Conv2D"] + kinds["Conv2DSame"], kinds["FusedBatchNorm"]) == (54, 49)
    assert len(model.losses) == 54
    assert sum(layer.use_bias for layer in model.layers if hasattr(layer, "kernel")) == 22
    sizes = [
        slim.end_point_tensors(model)[f"resnet_v2_50/block{i}"].shape[1] for i in (1, 2, 3, 4)
    ]
    assert sizes == [28, 14, 7, 7]


@needs_oracle
@pytest.mark.parametrize("depth", COUNTS)
def test_variables_are_those_of_genuine_slim(depth):
    lists = json.loads(Path(ORACLE, "slim_variables.json").read_text())
    variables = slim.variables(network(depth))
    found = [[name, list(v.shape), v.trainable] for name, v in variables.items()]
    assert found == lists[f"resnet_v2_{depth}"]


# Equal to genuine slim


def tiny(size, values, **arguments):
    shape = (size, size, 3)
    model = slim.resnet_v2(TINY, 7, input_shape=shape, name="resnet_v2_tiny", **arguments)
    return model, put(model, values)


@pytest.fixture(scope="module")
def genuine():
    folder = Path(ORACLE, "tiny")
    return {file.stem: dict(np.load(file)) for file in folder.glob("*.npz")}


def parts(file, start):
    return {n.removeprefix(start): values for n, values in file.items() if n.startswith(start)}


@needs_oracle
@pytest.mark.parametrize("size", [32, 33, 47, 64])
def test_end_points_of_genuine_slim(genuine, size):
    file = genuine[f"infer_{size}"]
    model, _ = tiny(size, genuine["variables"])
    found, expected = slim.end_points(model, file["input"]), parts(file, "ep/")
    assert list(found) == list(expected)
    assert max(error(found[name], expected[name]) for name in expected) < 1e-5
    assert error(model(file["input"]), file["logits"]) < 1e-5


@needs_oracle
@pytest.mark.parametrize(("file", "decay"), [("train_33", 0.997), ("train_33_decay0.5", 0.5)])
def test_training_step_of_genuine_slim(genuine, file, decay):
    file = genuine[file]
    model, variables = tiny(33, genuine["variables"], batch_norm_decay=decay)
    entropy, penalty, first, total = step(model, file["input"], file["labels"], variables)
    assert abs(entropy - file["cross_entropy"]) < 1e-6
    assert abs(penalty - file["regularization_loss"]) < 1e-7
    moving = parts(file, "moving/")
    assert len(moving) == 26
    assert max(error(variables[name], moving[name]) for name in moving) < 1e-5
    assert gradient_error(first, parts(file, "grad_ce/")) < 1e-5
    assert gradient_error(total, parts(file, "grad_total/")) < 1e-5
    model, _ = tiny(33, genuine["variables"], batch_norm_decay=decay)
    found, expected = slim.end_points(model, file["input"], training=True), parts(file, "ep/")
    assert max(error(found[name], expected[name]) for name in expected) < 1e-5


# Equal to a TF1 graph


CONFIGURATIONS = {
    "as the tiny one, 32": (TINY, 7, (32, 32, 3), {}),
    "odd and grey, no square": (TINY, 5, (47, 33, 1), {}),
    "stride in the first unit": ([("a", [(24, 6, 2), (24, 6, 1)])], 3, (40, 41, 2), {}),
    "stride of 3": ([("a", [(16, 4, 3)]), ("b", [(16, 4, 2)])], 3, (50, 50, 3), {}),
    "no pooling": (TINY, 4, (33, 64, 3), {"global_pool": False}),
    "no logits": (TINY, None, (36, 36, 3), {}),
    "neither": (TINY, None, (36, 36, 3), {"global_pool": False}),
    "no stem": (TINY, 4, (9, 10, 16), {"include_root_block": False}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_the_tf1_graph(name):
    blocks, classes, shape, arguments = CONFIGURATIONS[name]
    blocks = [slim.Block(*block) for block in blocks]
    reference = Slim(blocks, classes, shape, **arguments)
    model = slim.resnet_v2(blocks, classes, input_shape=shape, **arguments)
    put(model, reference.values())
    images = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    expected = reference.run(reference.end_points, images)
    found = slim.end_points(model, images)
    assert list(found) == list(expected)
    assert max(error(found[name], expected[name]) for name in expected) < 1e-5
    assert (
        error(model.predict(images, verbose=0), reference.run(reference.logits, images)) < 1e-5
    )


@pytest.mark.parametrize("decay", [0.997, 0.5])
def test_training_equals_the_tf1_graph(decay):
    reference = Slim(TINY, 7, (47, 32, 3), training=True, decay=decay)
    model = slim.resnet_v2(TINY, 7, input_shape=(47, 32, 3), batch_norm_decay=decay)
    variables = put(model, reference.values())
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(3, 47, 32, 3)).astype(np.float32), np.array([1, 0, 6])
    loss, gradients = reference.train(images, labels)
    entropy, penalty, _, found = step(model, images, labels, variables)
    assert abs(entropy + penalty - loss) < 1e-5 * loss
    assert gradient_error(found, gradients) < 1e-5
    for name, values in reference.values().items():
        assert error(variables[name], values) < 1e-5, name


def test_any_size_at_once():
    model = slim.resnet_v2(TINY, 3, input_shape=(None, None, 3))
    for size in (32, 45):
        fixed = slim.resnet_v2(TINY, 3, input_shape=(size, size, 3))
        fixed.set_weights(model.get_weights())
        images = np.random.default_rng(size).normal(size=(2, size, size, 3))
        assert error(model(images), fixed(images)) < 1e-5


# Slim's settings


def test_first_weights_are_slims():
    kernels = [w.numpy() for w in network(50).weights if w.name == "kernel"]
    assert len({kernel.tobytes() for kernel in kernels}) == 54  # each drawn for itself
    for kernel in kernels[-4:]:
        goal = (2 / np.prod(kernel.shape[:3])) ** 0.5
        assert kernel.std() / goal == pytest.approx(1.003, abs=0.004)
        assert np.abs(kernel).max() / goal == pytest.approx(2 * 1.3**0.5, abs=0.002)
    others = {(w.name, w.numpy().min(), w.numpy().max()) for w in network(50).weights[:40]}
    others = {one for one in others if one[0] != "kernel"}
    ones = {("gamma", 1, 1), ("moving_variance", 1, 1)}
    assert others == ones | {(name, 0, 0) for name in ("bias", "beta", "moving_mean")}


def test_arguments_reach_every_layer():
    model = slim.resnet_v2(
        TINY, 3, weight_decay=0.5, batch_norm_decay=0.3, batch_norm_epsilon=0.2
    )
    norms = [layer for layer in model.layers if isinstance(layer, slim.FusedBatchNorm)]
    assert {(norm.decay, norm.epsilon) for norm in norms} == {(0.3, 0.2)}
    kernels = [weight for weight in model.weights if weight.name == "kernel"]
    sums = [0.25 * float(tf.reduce_sum(kernel.value**2)) for kernel in kernels]
    assert float(sum(model.losses)) == pytest.approx(sum(sums), rel=1e-5)


def test_slims_own_blocks():
    genuine = collections.namedtuple("Block", ["scope", "unit_fn", "args"])
    units = [{"depth": 16, "depth_bottleneck": 4, "stride": 1}]
    units += [{"depth": 16, "depth_bottleneck": 4, "stride": 2, "rate": 1}]
    for args in (units, [tuple(list(unit.values())[:3]) for unit in units]):
        model = slim.resnet_v2([genuine("block1", None, args)], 3)
        same = slim.resnet_v2([slim.resnet_v2_block("block1", 4, 2, 2)], 3)
        assert [v.shape for v in model.weights] == [v.shape for v in same.weights]
        assert model.get_layer("block1.unit_2.bottleneck_v2").output.shape[1] == 28


def test_squeezed_logits():
    model = slim.resnet_v2(TINY, 3, input_shape=(32, 32, 3), spatial_squeeze=True)
    images = np.zeros((2, 32, 32, 3))
    assert model(images).shape == (2, 3)
    points = slim.end_points(model, images)
    assert points["predictions"].shape == (2, 1, 1, 3)
    np.testing.assert_allclose(np.sum(points["predictions"], -1), 1, rtol=1e-5)


BAD = {
    "no blocks": ([], {}, "list of blocks"),
    "no units": ([slim.Block("block1", ())], {}, "with units"),
    "a number": ([50], {}, "list of blocks"),
    "twice": (TINY + TINY, {}, "a scope of its own"),
    "taken": ([slim.Block("conv1", TINY[0].args)], {}, "are taken"),
    "slash": ([slim.Block("a/b", TINY[0].args)], {}, "a scope of its own"),
    "pair": ([slim.Block("a", [(16, 4)])], {}, "three whole numbers"),
    "stride 0": ([slim.Block("a", [(16, 4, 0)])], {}, "three whole numbers"),
    "half": ([slim.Block("a", [(16, 2.5, 1)])], {}, "three whole numbers"),
    "atrous": (
        [slim.Block("a", [{"depth": 16, "depth_bottleneck": 4, "stride": 1, "rate": 2}])],
        {},
        "a rate of 1",
    ),
    "small": (slim.blocks_of_depth(50), {"input_shape": (31, 64, 3)}, "32x32 pixels"),
    "small, tiny": (TINY, {"input_shape": (7, 8, 3)}, "8x8 pixels"),
    "no channels": (TINY, {"input_shape": (32, 32)}, "input_shape must be three"),
    "any channels": (TINY, {"input_shape": (32, 32, None)}, "input_shape must be three"),
    "no class": (TINY, {"num_classes": 0}, "num_classes"),
    "squeeze": (TINY, {"global_pool": False, "spatial_squeeze": True}, "global_pool"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    blocks, arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        slim.resnet_v2(blocks, **arguments)


# The layer


def test_one_value_for_each_channel_is_refused():
    norm = slim.FusedBatchNorm()
    norm(np.ones((2, 1, 1, 3), np.float32))
    train = functools.partial(norm, training=True)
    open_batch = tf.function(train, input_signature=[tf.TensorSpec((None, 1, 1, 3))])
    for call in (train, open_batch):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one value per channel"):
            call(tf.ones((1, 1, 1, 3)))
        np.testing.assert_array_equal(norm.moving_mean, 0)
        np.testing.assert_array_equal(norm.moving_variance, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frozen_layer_keeps_its_statistics(dtype):
    norm, x = slim.FusedBatchNorm(0.5, dtype=dtype), np.full((2, 3, 3, 4), 5.0)
    expected = norm(x)
    norm.trainable = False
    assert error(norm(x, training=True), expected) == 0
    np.testing.assert_array_equal(norm.moving_mean, 0)
    norm.trainable = True
    norm(x, training=True)
    np.testing.assert_allclose(norm.moving_mean, 2.5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_fused_equals_the_layer_from_scratch(dtype):
    x = np.random.default_rng(0).normal(2, 3, size=(4, 5, 6, 3))
    fused, plain = slim.FusedBatchNorm(0.6, dtype=dtype), ours.BatchNorm(0.6, dtype=dtype)
    tolerance = {"float64": 1e-12, "float32": 1e-5}.get(dtype, 0.02)
    for training in (True, False):
        a, b = (layer(x, training=training) for layer in (fused, plain))
        assert a.dtype == b.dtype
        assert error(tf.cast(a, "float64"), tf.cast(b, "float64")) < tolerance
        for one, other in zip(fused.weights, plain.weights, strict=True):
            assert error(one, other) < max(tolerance, 1e-5)


def test_unit_equals_its_pytorch_twin():
    block = slim.Block("block1", [(32, 16, 2)])
    model = slim.resnet_v2([block], include_root_block=False, input_shape=(9, 8, 16))
    values = put(model, Slim([block], None, (9, 8, 16), include_root_block=False).values())
    twin = pt.PreActBottleneck(16, 16, 32, stride=2).eval()
    import torch

    at = "resnet_v2/block1/unit_1/bottleneck_v2"
    places = {"preact": "preact", "bn1": "conv1/BatchNorm", "bn2": "conv2/BatchNorm"}
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
    kinds |= {"running_var": "moving_variance"}
    state = {
        f"{n}.{k}": values[f"{at}/{p}/{v}"] for n, p in places.items() for k, v in kinds.items()
    }
    for name, place in (
        ("conv1",) * 2,
        ("conv2",) * 2,
        ("conv3",) * 2,
        ("projection", "shortcut"),
    ):
        state[f"{name}.weight"] = np.transpose(values[f"{at}/{place}/weights"], (3, 2, 0, 1))
        if f"{at}/{place}/biases" in values:
            state[f"{name}.bias"] = values[f"{at}/{place}/biases"]
    state = {name: torch.tensor(np.array(value)) for name, value in state.items()}
    missing, extra = twin.load_state_dict(state, strict=False)
    assert not extra
    assert all(name.endswith("num_batches_tracked") for name in missing)
    x = np.random.default_rng(1).normal(size=(2, 9, 8, 16)).astype(np.float32)
    with torch.no_grad():
        expected = twin(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert error(slim.end_points(model, x)[at], expected) < 1e-5


# Saving

OPEN = """
import sys
import keras, numpy as np
from course_utils.tf import slim
model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
names, penalty = list(slim.variables(model)), sum(model.losses)
np.savez(sys.argv[3], logits=model(x), names=names, penalty=penalty)
"""


def test_whole_model_opens_in_a_fresh_process(tmp_path):
    model = slim.resnet_v2(TINY, 3, input_shape=(33, 33, 1), batch_norm_epsilon=0.1)
    put(model, Slim(TINY, 3, (33, 33, 1)).values())
    x = np.random.default_rng(0).normal(size=(2, 33, 33, 1)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / name) for name in ("model.keras", "x.npy", "found.npz")]
    subprocess.run([sys.executable, "-c", OPEN, *files], check=True, capture_output=True)
    found = np.load(files[-1])
    assert error(found["logits"], model(x)) < 1e-5
    assert list(found["names"]) == list(slim.variables(model))
    assert found["penalty"] == pytest.approx(float(sum(model.losses)))
    model.save_weights(tmp_path / "model.weights.h5")
    other = slim.resnet_v2(TINY, 3, input_shape=(33, 33, 1), batch_norm_epsilon=0.1)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))


def test_half_precision_keeps_the_logits_close():
    reference = slim.resnet_v2(TINY, 3, input_shape=(33, 33, 1))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = slim.resnet_v2(TINY, 3, input_shape=(33, 33, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(reference.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 33, 33, 1)).astype(np.float32)
    assert (
        error(tf.cast(model(x, training=True), tf.float32), reference(x, training=True)) < 0.3
    )
    assert {w.dtype for w in model.weights} == {"float32"}
