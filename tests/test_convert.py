"""Weights between Keras and PyTorch: equal outputs both ways, and what does not fit."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from course_utils import convert, pt
from course_utils import tf as ours
from course_utils.specs import ResNetSpec


@dataclass(frozen=True)
class Narrow(ResNetSpec):
    """Few channels, and each stage with its own."""

    @property
    def inner_channels(self):
        return (3, 4, 5, 6)


TINY = Narrow(0, (2, 1, 2, 1), bottleneck=True)


def random_like(shape, name, rng):
    """Values of its own for each weight; variances stay positive, gammas near 0.7."""
    values = rng.normal(size=shape)
    if "var" in name:
        return 0.5 + abs(values)
    if len(shape) > 1:
        return values * np.sqrt(2 / (np.prod(shape) / max(shape)))
    return 0.3 * values + 0.7 * (name in ("gamma", "weight"))


def shake_keras(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random_like(weight.shape, weight.name, rng))
    return model


def shake_torch(model, seed=0):
    rng = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        if tensor.ndim:
            values = random_like(tensor.shape, name.rpartition(".")[2], rng)
            tensor.copy_(torch.tensor(values))
    return model.eval()


def images(size, channels=2, count=3):
    rng = np.random.default_rng(size)
    return rng.normal(size=(count, size, size + 3, channels)).astype(np.float32)


def in_torch(model, x):
    with torch.no_grad():
        return model(pt.to_nchw(x)).numpy()


SETTINGS = {
    "post": ours.POST,
    "applications": ours.APPLICATIONS,
    "pytorch": ours.PYTORCH,
    "mixed": replace(ours.PYTORCH, use_bias=True, pool_padding=0, decay=0.7),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_outputs_are_equal_both_ways(settings):
    one = shake_keras(ours.resnet(TINY, (None, None, 2), 4, settings))
    two = convert.torch_twin(4, 2, settings, TINY).eval()
    convert.keras_to_torch(one, two, TINY)
    for size in (64, 33, 30):
        x = images(size)
        np.testing.assert_allclose(one(x, training=False), in_torch(two, x), atol=1e-4)
    x = images(64)
    in_training = in_torch(two.train(), x)
    np.testing.assert_allclose(one(x, training=True), in_training, rtol=1e-3, atol=1e-3)
    momenta = {m.momentum for m in two.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert momenta == {1 - settings.decay}
    shake_torch(two, seed=1)
    convert.torch_to_keras(two, one, TINY)
    expected = in_torch(two, x)
    np.testing.assert_allclose(one(x, training=False), expected, atol=1e-4)
    assert expected.std(axis=0).mean() > 0.01  # the images make a difference
    before_norm = [layer for layer in one.layers if isinstance(layer, keras.layers.Conv2D)]
    assert not any(layer.bias.numpy().any() for layer in before_norm if layer.use_bias)


def test_the_standard_network_takes_the_settings_of_pytorch():
    one = ours.resnet(TINY, (32, 35, 2), 4, ours.PYTORCH)
    two = shake_torch(pt.ResNet(TINY, 4, 2))
    convert.torch_to_keras(two, one, TINY)
    np.testing.assert_allclose(
        one(images(32), training=False), in_torch(two, images(32)), atol=1e-4
    )


def test_the_old_assignments_network_at_full_size():
    one, two = ours.resnet50(), convert.torch_twin().eval()
    rng = np.random.default_rng(4)
    for weight in one.weights:
        if len(weight.shape) == 1:
            weight.assign(random_like(weight.shape, weight.name, rng))
    x = rng.random((8, 64, 64, 3)).astype(np.float32)
    for norm in (n for n in one.layers if isinstance(n, keras.layers.BatchNormalization)):
        norm.momentum = 0.0  # the averages become the batch's: else no image gets through
    one(x, training=True)
    convert.keras_to_torch(one, two)
    expected = one(x, training=False).numpy()
    np.testing.assert_allclose(in_torch(two, x), expected, atol=1e-4)
    assert expected.std(axis=0).mean() > 0.1
    assert sum(p.numel() for p in two.parameters()) == 23_546_886 - 26_560


def state(one, two):
    arrays = [weight.numpy() for weight in one.weights]
    return arrays + [tensor.numpy().copy() for tensor in two.state_dict().values()]


def drop_affine(model):
    model.bn1 = torch.nn.BatchNorm2d(3, eps=1e-3, affine=False)


MISFITS = {
    "epsilon": (lambda m: setattr(m.layer3[1].bn2, "eps", 0.1), "epsilon of bn4b_branch2b"),
    "stride": (
        lambda m: setattr(m.layer2[0].downsample[0], "stride", (1, 1)),
        "stride of res3a_branch1",
    ),
    "pool": (lambda m: setattr(m.maxpool, "padding", 1), "padding before pool1"),
    "window": (lambda m: setattr(m.maxpool, "kernel_size", 2), "window, stride, rounding of p"),
    "pool stride": (
        lambda m: setattr(m.maxpool, "stride", 1),
        r"pool1 \[\(3, \d, 'down'\)\] for",
    ),
    "rounding": (
        lambda m: setattr(m.maxpool, "ceil_mode", True),
        r"pool1 \[\(3, 2, '(up|down)'\)\] for \[\(3, 2, '(up|down)'\)\]",
    ),
    "edges": (
        lambda m: setattr(m.layer1[0].conv2, "padding", (0, 0)),
        "zeros around res2a_branch2b",
    ),
    "bias": (lambda m: setattr(m, "conv1", torch.nn.Conv2d(2, 3, 7, 2, 3)), "shapes of conv1"),
    "channels": (
        lambda m: setattr(m, "conv1", torch.nn.Conv2d(1, 3, 7, 2, 3, bias=False)),
        r"shapes of conv1 \[\(7, 7, \d, 3\)\] for \[\(7, 7, \d, 3\)\]",
    ),
    "classes": (lambda m: setattr(m, "fc", torch.nn.Linear(24, 5)), "shapes of fc4"),
    "missing": (
        lambda m: delattr(m.layer1[1], "bn3"),
        "PyTorch network has no layer layer1.1.bn3",
    ),
    "extra": (
        lambda m: setattr(m, "second", torch.nn.Linear(2, 2)),
        "second of the PyTorch network has no partner",
    ),
    "affine": (drop_affine, "PyTorch network has no layer bn1"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_named_and_nothing_is_changed(name, tiny):
    spoil, said = MISFITS[name]
    two = convert.torch_twin(4, 2, spec=TINY)
    spoil(two)
    before = state(tiny, two)
    with pytest.raises(ValueError, match=f"from Keras to PyTorch: .*{said}"):
        convert.keras_to_torch(tiny, two, TINY)
    with pytest.raises(ValueError, match=f"from PyTorch to Keras: .*{said}"):
        convert.torch_to_keras(two, tiny, TINY)
    after = state(tiny, two)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def tiny():
    return ours.resnet(TINY, (32, 32, 2), 4)


def test_a_softmax_in_keras_is_refused():
    one = ours.resnet(TINY, (32, 32, 2), 4)
    one.get_layer("fc4").activation = keras.activations.softmax
    with pytest.raises(ValueError, match="activation of fc4 softmax for linear"):
        convert.keras_to_torch(one, convert.torch_twin(4, 2, spec=TINY), TINY)


def test_another_depth_is_refused(tiny):
    deeper = replace(TINY, blocks=(2, 1, 3, 1))
    two = convert.torch_twin(4, 2, spec=deeper)
    said = "the Keras network has no layer res4c_branch2a and 5 more"
    with pytest.raises(ValueError, match=said):
        convert.keras_to_torch(tiny, two, deeper)
    said = "layer3.2.bn1 of the PyTorch network has no partner and 5 more"
    with pytest.raises(ValueError, match=said):
        convert.keras_to_torch(tiny, two, TINY)


# The functional blocks against PyTorch's, in double precision


@pytest.fixture
def float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def block_pair(stride, in_channels, inner, out, settings):
    """Return the Keras block as a model and PyTorch's Bottleneck with the same layers."""
    x = keras.Input((None, None, in_channels), dtype="float64")
    filters, projected = (inner, inner, out), stride > 1 or in_channels != out
    if projected:
        y = ours.convolutional_block(x, 3, filters, 2, "a", stride, settings)
    else:
        y = ours.identity_block(x, 3, filters, 2, "a", settings)
    two = pt.Bottleneck(in_channels, inner, out, stride).double()
    assert (two.downsample is not None) == projected
    if not settings.stride_on_3x3:
        two.conv1.stride, two.conv2.stride = (stride, stride), (1, 1)
    for module in two.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = settings.epsilon
    return keras.Model(x, y), two


