"""Arrays of a failing case with the simplest numbers that still fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays


def simplest(arrays: Arrays, is_wrong: Callable[[Arrays], bool]) -> Arrays:
    """Return the arrays with every element 0, else 1, else 1j, else rounded, that need not be another to be wrong."""
    for array in (each for each in arrays if each is not None):
        flat = array.reshape(-1)
        _clear(flat, 0, flat.size, lambda: is_wrong(arrays))
        for place in np.flatnonzero(flat):
            _simplify(flat, place, lambda: is_wrong(arrays))
    return arrays


def _clear(flat: NDArray[Any], begin: int, end: int, is_wrong: Callable[[], bool]) -> None:
    """Set a range to 0, or else as many parts of it as can be."""
    if begin == end:
        return
    before = flat[begin:end].copy()
    flat[begin:end] = 0
    if is_wrong():
        return
    flat[begin:end] = before
    if end - begin > 1:
        middle = (begin + end) // 2
        _clear(flat, begin, middle, is_wrong)
        _clear(flat, middle, end, is_wrong)


def _simplify(flat: NDArray[Any], place: np.intp, is_wrong: Callable[[], bool]) -> None:
    before = flat[place]
    for simpler in (1, 1j, np.round(before, 2)) if np.iscomplexobj(flat) else (1, np.round(before.astype(float), 2)):
        flat[place] = simpler
        if flat[place] == before or is_wrong():
            return
    flat[place] = before
