"""Sk-dilated (arXiv 2306.15951): a matrix product per tap, which steps over the large map by the stride."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import Index, correlate, last_axes

Array = NDArray[Any]


def run(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`; arrays as cpu.Form has them."""
    for tap in product(*(range(axis.kernel) for axis in geometry.axes)):
        smalls, larges = zip(*(axis.meetings(k) for axis, k in zip(geometry.axes, tap, strict=True)), strict=True)
        element: Index = (..., *tap)
        out[element] = correlate(small[last_axes(smalls)], large[last_axes(larges)]) if all(smalls) else 0
