"""Checkpoints of TF1's `tf.train.Saver` into the networks of `course_utils.tf.slim`, and back.

A checkpoint is a table from names to arrays. Since TensorFlow 0.12 it lies in two files,
`<prefix>.index` with names, types, shapes and places, and `<prefix>.data-00000-of-00001`
with the values; before, in a single file, mostly called `<something>.ckpt`. Both are read.
"""

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from course_utils.tf import slim

SHOWN = 3  # names of each kind that an error lists
SUFFIX = re.compile(r"\.(?:index|meta|data-\d{5}-of-\d{5})$")
# What a training leaves beside the weights, told by the last part of a name: counters, rates
# and powers, the slots of TF1's optimizers, averages of the weights, and a mean colour.
NO_WEIGHT = re.compile(
    r"(?:^|/)(?:global_step|learning_rate|mean_rgb|beta[12]_power|ExponentialMovingAverage"
    r"|biased|local_step|Momentum|Adam|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl)(?:_\d+)?$"
)


class CheckpointError(ValueError):
    """A checkpoint that is damaged or does not fit; the text says what is wrong."""


class Loaded(NamedTuple):
    """What `load_checkpoint` did with the names of a checkpoint."""

    taken: tuple[str, ...]
    ignored: tuple[str, ...]


def find_checkpoint(path) -> str:
    """Return the prefix of a checkpoint, given that, one of its files, or its folder.

    In a folder it is the one that the file `checkpoint` calls the newest, else the only one.

    Raises FileNotFoundError where there is none, and CheckpointError where a file of it is
    missing, where a folder has several and does not say which, and from `check_name`.
    """
    path = Path(os.fsdecode(path))
    check_name(path)
    prefix = newest_in(path) if path.is_dir() else Path(SUFFIX.sub("", str(path)))
    check_name(prefix)
    index = prefix.with_name(f"{prefix.name}.index")
    data = [file.name for file in prefix.parent.glob("*") if is_data_of(file, prefix)]
    if index.is_file() and not data:
        raise CheckpointError(
            f"{prefix} has an index and no values: the file {prefix.name}.data-00000-of-00001 "
            "is missing. Put it into the same folder, under that name."
        )
    if data and not index.is_file():
        raise CheckpointError(
            f"{prefix} has values and no index: the file {index.name} is missing. Put it into "
            "the same folder, under that name."
        )
    if not index.is_file() and not prefix.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {prefix}: neither {index.name} nor {prefix.name} is in "
            f"{prefix.parent}. Give the path without .index or .data-..., or the folder."
        )
    return str(prefix)


def check_name(path) -> None:
    """Raise CheckpointError for a name that TensorFlow would take for another one."""
    path = Path(SUFFIX.sub("", str(path)))
    if re.search(r"-(?:\d{5}|\?{5})-of-\d{5}$", path.name):
        raise CheckpointError(
            f"{path} is one of several files of a checkpoint of the old kind, which are not "
            "read here. Restore it with tf.compat.v1's Saver and save it again."
        )
    if signs := (set("*?[\\") - {os.sep}) & set(str(path)):
        raise CheckpointError(
            f"TensorFlow takes {' '.join(sorted(signs))} in {path} for a pattern and may read "
            "another file. Rename the file or the folder."
        )
    if path.is_dir() and path.with_name(f"{path.name}.index").is_file():
        raise CheckpointError(
            f"{path} is the name of a checkpoint and of a folder, and TensorFlow would look "
            "into the folder. Rename one of them."
        )


def is_data_of(file, prefix) -> bool:
    return file.name.startswith(f"{prefix.name}.data-") and bool(SUFFIX.search(file.name))


