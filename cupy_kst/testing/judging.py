"""What a call should return, and what is wrong with what it does return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..dtypes import DTYPES
from .arrays import Arrays, arguments
from .cases import Case
from .operations import OPERATIONS

Numbers = Literal["integers", "real"]
Kind = Literal["raises", "shape", "values", "dtype", "overwritten", "first result"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a function; `call` is the number of the call in which it shows."""

    kind: Kind
    text: str
    call: int = 1
    error: Exception | None = None


class Bound(NamedTuple):
    """The largest error of a sum: so many times the sum of its terms' absolute values, and the least number besides."""

    relative: float
    least: float


@dataclass(frozen=True)
class Wanted:
    """The right result of a call, and for real numbers the largest error of each element."""

    result: NDArray[Any]
    dtype: str
    bounds: NDArray[Any] | None

    def scaled(self, factor: int) -> Wanted:
        """Return what is right when the result is multiplied by a power of two."""
        bounds = None if self.bounds is None else abs(factor) * self.bounds
        return Wanted(factor * self.result, self.dtype, bounds)

    def fault(self, got: NDArray[Any]) -> Fault | None:
        """Return what is wrong with a result, None if it is right."""
        if got.dtype.kind not in "biufcV":
            return Fault("shape", f"its result is no array of numbers, but {got!r}")
        if got.shape != self.result.shape:
            return Fault("shape", f"its result has shape {got.shape}, expected {self.result.shape}")
        errors = _errors(got, self.result)
        bounds = np.zeros(errors.shape) if self.bounds is None else self.bounds
        # Not "greater", as that NaN never is.
        differing = ~(errors <= bounds)
        if differing.any():
            return Fault("values", self._worst(got, errors, bounds, int(np.count_nonzero(differing))))
        if got.dtype.newbyteorder("=") != np.dtype(self.dtype):
            given = f"its result has dtype {got.dtype}, expected that of its arrays"
            return Fault("dtype", f"{given}: .astype({self.dtype!r}) converts it")
        return None

    def _worst(self, got: NDArray[Any], errors: NDArray[Any], bounds: NDArray[Any], count: int) -> str:
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.where(np.isnan(errors), np.inf, errors if self.bounds is None else errors / bounds)
        place = tuple(map(int, np.unravel_index(np.argmax(excess), errors.shape)))
        values = f"{got[place]}, not {self.result[place]}"
        if self.bounds is None:
            return f"{count} of {got.size} outputs differ, the worst at {place}: {values}"
        return (
            f"{count} of {got.size} outputs differ by more than rounding explains, the worst at {place}: {values}, "
            f"an error of {errors[place]:.3g} where at most {bounds[place]:.3g} is allowed"
        )


def wanted(case: Case, arrays: Arrays, numbers: Numbers, max_error: float) -> Wanted:
    """Return the right result of a call by the definition of its operation."""
    definition = OPERATIONS[case.op].definition
    result = definition(**arguments(case, arrays), **case.options)
    if numbers == "integers":
        return Wanted(result, case.dtype, None)
    sizes = Arrays(*(None if array is None else np.abs(array) for array in arrays))
    relative, least = bound(case, max_error)
    return Wanted(result, case.dtype, relative * definition(**arguments(case, sizes), **case.options) + least)


def bound(case: Case, max_error: float) -> Bound:
    """Return the largest error of a sum as long as a case's, whatever its order, times `max_error`.

    Every product and every addition rounds once, toward zero at worst: by the place of the type that 16-bit elements
    are summed in, float32, or else of their own. Storing the sum rounds once more. The definition sums in float64 and
    so has errors of its own beside those of 64-bit elements.
    """
    element = DTYPES[case.dtype]
    length = case.terms * (2 if element.storage.kind == "c" else 1) + 2
    if element.compute in (np.dtype(np.float64), np.dtype(np.complex128)):
        length *= 2
    summed, stored = (float(ml_dtypes.finfo(each).eps) for each in (element.compute, element.storage))
    least = float(ml_dtypes.finfo(element.storage).smallest_subnormal)
    return Bound(max_error * (length * summed + (stored if stored > summed else 0)), least)


def _errors(got: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    # A result may hold infinities, and these differ from themselves by NaN.
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(got.astype(wide) - right))
