"""The old assignment's ResNet-50: counts, values, saving, and keras.applications' network."""

from collections import Counter
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
from benchmark import multiply_adds
from saving import opened_again

from course_utils import reference
from course_utils import tf as ours
from course_utils.specs import RESNETS, ResNetSpec


@dataclass(frozen=True)
class Narrow(ResNetSpec):
    """Few channels, and each stage with its own."""

    @property
    def inner_channels(self):
        return (3, 4, 5, 6)


TINY = Narrow(0, (2, 1, 2, 1), bottleneck=True)


def shake(model, seed=0):
    """Give each weight random values of its own; variances stay positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        if len(weight.shape) > 1:
            values *= np.sqrt(2 / np.prod(weight.shape[:-1]))
        elif weight.name == "moving_variance":
            values = 0.5 + abs(values)
        else:
            values = 0.3 * values + 0.7 * (weight.name == "gamma")
        weight.assign(values)
    return model


def settle(model, x):
    """Make the averages those of a batch: else a deep network hardly sees its images."""
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    for norm in norms:
        norm.momentum = 0.99


def states(*models):
    return [[weight.numpy() for weight in model.weights] for model in models]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def resnet50():
    return ours.resnet50()


@pytest.fixture(scope="module")
def applications():
    return keras.applications.ResNet50(
        weights=None, classifier_activation=None, input_shape=(64, 64, 3), classes=6
    )


# Counts and shapes


def test_the_default_is_the_old_network(resnet50):
    sizes = [int(np.prod(weight.shape)) for weight in resnet50.trainable_weights]
    assert (resnet50.count_params(), sum(sizes), len(sizes)) == (23_600_006, 23_546_886, 214)
    assert (len(resnet50.weights), len(resnet50.layers)) == (320, 177)
    kinds = Counter(type(layer).__name__ for layer in resnet50.layers)
    expected = {"Conv2D": 53, "BatchNormalization": 53, "ReLU": 49, "Add": 16}
    assert expected.items() <= kinds.items()
    biases = [w for layer in resnet50.layers for w in layer.weights if w.name == "bias"]
    assert sum(w.shape[0] for w in biases) == 26_560 + 6
    shapes = {
        "conv1_pad": (70, 70, 3),
        "conv1": (32, 32, 64),
        "pool1": (15, 15, 64),
        "bn2c_branch2c": (15, 15, 256),
        "bn3d_branch2c": (8, 8, 512),
        "bn4f_branch2c": (4, 4, 1024),
        "bn5c_branch2c": (2, 2, 2048),
        "avg_pool": (1, 1, 2048),
        "fc6": (6,),
    }
    assert {name: resnet50.get_layer(name).output.shape[1:] for name in shapes} == shapes
    assert resnet50.get_layer("fc6").activation is keras.activations.linear
    assert multiply_adds(resnet50) == 308_178_944


def test_one_seed_for_all_layers_makes_twenty_kernels_of_53(resnet50):
    kernels = [w.numpy() for w in resnet50.weights if len(w.shape) == 4]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 53
    seed_0 = replace(ours.POST, kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    equal = ours.resnet(Narrow(50, (3, 4, 6, 3), bottleneck=True), settings=seed_0)
    kernels = [w.numpy() for w in equal.weights if len(w.shape) == 4]
    assert len({(kernel.shape, kernel.tobytes()) for kernel in kernels}) == 20
    assert len({kernel.tobytes() for kernel in kernels}) == 16  # [1, 1, a, b] and [1, 1, b, a]


# Values


def by_name(model, x, spec, settings):
    """Logits in evaluation mode, from the weights by name, in NumPy."""
    w = {
        f"{layer.name}.{weight.name}": weight.numpy().astype(float)
        for layer in model.layers
        for weight in layer.weights
    }

    def conv_norm(x, conv, norm, stride=1, padding=0):
        y = reference.conv2d(
            x, w[f"{conv}.kernel"], w.get(f"{conv}.bias"), stride=stride, padding=padding
        )
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, var = (w[f"{norm}.{part}"] for part in parts)
        return gamma * (y - mean) / np.sqrt(var + settings.epsilon) + beta

    x = np.maximum(conv_norm(x, "conv1", "bn_conv1", 2, 3), 0)
    x = reference.max_pool2d(x, 3, 2, settings.pool_padding)
    for stage, blocks in enumerate(spec.blocks, start=2):
        for i in range(blocks):
            name, step = f"{stage}{'abc'[i]}_branch", 2 if stage > 2 and i == 0 else 1
            one, two = (1, step) if settings.stride_on_3x3 else (step, 1)
            y = np.maximum(conv_norm(x, f"res{name}2a", f"bn{name}2a", one), 0)
            y = np.maximum(conv_norm(y, f"res{name}2b", f"bn{name}2b", two, 1), 0)
            y = conv_norm(y, f"res{name}2c", f"bn{name}2c")
            if i == 0:
                x = conv_norm(x, f"res{name}1", f"bn{name}1", step)
            x = np.maximum(x + y, 0)
    return x.mean(axis=(1, 2)) @ w["fc4.kernel"] + w["fc4.bias"]


@pytest.mark.parametrize("settings", ["POST", "APPLICATIONS", "PYTORCH"])
def test_outputs_equal_numpys_at_any_size(settings):
    settings = getattr(ours, settings)
    model = shake(ours.resnet(TINY, (None, None, 2), 4, settings))
    assert len([w for w in model.weights if w.name == "bias"]) == 1 + 23 * settings.use_bias
    norms = [layer for layer in model.layers if "bn" in layer.name]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {
        (settings.decay, settings.epsilon)
    }
    for size in ((40, 33), (64, 47)):
        x = np.random.default_rng(1).normal(size=(2, *size, 2)).astype(np.float32)
        expected = by_name(model, x.astype(float), TINY, settings)
        np.testing.assert_allclose(model(x, training=False), expected, atol=1e-4)
        for other in (ours.POST, ours.PYTORCH, replace(settings, epsilon=0.1)):
            if other != settings:  # the tolerance tells the settings apart
                got = by_name(model, x.astype(float), TINY, other)
                assert abs(got - expected).max() > 1e-3 or other.use_bias == settings.use_bias


# keras.applications


def test_weights_go_to_keras_applications_and_back(resnet50, applications):
    mine = ours.resnet50(settings=ours.APPLICATIONS)
    names = ours.applications_names()
    x = np.random.default_rng(2).random((8, 64, 64, 3)).astype(np.float32)
    for source, target, way in (
        (mine, applications, names),
        (applications, mine, {theirs: one for one, theirs in names.items()}),
    ):
        settle(shake(source, seed=int(source is mine)), x)
        ours.copy_weights(source, target, way)
        a, b = (model(x, training=False).numpy() for model in (source, target))
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert a.std(axis=0).mean() > 0.1  # the images make a difference
    before = states(resnet50, applications)
    said = r"epsilon of bn_conv1 0.001 for 1.001e-05 and 52 more; padding before pool1 0 for 1"
    with pytest.raises(ValueError, match=said):
        ours.copy_weights(resnet50, applications, names)
    assert all(map(same, before, states(resnet50, applications)))


@pytest.mark.parametrize(
    ("settings", "spec", "classes", "said"),
    [
        ({"epsilon": 0.1}, TINY, 4, "epsilon of bn_conv1 0.001 for 0.1 and 22 more"),
        ({"pool_padding": 1}, TINY, 4, "padding before pool1 0 for 1"),
        ({"stride_on_3x3": True}, TINY, 4, "stride of res3a_branch2a 2 for 1 and 5 more"),
        ({"use_bias": False}, TINY, 4, r"shapes of conv1 \[\(7, 7, 2, 3\), \(3,\)\] for \[\("),
        ({}, TINY, 5, "the target has no layer fc4; fc5 of the target has no partner"),
        ({}, replace(TINY, blocks=(1, 1, 2, 1)), 4, "no layer res2b_branch2a and 5 more"),
        ({}, replace(TINY, blocks=(3, 1, 2, 1)), 4, "bn2c_branch2a of the target has no p"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_copied(settings, spec, classes, said):
    source = ours.resnet(TINY, (32, 32, 2), 4)
    target = ours.resnet(spec, (32, 32, 2), classes, replace(ours.POST, **settings))
    names = {layer.name: layer.name for layer in source.layers if layer.weights}
    before = states(source, target)
    with pytest.raises(ValueError, match=said):
        ours.copy_weights(source, target, names)
    assert all(map(same, before, states(source, target)))


def spoil_activation(model):
    model.get_layer("fc4").activation = keras.activations.softmax


def spoil_edges(model):  # TensorFlow's own "same" pads a strided convolution on one side
    layer = model.get_layer("res3a_branch2b")
    layer.__class__, layer.padding = keras.layers.Conv2D, "same"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_activation, "activation of fc4 linear for softmax"),
        (spoil_edges, "zeros around res3a_branch2b 1 for same"),
        (
            lambda model: setattr(model.get_layer("pool1"), "pool_size", (2, 2)),
            r"window, stride, rounding of pool1 \[\(3, 2, 'down'\)\] for \[\(2, 2, 'down'\)\]",
        ),
        (
            lambda model: setattr(model.get_layer("pool1"), "strides", (1, 1)),
            r"\(3, 2, 'down'\)\] for \[\(3, 1, 'down'\)\]",
        ),
        (
            lambda model: setattr(model.get_layer("pool1"), "padding", "same"),
            r"\(3, 2, 'down'\)\] for \[\(3, 2, 'up'\)\]",
        ),
    ],
)
def test_what_no_weight_shows_is_compared(spoil, said):
    source, target = (ours.resnet(TINY, (32, 32, 2), 4, ours.PYTORCH) for _ in range(2))
    names = {layer.name: layer.name for layer in source.layers if layer.weights}
    spoil(target)
    before = states(target)
    with pytest.raises(ValueError, match=said):
        ours.copy_weights(source, target, names)
    assert all(map(same, before, states(target)))


def test_keras_applications_with_its_default_softmax_is_refused(
    resnet50, applications, monkeypatch
):
    head = applications.get_layer("predictions")
    monkeypatch.setattr(head, "activation", keras.activations.softmax)
    with pytest.raises(ValueError, match="activation of fc6 linear for softmax"):
        ours.copy_weights(resnet50, applications, ours.applications_names())


def test_decay_may_differ_when_weights_are_copied():
    source = shake(ours.resnet(TINY, (32, 32, 2), 4))
    target = ours.resnet(TINY, (32, 32, 2), 4, replace(ours.POST, decay=0.5))
    ours.copy_weights(source, target, {n.name: n.name for n in source.layers if n.weights})
    assert same(*states(source, target))


# Bad input, saving


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"spec": RESNETS[34]}, "builds bottlenecks"),
        ({"spec": RESNETS[152]}, "blocks of a stage a to z"),
        ({"input_shape": (4, 64, 3)}, r"\(4, 64, 3\) is too small: .* at least 5x5"),
        ({"input_shape": (64, 64)}, r"input_shape is \(height, width, channels\)"),
        ({"input_shape": (64, 64, None)}, "channels a number"),
        ({"num_classes": 0}, "num_classes must be 1 or more, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ours.resnet(**({"spec": TINY} | arguments))


def test_the_smallest_images():
    assert ours.resnet(TINY, (5, 5, 1)).output_shape == (None, 6)
    assert ours.resnet(TINY, (1, 1, 1), settings=ours.PYTORCH).output_shape == (None, 6)


def test_saved_whole_and_as_weights_then_loaded_in_a_fresh_process(tmp_path):
    model = shake(ours.resnet(TINY, (32, 32, 2), 4, ours.PYTORCH))
    x = np.random.default_rng(3).normal(size=(2, 32, 32, 2)).astype(np.float32)
    whole, weights, *_ = opened_again(tmp_path, model, x)
    assert (whole, weights) == (0, 0)
