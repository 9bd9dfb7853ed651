"""The baseline of the weight's gradient: insert zeros into the small map, then correlate with it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import Index, correlate, last_axes, pad

Array = NDArray[Any]


def run(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`; arrays as cpu.Form has them."""
    axes = geometry.axes
    extents = [axis.dilated_size for axis in axes]
    dilated = np.zeros((*small.shape[:3], *extents), small.dtype)
    dilated[last_axes([range(0, extent, axis.stride) for axis, extent in zip(axes, extents, strict=True)])] = small
    borders = []
    for axis, extent in zip(axes, extents, strict=True):
        reached = extent + (axis.kernel - 1) * axis.dilation - axis.pad_lo
        borders.append((axis.pad_lo, max(0, reached - axis.large)))
    padded = pad(large, borders)
    for tap in product(*(range(axis.kernel) for axis in axes)):
        firsts = [k * axis.dilation for axis, k in zip(axes, tap, strict=True)]
        window = [range(first, first + extent) for first, extent in zip(firsts, extents, strict=True)]
        element: Index = (..., *tap)
        out[element] = correlate(dilated, padded[last_axes(window)])
