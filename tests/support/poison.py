"""Memory that the library does not set to anything starts as NaN, so that a test fails in every run or in none.

What `numpy.empty` returns is what memory held before: often the right numbers of a call before. Bytes of ones are NaN
in every element type of the library, and as whole numbers they are no indices.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cupy_kst import arrays, subkernels
from cupy_kst.cpu import col2im, engine, sums, taps
from cupy_kst.cpu.jit import memory, task
from cupy_kst.cpu.jit.weight_grad import call as weight_grad
from cupy_kst.cpu.jit.winograd import transform as filtering
from cupy_kst.cpu.methods import split, unified

# Modules that call `numpy.empty` in Python; what is compiled calls NumPy's own.
MODULES = (engine, filtering, col2im, split, sums, taps, unified, weight_grad, memory, task)


def poisoned(array: Any) -> Any:
    """Return an array of NumPy after setting all its bits; one of CuPy as it is."""
    if isinstance(array, np.ndarray) and array.size:
        array.reshape(-1).view(np.uint8)[...] = 255
    return array


class _Numpy:
    """NumPy, but for its empty arrays."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> Any:
        return poisoned(np.empty(shape, dtype))


def poison(patch: pytest.MonkeyPatch) -> None:
    """Poison what the library makes from now on, until `patch` is undone."""
    for module in MODULES:
        patch.setattr(module, "np", _Numpy())
    patch.setattr(subkernels, "sys", SimpleNamespace(modules=ChainMap({"numpy": _Numpy()}, sys.modules)))
    # The others keep memory for the next call.
    for module, name, held in (
        (arrays, "empty_beside", lambda made: made),
        (col2im, "_workspace", lambda made: made),
        (memory, "scratch", lambda made: made[0]),
    ):
        patch.setattr(module, name, _poisoning(getattr(module, name), held))


def _poisoning(function: Callable[..., Any], held: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a function that poisons what it `held` of what it made."""

    @wraps(function)
    def poisoning(*args: Any) -> Any:
        made = function(*args)
        poisoned(held(made))
        return made

    return poisoning
