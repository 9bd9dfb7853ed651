"""Convolution in NumPy: of the padded input as a whole, or part by part without padding."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import convolve, last_axes, pad
from .parts import trimmed_conv

Array = NDArray[Any]


def convolve_padded(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Convolve the input with zeros around it."""
    axes = geometry.axes
    reached = [(axis.small - 1) * axis.stride + (axis.kernel - 1) * axis.dilation - axis.pad_lo for axis in axes]
    borders = [(axis.pad_lo, max(0, last + 1 - axis.large)) for axis, last in zip(axes, reached, strict=True)]
    padded = pad(input, borders)
    (d, h, w), (sd, sh, sw) = ([axis.dilation for axis in axes], [axis.stride for axis in axes])
    convolve(padded, weight.swapaxes(1, 2), bias, out, (0, 0, 0), (d, h, w), (sd, sh, sw))


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
