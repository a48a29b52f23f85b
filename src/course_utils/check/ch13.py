"""Checkers of chapter 13: variables, end points and penalty of slim's ResNet V2.

Right answers are counted here piece by piece, not taken from the formulas that the
exercises ask for.
"""

from functools import partial
from numbers import Integral

import numpy as np

from course_utils.check.core import answers, exercise, explain

__all__ = ["end_point_names", "variable_count", "weight_penalty"]


def _not_whole(number) -> bool:
    return isinstance(number, bool | np.bool_) or not isinstance(number, Integral)


# --- Exercise 1 -------------------------------------------------------------------------

WITH_BIAS, WITH_NORM, NORM = 2, 5, 4  # weights, biases; weights and a norm; a norm alone


def _variables(
    units, *, bias=WITH_BIAS, conv=WITH_NORM, conv3=WITH_BIAS, norm=NORM, side=WITH_BIAS,
    root=WITH_BIAS, postnorm=NORM, logits=WITH_BIAS, preact=True, projections=None,
) -> int:  # fmt: skip
    """Add unit by unit; the options make the mistakes of learners."""
    total = root + postnorm + logits
    for count in units:
        for number in range(count):
            total += norm * preact + conv + conv + conv3
            total += side * (number < (1 if projections is None else projections))
    return total


@exercise
def variable_count(candidate) -> str | None:
    """candidate(units) is the number of arrays in slim's checkpoint."""
    cases = [((3, 4, 6, 3),), ((3, 24, 36, 3),), ((2, 2),), ((1,),), ((5, 1, 2),)]
    got = [np.asarray(answer)[()] for answer in answers(candidate, cases)]  # 0-d is a number
    if any(np.ndim(answer) for answer in got):
        return "Give one number, the count of all arrays."
    if any(_not_whole(answer) for answer in got):
        return "The answer is a whole number."
    count = _variables
    mistakes = {
        "Batch norm has four arrays: gamma, beta and two moving averages.": (
            partial(count, conv=3, norm=2, postnorm=2)
        ),
        "Inside the arg_scope batch norm has a gamma too.": (
            partial(count, conv=4, norm=3, postnorm=3)
        ),
        "conv1 and conv2 of a unit have batch norm and no bias.": partial(count, conv=6),
        "conv3 has a bias and no batch norm.": partial(count, conv3=5),
        "The projection has a bias and no batch norm.": partial(count, side=5),
        "conv3 and the projection have a bias and no batch norm.": (
            partial(count, conv3=5, side=5)
        ),
        "Where no batch norm follows there is a bias: root, conv3, projection, logits.": (
            partial(count, conv3=1, side=1, root=1, logits=1)
        ),
        "The projections are missing.": partial(count, side=0),
        "Only the first unit of a block projects.": partial(count, projections=10**6),
        "Each unit begins with a batch norm of its own, preact.": partial(count, preact=False),
        "postnorm is missing, or both the root convolution and the logits.": (
            partial(count, postnorm=0)
        ),
        "Two arrays are missing in each case: those of the logits, of the root convolution, or "
        "of one block's projection.": partial(count, logits=0),
        "Each block has a projection, in its first unit. You count one in all.": (
            lambda units: count(units) - 2 * (len(units) - 1)
        ),
        "Not each convolution has batch norm: conv3, the projection, the root and the logits "
        "have a bias.": partial(count, conv3=5, side=5, root=5),
        "Batch norm behind each convolution, and biases beside it: slim has one of the two.": (
            partial(count, conv=6, conv3=6, side=6, root=6)
        ),
        "Leave the step counter out.": lambda units: count(units) + 1,
        "The root convolution has a bias and no batch norm.": partial(count, root=5),
        "The ends are missing: the root convolution, postnorm and the logits.": (
            partial(count, root=0, logits=0, postnorm=0)
        ),
        "You count the layers on the path. Count the arrays.": lambda u: 3 * sum(u) + 2,
        "Without the arg_scope it would be so. Inside it there is batch norm.": (
            partial(count, conv=2, norm=3, postnorm=3)
        ),
    }

    def say(case, given, answer):
        return f"For units={case[0]} you gave {given:,}; it is {answer:,}."

    return explain(got, cases, _variables, mistakes, say)


# --- Exercise 2 -------------------------------------------------------------------------


def _unit_names(unit, projects, last=("conv1", "conv2", "conv3")) -> list[str]:
    return [f"{unit}/{part}" for part in (("shortcut",) if projects else ()) + last] + [unit]


