"""The PyTorch networks: counts, shapes, and outputs equal to the papers written down again.

The references here are plain functions of a list or dictionary of weights. They share no
code with the package.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import pt
from course_utils.pt.googlenet import INCEPTIONS
from course_utils.pt.vgg import VGG11_BLOCKS
from course_utils.specs import RESNETS


def count(model):
    return sum(p.numel() for p in model.parameters())


def on_meta(build):
    """Build a network without memory for its weights: enough for counts and shapes."""
    with torch.device("meta"):
        return build()


# --- Counts and shapes of the old post ----------------------------------------------------

COUNTS = [
    (pt.LeNet, 61_706),
    (pt.BNLeNet, 44_878),
    (pt.VGG, 43_093_322),
    (lambda: pt.VGG(blocks=VGG11_BLOCKS), 128_806_154),
    (pt.NiN, 1_992_166),
    (pt.GoogLeNet, 5_977_530),
    (pt.resnet18, 11_175_370),
    (lambda: pt.resnet18(1000, 3), RESNETS[18].params_v1),
    (lambda: pt.resnet34(1000, 3), RESNETS[34].params_v1),
    (lambda: pt.resnet50(1000, 3), RESNETS[50].params_v1),
]


@pytest.mark.parametrize(("build", "expected"), COUNTS)
def test_parameter_count(build, expected):
    assert count(on_meta(build)) == expected


SHAPES = [
    (pt.LeNet, 28, {"Conv2d": [(6, 28, 28), (16, 10, 10)], "Flatten": [(400,)]}),
    (pt.BNLeNet, 28, {"Conv2d": [(6, 24, 24), (16, 8, 8)], "Flatten": [(256,)]}),
    (
        pt.VGG,
        224,
        {
            "Sequential": [
                *[(16, 112, 112), (32, 56, 56), (64, 28, 28)],
                *[(128, 14, 14), (128, 7, 7)],
            ],
            "Flatten": [(6272,)],
        },
    ),
    (
        pt.NiN,
        224,
        {
            "Sequential": [(96, 54, 54), (256, 26, 26), (384, 12, 12), (10, 5, 5)],
            "MaxPool2d": [(96, 26, 26), (256, 12, 12), (384, 5, 5)],
        },
    ),
    (
        pt.NiN,
        96,
        {
            "Sequential": [(96, 22, 22), (256, 10, 10), (384, 4, 4), (10, 1, 1)],
            "MaxPool2d": [(96, 10, 10), (256, 4, 4), (384, 1, 1)],
        },
    ),
    (
        pt.GoogLeNet,
        96,
        {"Sequential": [(64, 24, 24), (192, 12, 12), (480, 6, 6), (832, 3, 3), (1024,)]},
    ),
    (
        pt.resnet18,
        96,
        {"Sequential": [(64, 24, 24), (128, 12, 12), (256, 6, 6), (512, 3, 3)]},
    ),
    (
        pt.resnet50,
        224,
        {"Sequential": [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]},
    ),
]


@pytest.mark.parametrize(("build", "size", "expected"), SHAPES)
def test_stage_shapes(build, size, expected):
    lines = pt.layer_summary(on_meta(build).eval(), (1, 1, size, size), show=False)
    for kind, shapes in expected.items():
        assert [line.shape[1:] for line in lines if line.kind == kind] == shapes
    assert lines[-1].shape == (1, 10)


def test_counts_by_part_of_the_post():
    """What the audit of the post gives for single parts, here without conv biases."""
    network = on_meta(pt.resnet18)
    assert count(network.layer1[0]) == 74_112 - 2 * 64
    assert count(network.layer2[0]) == 230_272 - 3 * 128 + 2 * 128  # bn on the shortcut
    assert count(network.layer4[1]) == 4_721_664 - 2 * 512
    dense = [m for m in on_meta(pt.VGG).modules() if isinstance(m, nn.Linear)]
    assert count(dense[0]) == 25_694_208


# --- Outputs, against the papers written down again ---------------------------------------


def randomise(model, seed=0):
    """Give every weight and statistic a value that nothing else has; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
                if name.endswith(("running_var", "moving_variance")) or tensor.ndim == 1:
                    tensor.copy_(1 + 0.2 * noise.abs() if "var" in name else 0.3 * noise + 0.5)
                else:
                    tensor.copy_(noise * (2 / fan_in) ** 0.5)
    return model.eval()


