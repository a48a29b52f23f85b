"""Checkers of chapter 14: names, prefixes and tables of TensorFlow 1 checkpoints.

The right answers stand here as written-out lists where that is possible.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial

from course_utils.check.core import exercise

__all__ = ["compare_tables", "prefix_of", "slim_name"]


def _first_wrong(got, cases, expected, mistakes: dict[str, Callable], say: Callable):
    """Return None, or the sentence of the mistake that gives all of `got`, and an example."""
    wrong = [i for i, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1]]
    if not wrong:
        return None
    example = say(cases[wrong[0]], got[wrong[0]], expected[wrong[0]])
    for sentence, formula in mistakes.items():
        if all(one == formula(*case) for one, case in zip(got, cases, strict=True)):
            return f"{sentence} {example}"
    return example


# --- Exercise 1 -------------------------------------------------------------------------

UNIT = "block1.unit_2.bottleneck_v2"
NAMES = {
    ("resnet_v2_50", "conv1", "kernel"): "resnet_v2_50/conv1/weights",
    ("resnet_v2_50", "logits", "bias"): "resnet_v2_50/logits/biases",
    ("tiny", "postnorm", "moving_mean"): "tiny/postnorm/moving_mean",
    ("tiny", "postnorm", "moving_variance"): "tiny/postnorm/moving_variance",
    ("tiny", f"{UNIT}.conv1.BatchNorm", "gamma"): (
        "tiny/block1/unit_2/bottleneck_v2/conv1/BatchNorm/gamma"
    ),
    ("tiny", f"{UNIT}.conv3", "bias"): "tiny/block1/unit_2/bottleneck_v2/conv3/biases",
    ("tiny", f"{UNIT}.preact", "beta"): "tiny/block1/unit_2/bottleneck_v2/preact/beta",
    # A block may be called anything: here like a variable of Keras, and of slim.
    ("net", "kernel.unit_1.bottleneck_v2.conv1", "kernel"): (
        "net/kernel/unit_1/bottleneck_v2/conv1/weights"
    ),
    ("net", "bias_block.unit_1.bottleneck_v2.conv3", "bias"): (
        "net/bias_block/unit_1/bottleneck_v2/conv3/biases"
    ),
}
SPELLED = {"kernel": "weights", "bias": "biases"}


def _name(scope, layer, variable, *, spelled=SPELLED, dots=None, end="") -> str:
    layer = layer.replace(".", "/") if dots is None else layer.replace(".", "/", dots)
    return "/".join([*[scope] * bool(scope), layer, spelled.get(variable, variable)]) + end


def _replaced_everywhere(scope, layer, variable) -> str:
    path = _name(scope, layer, variable, spelled={})
    return path.replace("kernel", "weights").replace("bias", "biases")


NAME_MISTAKES = {
    "Slim calls the kernel weights and the bias biases.": partial(_name, spelled={}),
    "Slim's names are plural: weights and biases.": (
        partial(_name, spelled={"kernel": "weight", "bias": "bias"})
    ),
    "The bias is called biases.": partial(_name, spelled={"kernel": "weights"}),
    "The kernel is called weights.": partial(_name, spelled={"bias": "biases"}),
    "Dots become slashes.": partial(_name, dots=0),
    "All dots become slashes, not just the first.": partial(_name, dots=1),
    "The scope of the network stands first.": lambda s, n, v: _name("", n, v),
    "TensorFlow 1 put :0 behind the name of a tensor; a checkpoint has the name without.": (
        partial(_name, end=":0")
    ),
    "Only the variable is renamed, not a part of the layer's name that looks like it.": (
        _replaced_everywhere
    ),
    "Only the kernel and the bias are renamed; batch norm's variables keep their names.": (
        lambda s, n, v: _name(s, n, "weights" if v == "kernel" else "biases")
    ),
}


@exercise
def slim_name(candidate) -> str | None:
    """candidate(scope, layer, variable) is the name that slim gave to the variable."""
    got = [candidate(*case) for case in NAMES]
    if not all(isinstance(answer, str) for answer in got):
        return "Give one name, a text."

    def say(case, given, answer):
        return f"For {', '.join(map(repr, case))} you gave {given!r}; it is {answer!r}."

    return _first_wrong(got, [*NAMES], [*NAMES.values()], NAME_MISTAKES, say)


# --- Exercise 2 -------------------------------------------------------------------------

PREFIXES = {
    "model.ckpt-140.index": "model.ckpt-140",
    "model.ckpt-140.meta": "model.ckpt-140",
    "model.ckpt-140.data-00000-of-00001": "model.ckpt-140",
    "model.ckpt-20000.data-00003-of-00016": "model.ckpt-20000",
    "resnet_v2_50.ckpt": "resnet_v2_50.ckpt",
    "model.ckpt-140": "model.ckpt-140",
    "weights.index": "weights",
    "my.data.index": "my.data",
    "my.index.meta": "my.index",
    "my.index.data-00000-of-00001": "my.index",
    "a.meta.b": "a.meta.b",
    "plain": "plain",
    "meta.data": "meta.data",
}
NO_DATA = "notes.data-backup"


def _suffix_list(name) -> str:
    for end in (".index", ".meta", ".data-00000-of-00001"):
        name = name.removesuffix(end)
    return name


def _one_after_the_other(name) -> str:
    return name.replace(".index", "").replace(".meta", "").partition(".data-")[0]


def _up_to_ckpt(name) -> str:
    return name.partition(".ckpt")[0] + ".ckpt" * (".ckpt" in name)


PREFIX_MISTAKES = {
    "Cut at the last dot only: the prefix may have dots itself.": (
        lambda n: n.partition(".")[0]
    ),
    "Cut only what belongs to a checkpoint's files: a prefix may end in .ckpt.": (
        lambda n: n.rpartition(".")[0] or n
    ),
    "A name without any dot is its own prefix.": lambda n: n.rpartition(".")[0],
    "The values may lie in several files: ...-00003-of-00016.": _suffix_list,
    "The number of the step belongs to the prefix.": (
        lambda n: re.sub(r"-\d+$", "", PREFIXES[n])
    ),
    ".ckpt and the step belong to the prefix.": (lambda n: PREFIXES[n].partition(".ckpt")[0]),
    "The step belongs to the prefix, and not every prefix has .ckpt in it.": _up_to_ckpt,
    "Not every prefix has .ckpt in it.": lambda n: n.partition(".ckpt")[0] + ".ckpt",
    "A prefix may have no dot, or several: look at the end of the name.": (
        lambda n: ".".join(n.split(".")[:2])
    ),
    "Only the last ending goes: the prefix my.index has one of its own.": _one_after_the_other,
    "One ending goes, not one after the other: my.index is a prefix.": (
        lambda n: re.sub(r"(\.index|\.meta|\.data-\d+-of-\d+)+$", "", n)
    ),
    "The data file belongs to the checkpoint too.": (
        lambda n: n.removesuffix(".index").removesuffix(".meta")
    ),
    "The .meta file has the same prefix.": (
        lambda n: n if n.endswith(".meta") else PREFIXES[n]
    ),
    "The dot before index, meta or data goes too.": (
        lambda n: PREFIXES[n] + "." * (PREFIXES[n] != n)
    ),
    "strip removes letters from both ends, not a word. Take removesuffix.": (
        lambda n: n.rstrip(".index").rstrip(".meta")
    ),
    "strip removes letters, not a word, and .meta and .data-... go too. Take removesuffix.": (
        lambda n: n.rstrip(".index")
    ),
    "Only an ending counts: data and meta may stand in the prefix.": (
        lambda n: re.split(r"\.(?:index|meta|data)", n)[0]
    ),
}


@exercise
def prefix_of(candidate) -> str | None:
    """candidate(file_name) is the name without .index, .meta or .data-...-of-..."""
    got = [candidate(name) for name in PREFIXES]
    if not all(isinstance(answer, str) for answer in got):
        return "Give the prefix, a text."

    def say(case, given, answer):
        return f"For {case[0]!r} you gave {given!r}; it is {answer!r}."

    cases = [(n,) for n in PREFIXES]
    if text := _first_wrong(got, cases, [*PREFIXES.values()], PREFIX_MISTAKES, say):
        return text
    if candidate(NO_DATA) != NO_DATA:
        return f"A data file ends in numbers, like .data-00000-of-00001; {NO_DATA} is none."
    return None


# --- Exercise 3 -------------------------------------------------------------------------

EXPECTED = {
    "net/conv1/weights": (7, 7, 3, 64),
    "net/conv1/biases": (64,),
    "net/postnorm/gamma": (64,),
    "net/logits/weights": (1, 1, 64, 10),
    "net/logits/biases": (10,),
    "net/Momentum_block/conv1/weights": (1, 1, 64, 8),
    "net/conv2/weights": (5, 4, 8),
}
FOUND = {
    "net/logits/weights": [1, 1, 64, 7],
    "net/logits/biases": [7],
    "net/conv1/weights": [7, 7, 3, 64],
    "net/conv1/weights/Momentum": [7, 7, 3, 64],
    "net/logits/biases/Momentum": [7],
    "net/head/weights": [64],
    "net/Momentum_block/conv1/weights": [1, 1, 64, 8],
    "net/aux/biases": [64],
    "global_step": [],
    "net/NoMomentum": [64],
    "net/conv2/weights": [3, 4, 8],
    "net/global_step_gate/weights": [64],
    "net/global_step": [],
}
SHORTER = {name: FOUND[name] for name in [*FOUND][2:4]}
TABLES = [
    (EXPECTED, {name: [*shape] for name, shape in EXPECTED.items()}),
    (EXPECTED, FOUND),
    (EXPECTED, SHORTER),
    ({"a": (4,)}, {"a": (1, 4), "a/Momentum": (1, 4)}),
    ({"a": (4,)}, {"a": (4, 1)}),
    ({"b": (2, 3)}, {"b": (3, 2), "global_step": ()}),
]


def _noise(name) -> bool:
    return name == "global_step" or name.endswith("/Momentum")


def _compare(
    expected, found, *, noise=_noise, equal=lambda a, b: tuple(a) == tuple(b), kept=(0, 1, 2)
):
    found = {name: shape for name, shape in found.items() if not noise(name)}
    lists = [
        sorted(name for name in expected if name not in found),
        sorted(name for name in found if name not in expected),
        sorted(n for n in expected if n in found and not equal(expected[n], found[n])),
    ]
    return [lists[i] for i in kept]


def _count(shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _plain(answer):
    """Return three lists of what the learner gave, or None."""
    try:
        lists = [list(part) for part in answer]
    except TypeError:
        return None
    return lists if len(lists) == 3 and not isinstance(answer, dict | str) else None


TABLE_MISTAKES = {
    "You have missing and extra the other way round.": partial(_compare, kept=(1, 0, 2)),
    "Momentum slots and global_step are not extra: leave them out of found.": (
        partial(_compare, noise=lambda n: False)
    ),
    "global_step is not extra: leave it out of found.": (
        partial(_compare, noise=lambda n: n.endswith("/Momentum"))
    ),
    "Momentum slots are not extra: leave them out of found.": (
        partial(_compare, noise=lambda n: n == "global_step")
    ),
    "Only names that end in /Momentum are slots; a scope may have the word in it.": (
        partial(_compare, noise=lambda n: n == "global_step" or "Momentum" in n)
    ),
    "Only names that end in /Momentum, with the slash, are slots.": (
        partial(_compare, noise=lambda n: n.endswith("Momentum") or n == "global_step")
    ),
    "Only the name global_step itself goes; net/global_step is extra.": (
        partial(_compare, noise=lambda n: n.endswith(("/Momentum", "global_step")))
    ),
    "Only the name global_step itself goes, not each name that has the word in it.": (
        partial(_compare, noise=lambda n: n.endswith("/Momentum") or "global_step" in n)
    ),
    "Compare all sizes of a shape, and how many they are: zip stops at the shorter one.": (
        partial(_compare, equal=lambda a, b: all(x == y for x, y in zip(a, b, strict=False)))
    ),
    "Compare all sizes of a shape, not just their count and the last one.": (
        partial(_compare, equal=lambda a, b: (len(a), a[-1:]) == (len(b), tuple(b[-1:])))
    ),
    "Leave out global_step itself and what ends in /Momentum, with the slash; no other name.": (
        partial(_compare, noise=lambda n: n.endswith(("Momentum", "global_step")))
    ),
    "A shape may be a list or a tuple, and [4] == (4,) is False. Make both tuples.": (
        partial(_compare, equal=lambda a, b: a == b)
    ),
    "Shapes with equally many numbers, such as (4,) and (1, 4), are still different.": (
        partial(_compare, equal=lambda a, b: _count(a) == _count(b))
    ),
    "The order of the axes counts: (2, 3) is not (3, 2).": (
        partial(_compare, equal=lambda a, b: sorted(a) == sorted(b))
    ),
    "The shapes are to be compared too.": partial(_compare, equal=lambda a, b: True),
    "A missing name has no shape to compare: it belongs into the first list only.": (
        lambda e, f: (lambda m, x, s: [m, x, sorted(m + s)])(*_compare(e, f))
    ),
}


@exercise
def compare_tables(candidate) -> str | None:
    """candidate(expected, found) is the names missing, extra and of another shape."""
    copies = deepcopy(TABLES)
    got = [_plain(candidate(*case)) for case in copies]
    if any(answer is None for answer in got):
        return "Give three lists of names: missing, extra, mis-shaped."
    if any(tuple(map(dict, case)) != copy for case, copy in zip(TABLES, copies, strict=True)):
        return "The tables that you are given must stay as they are. Work on a copy."
    expected = [_compare(*case) for case in TABLES]
    if got != expected and [list(map(sorted, answer)) for answer in got] == expected:
        return "The names are right, but not sorted."

    def say(case, given, answer):
        kind = next(i for i in range(3) if given[i] != answer[i])
        word = ("missing", "extra", "mis-shaped")[kind]
        return (
            f"With {len(case[0])} names expected and {len(case[1])} found, you give as {word} "
            f"{given[kind]}; it is {answer[kind]}."
        )

    return _first_wrong(got, TABLES, expected, TABLE_MISTAKES, say)
