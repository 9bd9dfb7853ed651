"""Per-axis options: every form that callers may write, brought to one or refused with the rule that it breaks."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Literal

Rule = Literal["valid", "same", "same_lower"]
Padding = tuple[tuple[int, int], ...] | Rule
_RULES: tuple[Rule, ...] = ("valid", "same", "same_lower")


def whole_number(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int that is at least `minimum`, or raise an error that names the option."""
    if isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: expected an int, got a bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected an int, got {type(value).__name__}") from None
    if number < minimum:
        raise ValueError(f"{name}={value!r}: must be at least {minimum}")
    return number


def per_axis(name: str, value: Any, rank: int, minimum: int) -> tuple[int, ...]:
    """Return an int, or one int per axis, as a tuple of `rank` ints."""
    if not _is_sequence(value):
        return (whole_number(name, value, minimum),) * rank
    values = tuple(value)
    if len(values) != rank:
        raise ValueError(f"{name}={value!r}: expected an int or {_count(rank, 'int')}, got {len(values)} values")
    return tuple(_shown_whole(name, value, each, minimum) for each in values)


def per_axis_padding(value: Any, rank: int) -> Padding:
    """Return padding as one (lo, hi) pair per axis, or as the name of a rule that the sizes settle."""
    if isinstance(value, str):
        for name in _RULES:
            if value == name:
                return name
        raise ValueError(f"padding={value!r}: the names are 'valid', 'same' and 'same_lower'")
    if not _is_sequence(value):
        number = whole_number("padding", value, 0)
        return ((number, number),) * rank
    values = tuple(value)
    pairs = [tuple(each) if _is_sequence(each) else None for each in values]
    if len(values) == rank and not any(pair is not None for pair in pairs):
        numbers = [_shown_whole("padding", value, each, 0) for each in values]
        return tuple((number, number) for number in numbers)
    if len(values) == rank and all(pair is not None and len(pair) == 2 for pair in pairs):
        both = [[_shown_whole("padding", value, each, 0) for each in pair or ()] for pair in pairs]
        return tuple((lo, hi) for lo, hi in both)
    example = ", ".join(["(lo, hi)"] * rank) + ("," if rank == 1 else "")
    raise ValueError(
        f"padding={value!r}: expected an int, {_count(rank, 'int')}, {_count(rank, 'pair')} written ({example}), "
        "or 'valid', 'same', 'same_lower'"
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "shape", None) != ()


def _shown_whole(name: str, whole: Any, value: Any, minimum: int) -> int:
    try:
        return whole_number(name, value, minimum)
    except (TypeError, ValueError) as error:
        reason = str(error).partition(": ")[2]
        raise type(error)(f"{name}={whole!r}: each value {reason}") from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
