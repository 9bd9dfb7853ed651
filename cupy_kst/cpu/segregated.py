"""Kernel segregation (arXiv 2209.03704): a dense convolution by a sub-kernel for each residue class."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axis import Axis, AxisClass
from ..geometry import Geometry
from .forms import Axes, Index, convolve, last_axes, pad

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.RUNS has them."""
    # A padding zero times an infinite weight would be NaN: such weights meet only inputs that exist.
    schedule = _schedule(geometry, trimmed=not np.isfinite(weight.sum()))
    padded = pad(input, schedule.borders)
    if not schedule.complete:
        out[...] = 0 if bias is None else bias
    d, h, w = (-axis.input_step for axis in geometry.axes)
    for taps, outputs, start in schedule.convolutions:
        convolve(padded, weight[taps], bias, out[outputs], start, step=(d, h, w))


class _Schedule(NamedTuple):
    """Zeros put around the input, whether all outputs are written, and (taps, outputs, start) of each convolution."""

    borders: list[tuple[int, int]]
    complete: bool
    convolutions: list[tuple[Index, Index, Axes]]


@lru_cache(maxsize=256)
def _schedule(geometry: Geometry, trimmed: bool) -> _Schedule:
    divide = _trimmed if trimmed else _whole
    borders = [(0, 0) if trimmed else _border(axis) for axis in geometry.axes]
    convolutions = []
    for classes in geometry.classes:
        for parts in product(*map(divide, geometry.axes, classes)):
            taps, outputs = last_axes([part.taps for part in parts]), last_axes([part.outputs for part in parts])
            depth, height, width = (part.start + lo for part, (lo, _) in zip(parts, borders, strict=True))
            convolutions.append((taps, outputs, (depth, height, width)))
    complete = not trimmed and all(one.taps for axis in geometry.axes for one in axis.classes)
    return _Schedule(borders, complete, convolutions)


class _Part(NamedTuple):
    """Neighbouring positions of a class, taps that all of them use, and the first tap's input at the first position."""

    outputs: range
    taps: range
    start: int


def _border(axis: Axis) -> tuple[int, int]:
    """Return how far the taps of all classes reach beyond the start and the end of the input."""
    met = [one for one in axis.classes if one.taps]
    lowest = min((one.start - (one.taps - 1) * axis.input_step for one in met), default=0)
    highest = max((one.start + one.positions for one in met), default=0)
    return max(0, -lowest), max(0, highest - axis.in_size)


def _whole(axis: Axis, one: AxisClass) -> list[_Part]:
    return [_part(axis, one, range(one.positions), range(one.taps))] if one.taps else []


def _trimmed(axis: Axis, one: AxisClass) -> list[_Part]:
    """Divide a class where taps leave the input."""
    edges = {0, one.positions}
    for tap in range(one.taps):
        first = tap * axis.input_step - one.start
        edges |= {min(max(edge, 0), one.positions) for edge in (first, first + axis.in_size)}
    parts = []
    for first, end in pairwise(sorted(edges)):
        met = [t for t in range(one.taps) if 0 <= one.start + first - t * axis.input_step < axis.in_size]
        if met:
            parts.append(_part(axis, one, range(first, end), range(met[0], met[-1] + 1)))
    return parts


def _part(axis: Axis, one: AxisClass, positions: range, taps: range) -> _Part:
    return _Part(
        range(one.first, one.first + one.positions * axis.stride, axis.stride)[positions.start : positions.stop],
        range(one.first_tap, axis.kernel, axis.tap_step)[taps.start : taps.stop],
        one.start + positions[0] - taps[0] * axis.input_step,
    )