def fill(one, two, rng):
    """Give both blocks the same random values; return the pairs (Keras kernel, weight)."""
    pairs = []
    places = {f"2{letter}": (f"conv{i}", f"bn{i}") for i, letter in enumerate("abc", start=1)}
    if two.downsample is not None:
        places["1"] = "downsample.0", "downsample.1"
    for branch, (conv_name, norm_name) in places.items():
        conv, norm = (one.get_layer(f"{p}2a_branch{branch}") for p in ("res", "bn"))
        conv.kernel.assign(rng.normal(size=conv.kernel.shape))
        module, normal = two.get_submodule(conv_name), two.get_submodule(norm_name)
        module.weight.data = torch.tensor(conv.kernel.numpy().transpose(3, 2, 0, 1).copy())
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        slots = (normal.weight, normal.bias, normal.running_mean, normal.running_var)
        for name, slot in zip(names, slots, strict=True):
            values = rng.uniform(0.5, 1.5, size=slot.shape)
            getattr(norm, name).assign(values)
            slot.data.copy_(torch.tensor(values))
        if conv.use_bias:  # what the bias adds, the mean subtracts
            conv.bias.assign(rng.normal(size=conv.bias.shape))
            norm.moving_mean.assign(norm.moving_mean + conv.bias)
        pairs.append((conv.kernel, module.weight))
    return pairs


