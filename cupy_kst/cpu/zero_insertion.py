"""The baseline: insert zeros between the inputs, pad, then convolve with the whole filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import convolve, last_axes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.Form has them."""
    inputs, places = zip(*(axis.standings() for axis in geometry.axes), strict=True)
    zero_inserted = np.zeros((*input.shape[:3], *geometry.zero_inserted_shape[2:]), input.dtype)
    zero_inserted[last_axes(places)] = input[last_axes(inputs)]
    depth, height, width = (axis.dilation * (axis.kernel - 1) for axis in geometry.axes)
    d, h, w = (-axis.dilation for axis in geometry.axes)
    convolve(zero_inserted, weight, bias, out, start=(depth, height, width), step=(d, h, w))
