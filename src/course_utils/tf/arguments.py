"""What every network checks before it builds a layer."""

from collections.abc import Sequence
from numbers import Integral


def is_count(value) -> bool:
    """Say whether `value` is a whole number of at least 1."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def check_arguments(input_shape: Sequence[int], num_classes: int, smallest: int = 1) -> None:
    """Raise ValueError unless input_shape is (height, width, channels) and all counts are >= 1.

    Height and width must be at least `smallest` pixels.
    """
    if len(input_shape) != 3 or not all(map(is_count, input_shape)):
        raise ValueError(
            "input_shape must be three whole numbers (height, width, channels) of at least "
            f"1, got {input_shape!r}. Leave the batch out."
        )
    if min(input_shape[:2]) < smallest:
        raise ValueError(
            f"This network needs images of at least {smallest}x{smallest} pixels, got "
            f"{input_shape[0]}x{input_shape[1]}. Enlarge or pad the images."
        )
    if not is_count(num_classes):
        raise ValueError(
            f"num_classes must be a whole number of at least 1, got {num_classes!r}."
        )


def check_filters(filters) -> None:
    """Raise ValueError unless `filters` has at least one number in each of its rows."""
    if not filters or not all(filters):
        raise ValueError(
            f"filters is {filters!r}. Give one tuple for each layer, with the channels of its "
            "units: ((16, 16), (32, 32), (64, 64))."
        )


def check_choice(name: str, value, choices: Sequence) -> None:
    """Raise ValueError unless `value` is one of `choices`; `name` is the argument's name."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {known}, got {value!r}.")
