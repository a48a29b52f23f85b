"""The checkers of chapter 13 accept right answers and name the mistake of wrong ones."""

import numpy as np
from checker_tests import CheckerTests, rows

CHECKERS = ["variable_count", "end_point_names", "weight_penalty"]


def count_by_formula(units):
    return 16 * sum(units) + 2 * len(units) + 8


def count_by_lists(units):
    arrays = ["weights", "biases"] * 2 + ["postnorm"] * 4
    for count in units:
        arrays += ["shortcut"] * 2
        arrays += ["preact"] * 4 * count + ["conv"] * 2 * 5 * count + ["conv3"] * 2 * count
    return np.int64(len(arrays))


def names_by_insertion(blocks):
    names, channels = ["conv1"], 64
    for scope, units in blocks:
        for i, (depth, _, _) in enumerate(units, start=1):
            unit = f"{scope}/unit_{i}/bottleneck_v2"
            parts = ["conv1", "conv2", "conv3"]
            if depth != channels:
                parts.insert(0, "shortcut")
            names += [f"{unit}/{part}" for part in parts] + [unit]
            channels = depth
        names.append(scope)
    return [*names, "logits"]


def names_by_generator(blocks):
    def each():
        yield "conv1"
        before = 64
        for scope, units in blocks:
            for number, unit in enumerate(units):
                path = "/".join((scope, f"unit_{number + 1}", "bottleneck_v2"))
                if unit[0] != before:
                    yield path + "/shortcut"
                before = unit[0]
                yield from (path + f"/conv{k}" for k in range(1, 4))
                yield path
            yield scope
        yield "logits"

    return tuple(each())


def penalty_by_sum(values, rate):
    weights = [value for name, value in values.items() if name.endswith("/weights")]
    return rate * sum(np.sum(value**2) for value in weights) / 2


def penalty_by_dot(values, rate):
    flat = [np.ravel(v) for name, v in values.items() if name.split("/")[-1] == "weights"]
    flat = np.concatenate(flat)
    return 0.5 * rate * np.dot(flat, flat)


def count_in_an_array(units):
    return np.array(count_by_formula(units))


def names_by_emptying(blocks):
    """Takes the lists that it was given apart."""
    names, channels = ["conv1"], 64
    while blocks:
        (scope, units), number = blocks.pop(0), 0
        while units:
            (depth, *_), number = units.pop(0), number + 1
            unit = f"{scope}/unit_{number}/bottleneck_v2"
            ends = ["/shortcut"] * (depth != channels) + ["/conv1", "/conv2", "/conv3", ""]
            names += [unit + end for end in ends]
            channels = depth
        names.append(scope)
    return [*names, "logits"]


def penalty_in_place(values, rate):
    for value in values.values():
        value **= 2
    return rate / 2 * sum(v.sum() for name, v in values.items() if "/weights" in name)


RIGHT = {
    "variable_count": [count_by_formula, count_by_lists, count_in_an_array],
    "end_point_names": [names_by_insertion, names_by_generator, names_by_emptying],
    "weight_penalty": [penalty_by_sum, penalty_by_dot, penalty_in_place],
}


def counted(unit=16, block=2, ends=8):
    return lambda units: unit * sum(units) + block * len(units) + ends


def renamed(change):
    """A candidate that changes the list of the right names."""
    return lambda blocks: change(names_by_insertion(blocks))


def emptied(blocks):
    blocks.clear()
    return ["conv1", "logits"]


def projected(rule, blocks, each_from_64=False):
    names, channels = ["conv1"], 64
    for scope, units in blocks:
        channels = 64 if each_from_64 else channels
        for i, (depth, _, stride) in enumerate(units, start=1):
            unit = f"{scope}/unit_{i}/bottleneck_v2"
            changes, channels = depth != channels, depth
            names += [f"{unit}/shortcut"] if rule(i, stride, changes) else []
            names += [f"{unit}/conv{k}" for k in (1, 2, 3)] + [unit]
        names.append(scope)
    return [*names, "logits"]


def moved(names):
    """The block's name right behind its first unit, as in the old post."""
    blocks = [name for name in names if "/" not in name and name not in ("conv1", "logits")]
    names = [name for name in names if name not in blocks]
    for block in blocks:
        names.insert(names.index(f"{block}/unit_1/bottleneck_v2") + 1, block)
    return names


def shortcuts_behind(names):
    result, waiting = [], None
    for name in names:
        if name.endswith("/shortcut"):
            waiting = name
            continue
        result.append(name)
        if waiting and name.endswith("/conv3"):
            result.append(waiting)
            waiting = None
    return result


def from_zero(name):
    for i in range(1, 4):
        name = name.replace(f"unit_{i}", f"unit_{i - 1}")
    return name


def preact_in(names):
    result = []
    for name in names:
        unit = name.rpartition("/")[0]
        if unit.endswith("_v2") and f"{unit}/preact" not in result:
            result.append(f"{unit}/preact")
        result.append(name)
    return result


def penalized(*ends, share=0.5, of=lambda value: np.sum(value**2)):
    ends = ends or ("/weights",)
    return lambda values, rate: (
        rate * share * sum(of(value) for name, value in values.items() if name.endswith(ends))
    )


def absolute(value):
    return np.sum(np.abs(value))


def mean_square(value):
    return np.mean(value**2)


