"""Element types: how a value is stored, what it is multiplied and summed in, and what C calls both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes  # noqa: F401  (by which NumPy knows bfloat16 by its name)
import numpy as np

Bits = Literal["", "half", "bfloat"]
# How exactly products of float32 are to be made.
Precision = Literal["ieee", "tf32", "tf32x3"]


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
    c_bits : str
        The 16-bit format that `c_storage` holds the bits of: "half", "bfloat", or "" where it holds values.
    short : str
        Short name, for the names of forms.
    """

    name: str
    storage: np.dtype[Any]
    compute: np.dtype[Any]
    c_storage: str
    c_compute: str
    c_bits: Bits
    short: str


def _sixteen(name: str, c_bits: Bits, short: str) -> DType:
    return DType(name, np.dtype(name), np.dtype(np.float32), "unsigned short", "float", c_bits, short)


def _itself(name: str, c_name: str, short: str) -> DType:
    return DType(name, np.dtype(name), np.dtype(name), c_name, c_name, "", short)


DTYPES: dict[str, DType] = {
    "float16": _sixteen("float16", "half", "f16"),
    "bfloat16": _sixteen("bfloat16", "bfloat", "bf16"),
    "float32": _itself("float32", "float", "f32"),
    "float64": _itself("float64", "double", "f64"),
    "complex64": _itself("complex64", "Complex<float>", "c64"),
    "complex128": _itself("complex128", "Complex<double>", "c128"),
}


def supported(dtype: Any) -> DType:
    """Return the element type of a NumPy dtype of any byte order, or raise a TypeError that lists those there are."""
    try:
        # To NumPy None is float64.
        element = dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        element = None
    found = DTYPES.get(getattr(element, "name", ""))
    if found is None:
        shown = repr(dtype) if element is None else element
        raise TypeError(f"dtype {shown} is not supported: use one of {', '.join(DTYPES)}")
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
