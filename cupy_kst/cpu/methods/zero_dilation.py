"""The baseline of the weight's gradient: insert zeros into the small map, then correlate with it."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import Window, correlate, correlate_bytes, last_axes, pad, pad_bytes, padded_shape, slices
from ..registry import CpuMethod, register

Array = NDArray[Any]


def run(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`; arrays as `cpu.form.Form` has them."""
    axes = geometry.axes
    extents = [axis.dilated_size for axis in axes]
    dilated = np.zeros((*small.shape[:3], *extents), small.dtype)
    dilated[last_axes([range(0, extent, axis.stride) for axis, extent in zip(axes, extents, strict=True)])] = small
    padded = pad(large, _borders(geometry))
    windows = []
    for axis, extent in zip(axes, extents, strict=True):
        firsts = np.arange(axis.kernel) * axis.dilation
        windows.append(list(enumerate(slices(firsts, firsts + extent, 1))))
    for (d, depth), (h, height), (w, width) in product(*windows):
        out[..., d, h, w] = correlate(dilated, padded[..., depth, height, width])


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: the map with zeros inserted, the padded one, and what their product takes."""
    shapes, itemsize, borders = grouped_shapes(geometry), setting.itemsize, _borders(geometry)
    extents = [axis.dilated_size for axis in geometry.axes]
    dilated = (*shapes["small"][:3], *extents)
    maps = prod(dilated) * itemsize + pad_bytes(shapes["large"], borders, itemsize)
    window = Window(padded_shape(shapes["large"], borders), extents)
    return maps + correlate_bytes(Window(dilated, extents), window, itemsize)


def _borders(geometry: Geometry) -> list[tuple[int, int]]:
    """Return how far the taps reach beyond the start and the end of the large map."""
    reached = [axis.dilated_size + (axis.kernel - 1) * axis.dilation - axis.pad_lo for axis in geometry.axes]
    return [(axis.pad_lo, max(0, end - axis.large)) for axis, end in zip(geometry.axes, reached, strict=True)]


register(CpuMethod("zero_dilation", (Form("numpy_per_tap", run, workspace),)))