WRONG = {
    "variable_count": [
        (counted(unit=10, ends=6), "four arrays: gamma, beta and two moving averages"),
        (counted(unit=13, ends=7), "has a gamma too"),
        (counted(unit=18), "have batch norm and no bias"),
        (counted(unit=19), "conv3 has a bias and no batch norm"),
        (counted(block=5), "The projection has a bias and no batch norm"),
        (counted(unit=19, block=5), "conv3 and the projection"),
        (counted(unit=15, block=1, ends=6), "there is a bias: root, conv3"),
        (counted(block=0), "projections are missing"),
        (counted(unit=18, block=0), "Only the first unit of a block projects"),
        (counted(unit=12), "batch norm of its own, preact"),
        (counted(ends=4), "postnorm is missing"),
        (counted(ends=6), "those of the logits, of the root convolution, or of one block's"),
        (lambda units: count_by_formula(units) - 2, "or of one block's projection"),
        (counted(block=0, ends=10), "You count one in all"),
        (counted(unit=19, block=5, ends=11), "Not each convolution has batch norm"),
        (counted(unit=22, block=6, ends=12), "biases beside it"),
        (counted(ends=9), "Leave the step counter out"),
        (counted(ends=11), "root convolution has a bias and no batch norm"),
        (counted(ends=0), "The ends are missing"),
        (counted(unit=9, ends=7), "Without the arg_scope it would be so"),
        (lambda units: 3 * sum(units) + 2, "Count the arrays"),
        (lambda units: 1, "For units=(3, 4, 6, 3) you gave 1; it is 272."),
        (lambda units: 272.0, "whole number"),
        (lambda units: [272], "one number"),
    ],
    "end_point_names": [
        (lambda blocks: projected(lambda i, s, c: i == 1, blocks), "not on the place"),
        (lambda blocks: projected(lambda i, s, c: s > 1, blocks), "not on the stride"),
        (
            lambda blocks: projected(lambda i, s, c: c or s > 1, blocks),
            "pooling of an identity shortcut is no end point",
        ),
        (
            lambda blocks: projected(lambda i, s, c: c, blocks, each_from_64=True),
            "channels go on from block to block",
        ),
        (emptied, "your list lacks 'block1/unit_1/bottleneck_v2/conv1'"),
        (lambda blocks: projected(lambda i, s, c: False, blocks), "whose channels change"),
        (lambda blocks: projected(lambda i, s, c: True, blocks), "whose channels stay"),
        (renamed(lambda names: [from_zero(name) for name in names]), "counted from 1"),
        (
            renamed(lambda names: [n for n in names if "/" in n or n in ("conv1", "logits")]),
            "The blocks are end points too",
        ),
        (renamed(moved), "Behind the first it stands in the old post"),
        (
            renamed(lambda names: [name.replace("/bottleneck_v2", "") for name in names]),
            "bottleneck_v2 is missing",
        ),
        (renamed(shortcuts_behind), "made first, before conv1"),
        (renamed(preact_in), "preact is a batch norm"),
        (
            renamed(lambda names: [*names[:-1], "postnorm", "logits"]),
            "postnorm is no end point",
        ),
        (renamed(lambda names: ["conv1", "pool1", *names[1:]]), "pool1 is no end point"),
        (renamed(lambda names: names[1:]), "conv1, is missing"),
        (renamed(lambda names: names[:-1]), "logits are missing"),
        (renamed(lambda names: [*names, "predictions"]), "Leave predictions out"),
        (renamed(lambda names: [n.replace("/", ".") for n in names]), "slashes, not dots"),
        (renamed(lambda names: [f"resnet_v2/{n}" for n in names]), "network's scope out"),
        (
            renamed(lambda names: [n for n in names if not n.endswith("bottleneck_v2")]),
            "units themselves",
        ),
        (renamed(sorted), "not in slim's order"),
        (renamed(lambda names: names[::-1]), "Name 1 is 'logits' and should be 'conv1'"),
        (renamed(lambda names: [*names, "conv1"]), "your list has 'conv1' too many"),
        (
            renamed(lambda names: [*names, "pool5"]),
            "(128, 32, 1), (128, 32, 2)])] your list has 'pool5' too many",
        ),
        (
            renamed(lambda names: ["conv1", "logits"]),
            "your list lacks 'block1/unit_1/bottleneck_v2/conv1'",
        ),
        (renamed(lambda names: " ".join(names)), "one list of names"),
        (renamed(lambda names: dict.fromkeys(names)), "one list of names"),
    ],
    "weight_penalty": [
        (penalized("/weights", "/biases"), "not biases"),
        (penalized("/weights", "/gamma", "/beta"), "not gammas and betas"),
        (penalized("/weights", "/biases", "/gamma", "/beta"), "biases, gammas and betas have"),
        (penalized(""), "moving averages among them"),
        (penalized(share=1), "Half of it"),
        (penalized(share=0.25), "halved once"),
        (penalized(of=absolute), "You take their size"),
        (penalized(of=absolute, share=1), "You add their size"),
        (penalized(of=mean_square), "You take their mean"),
        (penalized(of=mean_square, share=1), "take half. You take their mean"),
        (lambda values, rate: penalty_by_sum(values, 1), "rate is missing"),
        (
            lambda values, rate: (
                rate
                * sum(np.linalg.norm(v) for n, v in values.items() if n.endswith("/weights"))
                / 2
            ),
            "No square root",
        ),
        (
            lambda values, rate: penalty_by_sum(
                {name: v for name, v in values.items() if "logits" not in name}, rate
            ),
            "last layer has a penalty too",
        ),
        (penalized(share=1, of=np.sum), "the loss has the square"),
        (lambda values, rate: penalty_by_sum(values, 1e-4), "rate is an argument"),
        (
            lambda values, rate: penalty_by_sum(
                {name: v for name, v in values.items() if "shortcut" not in name}, rate
            ),
            "projections have a penalty too",
        ),
        (lambda values, rate: 1.0, "and 11 variables you gave 1; it is"),
        (lambda values, rate: [v.sum() for v in values.values()], "one number"),
    ],
}


class TestCheckers(CheckerTests):
    right, wrong, checkers = rows(RIGHT), rows(WRONG), CHECKERS