def newest_in(folder) -> Path:
    """Return the prefix of the newest checkpoint in a folder, as far as the folder tells."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # `checkpoint` is empty or no text: as if it were not there
        state = None
    if state:
        # The path may be that of the machine that trained: only its last part counts here.
        return folder / re.split(r"[/\\]", state.model_checkpoint_path)[-1]
    found = {SUFFIX.sub("", file.name) for file in folder.glob("[!.]*.index")}
    found |= {file.name for file in folder.glob("[!.]*.ckpt") if file.is_file()}
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} has {len(found)} checkpoints, {', '.join(sorted(found)[:SHOWN])} among "
            "them, and no file `checkpoint` says which is the newest. Give one of them."
        )
    if not found:
        raise FileNotFoundError(f"There is no checkpoint in {folder}: no file ends in .index.")
    return folder / found.pop()


@contextmanager
def damage_told(prefix):
    """Turn what TensorFlow raises on damaged files, by checksum, into a CheckpointError."""
    try:
        yield
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", reason)  # which operation found it
        raise CheckpointError(
            f"{prefix} cannot be read: it is damaged, cut short or no checkpoint ({reason}). "
            "Copy or download it again."
        ) from None


def is_weight(name, expected) -> bool:
    """Say whether a name in a checkpoint is a weight, and not what a training left besides.

    The latter is told by its last part, or lies below the name of a weight, as slots do.
    """
    return not NO_WEIGHT.search(name) and name.rpartition("/")[0] not in expected


def misfits(expected, shapes, types) -> list[str]:
    """Say how names, shapes and types of a checkpoint differ from the expected shapes."""
    both = [name for name in expected if name in shapes]
    kinds = {
        "missing in the file": [name for name in expected if name not in shapes],
        "not in the network": [name for name in shapes if name not in expected],
        "mis-shaped": [
            f"{name} {tuple(shapes[name])} in the file, {expected[name]} in the network"
            for name in both
            if tuple(shapes[name]) != expected[name]
        ],
        "not floating": [n for n in both if not types[n].is_floating],
    }
    return [
        f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{' and others' * (len(names) > SHOWN)}"
        for kind, names in kinds.items()
        if names
    ]


def advice(expected, shapes, scope) -> str:
    """Return what to do about the commonest misfits, or nothing."""
    if any(".ATTRIBUTES" in name for name in shapes):
        return " This is a TF2 checkpoint: read it with tf.train.Checkpoint."
    last = "/postnorm/gamma"
    scopes = [name.removesuffix(last) for name in shapes if name.endswith(last)]
    if scopes and not any(name.startswith(f"{scope}/") for name in shapes):
        return f" The names in the file start with {scopes[0]}: give scope={scopes[0]!r}."
    logits = f"{scope}/logits/"
    wrong = {name for name in expected if tuple(shapes.get(name, ())) != expected[name]}
    wrong |= shapes.keys() - expected.keys()
    if wrong and all(name.startswith(logits) for name in wrong):
        return " Only the logits differ: include_logits=False leaves them out."
    return ""


def load_checkpoint(model, path, *, scope=None, include_logits=True) -> Loaded:
    """Put the values of a TF1 checkpoint into a `slim.resnet_v2`, all of them or none.

    `path` is the checkpoint's prefix, one of its files, its folder, or a single file of the
    old kind. `scope` is what its names start with, where this is not the model's name.
    Without `include_logits` the model keeps its own logits, whatever the file has.

    Counters, optimizer slots and moving averages of weights in the file are ignored. Raises
    FileNotFoundError, or CheckpointError for a file that is damaged or that lacks a
    variable, has another one or another shape. The model is then as it was.
    """
    scope = model.name if scope is None else scope
    left_out = () if include_logits else f"{scope}/logits/"  # startswith(()) is never true
    wanted = slim.variables(model, scope)
    wanted = {n: v for n, v in wanted.items() if not n.startswith(left_out)}
    expected = {name: tuple(variable.shape) for name, variable in wanted.items()}
    prefix = find_checkpoint(path)
    with damage_told(prefix):
        reader = tf.train.load_checkpoint(prefix)
        found = reader.get_variable_to_shape_map()
        types = reader.get_variable_to_dtype_map()
    weights = [n for n in found if is_weight(n, expected) and not n.startswith(left_out)]
    shapes = {name: found[name] for name in sorted(weights)}
    if problems := misfits(expected, shapes, types):
        text = f"{prefix} does not fit {model.name}: {'; '.join(problems)}."
        raise CheckpointError(text + advice(expected, shapes, scope))
    with damage_told(prefix):
        # Where a part of an array is missing, this raises and the reader does not.
        values = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[*expected],
            shape_and_slices=[""] * len(expected),
            dtypes=[types[name] for name in expected],
        )
    for variable, value in zip(wanted.values(), values, strict=True):
        variable.assign(tf.cast(value, variable.dtype))
    return Loaded(tuple(expected), tuple(sorted(found.keys() - expected.keys())))


def save_checkpoint(model, path, *, scope=None) -> None:
    """Write a `slim.resnet_v2` as a TF1 checkpoint, which slim's own code restores.

    `path` is the prefix: the files are `<path>.index` and `<path>.data-00000-of-00001`.
    They are written beside and then moved. A run that breaks off while it writes leaves the
    old files; between the two moves they do not belong together, and loading says so. A
    .meta, or further parts, of an older checkpoint of that name stay.

    Raises FileNotFoundError without the folder, and ValueError if `path` or one of the files
    is a folder, for the name of one of the files, and from `check_name`.
    """
    path = Path(os.fsdecode(path))
    files = [f"{path.name}.data-00000-of-00001", f"{path.name}.index"]
    taken = any((path.parent / name).is_dir() for name in (path.name, *files))
    if taken or SUFFIX.search(path.name):
        raise ValueError(f"{path} must be a new file's name without .index or .data-...")
    check_name(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}. Make it first.")
    variables = slim.variables(model, scope)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        tf.raw_ops.SaveV2(
            prefix=os.path.join(folder, path.name),
            tensor_names=[*variables],
            shape_and_slices=[""] * len(variables),
            tensors=[variable.numpy() for variable in variables.values()],
        )
        for file in files:
            os.replace(os.path.join(folder, file), path.parent / file)
