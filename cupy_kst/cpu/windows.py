"""Convolution in NumPy: of the padded input as a whole, or part by part without padding."""

from __future__ import annotations

from itertools import product
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .arguments import grouped_shapes
from .im2col import Axes, convolve, convolve_bytes, last_axes, pad, pad_bytes, padded_shape
from .regions import trimmed_conv

Array = NDArray[Any]


def convolve_padded(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Convolve the input with zeros around it."""
    padded = pad(input, _borders(geometry))
    convolve(padded, weight.swapaxes(1, 2), bias, out, (0, 0, 0), *_steps(geometry))


def convolve_parts(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Convolve, part by part, outputs whose taps on the input are the same."""
    axes = [trimmed_conv(axis) for axis in geometry.axes]
    reached = [sum(len(part.outputs) for part in parts) for parts in axes]
    if reached != [axis.small for axis in geometry.axes]:
        out[...] = 0 if bias is None else bias
    filters = weight.swapaxes(1, 2)
    for depth, height, width in product(*axes):
        parts = (depth, height, width)
        taps, outputs = last_axes([part.taps for part in parts]), last_axes([part.outputs for part in parts])
        start = (depth.start, height.start, width.start)
        convolve(input, filters[taps], bias, out[outputs], start, *_steps(geometry))


def padded_bytes(geometry: Geometry, itemsize: int) -> int:
    """Return the bytes that `convolve_padded` holds: the padded input, and what the convolution takes."""
    shapes, borders = grouped_shapes(geometry), _borders(geometry)
    groups, small, large, *taps = shapes["weight"]
    source = padded_shape(shapes["large"], borders)
    block = convolve_bytes(source, (groups, large, small, *taps), shapes["small"], itemsize, *_steps(geometry))
    return pad_bytes(shapes["large"], borders, itemsize) + block


def parts_bytes(geometry: Geometry, itemsize: int) -> int:
    """Return the bytes that `convolve_parts` holds: what the convolution of one part takes."""
    shapes = grouped_shapes(geometry)
    groups, small, large, *_ = shapes["weight"]
    sizes = ({(len(part.taps), len(part.outputs)) for part in trimmed_conv(axis)} for axis in geometry.axes)
    blocks = []
    for parts in product(*sizes):
        taps, outputs = zip(*parts, strict=True)
        weight, out = (groups, large, small, *taps), (*shapes["small"][:3], *outputs)
        blocks.append(convolve_bytes(shapes["large"], weight, out, itemsize, *_steps(geometry)))
    return max(blocks, default=0)


def _borders(geometry: Geometry) -> list[tuple[int, int]]:
    """Return how far windows reach beyond the start and the end of the input."""
    axes = geometry.axes
    reached = [(axis.small - 1) * axis.stride + (axis.kernel - 1) * axis.dilation - axis.pad_lo for axis in axes]
    return [(axis.pad_lo, max(0, last + 1 - axis.large)) for axis, last in zip(axes, reached, strict=True)]


def _steps(geometry: Geometry) -> tuple[Axes, Axes]:
    """Return the distances on the input from one tap to the next, and from one position to the next."""
    (d, h, w), (sd, sh, sw) = ([axis.dilation for axis in geometry.axes], [axis.stride for axis in geometry.axes])
    return (d, h, w), (sd, sh, sw)
