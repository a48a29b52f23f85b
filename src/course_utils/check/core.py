"""How an exercise is checked: run the learner's function, name the first mistake."""

import functools
from collections.abc import Callable


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
        @functools.wraps(candidate)
        def call(*args, **kwargs):
            result = candidate(*args, **kwargs)
            if result is None:
                raise NotWrittenError
            return result

        try:
            mistake = examine(call)
        except NotWrittenError:
            print(f"{name}: not written yet")
            return False
        except Exception as error:
            mistake = f"your function raised {type(error).__name__}: {error}"
        print(f"{name}: correct" if mistake is None else f"{name}: not yet. {mistake}")
        return mistake is None

    return checker


def raises(error_type: type[Exception], call: Callable, *args, **kwargs) -> bool:
    """Say whether `call(*args, **kwargs)` raises `error_type`."""
    try:
        call(*args, **kwargs)
    except error_type:
        return True
    return False
