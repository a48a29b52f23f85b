"""Weight files: the standard layout fits strictly, everything else is refused by name."""

import os

import pytest
import torch
from torch import nn

from course_utils import pt
from course_utils.pt.weights import WeightsError, read_tensors, write_whole

# Names of the weight files that the world shares, read off their documentation.
STANDARD = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.weight": (64,),
    "bn1.running_mean": (64,),
    "bn1.num_batches_tracked": (),
    "layer1.0.conv1.weight": (64, 64, 3, 3),
    "layer1.1.bn2.running_var": (64,),
    "layer2.0.downsample.0.weight": (128, 64, 1, 1),
    "layer2.0.downsample.1.bias": (128,),
    "layer4.1.conv2.weight": (512, 512, 3, 3),
    "fc.weight": (1000, 512),
    "fc.bias": (1000,),
}
STANDARD_50 = {
    "layer1.0.conv1.weight": (64, 64, 1, 1),
    "layer1.0.conv3.weight": (256, 64, 1, 1),
    "layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "layer3.5.conv2.weight": (256, 256, 3, 3),
    "layer4.0.downsample.0.weight": (2048, 1024, 1, 1),
    "fc.weight": (1000, 2048),
}


def standard_names(blocks, convs, projected):
    """Every name of a standard ResNet file, spelled out stage by stage."""
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["conv1.weight", *(f"bn1.{part}" for part in parts)]
    for stage, units in enumerate(blocks, start=1):
        for unit in range(units):
            name = f"layer{stage}.{unit}"
            for i in range(1, convs + 1):
                names += [f"{name}.conv{i}.weight", *(f"{name}.bn{i}.{p}" for p in parts)]
            if unit == 0 and stage >= projected:
                names += [f"{name}.downsample.0.weight"]
                names += [f"{name}.downsample.1.{part}" for part in parts]
    return {*names, "fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    ("build", "blocks", "convs", "projected", "shapes"),
    [
        (pt.resnet18, (2, 2, 2, 2), 2, 2, STANDARD),
        (pt.resnet34, (3, 4, 6, 3), 2, 2, STANDARD),
        (pt.resnet50, (3, 4, 6, 3), 3, 1, STANDARD_50),
    ],
)
def test_names_and_shapes_are_the_standard_ones(build, blocks, convs, projected, shapes):
    with torch.device("meta"):
        state = build(1000, 3).state_dict()
    assert set(state) == standard_names(blocks, convs, projected)
    shapes = shapes | ({"layer1.2.bn2.running_var": (64,)} if len(state) > 130 else {})
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


@pytest.fixture
def model():
    torch.manual_seed(0)
    return pt.BasicBlock(2, 4)


def test_round_trip(model, tmp_path):
    path = tmp_path / "weights.pt"
    pt.save_weights(model, path)
    torch.manual_seed(1)
    other = pt.BasicBlock(2, 4)
    pt.load_weights(other, path)
    x = torch.rand(2, 2, 5, 5)
    assert torch.equal(model.eval()(x), other.eval()(x))
    assert os.listdir(tmp_path) == ["weights.pt"]


def changed(model, **tensors):
    """The model's state with tensors replaced, added, or removed where None is given."""
    state = dict(model.state_dict())
    for name, tensor in tensors.items():
        name = name.replace("_dot_", ".")
        state.pop(name, None)
        if tensor is not None:
            state[name] = tensor
    return state


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"conv1_dot_weight": None}, r"1 missing: conv1.weight\.$"),
        ({"fc_dot_weight": torch.zeros(2)}, r"1 extra: fc.weight\.$"),
        (
            {"conv2_dot_weight": torch.zeros(4, 4, 1, 1)},
            r"1 mis-shaped: conv2.weight \(4, 4, 1, 1\) for \(4, 4, 3, 3\)\.$",
        ),
        (
            {f"bn{i}_dot_{part}": None for i in (1, 2) for part in ("weight", "bias")},
            r"4 missing: bn1.weight, bn1.bias, bn2.weight and others\.$",
        ),
    ],
)
def test_file_that_does_not_fit_is_named_and_changes_nothing(tensors, said, model, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(changed(model, **tensors), path)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match=said):
        pt.load_weights(model, path)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_a_file_from_before_the_counters_of_batches_fits(model, tmp_path):
    state = {n: t + 1 for n, t in model.state_dict().items() if "num_batches" not in n}
    torch.save(state, tmp_path / "old.pt")
    pt.load_weights(model, tmp_path / "old.pt")
    assert all(torch.equal(model.state_dict()[name], t) for name, t in state.items())
    torch.save(changed(model, bn1_dot_num_batches_tracked=None), tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match=r"1 missing: bn1.num_batches_tracked\.$"):
        pt.load_weights(model, tmp_path / "odd.pt")


class Trap:
    """Unpickled, it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_executed(model, tmp_path):
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError, match=r"Python objects, which are never loaded"):
        pt.load_weights(model, tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_whole_model_in_a_file_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"Save model.state_dict\(\), not the model"):
        pt.load_weights(nn.Linear(2, 2), tmp_path / "model.pt")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(2)])
def test_other_contents_are_refused(content, model, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="holds no state_dict"):
        pt.load_weights(model, tmp_path / "x.pt")


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_a_file_cut_short_is_refused(keep, model, tmp_path):
    path = tmp_path / "weights.pt"
    pt.save_weights(model, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"weights.pt (cannot be read|is no file)"):
        pt.load_weights(model, path)


def test_a_damaged_byte_anywhere_is_refused_or_harmless(model, tmp_path):
    path = tmp_path / "weights.pt"
    pt.save_weights(model, path)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 23):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except WeightsError:  # any other error fails the test
            refused += 1
    assert refused > 5


def test_a_missing_file_is_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file .*gone.pt"):
        pt.load_weights(model, tmp_path / "gone.pt")


def test_an_interrupted_write_keeps_the_old_file(model, tmp_path):
    path = tmp_path / "weights.pt"
    pt.save_weights(model, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        write_whole(path, {"x": lambda: None})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["weights.pt"]
