"""TF1 checkpoints into slim's network and back: all of it or nothing, by name."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf1_slim import Slim, tf1

from course_utils.tf import slim
from course_utils.tf.slim_checkpoint import CheckpointError, load_checkpoint, save_checkpoint

ORACLE = os.environ.get("COURSE_ORACLE_DIR")
BLOCKS = [slim.resnet_v2_block("block1", 4, 2, 2), slim.resnet_v2_block("block2", 8, 2, 1)]
SIZE = (33, 32, 3)
IMAGES = np.random.default_rng(0).normal(size=(2, *SIZE)).astype(np.float32)


def network(num_classes=7, blocks=BLOCKS, **arguments):
    return slim.resnet_v2(blocks, num_classes, input_shape=SIZE, **arguments)


@pytest.fixture(scope="module")
def reference():
    return Slim(BLOCKS, 7, SIZE)


@pytest.fixture(scope="module")
def saved(reference, tmp_path_factory):
    """A folder with one checkpoint, as the Saver leaves it."""
    folder = tmp_path_factory.mktemp("saved")
    reference.save(folder / "model.ckpt")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the files of that checkpoint, to be spoilt."""
    for file in saved.glob("model.ckpt.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def check_equal(model, reference):
    values = reference.values()
    variables = slim.variables(model)
    assert set(variables) == set(values)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, values[name], err_msg=name)
    expected = reference.run(reference.logits, IMAGES)
    np.testing.assert_allclose(model(IMAGES), expected, atol=1e-5 * expected.std())


def refuse(path, match, model=None, error=CheckpointError, **arguments):
    """The error says what it should, and the model is as it was."""
    model = network() if model is None else model
    before = model.get_weights()
    with pytest.raises(error, match=match) as caught:
        load_checkpoint(model, path, **arguments)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return str(caught.value)


# Reading


@pytest.mark.parametrize("end", [".index", ".data-00000-of-00001", ".meta", ""])
def test_prefix_files_and_folder(saved, reference, end):
    model = network()
    taken, ignored = load_checkpoint(model, saved / f"model.ckpt{end}")
    assert set(taken) == set(reference.values())
    assert ignored == ()
    check_equal(model, reference)
    model = network()
    load_checkpoint(model, str(saved))
    check_equal(model, reference)


