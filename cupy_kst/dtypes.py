"""Element types: how a value is stored, what it is multiplied and summed in, and what C calls both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes  # noqa: F401  (by which NumPy knows bfloat16 by its name)
import numpy as np

from .hints.words import question

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
    """Return the element type of a NumPy dtype of any byte order, or raise a TypeError that lists the dtypes."""
    try:
        # To NumPy None is float64.
        element = dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        element = None
    found = DTYPES.get(getattr(element, "name", ""))
    if found is None:
        shown = repr(dtype) if element is None else spelt(element)
        # A word that NumPy knows is no slip; one letter of a dtype more or less is another dtype.
        asked = question(dtype, DTYPES, 0.8) if element is None else ""
        raise TypeError(f"dtype {shown} is not supported: use one of {', '.join(DTYPES)}{asked}")
    return found


def spelt(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype, with its byte order where that is not the machine's."""
    if dtype.isnative:
        return str(dtype.name)
    return f"{'little' if sys.byteorder == 'big' else 'big'}-endian {dtype.name}"


def of_option(dtype: Any, **given: Any) -> DType:
    """Return the element type of an option, or if that is None the one that arrays share; for shapes alone float32."""
    if dtype is not None:
        return supported(dtype)
    arrays = {name: each for name, each in given.items() if getattr(each, "ndim", 1) != 1}
    return common(**arrays) if arrays else DTYPES["float32"]


def common(**arrays: Any) -> DType:
    """Return the element type that all `arrays` (None is passed over) share, or raise a TypeError that names two."""
    named: Mapping[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    (_, dtype), *others = given = [(name, _native(array)) for name, array in named.items()]
    for name, other in others:
        if other != dtype:
            raise TypeError(_mismatch(dict(given), name))
    found = DTYPES.get(dtype.name)
    if found is None:
        raise TypeError(_mismatch(dict(given)))
    return found


def _native(array: Any) -> np.dtype[Any]:
    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    return native


def _mismatch(given: Mapping[str, np.dtype[Any]], other: str = "") -> str:
    """Return what is wrong with the dtypes of arrays, of which `other` differs from the first, and the way out."""
    first = next(iter(given))
    shown = " and ".join(f"{name} has dtype {given[name].name}" for name in (first, other) if name)
    bad = [name for name, dtype in given.items() if dtype.name not in DTYPES]
    if not bad:
        ways = [_converted(first, given[first], given[other]), _converted(other, given[other], given[first])]
        return f"{shown}: pass {' or '.join(filter(None, ways))}"
    wanted = next((dtype for dtype in given.values() if dtype.name in DTYPES), np.dtype(np.float32))
    ways = [_converted(name, given[name], wanted) for name in bad]
    refused = list(dict.fromkeys(given[name].name for name in bad))
    are = "is" if len(refused) == 1 else "are"
    way = f": pass {' and '.join(ways)}" if all(ways) else ""
    return f"{shown}: {' and '.join(refused)} {are} not supported, use one of {', '.join(DTYPES)}{way}"


def _converted(name: str, dtype: np.dtype[Any], wanted: np.dtype[Any]) -> str:
    """Return how a caller converts an array, "" where that would lose an imaginary part, or it cannot hold numbers."""
    is_complex = dtype.kind == "c"
    is_number = is_complex or dtype.kind in "biufO" or dtype.name.startswith(("float", "bfloat"))
    if not is_number or (is_complex and wanted.kind != "c"):
        return ""
    # NumPy knows bfloat16 by its name alone.
    spelling = repr(wanted.name) if wanted.kind == "V" else f"np.{wanted.name}"
    # What is called by words is a prepared weight, which no caller has at hand.
    return f"{name}.astype({spelling})" if name.isidentifier() else f"prepare(weight, dtype={spelling})"
