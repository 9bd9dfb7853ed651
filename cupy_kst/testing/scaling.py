"""Other numbers for the same call, whose result follows from that of the first: each array times a power of two.

Such factors change no digit of a sum, so the result of exact sums is exact again.
"""

from __future__ import annotations

import numpy as np

from .arrays import Arrays

# What the result is multiplied by, for every operation.
OF_RESULT = -2


def factors(arrays: Arrays) -> dict[str, int]:
    """Return by what each of a call's arrays is multiplied."""
    all_of_them = {"input": 2, "weight": -1, "bias": -2, "grad_output": 2 if arrays.input is None else -1}
    return {name: all_of_them[name] for name, array in arrays._asdict().items() if array is not None}


def scale(arrays: Arrays) -> None:
    """Multiply the arrays in place."""
    for name, factor in factors(arrays).items():
        array = getattr(arrays, name)
        if factor in (2, -2):
            np.add(array, array, out=array)
        if factor in (-1, -2):
            np.negative(array, out=array)


def statements(arrays: Arrays) -> list[str]:
    """Return the statements of a program that multiplies the arrays in place."""
    lines = []
    for name, factor in factors(arrays).items():
        lines += [f"{name} += {name}"] * (factor in (2, -2))
        lines += [f"np.negative({name}, out={name})"] * (factor in (-1, -2))
    return lines
