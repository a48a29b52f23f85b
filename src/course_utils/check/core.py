"""How an exercise is checked: run the learner's function, name the first mistake."""

import copy
import functools
import textwrap
from collections.abc import Callable

import numpy as np


class NotWrittenError(Exception):
    """The learner's function returned None: the stub is untouched."""


def exercise(examine: Callable[[Callable], str | None]) -> Callable[[Callable], bool]:
    """Turn `examine` into a checker that prints one line and returns True or False.

    `examine(candidate)` calls the learner's function and returns a sentence that names the
    first mistake, or None when all is right. A candidate that returns None counts as not
    written yet; one that raises where it should not has its error named.
    """
    name = examine.__name__

    @functools.wraps(examine)
    def checker(candidate: Callable) -> bool:
        try:
            mistake = _first_mistake(examine, candidate)
        except NotWrittenError:
            print(f"{name}: not written yet")
            return False
        if mistake is None:
            print(f"{name}: correct")
        else:
            print(f"{name}: not yet. {' '.join(mistake.splitlines())}")
        return mistake is None

    return checker


def _first_mistake(examine, candidate) -> str | None:
    """Run `examine`. Tell an error of the candidate from one about what it returned."""
    if not callable(candidate):
        return f"Give the function itself, without calling it. You gave {_short(candidate)}."
    answers, errors = [], []

    @functools.wraps(candidate)
    def call(*args, **kwargs):
        try:
            answers.append(candidate(*args, **kwargs))
        except Exception as error:
            errors.append(error)
            raise
        if answers[-1] is None:
            raise NotWrittenError
        return answers[-1]

    try:
        return examine(call)
    except NotWrittenError:
        if len(answers) == 1:
            raise
        return "Your function returned None for some inputs. Is a return or a raise missing?"
    except Exception as error:
        what = f"{type(error).__name__}: {_short(error)}"
        if any(error is one for one in errors):
            return f"Your function raised {what}"
        return f"The check cannot work with what your function returned ({what})."


def _short(thing) -> str:
    """Return str(thing) on one line: errors of the frameworks fill a page."""
    return textwrap.shorten(str(thing), width=200, placeholder=" ...")


def raises(error_type: type[Exception], call: Callable, *args, **kwargs) -> bool:
    """Say whether `call(*args, **kwargs)` raises `error_type`."""
    try:
        call(*args, **kwargs)
    except error_type:
        return True
    return False


def close(a, b) -> bool:
    """Whether two arrays or numbers have the same shape and nearly the same values."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-12)


def answers(candidate: Callable, cases) -> list:
    """Return what the learner's function gives for each case, a tuple of arguments.

    It gets copies: what it changes in them changes neither the expected answers nor the
    examples.
    """
    return [candidate(*copy.deepcopy(case)) for case in cases]


def explain(
    got, cases, right: Callable, mistakes: dict[str, Callable], say: Callable, same=close
) -> str | None:
    """Return None, or the mistake whose formula gives all of `got`, and an example.

    `say(case, given, answer)` is the example's sentence.
    """
    expected = [right(*case) for case in cases]
    wrong = [i for i, pair in enumerate(zip(got, expected, strict=True)) if not same(*pair)]
    if not wrong:
        return None
    example = say(*(values[wrong[0]] for values in (cases, got, expected)))
    for sentence, formula in mistakes.items():
        if all(same(one, formula(*case)) for one, case in zip(got, cases, strict=True)):
            return f"{sentence} {example}"
    return example