def configurations(seed):
    rng = np.random.default_rng(seed)
    for stride, same in ((1, True), (1, False), (2, True), (2, False), (3, False)):
        for on_3x3 in (False, True):
            inside, inner, more = (int(n) for n in rng.integers(1, 5, size=3))
            settings = replace(ours.POST, stride_on_3x3=on_3x3, use_bias=bool(rng.integers(2)))
            yield stride, inside, inner, inside if same else inside + more, settings


@pytest.mark.parametrize("config", configurations(seed=0), ids=lambda config: str(config[:4]))
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_functional_blocks_equal_pytorchs_forward_and_gradient(float64, config, training):
    rng = np.random.default_rng(5)
    one, two = block_pair(*config)
    pairs = fill(one, two.train(training), rng)
    x = rng.normal(size=(3, 8, 7, config[1]))
    given = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    watched = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        y = one(watched, training=training)
        dy = rng.normal(size=y.shape)
        total = tf.reduce_sum(y * dy)
    expected = two(given)
    (expected * torch.tensor(np.moveaxis(dy, -1, 1).copy())).sum().backward()
    np.testing.assert_allclose(y, expected.detach().movedim(1, -1), atol=1e-9)
    dx, *grads = tape.gradient(total, [watched, *(kernel.value for kernel, _ in pairs)])
    np.testing.assert_allclose(dx, given.grad.movedim(1, -1), atol=1e-9)
    for grad, (_, weight) in zip(grads, pairs, strict=True):
        np.testing.assert_allclose(grad, weight.grad.permute(2, 3, 1, 0), atol=1e-9)
    assert abs(dx.numpy()).max() > 1e-3
