"""Split deconvolution (arXiv 1907.01773): equal sub-filters as one ordinary convolution, whose channels interleave."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import AXES, Geometry
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import convolve, convolve_bytes, pad, pad_bytes, padded_shape, slices
from ..registry import CpuMethod, register
from ..taps import class_table

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    axes = geometry.axes
    # The first input of the first position's window, which may lie in front of the input as well as on it.
    depth, height, width = (axis.sub_positions[0] - axis.sub_taps + 1 for axis in axes)
    padded = pad(input, _borders(geometry))
    start = (max(0, depth), max(0, height), max(0, width))
    filters = _split(geometry, weight)
    biases = None if bias is None else np.repeat(bias, prod(axis.stride for axis in axes), axis=1)
    parts = np.empty((*input.shape[:2], filters.shape[2], *geometry.split_output_shape[2:]), input.dtype)
    convolve(padded, filters, biases, parts, start, step=(1, 1, 1))
    _interleave(geometry, parts, out)


def _borders(geometry: Geometry) -> list[tuple[int, int]]:
    """Return how far windows reach beyond the start and the end of the input."""
    return [
        (max(0, axis.sub_taps - 1 - axis.sub_positions[0]), max(0, axis.sub_positions[-1] + 1 - axis.small))
        for axis in geometry.axes
    ]


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds.

    They are a border around the input, and first the expanded filter beside the sub-filters that are made of it, then
    these, all of their outputs, and what the convolution takes.
    """
    shapes, itemsize, borders = grouped_shapes(geometry), setting.itemsize, _borders(geometry)
    channels, *taps = geometry.split_weight_shape[1:]
    filters, parts = (*shapes["weight"][:2], channels, *taps), (*shapes["small"][:2], channels)
    parts = (*parts, *geometry.split_output_shape[2:])
    block = convolve_bytes(padded_shape(shapes["small"], borders), filters, parts, itemsize)
    filter_bytes = prod(filters) * itemsize
    biases = geometry.groups * channels * itemsize
    return (
        pad_bytes(shapes["small"], borders, itemsize)
        + filter_bytes
        + max(filter_bytes, biases + prod(parts) * itemsize + block)
    )


def _split(geometry: Geometry, weight: Array) -> Array:
    """Return the sub-filters: (groups, in_channels, out_channels * strides, *taps), those of a channel side by side."""
    axes = geometry.axes
    behind = [axis.sub_taps * axis.stride - axis.kernel - axis.leading_zeros for axis in axes]
    zeros = [(axis.leading_zeros, after) for axis, after in zip(axes, behind, strict=True)]
    expanded = np.pad(weight, [(0, 0)] * 3 + zeros)
    # Each axis becomes two: an element of the expanded filter is tap u of sub-filter r, u*stride + r.
    by_residue = expanded.reshape(*weight.shape[:3], *(size for axis in axes for size in (axis.sub_taps, axis.stride)))
    by_filter = np.flip(by_residue, (3, 5, 7)).transpose(0, 1, 2, 4, 6, 8, 3, 5, 7)
    filters: Array = by_filter.reshape(*weight.shape[:2], -1, *by_filter.shape[-AXES:])
    return filters


def _interleave(geometry: Geometry, parts: Array, out: Array) -> None:
    axes = geometry.axes
    by_residue = parts.reshape(*out.shape[:3], *(axis.stride for axis in axes), *parts.shape[3:])
    residues, positions, outputs = [], [], []
    for axis in axes:
        classes = class_table(axis)
        places, residue = np.divmod(classes.firsts + axis.pad_lo + axis.leading_zeros, axis.stride)
        places -= axis.sub_positions[0]
        residues.append(residue.tolist())
        positions.append(slices(places, places + classes.lengths, 1))
        outputs.append(slices(classes.firsts, np.full_like(classes.firsts, axis.large), axis.stride))
    everything = [slice(None)]
    read = zip(product(everything, everything, everything, *residues), product(*positions), strict=True)
    for (of_class, at), to in zip(read, product((...,), *outputs), strict=True):
        out[to] = by_residue[of_class + at]


register(CpuMethod("split", (Form("numpy_im2col", run, workspace),)))