def test_old_kind_in_a_single_file(tmp_path):
    reference = Slim(BLOCKS, 7, SIZE, seed=5)
    version = tf1.train.SaverDef.V1
    reference.save(tmp_path / "old.ckpt", write_version=version)
    assert (tmp_path / "old.ckpt").is_file()
    for path in (tmp_path / "old.ckpt", tmp_path):
        model = network()
        load_checkpoint(model, path)
        check_equal(model, reference)
    (tmp_path / "checkpoint").unlink()
    load_checkpoint(network(), tmp_path)
    content = (tmp_path / "old.ckpt").read_bytes()
    (tmp_path / "old.ckpt").write_bytes(content[: len(content) // 2])
    refuse(tmp_path / "old.ckpt", "damaged, cut short or no checkpoint")


def test_newest_in_a_folder_that_was_moved(tmp_path):
    first, second = Slim(BLOCKS, 7, SIZE, seed=1), Slim(BLOCKS, 7, SIZE, seed=2)
    first.save(tmp_path / "b")
    second.save(tmp_path / "a")
    (tmp_path / "checkpoint").unlink()
    refuse(tmp_path, "2 checkpoints, a, b among them")
    state = 'model_checkpoint_path: "/home/trainer/run/a"\n'
    (tmp_path / "checkpoint").write_text(state)
    model = network()
    load_checkpoint(model, tmp_path)
    check_equal(model, second)


def test_what_a_training_leaves_is_ignored(tmp_path):
    reference = Slim(BLOCKS, 7, SIZE)
    kernel, ones = "resnet_v2/conv1/weights", np.ones(3, np.float32)
    norm = "resnet_v2/postnorm/moving_mean"
    names = [f"{kernel}/{slot}" for slot in ("Momentum", "Adam_1", "RMSProp", "NewOptimizer")]
    names += [f"{kernel}/ExponentialMovingAverage", f"{norm}/biased", f"{norm}/local_step"]
    names += [f"train/{kernel}/Adam", "beta1_power", "train/beta2_power", "resnet_v2/mean_rgb"]
    extra = [(name, ones) for name in names] + [("global_step", np.int64(12))]
    reference.save(tmp_path / "model", extra=extra)
    model = network()
    taken, ignored = load_checkpoint(model, tmp_path / "model")
    assert set(ignored) == {name for name, _ in extra}
    assert set(taken) == set(reference.values())
    check_equal(model, reference)


def test_without_logits(saved, reference):
    model = network(num_classes=3)
    own = model.get_layer("logits").get_weights()
    taken, ignored = load_checkpoint(model, saved, include_logits=False)
    assert ignored == ("resnet_v2/logits/biases", "resnet_v2/logits/weights")
    assert len(taken) == len(reference.values()) - 2
    for old, new in zip(own, model.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    features = network(num_classes=None)
    load_checkpoint(features, saved, include_logits=False)
    full = network()
    load_checkpoint(full, saved)
    kernel, bias = full.get_layer("logits").get_weights()
    np.testing.assert_allclose(features(IMAGES) @ kernel[0, 0] + bias, full(IMAGES), atol=1e-4)


def test_other_scope(saved, reference, tmp_path):
    model = network(name="mine")
    message = refuse(saved, "76 missing in the file: mine/conv1/weights, .* and others", model)
    assert message.endswith(
        "The names in the file start with resnet_v2: give scope='resnet_v2'."
    )
    save_checkpoint(network(), tmp_path / "m", scope="tower/resnet_v2")
    refuse(tmp_path / "m", "start with tower/resnet_v2: give scope='tower/resnet_v2'", model)
    load_checkpoint(model, saved, scope="resnet_v2")
    expected = reference.run(reference.logits, IMAGES)
    np.testing.assert_allclose(model(IMAGES), expected, atol=1e-5 * expected.std())


@pytest.mark.skipif(not ORACLE, reason="COURSE_ORACLE_DIR is not set: no checkpoint of slim's")
def test_checkpoint_of_genuine_slim(tmp_path):
    model = network(name="resnet_v2_tiny")
    load_checkpoint(model, Path(ORACLE, "tiny"))
    values = np.load(Path(ORACLE, "tiny", "variables.npz"))
    for name, variable in slim.variables(model).items():
        np.testing.assert_array_equal(variable, values[name])
    save_checkpoint(model, tmp_path / "again")
    old = tf.train.load_checkpoint(str(Path(ORACLE, "tiny", "model.ckpt")))
    new = tf.train.load_checkpoint(str(tmp_path / "again"))
    shapes = old.get_variable_to_shape_map()
    assert new.get_variable_to_shape_map() == shapes
    assert new.get_variable_to_dtype_map() == old.get_variable_to_dtype_map()
    assert all(np.array_equal(new.get_tensor(n), old.get_tensor(n)) for n in shapes)


# What does not fit


def write(path, change):
    """A checkpoint of the plain network, its table of names changed."""
    values = dict(Slim(BLOCKS, 7, SIZE).values())
    change(values)
    save = dict(shape_and_slices=[""] * len(values), tensors=[*values.values()])
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=[*values], **save)
    return path


CONV = "resnet_v2/block2/unit_1/bottleneck_v2/conv2/weights"
CHANGES = {
    "missing": (lambda v: v.pop(CONV), f"1 missing in the file: {CONV}."),
    "extra": (
        lambda v: v.update({"resnet_v2/conv9/weights": np.ones(2)}),
        "1 not in the network: resnet_v2/conv9",
    ),
    "mis-shaped": (
        lambda v: v.update({CONV: v[CONV][..., :5]}),
        rf"1 mis-shaped: {CONV} \(3, 3, 8, 5\) in the file, \(3, 3, 8, 8\) in the network",
    ),
    "transposed": (lambda v: v.update({CONV: v[CONV].T}), "mis-shaped"),
    "integers": (lambda v: v.update({CONV: v[CONV].astype(int)}), f"1 not floating: {CONV}"),
    "all three": (
        lambda v: (
            v.pop(CONV),
            v.update({"x": np.ones(2), "resnet_v2/conv1/biases": np.ones(2)}),
        ),
        "1 missing in the file: .*; 1 not in the network: x; 1 mis-shaped: resnet_v2/conv1",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_misfits_change_nothing(tmp_path, name):
    change, message = CHANGES[name]
    if name == "transposed":
        message = rf"{CONV} \(8, 8, 3, 3\) in the file, \(3, 3, 8, 8\) in the network"
    assert "Only the logits" not in refuse(write(tmp_path / "model", change), message)


def test_other_floats_are_cast(tmp_path):
    path = write(tmp_path / "model", lambda v: v.update({CONV: v[CONV].astype(np.float64)}))
    load_checkpoint(network(), path)
    old = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        double, again = network(), network()
    finally:
        keras.config.set_dtype_policy(old)
    double.get_layer("conv1").kernel.assign_add(np.full((7, 7, 3, 64), 1e-12))
    save_checkpoint(double, tmp_path / "double")
    load_checkpoint(again, tmp_path / "double")
    assert all(map(np.array_equal, double.get_weights(), again.get_weights()))


def test_other_networks(saved):
    message = refuse(
        saved, r"2 mis-shaped: .*/biases \(7,\) in the file, \(9,\) in the network", network(9)
    )
    assert message.endswith("Only the logits differ: include_logits=False leaves them out.")
    refuse(saved, "2 not in the network: .*include_logits=False", network(num_classes=None))
    deeper = [slim.resnet_v2_block("block1", 4, 3, 2), BLOCKS[1]]
    refuse(
        saved,
        "missing in the file: resnet_v2/block1/unit_3/bottleneck_v2/preact/gamma",
        network(7, deeper),
    )
    wider = [slim.resnet_v2_block("block1", 8, 2, 2), BLOCKS[1]]
    refuse(saved, "mis-shaped: .*block1/unit_1", network(7, wider))


def test_tf2_checkpoint_is_told_apart(tmp_path):
    path = tf.train.Checkpoint(model=network()).save(tmp_path / "two")
    refuse(path, "This is a TF2 checkpoint")


# Damage


def cut(file, keep):
    file.write_bytes(file.read_bytes()[:keep])


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(bytes(content))


DATA, INDEX = "model.ckpt.data-00000-of-00001", "model.ckpt.index"
DAMAGE = {
    "data cut short": lambda f: cut(f / DATA, 40_000),
    "data empty": lambda f: cut(f / DATA, 0),
    "one bit of the data": lambda f: flip(f / DATA, 20_000),
    "index cut short": lambda f: cut(f / INDEX, 200),
    "index empty": lambda f: cut(f / INDEX, 0),
    "one bit of the index": lambda f: flip(f / INDEX, 100),
    "index is text": lambda f: (f / INDEX).write_text("<html>not found</html>" * 50),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files(folder, name):
    DAMAGE[name](folder)
    message = refuse(folder / "model.ckpt", "damaged, cut short or no checkpoint")
    assert str(folder / "model.ckpt") in message


def test_missing_files(folder):
    (folder / INDEX).rename(folder / "away")
    refuse(folder / "model.ckpt", f"{INDEX} is missing")
    (folder / "away").rename(folder / INDEX)
    (folder / DATA).unlink()
    refuse(folder / "model.ckpt", f"{DATA} is missing")
    refuse(folder, f"{DATA} is missing")
    (folder / INDEX).unlink()
    refuse(folder / "model.ckpt", "There is no checkpoint", error=FileNotFoundError)
    refuse(folder, "no file ends in .index", error=FileNotFoundError)
    refuse(folder / "nowhere" / "model", "There is no checkpoint", error=FileNotFoundError)


def test_names_that_tensorflow_takes_for_others(tmp_path):
    save_checkpoint(network(), tmp_path / "m")
    (tmp_path / "m").mkdir()
    save_checkpoint(network(), tmp_path / "m" / "inner")
    for path in (tmp_path / "m", tmp_path / "m.index", tmp_path):
        refuse(path, "name of a checkpoint and of a folder")
    for name in ("run[1]", "run*", "run?", "a\\b"):
        (tmp_path / name).mkdir()
        refuse(tmp_path / name, "for a pattern")
        for path in (tmp_path / name, tmp_path):
            with pytest.raises(CheckpointError, match="for a pattern"):
                save_checkpoint(network(), path / f"new{name}")
        assert list((tmp_path / name).iterdir()) == []
    for name in ("m.ckpt-00000-of-00003", "m.ckpt-?????-of-00003"):
        refuse(tmp_path / name, "several files of a checkpoint of the old kind")


def test_a_part_of_an_array_in_the_old_kind(tmp_path):
    values = {n: v.numpy() for n, v in slim.variables(network()).items()}
    first = "resnet_v2/conv1/weights"
    places = {name: "" for name in values} | {first: "7 7 3 64 0,7:0,7:0,3:0,32"}
    values[first] = values[first][..., :32]
    tf.raw_ops.SaveSlices(
        filename=str(tmp_path / "part.ckpt"),
        tensor_names=[*values],
        shapes_and_slices=[*places.values()],
        data=[*values.values()],
    )
    assert "Op:" not in refuse(tmp_path / "part.ckpt", "damaged, cut short or no checkpoint")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
def test_unreadable_state_of_a_folder(folder, content):
    (folder / "checkpoint").write_bytes(content)
    (folder / "._model.ckpt.index").write_bytes(b"of a Mac")
    assert len(load_checkpoint(network(), os.fsencode(folder)).taken) == 76


def test_no_checkpoint_at_all(tmp_path):
    (tmp_path / "picture.ckpt").write_bytes(b"\x89PNG" * 100)
    refuse(tmp_path / "picture.ckpt", "damaged, cut short or no checkpoint")


# Writing


def test_the_saver_restores_what_is_written(tmp_path):
    model, reference = network(), Slim(BLOCKS, 7, SIZE, seed=9)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(weight + 0.1 * np.abs(rng.normal(size=weight.shape)))
    save_checkpoint(model, tmp_path / "model.ckpt")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [DATA, INDEX]
    reference.restore(tmp_path / "model.ckpt")
    check_equal(model, reference)
    again = network()
    load_checkpoint(again, tmp_path)
    check_equal(again, reference)


def test_scope_of_what_is_written(tmp_path):
    save_checkpoint(network(), tmp_path / "model", scope="tower/resnet_v2_50")
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "model"))]
    assert len(names) == 76
    assert all(name.startswith("tower/resnet_v2_50/") for name in names)
    load_checkpoint(network(), tmp_path / "model", scope="tower/resnet_v2_50")


def test_a_write_that_breaks_off_leaves_the_old_files(tmp_path, monkeypatch):
    save_checkpoint(network(), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(tf.raw_ops, "SaveV2", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(network(), tmp_path / "model")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_bad_places_to_write(tmp_path):
    with pytest.raises(ValueError, match="new file"):
        save_checkpoint(network(), tmp_path / "model.ckpt.index")
    with pytest.raises(ValueError, match="must be a new file's name"):
        save_checkpoint(network(), tmp_path)
    with pytest.raises(FileNotFoundError, match="Make it first"):
        save_checkpoint(network(), tmp_path / "nowhere" / "model")
    (tmp_path / "m.index").mkdir()
    with pytest.raises(ValueError, match="must be a new file's name"):
        save_checkpoint(network(), tmp_path / "m")
    (tmp_path / "m.index").rmdir()
    assert list(tmp_path.iterdir()) == []