def batch_norm(x, weights, name):
    gamma, beta, mean, variance = (
        weights[f"{name}.{part}"][None, :, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta


def resnet_by_name(weights, x, depth):
    """The network of He 2015, table 1, read off the names of a standard weight file."""
    x = F.conv2d(x, weights["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(batch_norm(x, weights, "bn1").relu(), 3, 2, 1)
    for stage, units in enumerate(
        {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    ):
        for unit in range(units):
            stride = 2 if unit == 0 and stage > 0 else 1
            x = block_by_name(weights, x, f"layer{stage + 1}.{unit}", stride, depth >= 50)
    return x.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


def block_by_name(weights, x, name, stride, bottleneck):
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    strided = 2 if bottleneck else 1  # which convolution has the stride
    y = x
    for i, kernel in enumerate(kernels, start=1):
        step = stride if i == strided else 1
        y = F.conv2d(y, weights[f"{name}.conv{i}.weight"], stride=step, padding=kernel // 2)
        y = batch_norm(y, weights, f"{name}.bn{i}")
        y = y.relu() if i < len(kernels) else y
    if f"{name}.downsample.0.weight" in weights:
        x = F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=stride)
        x = batch_norm(x, weights, f"{name}.downsample.1")
    return (x + y).relu()


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("size", [64, 45])
def test_resnet_equals_the_paper(depth, size):
    model = randomise({18: pt.resnet18, 34: pt.resnet34, 50: pt.resnet50}[depth](7, 3))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(x)
        expected = resnet_by_name(model.state_dict(), x, depth)
    assert expected.std() > 0.01
    assert (found - expected).abs().max() < 1e-4 * expected.std()


def pairs(model):
    """The (weight, bias) of every convolution and dense layer, in the order of definition."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return [(layer.weight, layer.bias) for layer in layers]


def lenet_by_list(weights, x):
    (w1, b1), (w2, b2), (w3, b3), (w4, b4), (w5, b5) = weights
    x = F.avg_pool2d(F.conv2d(x, w1, b1, padding=2).sigmoid(), 2)
    x = F.avg_pool2d(F.conv2d(x, w2, b2).sigmoid(), 2).flatten(1)
    x = (x @ w3.T + b3).sigmoid()
    return (x @ w4.T + b4).sigmoid() @ w5.T + b5


def vgg_by_list(weights, x):
    convs, dense = weights[:-3], weights[-3:]
    for i, (w, b) in enumerate(convs):
        x = F.conv2d(x, w, b, padding=1).relu()
        if i in (0, 1, 3, 5, 7):  # 1, 1, 2, 2 and 2 convolutions
            x = F.max_pool2d(x, 2)
    x = x.flatten(1)
    for i, (w, b) in enumerate(dense):
        x = x @ w.T + b
        x = x.relu() if i < 2 else x
    return x


def nin_by_list(weights, x):
    for block, (stride, padding) in enumerate([(4, 0), (1, 2), (1, 1), (1, 1)]):
        for i, (w, b) in enumerate(weights[3 * block : 3 * block + 3]):
            x = F.conv2d(x, w, b, *((stride, padding) if i == 0 else (1, 0))).relu()
        if block < 3:
            x = F.max_pool2d(x, 3, 2)
    return x.mean((2, 3))


def googlenet_by_list(weights, x):
    weights = iter(weights)

    def conv(x, stride=1, padding=0):
        return F.conv2d(x, *next(weights), stride, padding).relu()

    x = F.max_pool2d(conv(x, 2, 3), 3, 2, 1)
    x = F.max_pool2d(conv(conv(x), padding=1), 3, 2, 1)
    for stage, blocks in enumerate((2, 5, 2)):
        for _ in range(blocks):
            paths = [conv(x), conv(conv(x), padding=1), conv(conv(x), padding=2)]
            x = torch.cat([*paths, conv(F.max_pool2d(x, 3, 1, 1))], dim=1)
        if stage < 2:
            x = F.max_pool2d(x, 3, 2, 1)
    w, b = next(weights)
    return x.mean((2, 3)) @ w.T + b


@pytest.mark.parametrize(
    ("build", "by_list", "shape"),
    [
        (pt.LeNet, lenet_by_list, (1, 28, 28)),
        (lambda: pt.VGG(image_size=40, hidden=32), vgg_by_list, (1, 40, 40)),
        (lambda: pt.NiN(in_channels=3), nin_by_list, (3, 96, 80)),
        (lambda: pt.GoogLeNet(6, 3), googlenet_by_list, (3, 64, 49)),
    ],
)
def test_network_equals_the_paper(build, by_list, shape):
    model = randomise(build())
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, expected = model(x), by_list(pairs(model), x)
    assert expected.std() > 1e-4
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def googlenet_normed(weights, x):
    """Convolution, batch norm, ReLU in that order, by the names of the weights."""

    def conv(name, x, stride=1):
        weight = weights[f"{name}.0.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        return batch_norm(x, weights, f"{name}.1").relu()

    x = F.max_pool2d(conv("stage1.0", x, 2), 3, 2, 1)
    x = F.max_pool2d(conv("stage2.1", conv("stage2.0", x)), 3, 2, 1)
    for stage, blocks in ((3, 2), (4, 5), (5, 2)):
        for name in (f"stage{stage}.{i}" for i in range(blocks)):
            paths = [conv(f"{name}.path1", x)]
            paths += [conv(f"{name}.path{i}.1", conv(f"{name}.path{i}.0", x)) for i in (2, 3)]
            paths.append(conv(f"{name}.path4.1", F.max_pool2d(x, 3, 1, 1)))
            x = torch.cat(paths, dim=1)
        if stage < 5:
            x = F.max_pool2d(x, 3, 2, 1)
    return x.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


def test_googlenet_with_batch_norm_has_it_behind_each_convolution_and_no_bias():
    model = randomise(pt.GoogLeNet(norm=nn.BatchNorm2d)).double()
    assert count(model) == 5_984_810
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 57
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(2, 1, 64, 49, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        found, expected = model(x), googlenet_normed(model.state_dict(), x)
    assert (expected[0] - expected[1]).abs().max() > 1e-5  # the images arrive
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_inception_table_gives_the_channels_of_the_paper():
    out = [[p1 + p2[1] + p3[1] + p4 for p1, p2, p3, p4 in stage] for stage in INCEPTIONS]
    assert out == [[256, 480], [512, 512, 512, 528, 832], [832, 1024]]


def test_bn_lenet_takes_the_frameworks_own_layers_and_agrees():
    """With the same weights, chapter 03's batch norm and PyTorch's give the same network."""

    class Theirs(nn.Module):
        def __new__(cls, channels):
            return nn.BatchNorm2d(channels) if channels < 20 else nn.BatchNorm1d(channels)

    ours = pt.BNLeNet()
    theirs = pt.BNLeNet(norm=Theirs)
    source = list(ours.state_dict().values())
    target = [t for n, t in theirs.state_dict().items() if "num_batches" not in n]
    for new, old in zip(target, source, strict=True):
        new.copy_(old)
    x = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    for training in (True, False):
        ours.train(training), theirs.train(training)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_gradient_of_a_tiny_residual_block_is_the_numerical_one():
    block = pt.BasicBlock(2, 3, stride=2).double()
    x = torch.randn(3, 2, 5, 5, dtype=torch.double, requires_grad=True)
    block.eval()  # in training every call would move the statistics
    assert torch.autograd.gradcheck(block, (x,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("build", [pt.LeNet, pt.BNLeNet, pt.NiN, pt.GoogLeNet, pt.resnet18])
def test_gradient_reaches_every_parameter(build):
    torch.manual_seed(0)
    model = build()
    size = 28 if build in (pt.LeNet, pt.BNLeNet) else 96
    F.cross_entropy(model(torch.rand(4, 1, size, size)), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.parameters())


# --- Sizes that are too small -------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "smallest"),
    [
        (lambda n: pt.LeNet(image_size=n), 12),
        (lambda n: pt.BNLeNet(image_size=n), 16),
        (lambda n: pt.VGG(image_size=n, hidden=8), 32),
    ],
)
def test_too_small_at_construction(build, smallest):
    with pytest.raises(ValueError, match=f"{smallest - 1}x.*at least {smallest}x{smallest}"):
        build(smallest - 1)
    build(smallest).eval()(torch.zeros(1, 1, smallest, smallest))


def test_too_small_at_the_first_call():
    model = on_meta(pt.NiN).eval()
    with pytest.raises(ValueError, match="32x96 are too small for NiN: give at least 67x67"):
        model(torch.zeros(1, 1, 32, 96, device="meta"))
    assert model(torch.zeros(1, 1, 67, 67, device="meta")).shape == (1, 10)


@pytest.mark.parametrize("build", [pt.GoogLeNet, pt.resnet18])
def test_padded_networks_take_any_size(build):
    model = on_meta(build).eval()
    assert model(torch.zeros(1, 1, 1, 1, device="meta")).shape == (1, 10)


def test_grey_and_colour_images_become_nchw():
    import numpy as np

    images = np.arange(2 * 3 * 4 * 3, dtype="float32").reshape(2, 3, 4, 3)
    x = pt.to_nchw(images)
    assert x.shape == (2, 3, 3, 4)
    assert x[1, 2, 0, 3] == images[1, 0, 3, 2]
    x.zero_()
    assert images.any()  # the caller's array is not the tensor's memory
    with pytest.raises(ValueError, match=r"\[N, H, W, C\], got shape \(3, 4, 3\)"):
        pt.to_nchw(images[0])


# --- layer_summary ------------------------------------------------------------------------


def test_summary_changes_nothing_in_the_model(capsys):
    model = pt.resnet18()
    model.layer1.eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    lines = pt.layer_summary(model, (2, 1, 32, 32))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines) + 1
    assert printed[-1].split() == ["total", "11,175,370"]
    assert sum(line.parameters for line in lines) == 11_175_370


def test_summary_that_fails_leaves_no_hook():
    model = pt.LeNet()
    with pytest.raises(RuntimeError):
        pt.layer_summary(model, (1, 1, 5, 5), show=False)
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())