def _names(
    blocks, *, projects=lambda i, changes, stride: changes, again=False, start=1,
    block="behind", unit="bottleneck_v2", more=(), between=(),
) -> list[str]:  # fmt: skip
    """Name unit by unit; the options make the mistakes of learners."""
    names, channels = ["conv1", *between], 64
    for scope, units in blocks:
        found, channels = [], 64 if again else channels
        for i, (depth, _, stride) in enumerate(units):
            name = f"{scope}/unit_{i + start}" + (f"/{unit}" if unit else "")
            found += _unit_names(name, projects(i, depth != channels, stride))
            if block == "inside" and i == 0:
                found.append(scope)
            channels = depth
        names += found + [scope] * (block == "behind")
    return [*names, *more, "logits"]


def _shortcut_last(blocks) -> list[str]:
    names = _names(blocks)
    for name in [name for name in names if name.endswith("/shortcut")]:
        place = names.index(name)
        names.insert(place + 3, names.pop(place))  # behind conv3
    return names


def _preact_too(blocks) -> list[str]:
    found = []
    for name in _names(blocks):
        unit = name.rpartition("/")[0]
        if unit and name.endswith(("/shortcut", "/conv1")) and f"{unit}/preact" not in found:
            found.append(f"{unit}/preact")
        found.append(name)
    return found


def _same_names(given, expected) -> bool:
    return list(given) == list(expected)


NAME_MISTAKES = {
    "A projection depends on the channels, not on the place in the block.": (
        partial(_names, projects=lambda i, changes, stride: i == 0)
    ),
    "A projection depends on the channels, not on the stride.": (
        partial(_names, projects=lambda i, changes, stride: stride > 1)
    ),
    "The pooling of an identity shortcut is no end point, whatever its stride.": (
        partial(_names, projects=lambda i, changes, stride: changes or stride > 1)
    ),
    "The channels go on from block to block. You begin each block with 64.": (
        partial(_names, again=True)
    ),
    "A unit whose channels change has a projection, shortcut.": (
        partial(_names, projects=lambda *unit: False)
    ),
    "A unit whose channels stay has no projection.": (
        partial(_names, projects=lambda *unit: True)
    ),
    "Units are counted from 1.": partial(_names, start=0),
    "The blocks are end points too, each behind its last unit.": partial(_names, block=None),
    "A block stands behind its last unit. Behind the first it stands in the old post.": (
        partial(_names, block="inside")
    ),
    "bottleneck_v2 is missing behind the number of the unit.": partial(_names, unit=""),
    "The shortcut is made first, before conv1.": _shortcut_last,
    "preact is a batch norm. Slim collected convolutions, units and blocks.": _preact_too,
    "postnorm is no end point. Slim collected convolutions, units and blocks.": (
        partial(_names, more=("postnorm",))
    ),
    "pool1 is no end point. Slim collected convolutions, units and blocks.": (
        partial(_names, between=("pool1",))
    ),
    "The root convolution, conv1, is missing.": lambda blocks: _names(blocks)[1:],
    "The logits are missing.": lambda blocks: _names(blocks)[:-1],
    "Leave predictions out.": lambda blocks: [*_names(blocks), "predictions"],
    "Slim's names have slashes, not dots.": (
        lambda blocks: [name.replace("/", ".") for name in _names(blocks)]
    ),
    "Leave the network's scope out.": (
        lambda blocks: [f"resnet_v2/{name}" for name in _names(blocks)]
    ),
    "The units themselves are end points too.": (
        lambda blocks: [name for name in _names(blocks) if not name.endswith("_v2")]
    ),
    "All names are there, but not in slim's order.": lambda blocks: sorted(_names(blocks)),
}


@exercise
def end_point_names(candidate) -> str | None:
    """candidate(blocks) is the list of slim's end points, in the library's order."""
    cases = [
        ([("block1", [(64, 16, 1), (64, 16, 2)]), ("block2", [(128, 32, 1), (128, 32, 2)])],),
        ([("block1", [(32, 8, 1), (32, 8, 1), (48, 8, 2)])],),
        ([("first", [(256, 64, 2)]), ("second", [(256, 64, 1), (256, 64, 1)])],),
    ]
    got = answers(candidate, cases)
    if any(isinstance(answer, str | dict) or np.ndim(answer) != 1 for answer in got):
        return "Give one list of names."

    def say(case, given, answer):
        if set(given) == set(answer) and len(given) == len(answer):
            wrong = next(i for i, name in enumerate(answer) if name != given[i])
            return f"Name {wrong + 1} is {given[wrong]!r} and should be {answer[wrong]!r}."
        lacking = [name for name in answer if name not in given]
        extra = [name for name in given if name not in answer]
        what = f"lacks {lacking[0]!r}" if lacking else f"has {(extra or given)[0]!r} too many"
        return f"For blocks={case[0]!r} your list {what}."

    return explain(got, cases, _names, NAME_MISTAKES, say, _same_names)


