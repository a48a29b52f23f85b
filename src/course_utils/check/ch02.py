"""Checkers of chapter 02: the sum, the projection, the gradient's factor, the start."""

from collections.abc import Callable, Iterable

import numpy as np

from course_utils import reference
from course_utils.check.core import exercise

__all__ = ["gradient_factor", "needs_projection", "residual_forward", "start_as_identity"]

Mistakes = dict[str, Callable]
_NUMBER = int | float | np.ndarray | np.number


def _close(a, b) -> bool:
    """Whether two arrays or numbers have the same shape and nearly the same values."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-12)


def _recognise(got: list, cases: Iterable, mistakes: Mistakes) -> str | None:
    """Return the sentence of the first mistake that explains all answers."""
    for sentence, wrong in mistakes.items():
        if all(_close(one, wrong(*case)) for one, case in zip(got, cases, strict=True)):
            return sentence
    return None


def _kind(answer) -> str:
    """Say what an answer is that should be something else."""
    if isinstance(answer, np.ndarray):
        return f"an array of shape {answer.shape}"
    return f"a {type(answer).__name__}"


def _relu(x):
    return np.where(x > 0, x, 0)


def _not_like(y, x) -> str | None:
    """Name an answer that is no array, or has another shape than x."""
    if not isinstance(y, np.ndarray | np.generic):
        return f"Return an array, you gave {_kind(y)}."
    if y.shape == x.shape:
        return None
    sentence = f"Your result has the shape {y.shape}, x has {x.shape}."
    if y.ndim < x.ndim:
        sentence += (
            " np.max takes the largest value along an axis, np.maximum compares element by "
            "element."
        )
    return sentence


@exercise
def residual_forward(candidate) -> str | None:
    """candidate(x, f) is relu(x + f(x)), a new array; x keeps its values."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(3, 3))
    inputs = [rng.normal(size=(4, 3)), rng.normal(size=(2, 5, 3)), -np.ones((1, 3))]
    branches = [lambda x: x @ w, lambda x: np.sin(3 * x) - x, np.zeros_like, lambda x: x]
    cases = [(x, f) for x in inputs for f in branches]
    got = []
    for x, f in cases:
        given = x.copy()
        got.append(candidate(given, f))
        if not np.array_equal(given, x):
            return "You changed the caller's x in place. Build a new array: x + f(x)."
    if not all(isinstance(y, np.ndarray) for y in got):
        return _not_like(got[0], cases[0][0])
    if all(_close(y, _relu(x + f(x))) for y, (x, f) in zip(got, cases, strict=True)):
        return None
    mistakes = {
        "The ReLU after the sum is missing.": lambda x, f: x + f(x),
        "You apply the ReLU to the branch, before the sum. Add first, then ReLU.": (
            lambda x, f: x + _relu(f(x))
        ),
        "You apply the ReLU to x and to the branch, and then add. Add first, then ReLU.": (
            lambda x, f: _relu(x) + _relu(f(x))
        ),
        "You apply the ReLU to x before the sum. Add first, then ReLU.": (
            lambda x, f: _relu(x) + f(x)
        ),
        "That is the plain block: the shortcut is missing. Add x.": lambda x, f: _relu(f(x)),
        "That is the branch alone: shortcut and ReLU are missing.": lambda x, f: f(x),
        "The shortcut is there, the branch is not: add f(x).": lambda x, f: _relu(x),
        "You subtract x. F = H - x is what the branch learns; the block adds x.": (
            lambda x, f: _relu(f(x) - x)
        ),
        "You subtract the branch. The block adds it.": lambda x, f: _relu(x - f(x)),
        "You multiply the branch by x. The block adds x.": lambda x, f: _relu(x * f(x)),
        "You concatenate. The block adds, and the shape stays.": (
            lambda x, f: _relu(np.concatenate([x, f(x)], axis=-1))
        ),
    }
    named = _recognise(got, cases, mistakes) or _not_like(got[0], cases[0][0])
    return named or "The values differ from relu(x + f(x))."


