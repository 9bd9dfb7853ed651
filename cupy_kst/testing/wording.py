"""Arguments as callers may write them, brought to one form, or refused with the rule that they break."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from ..dtypes import DTYPES, supported
from ..geometry.options import whole_number
from ..hints import words

T = TypeVar("T")


def one_of(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise a ValueError that lists the choices, and asks for the nearest, unless `value` is one."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r}: there is {', '.join(map(repr, known))}{question(value, known)}")


def question(value: Any, choices: Iterable[str]) -> str:
    """Return the end of a message that asks whether the nearest choice is meant, "" where none is near."""
    # So that "sym" is near to "symmetric".
    return words.question(value, choices, 0.5)


def flag(name: str, value: Any) -> bool:
    """Return True or False, or raise a TypeError: a number might be meant as an option's value."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: expected True or False, got {type(value).__name__}")
    return bool(value)


def several(name: str, value: Any, element: Callable[[str, Any], T]) -> tuple[T, ...]:
    """Return one value, or a collection of them, as a tuple of those that `element` accepts."""
    if isinstance(value, (str, bytes, type)) or not isinstance(value, Iterable):
        return (element(name, value),)
    values = tuple(value)
    if not values:
        raise ValueError(f"{name}={value!r}: must hold at least one value")
    try:
        return tuple(element(name, each) for each in values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}={value!r}: each value {str(error).partition(': ')[2]}") from None


def dtype_name(name: str, value: Any) -> str:
    """Return NumPy's name of an element type, given as a name, a character code, a scalar type or a dtype."""
    try:
        return supported(value).name
    except TypeError:
        near = question(value, DTYPES)
        raise TypeError(f"{name}={value!r}: must be one of {', '.join(DTYPES)}{near}") from None


def rank(name: str, value: Any) -> int:
    """Return a number of spatial axes."""
    return whole_number(name, value, 1, 3)


def batch(name: str, value: Any) -> int | None:
    """Return a batch size, or None for no batch dimension."""
    return None if value is None else whole_number(name, value, 0)


def known_names(function: str, given: Iterable[str], names: Iterable[str]) -> None:
    """Raise a TypeError that lists a function's keywords, and asks for the nearest, where others are given."""
    accepted = tuple(names)
    for name in given:
        if name not in accepted:
            near = question(name, accepted)
            raise TypeError(f"{function}() takes no {name}: there is {', '.join(accepted)}{near}")
