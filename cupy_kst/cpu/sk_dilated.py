"""Sk-dilated (arXiv 2306.15951): a matrix product per tap, which steps over the large map by the stride."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..axis import Axis
from ..geometry import Geometry
from .form import Setting, grouped_shapes
from .forms import Index, Window, correlate, correlate_bytes, last_axes

Array = NDArray[Any]


def run(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`; arrays as cpu.Form has them."""
    for tap in product(*(range(axis.kernel) for axis in geometry.axes)):
        smalls, larges = zip(*(axis.meetings(k) for axis, k in zip(geometry.axes, tap, strict=True)), strict=True)
        element: Index = (..., *tap)
        out[element] = correlate(small[last_axes(smalls)], large[last_axes(larges)]) if all(smalls) else 0


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: the most that the product of a tap takes."""
    shapes = grouped_shapes(geometry)
    found = 0
    for sizes in product(*(_sizes(axis) for axis in geometry.axes)):
        small = Window(shapes["small"], sizes)
        large = Window(shapes["large"], sizes, [axis.stride for axis in geometry.axes])
        found = max(found, correlate_bytes(small, large, setting.itemsize))
    return found


def _sizes(axis: Axis) -> set[int]:
    """Return the numbers of inputs that taps meet, but 0."""
    return {len(met) for tap in range(axis.kernel) if (met := axis.meetings(tap)[0])}
