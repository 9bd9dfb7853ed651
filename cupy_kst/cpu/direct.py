"""The baseline of convolution: one dense convolution of the padded input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Geometry
from .conv_v2 import convolve_parts
from .forms import convolve, pad

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution to `out`; arrays as cpu.RUNS has them."""
    # A padding zero times an infinite weight would be NaN: such weights meet only inputs that exist.
    if not np.isfinite(weight.sum()):
        convolve_parts(geometry, input, weight, bias, out)
        return
    axes = geometry.axes
    reached = [(axis.small - 1) * axis.stride + (axis.kernel - 1) * axis.dilation - axis.pad_lo for axis in axes]
    borders = [(axis.pad_lo, max(0, last + 1 - axis.large)) for axis, last in zip(axes, reached, strict=True)]
    padded = pad(input, borders)
    (d, h, w), (sd, sh, sw) = ([axis.dilation for axis in axes], [axis.stride for axis in axes])
    convolve(padded, weight.swapaxes(1, 2), bias, out, (0, 0, 0), (d, h, w), (sd, sh, sw))
