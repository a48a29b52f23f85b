"""What each checker of an exercise has to do, whatever the exercise."""

import copy

import numpy as np

from course_utils import check


def ids(rows):
    return [f"{i}-{row[0]}" for i, row in enumerate(rows)]


def rows(by_name):
    """The rows (checker, answer, ...) of answers that are sorted by checker."""
    return [
        (name, *(answer if isinstance(answer, tuple) else (answer,)))
        for name, answers in by_name.items()
        for answer in answers
    ]


def said(capsys, name, candidate):
    """The verdict and the printed line."""
    passed = getattr(check, name)(candidate)
    return passed, capsys.readouterr().out.strip()


def spoil(thing):
    """Change plain data in place, as far as it goes."""
    if isinstance(thing, np.ndarray) and thing.flags.writeable:
        thing[...] = 0
    elif isinstance(thing, list | tuple | dict):
        for inner in thing.values() if isinstance(thing, dict) else thing:
            spoil(inner)
        if not isinstance(thing, tuple):
            thing.clear()


class CheckerTests:
    """The tests of one chapter's checkers.

    A subclass gives `right`, rows of (checker, answer), `wrong`, rows of (checker, answer,
    words that name the mistake), and `checkers`, the names.
    """

    right, wrong, checkers = (), (), ()

    def pytest_generate_tests(self, metafunc):
        names = metafunc.fixturenames
        if "words" in names:
            metafunc.parametrize(
                ("name", "candidate", "words"), self.wrong, ids=ids(self.wrong)
            )
        elif "candidate" in names:
            metafunc.parametrize(("name", "candidate"), self.right, ids=ids(self.right))
        elif "name" in names:
            metafunc.parametrize("name", self.checkers)

    @staticmethod
    def is_named(words, line):
        return words in line

    def test_right_answer(self, name, candidate, capsys):
        assert said(capsys, name, candidate) == (True, f"{name}: correct")

    def test_right_answer_may_spoil_its_arguments(self, name, candidate, capsys):
        def spoiling(*args, **kwargs):
            try:
                return candidate(*copy.deepcopy(args), **copy.deepcopy(kwargs))
            finally:
                spoil([*args, *kwargs.values()])

        with np.errstate(all="ignore"):  # a checker may meet the zeros
            passed, line = said(capsys, name, spoiling)
        forbidden = "chang" in line or "must stay" in line  # a few exercises say so
        assert passed or forbidden, line

    def test_wrong_answer_is_named(self, name, candidate, words, capsys):
        passed, line = said(capsys, name, candidate)
        assert passed is False
        assert line.startswith(f"{name}: not yet. ")
        assert self.is_named(words, line), line
        assert "\n" not in line

    def test_untouched_stub(self, name, capsys):
        assert said(capsys, name, lambda *args: None) == (False, f"{name}: not written yet")

    def test_error_inside_is_named(self, name, capsys):
        def answer(*args):
            raise KeyError("shape")

        passed, line = said(capsys, name, answer)
        assert passed is False
        assert "raised KeyError: 'shape'" in line

    def test_each_checker_says_what_to_write(self):
        assert self.checkers
        assert all(getattr(check, name).__doc__ for name in self.checkers)
