"""How a transposed convolution by one product of all taps is divided into tasks, and the tables that they read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...axis import Axis
from ...geometry import Geometry
from ..choice import SUMS_BYTES, fold_parts
from ..taps import AxisReads, transposed_reads

Table = NDArray[Any]

# Rows of the product that copying a part's inputs pays for.
_LEAST_ROWS = 32


@dataclass(frozen=True)
class Rows:
    """What microkernels make at once: `rows` by `vectors` of positions, or `positions` by `row_vectors` of rows.

    `depth` by `wide` elements of the weight are packed for them at once.
    """

    rows: int
    vectors: int
    positions: int
    row_vectors: int
    depth: int
    wide: int
    lanes: int


@dataclass(frozen=True)
class FoldPlan:
    """Tables for `folding.fold`; their columns are named where it reads them. `scratch` is in numbers."""

    numbers: Table
    axes: Table
    parts: Table
    classes: Table
    taps: Table
    tasks: int
    scratch: int
    macs: int


@lru_cache(maxsize=256)
def fold_plan(geometry: Geometry, shape: Rows, itemsize: int, threads: int) -> FoldPlan:
    """Return the tables of a call, the same for all calls of this geometry."""
    axes, kernel, lanes = geometry.axes, _kernel(geometry), shape.lanes
    groups, samples = geometry.groups, geometry.samples
    channels, out_channels = geometry.small_channels // groups, geometry.large_channels // groups
    pixels = prod(axis.small for axis in axes)
    # Positions that leave most of a vector idle, where rows fill several.
    few = pixels <= lanes and out_channels * kernel >= shape.row_vectors * lanes
    parts = _parts(geometry, out_channels * kernel, itemsize, ceil(threads / max(1, samples * groups)), few)
    reads = [transposed_reads(axis) for axis in axes]
    left, right = (0, 0) if few else _border(parts, reads[2])
    gap = max(left, right)
    most = max(left + _positions(part, gap) for part in parts)
    pitch = (ceil(most / lanes) | 1) * lanes
    least = shape.row_vectors * lanes * 4 if few else max(shape.rows, _LEAST_ROWS)
    shares = max(1, min(out_channels, out_channels * kernel // least))
    # As few tasks as give every thread some, and whose sums fit.
    wanted = max(
        ceil(2 * threads / (max(1, samples) * groups * len(parts))),
        ceil(out_channels * kernel * pitch * itemsize / SUMS_BYTES),
    )
    shares = min(shares, wanted)
    rows = ceil(out_channels / shares) * kernel
    block = shape.row_vectors * lanes if few else shape.rows
    lines = ceil(rows / max(block, lanes)) * max(block, lanes)
    sizes = [
        0 if few else channels * ceil(most / lanes) * lanes,
        lines * pitch,
        (lines if few else 1) * ceil(most / lanes) * lanes,
        min(lines, shape.wide) // block * (min(channels, shape.depth) * block + lanes),
    ]
    # Of all rows that are added up at once.
    line_pitch = max(_outputs(part, reads, gap) for part in parts) + lanes
    starts = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    numbers = [samples, groups, channels, out_channels, kernel, shares, few, pitch, *starts, line_pitch, left, gap]
    classes, taps, columns = _tables(axes, reads)
    return FoldPlan(
        np.array(numbers, np.int64),
        columns,
        np.array(parts, np.int64),
        classes,
        taps,
        tasks=samples * groups * len(parts) * shares,
        scratch=starts[-1] + (len(reads[2].classes) + 1) * line_pitch,
        macs=samples * geometry.small_channels * out_channels * kernel * pixels,
    )


def _kernel(geometry: Geometry) -> int:
    return prod(axis.kernel for axis in geometry.axes)


def _positions(part: tuple[int, ...], gap: int) -> int:
    depth, height, width = (part[i + 3] - part[i + 2] for i in (0, 4, 8))
    return depth * height * (width + gap)


def _outputs(part: tuple[int, ...], reads: list[AxisReads], gap: int) -> int:
    """Return the most numbers of a class in one slice of a part, in rows as far apart as those of its inputs."""
    rows = max(min(one.positions, ceil((part[5] - part[4]) / one.step)) for one in reads[1].classes)
    width = max(min(one.positions, ceil((part[9] - part[8]) / one.step)) for one in reads[2].classes)
    return rows * max(width, part[11] - part[10] + gap)


def _border(parts: list[tuple[int, ...]], read: AxisReads) -> tuple[int, int]:
    """Return how many zeros rows need in front and behind for taps that reach beyond them."""
    left = right = 0
    for part in parts:
        for one in read.classes:
            low, high = part[8] // one.step, min(one.positions, ceil((part[9] - one.first) / one.step))
            for tap in one.taps if high > low else ():
                left = max(left, part[10] - low - tap.shift)
                right = max(right, high + tap.shift - part[11])
    return left, right


def _parts(geometry: Geometry, rows: int, itemsize: int, wanted: int, few: bool) -> list[tuple[int, ...]]:
    """Return first and last output, first and last input by axes of each part: the first axis longer than 1 divided."""
    axes = geometry.axes
    split = next((i for i, axis in enumerate(axes) if axis.small > 1), 2)
    axis = axes[split]
    count = ceil(fold_parts(geometry, itemsize))
    if rows < 2 * _LEAST_ROWS * wanted:
        count = ceil(count / wanted) * wanted
    # Vectors of rows take the whole of a small map.
    count = 1 if few or axis.small == 1 else min(count, ceil(axis.large / axis.stride))
    return [tuple(x for each in box for x in each) for box in _boxes(axes, split, axis, count)]


def _boxes(axes: tuple[Axis, ...], split: int, axis: Axis, count: int) -> list[list[tuple[int, int, int, int]]]:
    whole = [(0, each.large, 0, each.small) for each in axes]
    steps = ceil(axis.large / axis.stride)
    found = []
    for p in range(count):
        first, last = p * steps // count * axis.stride, min(axis.large, (p + 1) * steps // count * axis.stride)
        low = -((axis.dilation * (axis.kernel - 1) - first - axis.pad_lo) // axis.stride)
        high = (last - 1 + axis.pad_lo) // axis.stride + 1
        low, high = max(0, min(low, axis.small)), max(0, min(high, axis.small))
        found.append([*whole[:split], (first, last, low, max(low, high)), *whole[split + 1 :]])
    return found


def _tables(axes: tuple[Axis, ...], reads: list[AxisReads]) -> tuple[Table, Table, Table]:
    """Return classes (first, positions, first tap, last tap), taps (element, shift), and columns of the axes."""
    classes: list[tuple[int, ...]] = []
    taps: list[tuple[int, int]] = []
    columns = []
    for axis, read in zip(axes, reads, strict=True):
        first = len(classes)
        for one in read.classes:
            classes.append((one.first, one.positions, len(taps), len(taps) + len(one.taps)))
            taps += [(tap.element, tap.shift) for tap in one.taps]
        columns.append((axis.small, axis.large, axis.kernel, first, len(classes), read.classes[0].step))
    return np.array(classes, np.int64), np.array(taps or [(0, 0)], np.int64), np.array(columns, np.int64)