@exercise
def needs_projection(candidate) -> str | None:
    """candidate(in_channels, out_channels, stride): must the shortcut be a projection?"""
    cases = [(i, o, s) for i in (1, 16, 64) for o in (16, 64) for s in (1, 2, 3)]
    got = [candidate(*case) for case in cases]
    others = [answer for answer in got if not isinstance(answer, bool | np.bool_)]
    if others:
        return f"The answer is True or False, you gave {others[0]!r}."
    right = [(i, s) != (o, 1) for i, o, s in cases]
    if got == right:
        return None
    mistakes = {
        "It is the other way round: you say True where the identity fits.": (
            lambda i, o, s: s == 1 and i == o
        ),
        "You look at the channels only. A stride other than 1 changes height and width.": (
            lambda i, o, s: i != o
        ),
        "You look at the stride only. The channels must be equal too.": lambda i, o, s: s != 1,
        "One of the two is enough: you ask for both with `and`. Take `or`.": (
            lambda i, o, s: s != 1 and i != o
        ),
        "You miss the case of fewer output channels: unequal is enough.": (
            lambda i, o, s: s != 1 or i < o
        ),
        "You miss the case of more output channels: unequal is enough.": (
            lambda i, o, s: s != 1 or i > o
        ),
        "You look for stride 2 only. Every stride other than 1 changes the size.": (
            lambda i, o, s: s == 2 or i != o
        ),
        "One input channel is no exception: it would broadcast silently, and wrongly.": (
            lambda i, o, s: s != 1 or i not in (1, o)
        ),
    }
    named = _recognise(got, cases, mistakes)
    i, o, s = next(c for c, a, b in zip(cases, got, right, strict=True) if a != b)
    example = f"From {i} to {o} channels with stride {s} it is {(i, s) != (o, 1)}."
    return f"{named} {example}" if named else example


def _one_too_few(got, cases, right) -> str | None:
    """Name a power of num_blocks - 1; a chain of no block has no such product."""
    pairs = [(one, case) for one, case in zip(got, cases, strict=True) if case[1] > 0]
    if all(_close(one, right(w, n - 1, skip)) for one, (w, n, skip) in pairs):
        return "You count one block too few."
    return None


@exercise
def gradient_factor(candidate) -> str | None:
    """candidate(w, num_blocks, skip): derivative of a chain of blocks with F(x) = w x."""
    chains = [
        (0.1, 8),
        (0.5, 3),
        (-0.25, 5),
        (2.0, 2),
        (-1.0, 4),
        (0.0, 1),
        (-1.5, 3),
        (0.3, 0),
    ]
    cases = [(w, n, skip) for w, n in chains for skip in (True, False)]
    got = [candidate(*case) for case in cases]
    others = [answer for answer in got if np.ndim(answer) or not isinstance(answer, _NUMBER)]
    if others:
        return f"Return one number, you gave {_kind(others[0])}."

    def right(w, n, skip):  # the derivative, one block after the other
        factor = 1.0
        for _ in range(n):
            factor = factor * w + (factor if skip else 0)
        return factor

    wrong = [i for i, case in enumerate(cases) if not _close(got[i], right(*case))]
    if not wrong:
        return None
    mistakes = {
        "You leave the shortcut out in both cases.": lambda w, n, skip: w**n,
        "You have the shortcut in both cases; without it one block's factor is w.": (
            lambda w, n, skip: (1 + w) ** n
        ),
        "The two cases are exchanged.": lambda w, n, skip: w**n if skip else (1 + w) ** n,
        "You add the 1 once, after the product. Each block has its own shortcut: (1 + w)^n.": (
            lambda w, n, skip: (1 + w**n) if skip else w**n
        ),
        "You add the blocks' factors. The chain rule multiplies them.": (
            lambda w, n, skip: n * (1 + w) if skip else n * w
        ),
        "1 + n w is the start of (1 + w)^n for small w. Keep all terms.": (
            lambda w, n, skip: 1 + n * w if skip else w**n
        ),
        "You lose the sign: the factor can be negative.": (
            lambda w, n, skip: abs(1 + w) ** n if skip else abs(w) ** n
        ),
        "With the shortcut the power is missing: all blocks count.": (
            lambda w, n, skip: 1 + w if skip else w**n
        ),
        "Without the shortcut the power is missing: all blocks count.": (
            lambda w, n, skip: (1 + w) ** n if skip else w
        ),
        "That is the factor of one block.": lambda w, n, skip: 1 + w if skip else w,
    }
    named = _recognise(got, cases, mistakes) or _one_too_few(got, cases, right)
    i = wrong[0]
    w, n, skip = cases[i]
    example = f"For w = {w}, {n} blocks and skip={skip} you gave {got[i]:.4g}"
    example += f"; it is {right(w, n, skip):.4g}."
    return f"{named} {example}" if named else example


