"""How a transposed convolution by one product of all taps is divided into tasks, and the tables that they read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....axis import Axis
from ....geometry import Geometry
from ...cost_model import SUMS_BYTES, fold_parts
from ...taps import AxisReads, table, transposed_reads

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
    most = left + int(_positions(parts, gap).max())
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
    # A line has all rows that are added up at once.
    line_pitch = int(_outputs(parts, reads, gap).max()) + lanes
    starts = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    numbers = [samples, groups, channels, out_channels, kernel, shares, few, pitch, *starts, line_pitch, left, gap]
    classes, taps, columns = _tables(axes, reads)
    return FoldPlan(
        np.array(numbers, np.int64),
        columns,
        parts,
        classes,
        taps,
        tasks=samples * groups * len(parts) * shares,
        scratch=starts[-1] + (len(reads[2].firsts) + 1) * line_pitch,
        macs=samples * geometry.small_channels * out_channels * kernel * pixels,
    )


def _kernel(geometry: Geometry) -> int:
    return prod(axis.kernel for axis in geometry.axes)


def _positions(parts: Table, gap: int) -> Table:
    """Return the positions of each part, with the gaps between its rows."""
    depth, height, width = (parts[:, i + 3] - parts[:, i + 2] for i in (0, 4, 8))
    found: Table = depth * height * (width + gap)
    return found


def _outputs(parts: Table, reads: list[AxisReads], gap: int) -> Table:
    """Return the most numbers of a class in one slice of each part, in rows as far apart as those of its inputs."""
    rows, width = (
        np.minimum(read.positions, -(-(parts[:, i + 1] - parts[:, i]) // read.step))
        for i, read in ((4, reads[1]), (8, reads[2]))
    )
    found: Table = rows * np.maximum(width, parts[:, 11] - parts[:, 10] + gap)
    return found


def _border(parts: Table, read: AxisReads) -> tuple[int, int]:
    """Return how many zeros rows need in front and behind for taps that reach beyond them."""
    left = right = 0
    # All classes have as many positions in parts that end before the map does: a multiple of the step.
    inner = parts[parts[:, 9] < read.outputs]
    inner = inner[inner[:, 9] > inner[:, 8]]
    if len(inner) and read.shifts.size:
        left = max(0, int((inner[:, 10] - inner[:, 8] // read.step).max()) - read.lowest)
        right = max(0, int((inner[:, 9] // read.step - inner[:, 11]).max()) + read.highest)
    last = parts[-1]
    low, high = last[8] // read.step, np.minimum(read.lengths, -(-(last[9] - read.firsts) // read.step))
    some = (high > low) & (read.counts > 0)
    if some.any():
        # The taps of a class go from the highest shift to the lowest.
        ends, counts = read.ends[some], read.counts[some]
        left = max(left, int(last[10] - low - read.shifts[ends - 1].min()))
        right = max(right, int((high[some] + read.shifts[ends - counts]).max() - last[11]))
    return left, right


def _parts(geometry: Geometry, rows: int, itemsize: int, wanted: int, few: bool) -> Table:
    """Return first and last output, first and last input by axes of each part: the first axis longer than 1 divided."""
    axes = geometry.axes
    split = next((i for i, axis in enumerate(axes) if axis.small > 1), 2)
    axis = axes[split]
    count = ceil(fold_parts(geometry, itemsize))
    if rows < 2 * _LEAST_ROWS * wanted:
        count = ceil(count / wanted) * wanted
    # Vectors of rows take the whole of a small map.
    count = 1 if few or axis.small == 1 else min(count, ceil(axis.large / axis.stride))
    parts = np.tile([(0, each.large, 0, each.small) for each in axes], (count, 1, 1))
    parts[:, split] = _divided(axis, count)
    return parts.reshape(count, -1)


def _divided(axis: Axis, count: int) -> Table:
    """Return first and last output, first and last input of each part of an axis."""
    edges = np.arange(count + 1) * ceil(axis.large / axis.stride) // count * axis.stride
    first, last = edges[:-1], np.minimum(axis.large, edges[1:])
    low = -((axis.dilation * (axis.kernel - 1) - first - axis.pad_lo) // axis.stride)
    high = (last - 1 + axis.pad_lo) // axis.stride + 1
    low, high = (np.clip(each, 0, axis.small) for each in (low, high))
    return table(first, last, low, np.maximum(low, high))


def _tables(axes: tuple[Axis, ...], reads: list[AxisReads]) -> tuple[Table, Table, Table]:
    """Return classes (first, positions, first tap, last tap), taps (element, shift), and columns of the axes."""
    classes, columns = [], []
    taps = first = 0
    for axis, read in zip(axes, reads, strict=True):
        ends = taps + read.ends
        classes.append(table(read.firsts, read.lengths, ends - read.counts, ends))
        columns.append((axis.small, axis.large, axis.kernel, first, first + len(ends), read.step))
        taps, first = int(ends[-1]), first + len(ends)
    elements, shifts = (np.concatenate([getattr(read, name) for read in reads]) for name in ("elements", "shifts"))
    if not len(elements):
        elements = shifts = np.zeros(1, np.int64)
    return np.concatenate(classes), table(elements, shifts), np.array(columns, np.int64)
