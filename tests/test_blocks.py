"""The blocks: TensorFlow = PyTorch = NumPy with the same values; names, shapes, saving."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from saving import opened_again

from course_utils import pt, reference
from course_utils import tf as ours_tf

# The layers of each block, in the order of the figure: the same attributes in both halves.
CONVS = {
    "BasicBlock": ["conv1", "conv2"],
    "Bottleneck": ["conv1", "conv2", "conv3"],
    "PreActBottleneck": ["conv1", "conv2", "conv3"],
}
NORMS = {
    "BasicBlock": ["bn1", "bn2"],
    "Bottleneck": ["bn1", "bn2", "bn3"],
    "PreActBottleneck": ["preact", "bn1", "bn2"],
}
KINDS = list(CONVS)


def build(half, kind, in_channels, inner, out_channels, stride, decay=0.8):
    middle = () if kind == "BasicBlock" else (inner,)
    return getattr(half, kind)(in_channels, *middle, out_channels, stride, decay=decay)


def parts(block, kind):
    """Return the convolutions and the batch norms of a block, by the reference's names."""
    convs = {name: getattr(block, name) for name in CONVS[kind]}
    norms = {name: getattr(block, name) for name in NORMS[kind]}
    if kind == "PreActBottleneck":
        if block.projection is not None:
            convs["projection"] = block.projection
    elif block.downsample is not None:
        inside = block.downsample
        inside = inside if isinstance(inside, torch.nn.Module) else inside.layers
        convs["projection"], norms["projection_bn"] = inside[0], inside[1]
    return convs, norms


def random_values(keras_block, kind, rng):
    """Return values for all that the block holds, named as in `reference`."""
    convs, norms = parts(keras_block, kind)
    values = {}
    for name, conv in convs.items():
        shape = conv.kernel.shape
        values[name] = rng.normal(size=shape) / np.sqrt(np.prod(shape[:3]))
        if conv.use_bias:
            values[f"{name}.bias"] = rng.normal(size=shape[-1])
    for name, norm in norms.items():
        for what in ("gamma", "beta", "mean", "var"):
            low = -1 if what in ("beta", "mean") else 0.5
            values[f"{name}.{what}"] = rng.uniform(low, 1.5, size=norm.gamma.shape)
    return values


def fill_keras(block, kind, values):
    convs, norms = parts(block, kind)
    for name, conv in convs.items():
        conv.kernel.assign(values[name])
        if conv.use_bias:
            conv.bias.assign(values[f"{name}.bias"])
    for name, norm in norms.items():
        slots = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        for slot, what in zip(slots, ("gamma", "beta", "mean", "var"), strict=True):
            slot.assign(values[f"{name}.{what}"])


def fill_torch(block, kind, values):
    convs, norms = parts(block, kind)
    for name, conv in convs.items():
        conv.weight.data = torch.tensor(values[name].transpose(3, 2, 0, 1).copy())
        assert (conv.bias is not None) == (f"{name}.bias" in values)
        if conv.bias is not None:
            conv.bias.data = torch.tensor(values[f"{name}.bias"])
    for name, norm in norms.items():
        slots = (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var)
        for slot, what in zip(slots, ("gamma", "beta", "mean", "var"), strict=True):
            slot.copy_(torch.tensor(values[f"{name}.{what}"]))


