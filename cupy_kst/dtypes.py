"""Element types: how a value is stored, what it is multiplied and summed in, and what C calls both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DType:
    """One element type of arrays, with its arithmetic.

    Attributes
    ----------
    name : str
        NumPy's name of the type.
    storage, compute : numpy.dtype
        Type of the arrays, and type of products and sums.
    c_storage, c_compute : str
        The same two in CUDA C; 16-bit types are stored as bits.
    """

    name: str
    storage: np.dtype[Any]
    compute: np.dtype[Any]
    c_storage: str
    c_compute: str


def _dtype(name: str, compute: str, c_storage: str, c_compute: str) -> DType:
    return DType(name, np.dtype(name), np.dtype(compute), c_storage, c_compute)


DTYPES: dict[str, DType] = {
    "float16": _dtype("float16", "float32", "unsigned short", "float"),
    "float32": _dtype("float32", "float32", "float", "float"),
    "float64": _dtype("float64", "float64", "double", "double"),
}


def supported(dtype: Any) -> DType:
    """Return the element type of a NumPy dtype of any byte order, or raise a TypeError that lists those there are."""
    found = DTYPES.get(np.dtype(dtype).name)
    if found is None:
        raise TypeError(f"dtype {np.dtype(dtype)} is not supported: use one of {', '.join(DTYPES)}")
    return found


def common(**arrays: Any) -> DType:
    """Return the element type that all `arrays` (None is passed over) share, or raise a TypeError that names two."""
    named: Mapping[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    (first, dtype), *others = ((name, _native(array)) for name, array in named.items())
    for name, other in others:
        if other != dtype:
            raise TypeError(f"{first} has dtype {dtype} and {name} has dtype {other}: convert one with astype")
    return supported(dtype)


def _native(array: Any) -> np.dtype[Any]:
    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    return native
