"""ConvV2 (arXiv 2306.15951): convolution by the filter trimmed to what meets real input."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import convolve, last_axes
from .parts import trimmed_conv

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution to `out`; arrays as cpu.RUNS has them."""
    convolve_parts(geometry, input, weight, bias, out)


def convolve_parts(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Convolve, part by part, outputs whose taps on the input are the same."""
    axes = [trimmed_conv(axis) for axis in geometry.axes]
    reached = [sum(len(part.outputs) for part in parts) for parts in axes]
    if reached != [axis.small for axis in geometry.axes]:
        out[...] = 0 if bias is None else bias
    filters = weight.swapaxes(1, 2)
    d, h, w = (axis.dilation for axis in geometry.axes)
    sd, sh, sw = (axis.stride for axis in geometry.axes)
    for depth, height, width in product(*axes):
        parts = (depth, height, width)
        taps, outputs = last_axes([part.taps for part in parts]), last_axes([part.outputs for part in parts])
        start = (depth.start, height.start, width.start)
        convolve(input, filters[taps], bias, out[outputs], start, (d, h, w), (sd, sh, sw))