def run_keras(block, kind, x, dy, training):
    """Return output, gradients of sum(y dy) and the moving averages, by name."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = block(x, training=training)
        total = tf.reduce_sum(y * dy)
    convs, norms = parts(block, kind)
    slots = {name: conv.kernel.value for name, conv in convs.items()}
    slots |= {f"{name}.gamma": norm.gamma.value for name, norm in norms.items()}
    grads = tape.gradient(total, {"x": x} | slots)
    state = {name: (norm.moving_mean, norm.moving_variance) for name, norm in norms.items()}
    return {"y": y} | grads | state


def run_torch(block, kind, x, dy, training):
    x = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    y = block.train(training)(x)
    (y * torch.tensor(np.moveaxis(dy, -1, 1).copy())).sum().backward()
    convs, norms = parts(block, kind)
    result = {"y": y.detach().movedim(1, -1), "x": x.grad.movedim(1, -1)}
    result |= {name: conv.weight.grad.permute(2, 3, 1, 0) for name, conv in convs.items()}
    result |= {f"{name}.gamma": norm.weight.grad for name, norm in norms.items()}
    state = {name: (norm.running_mean, norm.running_var) for name, norm in norms.items()}
    return result | state


@pytest.fixture
def float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def configurations(seed):
    """Random small blocks of each kind, with and without a stride and a projection."""
    rng = np.random.default_rng(seed)
    for kind, stride, same in itertools.product(KINDS, (1, 2, 3), (True, False)):
        in_channels, inner, more = (int(n) for n in rng.integers(1, 5, size=3))
        out = in_channels if same else in_channels + more
        size = tuple(int(n) for n in rng.integers(4, 9, size=2))
        yield kind, in_channels, inner, out, stride, size


@pytest.mark.parametrize("config", configurations(seed=0), ids=str)
def test_tensorflow_equals_pytorch_equals_numpy(float64, config):
    kind, in_channels, inner, out, stride, size = config
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, *size, in_channels))
    in_keras = build(ours_tf, kind, in_channels, inner, out, stride)
    in_torch = build(pt, kind, in_channels, inner, out, stride).double()
    in_keras.build(x.shape)
    values = random_values(in_keras, kind, rng)
    fill_keras(in_keras, kind, values)
    fill_torch(in_torch, kind, values)
    numpy_block = {
        "BasicBlock": reference.basic_block,
        "Bottleneck": reference.bottleneck,
        "PreActBottleneck": reference.preact_bottleneck,
    }[kind]
    expected = numpy_block(x, values, stride)
    assert expected.shape == (3, -(-size[0] // stride), -(-size[1] // stride), out)
    dy = rng.normal(size=expected.shape)
    for training in (False, True):
        one = run_keras(in_keras, kind, x, dy, training)
        two = run_torch(in_torch, kind, x, dy, training)
        in_torch.zero_grad()
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=0, atol=1e-9, err_msg=name)
        if not training:
            np.testing.assert_allclose(one["y"], expected, rtol=0, atol=1e-9)
            continue
        for name in NORMS[kind]:
            assert not np.allclose(one[name][0], values[f"{name}.mean"])  # the step was seen


def test_in_float32_the_frameworks_agree_to_1e_5():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 8, 8, 4)).astype(np.float32)
    for kind in KINDS:
        in_keras, in_torch = build(ours_tf, kind, 4, 3, 6, 2), build(pt, kind, 4, 3, 6, 2)
        in_keras.build(x.shape)
        values = random_values(in_keras, kind, rng)
        values = {name: value.astype(np.float32) for name, value in values.items()}
        fill_keras(in_keras, kind, values)
        fill_torch(in_torch, kind, values)
        dy = rng.normal(size=(4, 4, 4, 6)).astype(np.float32) / 16
        for training in (False, True):
            one = run_keras(in_keras, kind, x, dy, training)
            two = run_torch(in_torch, kind, x, dy, training)
            in_torch.zero_grad()
            for name in one:
                np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=name)


def test_highway_equals_pytorch_and_numpy():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    w_h, w_t = rng.normal(size=(2, 4, 4)).astype(np.float32)
    b_h, b_t = rng.normal(size=(2, 4)).astype(np.float32)
    in_keras, in_torch = ours_tf.Highway(4), pt.Highway(4)
    in_keras.build((None, 4))
    in_keras.transform.set_weights([w_h, b_h])
    in_keras.gate.set_weights([w_t, b_t])
    values = {"transform.weight": w_h.T, "transform.bias": b_h}
    values |= {"gate.weight": w_t.T, "gate.bias": b_t}
    in_torch.load_state_dict({name: torch.tensor(v) for name, v in values.items()})
    expected = reference.highway(x, w_h, b_h, w_t, b_t)
    given = torch.tensor(x, requires_grad=True)
    in_torch(given).sum().backward()
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        total = tf.reduce_sum(in_keras(variable))
    np.testing.assert_allclose(in_keras(x), expected, atol=1e-5)
    np.testing.assert_allclose(in_torch(given).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, variable), given.grad, atol=1e-5)
    gates = reference.sigmoid(x @ w_t + b_t)
    np.testing.assert_allclose(in_keras.gate_values(x), gates, atol=1e-5)
    np.testing.assert_allclose(in_torch.gate_values(given).detach(), gates, atol=1e-5)


@pytest.mark.parametrize("half", [ours_tf, pt], ids=["tensorflow", "pytorch"])
def test_highway_starts_with_its_gate_nearly_shut(half):
    for bias in (-2.0, -30.0):
        layer = half.Highway(3, gate_bias=bias)
        x = np.ones((1, 3), np.float32) if half is ours_tf else torch.ones(1, 3)
        layer(x)
        bias_now = layer.gate.bias.numpy() if half is ours_tf else layer.gate.bias.detach()
        np.testing.assert_array_equal(bias_now, [bias] * 3)
    out = layer(x)
    np.testing.assert_allclose(out if half is ours_tf else out.detach(), [[1.0] * 3], atol=1e-6)


@pytest.mark.parametrize("half", [ours_tf, pt], ids=["tensorflow", "pytorch"])
def test_projection_exactly_where_shapes_differ(half):
    for out, stride, kind in itertools.product((4, 8), (1, 2), KINDS):
        block = build(half, kind, 4, 2, out, stride)
        if kind == "PreActBottleneck":  # slim: a stride alone takes every stride-th pixel
            assert (block.projection is not None) == (out != 4)
        else:
            assert (block.downsample is not None) == ((out, stride) != (4, 1))


# The last layer of each branch: with all its values zero the branch is zero.
LAST = {"BasicBlock": "bn2", "Bottleneck": "bn3", "PreActBottleneck": "conv3"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [ours_tf, pt], ids=["tensorflow", "pytorch"])
def test_a_zero_branch_is_the_identity(half, kind):
    x = np.random.default_rng(4).random((2, 5, 4, 3)).astype(np.float32)  # not negative
    block = build(half, kind, 3, 2, 3, 1)
    if half is ours_tf:
        block.build(x.shape)
        for weight in getattr(block, LAST[kind]).trainable_weights:
            weight.assign(np.zeros(weight.shape))
        y = block(x, training=True)
    else:
        for value in getattr(block, LAST[kind]).parameters():
            torch.nn.init.zeros_(value)
        y = block(torch.tensor(np.moveaxis(x, -1, 1).copy())).detach().movedim(1, -1)
    np.testing.assert_array_equal(y, x)


def norm_names(name):
    what = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [f"{name}.{one}" for one in what]


@pytest.mark.parametrize("kind", ["BasicBlock", "Bottleneck"])
def test_torch_names_are_those_of_the_shared_weight_files(kind):
    expected = []
    for i in range(1, len(CONVS[kind]) + 1):
        expected += [f"conv{i}.weight", *norm_names(f"bn{i}")]
    expected += ["downsample.0.weight", *norm_names("downsample.1")]
    block = build(pt, kind, 4, 2, 8, 2)
    assert list(block.state_dict()) == expected
    fresh = build(pt, kind, 4, 2, 8, 2)
    fresh.load_state_dict(block.state_dict(), strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_channels_are_refused_not_broadcast(kind):
    with pytest.raises(ValueError, match=r"expected axis -1 .* value 4, but .* \(2, 5, 5, 1\)"):
        build(ours_tf, kind, 4, 2, 4, 1)(np.ones((2, 5, 5, 1), np.float32), training=True)
    with pytest.raises(RuntimeError, match="4"):
        build(pt, kind, 4, 2, 4, 1)(torch.ones(2, 1, 5, 5))


def test_highway_refuses_other_units():
    with pytest.raises(ValueError, match="value 4"):
        ours_tf.Highway(4)(np.ones((2, 1), np.float32))
    with pytest.raises(RuntimeError, match="shapes"):
        pt.Highway(4)(torch.ones(2, 1))


# The padding of Conv2DSame


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_conv2d_same_is_pad_then_valid_and_pytorchs_padding(kernel):
    rng = np.random.default_rng(5)
    differs = False
    for size, stride in itertools.product([(6, 7), (9, 8)], [1, 2, 3]):
        x = rng.normal(size=(2, *size, 3)).astype(np.float32)
        w = rng.normal(size=(kernel, kernel, 3, 4)).astype(np.float32)
        layer = ours_tf.Conv2DSame(4, kernel, stride, use_bias=False)
        symbolic = layer(keras.Input((*size, 3)))
        layer.kernel.assign(w)
        before = kernel // 2
        padded = np.pad(x, [(0, 0), (before, before), (before, before), (0, 0)])
        expected = reference.conv2d(padded.astype(float), w, stride=stride)
        in_torch = torch.nn.functional.conv2d(
            torch.tensor(np.moveaxis(x, -1, 1).copy()),
            torch.tensor(w.transpose(3, 2, 0, 1).copy()),
            stride=stride,
            padding=before,
        )
        got = layer(x)
        assert symbolic.shape[1:] == layer.compute_output_shape(x.shape)[1:] == got.shape[1:]
        for one in (got, ours_tf.conv2d_same(x, w, stride), in_torch.movedim(1, -1)):
            np.testing.assert_allclose(one, expected, atol=1e-5)
        same = tf.nn.conv2d(x, w, stride, padding="SAME")
        differs |= not np.allclose(same, expected, atol=1e-3)
    assert differs == (kernel > 1)  # else the test would not see TensorFlow's own padding


def test_conv2d_same_knows_its_shape_on_images_of_any_size():
    symbolic = ours_tf.Conv2DSame(4, 3, 2)(keras.Input((None, 7, 3)))
    assert symbolic.shape == (None, None, 4, 4)


@pytest.mark.parametrize("kernel_size", [2, 4, (3, 3), 3.0])
def test_conv2d_same_refuses_a_kernel_without_centre(kernel_size):
    with pytest.raises(ValueError, match="one odd kernel_size, got"):
        ours_tf.Conv2DSame(4, kernel_size)


# The functional blocks of the old assignment


def folded(model, name):
    """Return the values of a functional block as `reference.bottleneck` takes them.

    Biases go into the mean; epsilon 1e-3 goes into the variance, less the reference's.
    """
    values = {}
    places = {"branch2a": 1, "branch2b": 2, "branch2c": 3, "branch1": None}
    for branch, i in places.items():
        if f"res{name}_{branch}" not in [layer.name for layer in model.layers]:
            continue
        conv, norm = (model.get_layer(f"{p}{name}_{branch}") for p in ("res", "bn"))
        assert norm.epsilon == 1e-3
        conv_name, norm_name = (f"conv{i}", f"bn{i}") if i else ("projection", "projection_bn")
        values[conv_name] = conv.kernel.numpy().astype(float)
        values[f"{norm_name}.gamma"] = norm.gamma.numpy()
        values[f"{norm_name}.beta"] = norm.beta.numpy()
        values[f"{norm_name}.mean"] = norm.moving_mean.numpy() - conv.bias.numpy()
        values[f"{norm_name}.var"] = norm.moving_variance.numpy() + 1e-3 - 1e-5
    return values


@pytest.mark.parametrize(
    ("block", "stride"), [("identity", 1), ("projected", 2), ("projected", 3)]
)
def test_functional_blocks_equal_the_reference_and_have_the_old_names(block, stride):
    x_in = keras.Input((7, 6, 8))
    if block == "identity":
        y = ours_tf.identity_block(x_in, 3, [2, 3, 8], stage=4, block="c")
    else:
        y = ours_tf.convolutional_block(x_in, 3, [2, 3, 5], stage=4, block="c", stride=stride)
    model = keras.Model(x_in, y)
    branches = ["branch2a", "branch2b", "branch2c"] + ["branch1"] * (block == "projected")
    named = {layer.name for layer in model.layers if layer.weights}
    assert named == {f"{p}4c_{branch}" for p in ("res", "bn") for branch in branches}
    rng = np.random.default_rng(6)
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 1.0, size=weight.shape) * rng.choice([-1, 1]))
        if weight.name == "moving_variance":
            weight.assign(abs(weight.numpy()))
    x = rng.normal(size=(2, 7, 6, 8)).astype(np.float32)
    # A strided 1x1 convolution is a strided look at the image, then a 1x1 convolution.
    expected = reference.bottleneck(x[:, ::stride, ::stride], folded(model, "4c"))
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-4, atol=1e-4)
    assert expected.any()


def test_identity_block_refuses_unequal_channels():
    with pytest.raises(ValueError, match=r"8 channels to 16 channels\. Take convolutional_bl"):
        ours_tf.identity_block(keras.Input((4, 4, 8)), 3, [2, 2, 16], stage=2, block="a")


# Saving, and loading where nothing of this process is left


def test_saved_whole_and_as_weights_then_loaded_in_a_fresh_process(tmp_path):
    layers = [
        ours_tf.Conv2DSame(4, 3, 2, use_bias=False, name="same"),
        ours_tf.BatchNorm(0.7, epsilon=1e-2, unbiased_variance=False, name="norm"),
        ours_tf.BasicBlock(4, 6, 2, decay=0.6, name="basic"),
        ours_tf.Bottleneck(6, 2, 6, decay=0.5, name="bottleneck"),
        ours_tf.PreActBottleneck(6, 2, 5, stride=2, decay=0.4, name="preact"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        ours_tf.Highway(5, gate_bias=-1.5, name="highway"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    x = np.random.default_rng(7).normal(size=(4, 16, 16, 3)).astype(np.float32)
    model(x, training=True)  # moves the averages
    whole, weights, configs, trained = opened_again(tmp_path, model, x)
    assert (whole, weights) == (0, 0)
    assert trained == [len(model.trainable_weights), len(model.weights)]
    assert configs == json.loads(json.dumps({one.name: one.get_config() for one in layers}))
    chosen = {
        "same": {"filters": 4, "kernel_size": 3, "strides": 2, "use_bias": False},
        "norm": {"decay": 0.7, "epsilon": 1e-2, "unbiased_variance": False},
        "basic": {"in_channels": 4, "out_channels": 6, "stride": 2, "decay": 0.6},
        "bottleneck": {"bottleneck_channels": 2, "stride": 1, "decay": 0.5},
        "preact": {"bottleneck_channels": 2, "stride": 2, "decay": 0.4},
        "highway": {"units": 5, "gate_bias": -1.5},
    }
    for name, values in chosen.items():
        assert values.items() <= configs[name].items()


def test_a_block_trains_inside_fit():
    x = np.random.default_rng(8).normal(size=(10, 8, 8, 3)).astype(np.float32)
    block = ours_tf.BasicBlock(3, 4, 2, decay=0.5)
    layers = [keras.Input((8, 8, 3)), block, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    before = [weight.numpy() for weight in model.weights]
    model.fit(x, x[:, 0, 0, :1], batch_size=4, verbose=0)
    unmoved = [
        weight.path
        for weight, old in zip(model.weights, before, strict=True)
        if np.array_equal(weight.numpy(), old)
    ]
    assert unmoved == []  # gradients reach the first layer, averages are updated
    alone = model.predict(x[:1], verbose=0)
    np.testing.assert_allclose(alone, model.predict(x, verbose=0)[:1], atol=1e-5)
