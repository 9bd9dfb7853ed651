"""NaNs whose payload tells where they come from: memory that was never written, and memory beyond an array's end.

Three poisons, which C++ and Python share:

- *shared*: what a block finds in shared memory. Its type is unknown, so one 16-bit pattern is repeated that is a quiet
  NaN when it is read as float16, bfloat16, float32 or float64.
- *guard*: bytes around each array in the builds without AddressSanitizer, likewise.
- *global*: what `Emulator.empty` fills an array with. Its type is known, so it is a signalling NaN: arithmetic makes it
  quiet, which tells an element that was never written (signalling) from one computed from such an element (quiet).
  Arrays of integers, which may hold floating-point numbers all the same, get a repeated pattern as well.
  A complex element is two numbers, of which each tells for itself.

A NaN's payload survives x86 arithmetic and conversions that keep its top bits, so results still show it.
Not seen: uninitialised integers, values that only steer a branch, min and max (which prefer the number over the NaN),
and one NaN that meets another (the first operand's payload wins).
A plain copy of a never-written element counts as never written itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import EmulatorError


class Format(NamedTuple):
    """A floating-point format by its bits: the payload is what follows the quiet bit."""

    bits: int
    payload: int

    @property
    def quiet(self) -> int:
        return 1 << self.payload

    @property
    def infinity(self) -> int:
        return ((1 << (self.bits - 1)) - 1) & ~((2 << self.payload) - 1)


FORMATS = {"float16": Format(16, 9), "bfloat16": Format(16, 6), "float32": Format(32, 22), "float64": Format(64, 51)}

# tests/emulator/abi.h and memory.h hold the first two as well.
SHARED, GUARD, INTEGER = 0x7FFD, 0x7FF9, 0x7FFB
# The payload of the global poison, as its top six bits: bfloat16 has no more.
GLOBAL = 0b010110


def format_of(dtype: np.dtype[Any]) -> Format | None:
    """Return the format of a dtype's real numbers, or None if it has none."""
    if dtype.kind == "c":
        return FORMATS[f"float{dtype.itemsize * 4}"]
    return FORMATS.get(dtype.name)


def _repeated(pattern: int, bits: int) -> int:
    return sum(pattern << shift for shift in range(0, bits, 16))


def _never_written(form: Format) -> int:
    return form.infinity | GLOBAL << (form.payload - 6)


def _seen_in(pattern: int, target: Format) -> set[int]:
    """Return the bits that a repeated pattern can have in an element of a format, read in any format and converted."""
    halves = {FORMATS["float16"], FORMATS["bfloat16"]}
    seen = set()
    for source in FORMATS.values():
        if source != target and {source, target} == halves:
            continue
        payload = _repeated(pattern, source.bits) & (source.quiet - 1)
        shift = target.payload - source.payload
        seen.add(target.infinity | target.quiet | (payload << shift if shift >= 0 else payload >> -shift))
    return seen


def traces(form: Format) -> dict[str, npt.NDArray[Any]]:
    """Return, by the name of the fault, the bits (without sign) that betray it in an element."""
    unsigned = np.dtype(f"u{form.bits // 8}")
    return {
        "uninitialised shared memory": np.array(sorted(_seen_in(SHARED, form)), unsigned),
        "out-of-bounds memory": np.array(sorted(_seen_in(GUARD, form)), unsigned),
        "uninitialised global memory": np.array(
            sorted({_never_written(form) | form.quiet, *_seen_in(INTEGER, form)}), unsigned
        ),
    }


def _bits(array: npt.NDArray[Any], form: Format) -> npt.NDArray[Any]:
    flat: npt.NDArray[Any] = array.reshape(-1).view(f"u{form.bits // 8}")
    without_sign: npt.NDArray[Any] = flat & flat.dtype.type((1 << (form.bits - 1)) - 1)
    return without_sign


def fill(array: npt.NDArray[Any]) -> None:
    """Fill a new array with the global poison, or with a repeated pattern if it holds no floating-point numbers."""
    form = format_of(array.dtype)
    if form is not None:
        array.reshape(-1).view(f"u{form.bits // 8}")[...] = _never_written(form)
    else:
        raw = array.reshape(-1).view(np.uint8)
        raw[0::2], raw[1::2] = INTEGER & 0xFF, INTEGER >> 8


def scan(array: npt.NDArray[Any], which: str) -> None:
    """Raise if an element of an array that a launch may have written shows where it should not have come from."""
    form = format_of(array.dtype)
    if form is None or array.size == 0:
        return
    bits = _bits(array, form)
    nans = np.flatnonzero(bits > form.infinity)
    for fault, values in traces(form).items() if nans.size else ():
        hits = _elements(nans[np.isin(bits[nans], values)], array, form)
        if hits.size:
            element = _index(array, int(hits[0]))
            raise EmulatorError(f"{fault} reached {which}, element {element} ({hits.size} in all)")


def check_written(array: npt.NDArray[Any]) -> None:
    """Raise if an element of an array made by `Emulator.empty` was never written (or is a copy of one that was not)."""
    form = format_of(array.dtype)
    if form is None:
        raise EmulatorError(f"only floating-point arrays tell whether they were written, not {array.dtype}")
    left = _elements(np.flatnonzero(_bits(array, form) == _never_written(form)), array, form)
    if left.size:
        element = _index(array, int(left[0]))
        raise EmulatorError(f"never written: element {element} ({left.size} of {array.size} in all)")


def _elements(numbers: npt.NDArray[Any], array: npt.NDArray[Any], form: Format) -> npt.NDArray[Any]:
    """Return the flat indices of the elements that some numbers are, or are parts of where elements are complex."""
    return np.unique(numbers // (array.dtype.itemsize * 8 // form.bits))


def _index(array: npt.NDArray[Any], flat: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, array.shape)) if array.ndim else ()