# --- Exercise 3 -------------------------------------------------------------------------


def _penalty(values, rate, *, ends=("/weights",), share=0.5, power=2, average=False) -> float:
    """Add element by element; the options make the mistakes of learners."""
    total = 0.0
    for name, value in values.items():
        if name.endswith(ends):
            terms = [abs(float(number)) ** power for number in np.ravel(value)]
            total += sum(terms) / (len(terms) if average else 1)
    return rate * share * total


def _rooted(values, rate) -> float:
    roots = [np.sqrt(_penalty({name: v}, 1.0, share=1)) for name, v in values.items()]
    return rate * float(sum(roots)) / 2


PENALTY_MISTAKES = {
    "Only weights have a penalty, not biases.": partial(_penalty, ends=("/weights", "/biases")),
    "Only weights have a penalty, not gammas and betas.": (
        partial(_penalty, ends=("/weights", "/gamma", "/beta"))
    ),
    "Only weights have a penalty: biases, gammas and betas have none.": (
        partial(_penalty, ends=("/weights", "/biases", "/gamma", "/beta"))
    ),
    "Only weights have a penalty, not all variables, moving averages among them.": (
        partial(_penalty, ends=("",))
    ),
    "Half of it: slim's l2_regularizer is rate * sum(w ** 2) / 2.": partial(_penalty, share=1),
    "The sum of squares is halved once.": partial(_penalty, share=0.25),
    "Square the weights. You take their size.": partial(_penalty, power=1),
    "Square the weights, and take half. You add their size.": (
        partial(_penalty, power=1, share=1)
    ),
    "Add the squares up. You take their mean.": partial(_penalty, average=True),
    "Add the squares up, and take half. You take their mean.": (
        partial(_penalty, average=True, share=1)
    ),
    "No square root: the penalty is in the squares.": _rooted,
    "rate is missing.": lambda values, rate: _penalty(values, 1.0),
    "rate is an argument. You take 0.0001 always.": lambda values, rate: _penalty(values, 1e-4),
    "The projections have a penalty too, shortcut.": (
        lambda values, rate: _penalty(
            {name: value for name, value in values.items() if "shortcut" not in name}, rate
        )
    ),
    "The last layer has a penalty too, logits.": (
        lambda values, rate: _penalty(
            {name: value for name, value in values.items() if "logits" not in name}, rate
        )
    ),
    "That is the gradient's factor: the loss has the square.": (
        lambda values, rate: rate * sum(np.sum(v) for n, v in values.items() if "/weights" in n)
    ),
}


def _examples():
    rng = np.random.default_rng(0)
    shapes = {
        "net/conv1/weights": (3, 3, 2, 4),
        "net/conv1/biases": (4,),
        "net/block1/unit_1/bottleneck_v2/preact/gamma": (4,),
        "net/block1/unit_1/bottleneck_v2/preact/beta": (4,),
        "net/block1/unit_1/bottleneck_v2/preact/moving_mean": (4,),
        "net/block1/unit_1/bottleneck_v2/preact/moving_variance": (4,),
        "net/block1/unit_1/bottleneck_v2/shortcut/weights": (1, 1, 4, 8),
        "net/block1/unit_1/bottleneck_v2/shortcut/biases": (8,),
        "net/block1/unit_1/bottleneck_v2/conv1/weights": (1, 1, 4, 2),
        "net/logits/weights": (1, 1, 2, 3),
        "net/logits/biases": (3,),
    }
    for rate in (1e-4, 0.5):
        yield {name: rng.normal(size=shape) + 0.2 for name, shape in shapes.items()}, rate


@exercise
def weight_penalty(candidate) -> str | None:
    """candidate(values, rate) is the sum of slim's L2 penalties."""
    cases = list(_examples())
    got = answers(candidate, cases)
    if any(np.ndim(answer) for answer in got):
        return "Give one number, the sum over all weights."

    def say(case, given, answer):
        what = f"rate={case[1]:g} and {len(case[0])} variables"
        return f"For {what} you gave {given:.6g}; it is {answer:.6g}."

    return explain(got, cases, _penalty, PENALTY_MISTAKES, say)
