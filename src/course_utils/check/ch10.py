"""Checkers of chapter 10: a softmax too many, layers and variables, the error of batches."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import NamedTuple

import numpy as np

from course_utils.check.core import answers, exercise, explain

__all__ = ["double_softmax_bounds", "misclassification_error", "weight_layers"]


def _same(a, b) -> bool:
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-9)


def _no_pair(answer, what: str) -> str | None:
    if np.ndim(answer) != 1 or len(answer) != 2:
        return f"Return two numbers, {what}. You gave {answer!r}."
    return None


# --- Exercise 1 -------------------------------------------------------------------------


def _loss_of(probabilities: np.ndarray) -> float:
    """The loss of class 0 when these probabilities are taken for logits."""
    return float(np.log(np.exp(probabilities).sum()) - probabilities[0])


def _bounds(classes: int) -> tuple[float, float]:
    """Take the loss of a certain answer, right and wrong."""
    certain = np.eye(classes)
    return _loss_of(certain[0]), _loss_of(certain[1])


def _formula(floor: Callable, ceiling: Callable) -> Callable:
    return lambda n: (floor(n), ceiling(n))


def _floor(n):
    return math.log(1 + (n - 1) / math.e)


_BOUNDS = {
    "Lowest first, then highest.": lambda n: _bounds(n)[::-1],
    "Those are the values inside the logarithm; the loss is their logarithm.": (
        lambda n: tuple(np.exp(_bounds(n)))
    ),
    "Take the natural logarithm.": lambda n: tuple(np.array(_bounds(n)) / math.log(10)),
    "The natural logarithm, not that to base 2.": (
        lambda n: tuple(np.array(_bounds(n)) / math.log(2))
    ),
    "The other classes are num_classes - 1.": _formula(
        lambda n: math.log(1 + n / math.e), lambda n: math.log(n + math.e)
    ),
    "Those are the bounds of the probability of the right class. Take minus their logarithm.": (
        lambda n: tuple(np.exp(-np.array(_bounds(n)))[::-1])
    ),
    "Those are the logarithms of probabilities; a loss has a minus before them.": (
        lambda n: tuple(-np.array(_bounds(n))[::-1])
    ),
    "The lowest is right. ln(num_classes) is the loss of equal probabilities, not the highest: "
    "a certain and wrong answer costs more.": _formula(_floor, math.log),
    "The lowest is right. In the highest the right class counts too: its probability is 0, and "
    "exp(0) is 1.": _formula(_floor, lambda n: math.log(n - 2 + math.e)),
    "Those are the bounds with their signs changed.": lambda n: tuple(-np.array(_bounds(n))),
    "The lowest is right. The highest is finite too: no probability is above 1.": _formula(
        _floor, lambda n: math.inf
    ),
    "Those are the bounds of one softmax. Its probabilities now go into another one.": (
        _formula(lambda n: 0.0, lambda n: math.inf)
    ),
    "A certain answer is one number at 1 and the others at 0, and exp(0) is 1, not 0.": (
        _formula(lambda n: 0.0, lambda n: 1.0)
    ),
}


@exercise
def double_softmax_bounds(candidate) -> str | None:
    """candidate(num_classes) is the lowest and the highest loss after two softmaxes."""
    cases = [(10,), (2,), (6,), (1000,)]
    got = answers(candidate, cases)
    for answer in got:
        if problem := _no_pair(answer, "the lowest and the highest loss"):
            return problem

    def say(case, given, answer):
        return (
            f"For {case[0]} classes you gave {given[0]:.4f} and {given[1]:.4f}; "
            f"it is {answer[0]:.4f} and {answer[1]:.4f}."
        )

    return explain(got, cases, _bounds, _BOUNDS, say, same=_same)


# --- Exercise 2 -------------------------------------------------------------------------


class _Block(NamedTuple):
    """A row of the table, with the names that it has in the chapter."""

    num_repeats: int
    num_filters: int
    bottleneck_size: int


def _list_layers(blocks: Sequence, *, upscale="between", biased=(), no_bias=()) -> list[tuple]:
    """Write the layers down, (name, variables); the options make the mistakes of learners."""
    layers = [("conv1", 2), ("conv2", 2)]
    for i, (repeats, *_) in enumerate(blocks):
        for _ in range(repeats):
            layers += [("in", 2), ("bottleneck", 2), ("out", 2)]
        last = i + 1 == len(blocks)
        wider = not last and blocks[i + 1][1] != blocks[i][1]
        between = upscale == "between" and not last
        if upscale == "every" or between or (upscale == "where wider" and wider):
            layers.append(("upscale", 1))
    layers.append(("linear", 1))
    change = {name: 2 for name in biased} | {name: 1 for name in no_bias}
    return [(name, change.get(name, count)) for name, count in layers]


def _counts(blocks, without=(), **options) -> tuple[int, int]:
    layers = [la for la in _list_layers(blocks, **options) if la[0] not in without]
    return len(layers), sum(count for _, count in layers)


_LAYERS = {
    "Layers first, then variables.": lambda blocks: _counts(blocks)[::-1],
    "The 1x1 convolutions between the stages are missing.": partial(_counts, upscale="none"),
    "Between the stages stands one convolution fewer than there are stages.": (
        partial(_counts, upscale="every")
    ),
    "Between two stages stands a convolution even where both have the same channels.": (
        partial(_counts, upscale="where wider")
    ),
    "The layers are right. Those between the stages have no bias, one variable each.": (
        partial(_counts, biased=["upscale"])
    ),
    "The layers are right. The linear layer has no bias.": partial(_counts, biased=["linear"]),
    "The layers are right. Not every one has a bias: those between the stages and the linear "
    "one have one variable.": partial(_counts, biased=["upscale", "linear"]),
    "The layers are right. The convolutions of stem and units have a bias each.": (
        partial(_counts, no_bias=["conv1", "conv2", "in", "bottleneck", "out"])
    ),
    "The linear layer is missing.": partial(_counts, without=["linear"]),
    "Before the first unit stand two convolutions, 7x7 and 1x1.": (
        partial(_counts, without=["conv2"])
    ),
    "The two convolutions before the first unit are missing.": (
        partial(_counts, without=["conv1", "conv2"])
    ),
    "A unit has three convolutions, you count one.": (partial(_counts, without=["in", "out"])),
    "A unit has three convolutions, you count two.": partial(_counts, without=["out"]),
    "Each stage repeats its unit num_repeats times, with new weights each time.": (
        lambda blocks: _counts([(1, *rest) for _, *rest in blocks])
    ),
}


@exercise
def weight_layers(candidate) -> str | None:
    """candidate(blocks) is (layers with weights, variables) of the old network."""
    post = [(3, 128, 32), (3, 256, 64), (3, 512, 128), (3, 1024, 256)]
    tables = [post, [(2, 8, 2), (5, 16, 4)], [(1, 8, 2)], [(4, 6, 2), (1, 12, 3), (2, 4, 1)]]
    tables.append([(2, 8, 2), (1, 8, 4)])
    cases = [([_Block(*row) for row in table],) for table in tables]
    got = answers(candidate, cases)
    for answer in got:
        if problem := _no_pair(answer, "layers and variables"):
            return problem

    def say(case, given, answer):
        repeats = [block[0] for block in case[0]]
        return (
            f"With repeats {repeats} you gave {given[0]} layers and {given[1]} variables; "
            f"it is {answer[0]} and {answer[1]}."
        )

    named = explain(got, cases, _counts, _LAYERS, say, same=_same)
    if named is None and not all(isinstance(n, Integral) for pair in got for n in pair):
        return "The values are right, but counts are whole numbers."
    return named


# --- Exercise 3 -------------------------------------------------------------------------


def _batches(sizes: Sequence[int], seed: int, classes: int = 4) -> list[tuple]:
    """Batches of random logits; the later ones are wrong more often."""
    rng = np.random.default_rng(seed)
    batches = []
    for i, size in enumerate(sizes):
        logits = rng.normal(size=(size, classes))
        right = logits.argmax(axis=1)
        wrong = rng.random(size) < 0.2 + 0.25 * i
        labels = np.where(wrong, (right + rng.integers(1, classes, size)) % classes, right)
        batches.append((logits, labels))
    return batches


def _error(batches) -> float:
    """Count image by image."""
    verdicts = [
        max(range(len(row)), key=row.__getitem__) != label
        for logits, labels in batches
        for row, label in zip(logits, labels, strict=True)
    ]
    return sum(verdicts) / len(verdicts)


def _by_batch(batches) -> list[float]:
    return [_error([batch]) for batch in batches]


_ERRORS = {
    "You take the mean of the batches' errors. A small batch then counts as much as a large "
    "one: count images.": lambda b: np.mean(_by_batch(b)),
    "That is the accuracy. The error is 1 minus it.": lambda b: 1 - _error(b),
    "That is the mean accuracy of the batches. Count images, and those that are wrong.": (
        lambda b: 1 - np.mean(_by_batch(b))
    ),
    "Give a share between 0 and 1, not a percentage.": lambda b: 100 * _error(b),
    "That is how many images are wrong. Divide by the number of images.": (
        lambda b: _error(b) * sum(len(y) for _, y in b)
    ),
    "You divide by the number of batches. Divide by the number of images.": (
        lambda b: _error(b) * sum(len(y) for _, y in b) / len(b)
    ),
    "That is the last batch alone.": lambda b: _by_batch(b)[-1],
    "That is the first batch alone.": lambda b: _by_batch(b)[0],
    "You add the batches' errors up. Count wrong images, and divide by all images.": (
        lambda b: sum(_by_batch(b))
    ),
    "Take the largest logit of each row: argmax(axis=1).": lambda b: np.mean(
        [logits.argmax() != label for logits, labels in b for label in labels]
    ),
    "The prediction is the largest logit, not the smallest.": (
        lambda b: _error([(-logits, labels) for logits, labels in b])
    ),
}


@exercise
def misclassification_error(candidate) -> str | None:
    """candidate(batches) is the share of wrong images over all (logits, labels)."""
    cases = [(_batches(sizes, seed),) for seed, sizes in enumerate([[50, 50, 7], [9], [3, 40]])]
    try:
        got = answers(candidate, cases)
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        return (
            "The labels do not fit your predictions. There is one for each row of the logits: "
            "argmax(axis=1)."
        )
    for answer in got:
        if np.ndim(answer):
            return f"Return one number for all batches, you gave {answer!r}."

    def say(case, given, answer):
        sizes = [len(labels) for _, labels in case[0]]
        return f"For batches of {sizes} you gave {float(given):.4f}; it is {answer:.4f}."

    named = explain(got, cases, _error, _ERRORS, say, same=_same)
    if named is None and not _same(candidate(iter(cases[0][0])), _error(cases[0][0])):
        return "The batches may come from a generator: go through them once."
    return named
