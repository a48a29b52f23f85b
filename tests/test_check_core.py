"""What a checker prints: one line, whatever the learner's function does."""

import pytest

from course_utils.check.core import answers, exercise, explain, raises


@exercise
def double(candidate):
    """candidate(x) is 2 x."""
    if candidate(3) + 0 != 6:
        return "Twice 3\nis 6."
    if not raises(TypeError, candidate, "text"):
        return "Text should raise a TypeError."
    return None if candidate(0) == 0 else "Twice 0 is 0."


def right(x):
    if isinstance(x, str):
        raise TypeError(x)
    return x + x


def wordy(x):
    raise KeyError("first line\n\n   second line " + "and so on " * 100)


def falls_through(x):
    return right(x) if x else None  # a learner who thinks that 0 needs no answer


def bug_inside(x):
    return undefined_name  # noqa: F821


@pytest.mark.parametrize(
    ("candidate", "line"),
    [
        (right, "double: correct"),
        (lambda x: None, "double: not written yet"),
        (lambda x: 7, "double: not yet. Twice 3 is 6."),
        (lambda x: x * 2, "double: not yet. Text should raise a TypeError."),
        (
            bug_inside,
            "double: not yet. Your function raised NameError: name 'undefined_name' is not "
            "defined",
        ),
        (
            lambda x: "six",
            "double: not yet. The check cannot work with what your function returned "
            '(TypeError: can only concatenate str (not "int") to str).',
        ),
        (
            falls_through,
            "double: not yet. Your function returned None for some inputs. Is a return or a "
            "raise missing?",
        ),
        (6, "double: not yet. Give the function itself, without calling it. You gave 6."),
    ],
)
def test_each_kind_of_answer_gets_one_line(capsys, candidate, line):
    assert double(candidate) is (candidate is right)
    assert capsys.readouterr().out == line + "\n"


def test_a_long_error_is_cut_to_one_line(capsys):
    assert double(wordy) is False
    out = capsys.readouterr().out
    assert out.startswith("double: not yet. Your function raised KeyError: 'first line")
    assert out.count("\n") == 1
    assert len(out) < 280


def test_a_bug_of_the_checker_is_not_blamed_on_the_function(capsys):
    @exercise
    def broken(candidate):
        return {}[candidate(1)]

    assert broken(right) is False
    assert "Your function raised" not in capsys.readouterr().out


def test_what_a_function_changes_in_its_arguments_changes_no_expected_answer(capsys):
    @exercise
    def total(candidate):
        cases = [([1, 2],), ([3],)]
        return explain(answers(candidate, cases), cases, sum, {}, "{} {} {}".format)

    def empties_and_is_wrong(numbers):
        numbers.clear()
        return 0

    def empties_and_is_right(numbers):
        return numbers.pop() + (total_of(numbers) if numbers else 0)

    total_of = empties_and_is_right
    assert total(empties_and_is_wrong) is False
    assert total(empties_and_is_right) is True
    assert capsys.readouterr().out == "total: not yet. ([1, 2],) 0 3\ntotal: correct\n"


def test_interrupting_is_not_an_answer():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        double(interrupted)


def test_a_checker_keeps_the_name_and_words_of_its_exercise():
    assert (double.__name__, double.__doc__) == ("double", "candidate(x) is 2 x.")
