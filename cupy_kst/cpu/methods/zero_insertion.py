"""The baseline: insert zeros between the inputs, pad, then convolve with the whole filter."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import convolve, convolve_bytes, last_axes
from ..registry import CpuMethod, register

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    inputs, places = zip(*(axis.zero_inserted_positions() for axis in geometry.axes), strict=True)
    zero_inserted = np.zeros((*input.shape[:3], *geometry.zero_inserted_shape[2:]), input.dtype)
    zero_inserted[last_axes(places)] = input[last_axes(inputs)]
    depth, height, width = (axis.dilation * (axis.kernel - 1) for axis in geometry.axes)
    d, h, w = (-axis.dilation for axis in geometry.axes)
    convolve(zero_inserted, weight, bias, out, start=(depth, height, width), step=(d, h, w))


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: the zero-inserted map, and what its convolution takes."""
    shapes = grouped_shapes(geometry)
    source = (*shapes["small"][:3], *geometry.zero_inserted_shape[2:])
    d, h, w = (-axis.dilation for axis in geometry.axes)
    block = convolve_bytes(source, shapes["weight"], shapes["large"], setting.itemsize, (d, h, w))
    return prod(source) * setting.itemsize + block


register(CpuMethod("zero_insertion", (Form("numpy_im2col", run, workspace),)))