def _random_params(channels: int, seed: int) -> dict[str, np.ndarray]:
    """Parameters of a basic block in which nothing is 0 or 1 by accident."""
    rng = np.random.default_rng(seed)
    params = {f"conv{i}": rng.normal(size=(3, 3, channels, channels)) for i in (1, 2)}
    for bn in ("bn1", "bn2"):
        params |= {f"{bn}.{part}": rng.normal(size=channels) for part in ("beta", "mean")}
        params |= {f"{bn}.{part}": rng.uniform(0.5, 2, channels) for part in ("gamma", "var")}
    return params


def _untouched(params, before, changed) -> str | None:
    """Name what else than the last batch norm was changed or is missing."""
    for name, value in before.items():
        if name not in changed:
            return f'"{name}" is missing. Return all parameters of the block.'
        if not np.array_equal(params.get(name), value):
            return f'You changed the caller\'s params["{name}"] in place. Copy, then change.'
    for name, value in before.items():
        if np.shape(changed[name]) != value.shape:
            return f'"{name}" has the shape {np.shape(changed[name])}, it had {value.shape}.'
    for name, value in before.items():
        if not name.startswith("bn2") and not np.array_equal(changed[name], value):
            return (
                f'You changed "{name}". The last batch norm, "bn2", is enough, and the other '
                "weights then keep their starting values."
            )
    return None


@exercise
def start_as_identity(candidate) -> str | None:
    """candidate(params) is a copy whose last batch norm makes the block the identity."""
    rng = np.random.default_rng(5)
    for channels in (2, 3):
        params = _random_params(channels, seed=channels)
        before = {name: value.copy() for name, value in params.items()}
        changed = candidate(params)
        if not isinstance(changed, dict):
            return f"Return a dictionary like params, not a {type(changed).__name__}."
        if mistake := _untouched(params, before, changed):
            return mistake
        gamma, beta = np.asarray(changed["bn2.gamma"]), np.asarray(changed["bn2.beta"])
        x = rng.uniform(0, 1, (2, 4, 4, channels))
        same = _close(reference.basic_block(x, changed), x)
        if same and not gamma.any() and not beta.any():
            continue
        if same and not np.array_equal(changed["bn2.var"], before["bn2.var"]):
            return (
                "That is the identity in evaluation only. In training the batch's own variance "
                'stands in place of "bn2.var": set the vectors that scale and shift.'
            )
        if not gamma.any():
            return 'gamma is zero, and the branch then returns "bn2.beta": set it to zero too.'
        if np.all(gamma == 1):
            return "gamma = 1 keeps the whole branch. The branch must return zero."
        if not beta.any():
            return 'beta is zero, but "bn2.gamma" still lets the branch through.'
        return (
            "The branch does not return zero yet. Which two vectors of bn2 scale and shift it?"
        )
    return None
