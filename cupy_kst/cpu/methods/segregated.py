"""Kernel segregation (arXiv 2209.03704): a dense convolution by a sub-kernel for each residue class."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Axis, Geometry
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import Axes, Index, convolve, convolve_bytes, pad, pad_bytes, padded_shape
from ..regions import trimmed_class, whole_class
from ..registry import CpuMethod, register
from ..taps import class_table, classes_with_taps

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    # A padding zero times an infinite weight would be NaN: such weights meet only inputs that exist.
    convolve_classes(geometry, input, weight, bias, out, trimmed=not np.isfinite(weight.sum()))


def convolve_classes(
    geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array, trimmed: bool
) -> None:
    """Convolve by the sub-kernel of each residue class, `trimmed` to what meets input or with a border of zeros."""
    schedule = _schedule(geometry, trimmed)
    padded = pad(input, schedule.borders)
    if not schedule.complete:
        out[...] = 0 if bias is None else bias
    d, h, w = (-axis.input_step for axis in geometry.axes)
    for taps, outputs, start in schedule.convolutions:
        convolve(padded, weight[taps], bias, out[outputs], start, step=(d, h, w))


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: those of a border around the input, and of one convolution."""
    return classes_bytes(geometry, setting.itemsize, trimmed=False)


def classes_bytes(geometry: Geometry, itemsize: int, trimmed: bool) -> int:
    """Return the bytes that `convolve_classes` holds."""
    shapes, borders = grouped_shapes(geometry), _borders(geometry, trimmed)
    source = padded_shape(shapes["small"], borders)
    d, h, w = (-axis.input_step for axis in geometry.axes)
    blocks = []
    for parts in product(*(_sizes(axis, trimmed) for axis in geometry.axes)):
        taps, outputs = zip(*parts, strict=True)
        weight, out = (*shapes["weight"][:3], *taps), (*shapes["large"][:3], *outputs)
        blocks.append(convolve_bytes(source, weight, out, itemsize, (d, h, w)))
    return pad_bytes(shapes["small"], borders, itemsize) + max(blocks, default=0)


def _sizes(axis: Axis, trimmed: bool) -> set[tuple[int, int]]:
    """Return the numbers of taps and of outputs that parts of an axis' classes have."""
    if trimmed:
        parts = (part for one in classes_with_taps(axis) for part in trimmed_class(axis, one))
        return {(len(part.taps), len(part.outputs)) for part in parts}
    classes = class_table(axis)
    some = classes.counts > 0
    return set(zip(classes.counts[some].tolist(), classes.lengths[some].tolist(), strict=True))


class _Schedule(NamedTuple):
    """Zeros put around the input, whether all outputs are written, and (taps, outputs, start) of each convolution."""

    borders: list[tuple[int, int]]
    complete: bool
    convolutions: list[tuple[Index, Index, Axes]]


@lru_cache(maxsize=256)
def _schedule(geometry: Geometry, trimmed: bool) -> _Schedule:
    divide = trimmed_class if trimmed else whole_class
    borders = _borders(geometry, trimmed)
    # For each axis and class what one of its parts says of a convolution: taps, outputs and start.
    axes = [
        [
            [(_slice(part.taps), _slice(part.outputs), part.start + low) for part in divide(axis, one)]
            for one in classes_with_taps(axis)
        ]
        for axis, (low, _) in zip(geometry.axes, borders, strict=True)
    ]
    convolutions = []
    for classes in product(*axes):
        for (taps_d, to_d, d), (taps_h, to_h, h), (taps_w, to_w, w) in product(*classes):
            convolutions.append(((..., taps_d, taps_h, taps_w), (..., to_d, to_h, to_w), (d, h, w)))
    return _Schedule(borders, not trimmed and geometry.reaches_all_outputs, convolutions)


def _slice(part: range) -> slice:
    return slice(part.start, part.stop, part.step)


def _borders(geometry: Geometry, trimmed: bool) -> list[tuple[int, int]]:
    return [(0, 0) if trimmed else _border(axis) for axis in geometry.axes]


def _border(axis: Axis) -> tuple[int, int]:
    """Return how far the taps of all classes reach beyond the start and the end of the input."""
    classes = class_table(axis)
    some = classes.counts > 0
    starts = classes.starts[some]
    lowest = (starts - (classes.counts[some] - 1) * axis.input_step).min(initial=0)
    highest = (starts + classes.lengths[some]).max(initial=0)
    return int(-lowest), max(0, int(highest) - axis.small)


register(CpuMethod("segregated", (Form("numpy_im2col", run, workspace, exact=True),)))
