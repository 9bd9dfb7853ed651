"""Options and shapes as callers write them: each is brought to one form, or refused with the rule that it breaks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeGuard, get_args

import numpy as np

from ..hints.sizes import pads_in_a_row
from ..hints.words import option_of_word, question
from ..labels import channels_first_shape

Rule = Literal["valid", "same", "same_lower"]
Padding = tuple[tuple[int, int], ...] | Rule
_RULES: tuple[Rule, ...] = ("valid", "same", "same_lower")


# Kernels reckon in 64 bits at most: with options below this, no product of an option and an extent passes them.
LARGEST = 2**31 - 1
_LARGEST_SIZE = 2**62


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise a ValueError that lists the choices of a Literal, and asks for the nearest, unless `value` is one."""
    known = get_args(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r}: there is {', '.join(map(repr, known))}{question(value, known)}")


def whole_number(name: str, value: Any, minimum: int, maximum: int = LARGEST) -> int:
    """Return `value` as an int from `minimum` to `maximum`, or raise an error that names the option."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: expected an int, got a bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}={value!r}: expected an int, got {type(value).__name__}{option_of_word(name, value)}"
        ) from None
    if number < minimum:
        raise ValueError(f"{name}={value!r}: must be at least {minimum}")
    if number > maximum:
        raise ValueError(f"{name}={value!r}: must be at most {maximum}")
    return number


def per_axis(name: str, value: Any, rank: int, minimum: int, maximum: int = LARGEST) -> tuple[int, ...]:
    """Return an int, or one int per axis, as a tuple of `rank` ints."""
    if not is_sequence(value):
        return (whole_number(name, value, minimum, maximum),) * rank
    if len(value) != rank:
        raise ValueError(
            f"{name}={value!r}: expected an int or {counted(rank, 'int')}, got {counted(len(value), 'value')}"
        )
    return tuple(_shown_whole(name, value, each, minimum, maximum) for each in value)


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of ints that are not negative."""
    if getattr(value, "ndim", 1) != 1:
        raise TypeError(
            f"{name} is an array of shape {tuple(value.shape)}: expected a sequence of ints, such as its .shape"
        )
    if not is_sequence(value):
        raise TypeError(f"{name}={value!r}: expected a sequence of ints")
    try:
        return tuple(_shown_whole(name, tuple(value), each, 0, _LARGEST_SIZE) for each in value)
    except TypeError:
        if not any(map(is_sequence, value)):
            raise
        # The numbers of an array as nested lists may be many.
        raise TypeError(
            f"{name} is a {type(value).__name__} of length {len(value)} that holds a sequence: expected a sequence of "
            f"ints, such as numpy.asarray({name}).shape"
        ) from None


def shape_or_array(name: str, value: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of ints; an array stands for its shape, unless it has one axis and so is a shape."""
    return tuple(value.shape) if getattr(value, "ndim", 1) != 1 else shape(name, value)


def size_in_front(output_size: Any, rank: int, data_format: str) -> Any:
    """Return an output size. A whole shape is returned with its channels in front."""
    # What is no whole shape stays as it was given, so that errors show it so.
    if data_format == "channels_first" or not is_sequence(output_size) or len(output_size) not in (rank + 1, rank + 2):
        return output_size
    return channels_first_shape(shape("output_size", output_size), rank, data_format)


def spatial_size(output_size: Any, rank: int) -> tuple[int, ...]:
    """Return a wished size that is one int, or one per axis, as a tuple."""
    if is_sequence(output_size):
        return per_axis("output_size", output_size, rank, 1, _LARGEST_SIZE)
    try:
        return per_axis("output_size", output_size, rank, 1, _LARGEST_SIZE)
    except TypeError:
        raise TypeError(
            f"output_size={output_size!r}: expected an int, {counted(rank, 'int')}, or the whole shape, got "
            f"{type(output_size).__name__}{option_of_word('output_size', output_size)}"
        ) from None


def per_axis_padding(value: Any, rank: int) -> Padding:
    """Return padding as one (lo, hi) pair per axis, or as the name of a rule that the sizes decide."""
    if isinstance(value, str):
        for name in _RULES:
            if value == name:
                return name
        raise ValueError(f"padding={value!r}: the names are 'valid', 'same' and 'same_lower'{question(value, _RULES)}")
    try:
        pairs = _pairs(value, rank)
    except TypeError:
        pairs = None
    if pairs is None:
        example = ", ".join(["(lo, hi)"] * rank) + ("," if rank == 1 else "")
        raise ValueError(
            f"padding={value!r}: expected an int, {counted(rank, 'int')}, {counted(rank, 'pair')} written ({example}), "
            f"or 'valid', 'same', 'same_lower'{pads_in_a_row(value, rank)}"
        )
    return pairs


def _pairs(value: Any, rank: int) -> tuple[tuple[int, int], ...] | None:
    if not is_sequence(value):
        number = whole_number("padding", value, 0)
        return ((number, number),) * rank
    if len(value) != rank:
        return None
    if not any(map(is_sequence, value)):
        return tuple((number, number) for number in per_axis("padding", value, rank, 0))
    if not all(is_sequence(pair) and len(pair) == 2 for pair in value):
        return None
    lo, hi = ([_shown_whole("padding", value, pair[end], 0, LARGEST) for pair in value] for end in (0, 1))
    return tuple(zip(lo, hi, strict=True))


def is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    """Return whether a value is a sequence of values, such as one for each axis."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _shown_whole(name: str, whole: Any, value: Any, minimum: int, maximum: int) -> int:
    try:
        return whole_number(name, value, minimum, maximum)
    except (TypeError, ValueError) as error:
        reason = str(error).partition(": ")[2]
        raise type(error)(f"{name}={whole!r}: each value {reason}") from None


def counted(number: int, noun: str) -> str:
    """Return a number with a noun, which is in the plural unless there is one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
