"""Problems by what tests know of them: a method, a geometry, and the name of an element type."""

from __future__ import annotations

from cupy_kst.dtypes import DTYPES, Precision
from cupy_kst.geometry import Geometry
from cupy_kst.methods import METHODS
from cupy_kst.problem import Problem


def problem_of(
    method: str, geometry: Geometry, dtype: str = "float32", channels_last: bool = False, precision: Precision = "ieee"
) -> Problem:
    """Return the problem of a method's operation."""
    return Problem(METHODS[method].operation, geometry, DTYPES[dtype], channels_last, precision)
