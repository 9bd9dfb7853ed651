"""Split deconvolution (arXiv 1907.01773): equal sub-filters as one ordinary convolution, whose channels interleave."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AXES, Geometry
from .forms import convolve, last_axes, pad

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.Form has them."""
    axes = geometry.axes
    # The first input of the first position's window, which may lie in front of the input as well as on it.
    depth, height, width = (axis.sub_positions[0] - axis.sub_taps + 1 for axis in axes)
    borders = [
        (max(0, -start), max(0, axis.sub_positions[-1] + 1 - axis.small))
        for start, axis in zip((depth, height, width), axes, strict=True)
    ]
    padded = pad(input, borders)
    start = (max(0, depth), max(0, height), max(0, width))
    filters = _split(geometry, weight)
    biases = None if bias is None else np.repeat(bias, prod(axis.stride for axis in axes), axis=1)
    parts = np.empty((*input.shape[:2], filters.shape[2], *geometry.split_output_shape[2:]), input.dtype)
    convolve(padded, filters, biases, parts, start, step=(1, 1, 1))
    _interleave(geometry, parts, out)


def _split(geometry: Geometry, weight: Array) -> Array:
    """Return the sub-filters: (groups, in_channels, out_channels * strides, *taps), those of a channel side by side."""
    axes = geometry.axes
    behind = [axis.sub_taps * axis.stride - axis.kernel - axis.leading_zeros for axis in axes]
    zeros = [(axis.leading_zeros, after) for axis, after in zip(axes, behind, strict=True)]
    expanded = np.pad(weight, [(0, 0)] * 3 + zeros)
    # Each axis becomes two: an element of the expanded filter is tap u of sub-filter r, u*stride + r.
    apart = expanded.reshape(*weight.shape[:3], *(size for axis in axes for size in (axis.sub_taps, axis.stride)))
    by_filter = np.flip(apart, (3, 5, 7)).transpose(0, 1, 2, 4, 6, 8, 3, 5, 7)
    filters: Array = by_filter.reshape(*weight.shape[:2], -1, *by_filter.shape[-AXES:])
    return filters


def _interleave(geometry: Geometry, parts: Array, out: Array) -> None:
    axes = geometry.axes
    apart = parts.reshape(*out.shape[:3], *(axis.stride for axis in axes), *parts.shape[3:])
    for classes in geometry.classes:
        residues, positions, outputs = [], [], []
        for axis, one in zip(axes, classes, strict=True):
            expanded = one.first + axis.pad_lo + axis.leading_zeros
            first = expanded // axis.stride - axis.sub_positions[0]
            residues.append(expanded % axis.stride)
            positions.append(range(first, first + one.positions))
            outputs.append(range(one.first, axis.large, axis.stride))
        of_class = apart[(slice(None),) * 3 + tuple(residues)]
        out[last_axes(outputs)] = of_class[last_axes(positions)]
