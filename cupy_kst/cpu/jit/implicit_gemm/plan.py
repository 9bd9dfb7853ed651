"""The tables that a call's kernels read: boxes of positions, and what each residue class reads and writes there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...taps import AxisReads, combinations, crossed, divided, ranges, reads, table
from ..isa import Shape, odd_lines
from ..memory import lines

Table = NDArray[Any]

# A box's inputs stay in the second cache while all output channels are made of them.
_BOX_BYTES = 480 << 10
_BOX_POSITIONS = 512
# Where few output channels are summed at once, boxes of so many sums of a class: what is done once a box takes longer
# than their products.
_BOX_SUMS = 4096
_SUMS_BYTES = 128 << 10
# What copying a vector of inputs to the buffer takes, beside multiplying it.
_COPY = 0.02
# Enough tasks that threads which are held up do not hold up the others.
_TASKS = 16


@dataclass(frozen=True)
class Plan:
    """Tables for `kernels.run`; their columns are named where it reads them.

    `order` is what a packed weight depends on beside the shape.
    """

    shape: Shape
    order: tuple[object, ...]
    numbers: Table
    axes: Table
    phases: Table
    boxes: Table
    places: Table
    rows: Table
    classes: Table
    offsets: Table
    taps: _Taps
    tasks: int
    buffer: int
    sums: int
    weights: int
    macs: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What a packed weight depends on."""
        return self.shape, self.order

    @cached_property
    def elements(self) -> Table:
        """Each tap's filter element, place and number of its class in the packed weight, and its own place there."""
        counts = self.taps.counts
        of_class = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(of_class)) - np.repeat(np.cumsum(counts) - counts, counts)
        return table(*self.taps.elements, self.classes[of_class, 4], counts[of_class], within)

    def scratch_bytes(self, itemsize: int) -> int:
        """Bytes that a thread needs: those of the buffer, and of the sums behind it."""
        return lines(self.buffer * itemsize) + lines(self.sums * itemsize)


@lru_cache(maxsize=256)
def plan(geometry: Geometry, shape: Shape, itemsize: int, least: int) -> Plan:
    """Return the tables of a call, the same for all calls of this geometry.

    Samples are put together in boxes of `least` positions, where there are as many.
    """
    axes = reads(geometry)
    groups, samples = geometry.groups, geometry.samples
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    phases = prod(len(axis.phases) for axis in axes)
    # As many boxes as give every thread some.
    several = samples * groups * prod(axis.positions for axis in axes) // _TASKS
    most = max(_BOX_POSITIONS, min(_BOX_SUMS // shape.block, several))
    box = _box(axes, samples, channels * phases, shape, itemsize, least, most)
    extents = [length + axis.halo for length, axis in zip(box[1:], axes, strict=True)]
    phase_size = prod(extents)
    channel_size = odd_lines(phase_size * phases, itemsize)
    layout = _Layout(shape, axes, extents, channels * channel_size)
    boxes, places = layout.boxes(box, samples)
    blocks = ceil(out_channels / shape.block)
    parts = min(blocks, ceil(_TASKS / max(1, len(boxes) * groups)))
    taps = _taps(axes, extents, phase_size)
    products = len(taps.offsets) * channels
    of_group = products * blocks * shape.block
    per_row = len(axes[2].firsts)
    columns = layout.most_sums
    together = _together(shape, ceil(blocks / parts), per_row * shape.block * columns * itemsize)
    numbers = [samples, groups, channels, out_channels, channels * channel_size, channel_size, phase_size]
    numbers += [blocks, parts, columns, per_row, of_group, together]
    positions = prod(int(axis.lengths @ axis.counts) for axis in axes)
    return Plan(
        shape,
        tuple(axis.order for axis in axes),
        np.array(numbers, np.int64),
        np.array(
            [
                (axis.size, axis.outputs, axis.stride, axis.lowest, extent, axis.step, axis.halo)
                for axis, extent in zip(axes, extents, strict=True)
            ],
            np.int64,
        ),
        combinations(*(axis.phases for axis in axes)),
        boxes,
        places,
        _rows(axes),
        _classes(axes, taps, channels),
        _of_channels(taps, channels, channel_size),
        taps,
        tasks=len(boxes) * groups * parts,
        buffer=box[0] * channels * channel_size + shape.vectors * shape.lanes + extents[2],
        sums=(per_row * together + 1) * shape.block * columns,
        weights=groups * of_group,
        macs=samples * groups * channels * out_channels * positions,
    )


def _together(shape: Shape, blocks: int, block_bytes: int) -> int:
    """Return how many blocks of output channels are made at once of inputs that are in the first cache."""
    return max(1, min(4, blocks, _SUMS_BYTES // max(1, block_bytes))) if shape.positions_in_lanes else 1


def _box(
    axes: tuple[AxisReads, ...], samples: int, rows: int, shape: Shape, itemsize: int, least: int, most: int
) -> tuple[int, int, int, int]:
    """Return samples and extents of the boxes of at most `most` positions that these are divided into."""
    depth, height, width = axes

    def fits(n: int, d: int, h: int, w: int) -> bool:
        inputs = n * rows * (d + depth.halo) * (h + height.halo) * (w + width.halo)
        return inputs * itemsize <= _BOX_BYTES and n * d * h * w <= most

    w = _most(width.positions, 4 * shape.lanes, lambda size: fits(1, 1, 1, size))
    heights = range(1, 1 + _largest(min(height.positions, most), 1, lambda size: fits(1, 1, size, w)))
    h = _height(height, heights, w, width.halo, shape)
    d = _most(depth.positions, 1, lambda size: fits(1, size, h, w)) if h == height.positions else 1
    whole = d == depth.positions and h == height.positions and w == width.positions
    n = _most(max(1, samples), 1, lambda size: size * d * h * w <= least and fits(size, d, h, w)) if whole else 1
    return n, d, h, w


def _most(length: int, least: int, fits: Callable[[int], bool]) -> int:
    """Return the largest part of `length`, divided as evenly as can be, that is not above `least` or that fits."""
    largest = _largest(length, least, fits)
    return ceil(length / ceil(length / largest))


def _largest(length: int, least: int, fits: Callable[[int], bool]) -> int:
    """Return the largest size up to `length` that is not above `least` or that fits, as all smaller ones then do."""
    return bisect_left(range(length), True, lo=min(length, least), key=lambda size: not fits(size + 1))


def _height(axis: AxisReads, heights: range, width: int, halo: int, shape: Shape) -> int:
    """Return the height of boxes that take least work, the largest of those that take the same."""
    lanes = shape.lanes if shape.positions_in_lanes else 1
    each = np.arange(heights.start, heights.stop)
    boxes, rest = np.divmod(axis.positions, each)
    vectors = boxes * _vectors(each, width, width + halo, lanes)
    vectors += np.where(rest > 0, _vectors(rest, width, width + halo, lanes), 0)
    rows = axis.positions + (boxes + (rest > 0)) * axis.halo
    work = vectors + _COPY * (rows * width / lanes)
    # Rounded, so that of heights that take the same work the order of additions does not choose.
    few = np.flatnonzero(work <= work.min() + 0.002)
    return int(min(each[few], key=lambda size: (round(float(work[size - heights.start]), 3), -size)))


def _vectors(rows: Any, width: int, pitch: int, lanes: int) -> Any:
    """Return the fewest vectors that cover rows: each row its own, or rows that flow into each other."""
    return np.minimum(-(-((rows - 1) * pitch + width) // lanes), rows * ceil(width / lanes))


def idle_lanes(geometry: Geometry, lanes: int) -> float:
    """Return how many numbers the vectors have that a convolution's positions take, for each of these."""
    _, height, width = reads(geometry)
    vectors = _vectors(height.positions, width.positions, width.positions + width.halo, lanes)
    return float(vectors) * lanes / (height.positions * width.positions)


class _Layout:
    """Where the positions of a box lie in the buffer, and their sums in the scratch memory."""

    def __init__(self, shape: Shape, axes: tuple[AxisReads, ...], extents: list[int], sample_size: int) -> None:
        self._shape, self._axes, self._extents, self._sample_size = shape, axes, extents, sample_size
        self._places: list[Table] = []
        self._count = 0
        self.most_sums = 0

    def boxes(self, box: tuple[int, ...], samples: int) -> tuple[Table, Table]:
        """Return firsts, sizes, first place, places and pitches of each box, and the places."""
        lengths = (samples, *(axis.positions for axis in self._axes))
        firsts, sizes, _ = divided(lengths, box)
        # Boxes are whole along an axis, or have what others leave.
        kind = (sizes == box) @ (1 << np.arange(len(box))[::-1])
        layouts = np.zeros((1 << len(box), 5), np.int64)
        for each in np.flatnonzero(np.bincount(kind)):
            layouts[each] = self._add(*map(int, sizes[np.argmax(kind == each)]))
        places = np.concatenate(self._places or [np.zeros(0, np.int64)]).astype(np.int32)
        return table(*firsts.T, *sizes.T, *layouts[kind].T), places

    def _add(self, samples: int, depth: int, height: int, width: int) -> tuple[int, ...]:
        _, rows, pitch = self._extents
        lanes = self._shape.lanes if self._shape.positions_in_lanes else 1
        # Rows flow into each other unless vectors fit them better one by one.
        flat = ceil(((height - 1) * pitch + width) / lanes) * lanes
        apart = ceil(width / lanes) * lanes
        flows = lanes > 1 and flat < height * apart
        row_sums, slice_sums = (pitch, flat) if flows else (apart, height * apart)
        slices = np.add.outer(np.arange(samples) * self._sample_size, np.arange(depth) * (rows * pitch))
        if flows:
            places = np.add.outer(slices, np.arange(0, flat, lanes))
        else:
            places = np.add.outer(np.add.outer(slices, np.arange(height) * pitch), np.arange(0, apart, lanes))
        first = self._count
        self._places.append(places.ravel())
        self._count += places.size
        sums = samples * depth * slice_sums
        # Rows of whole lines, an odd number of them, and whole vectors where numbers are turned into rows.
        columns = (ceil(sums / 16) | 1) * 16
        self.most_sums = max(self.most_sums, columns)
        return first, places.size, depth * slice_sums, slice_sums, row_sums


class _Taps(NamedTuple):
    """How many taps each class has, each tap's filter element along each axis, and its offset in the buffer."""

    counts: Table
    elements: tuple[Table, Table, Table]
    offsets: Table


def _taps(axes: tuple[AxisReads, AxisReads, AxisReads], extents: list[int], phase_size: int) -> _Taps:
    """Return the taps of all classes: the products of those of the axes."""
    depth, height, width = axes
    _, rows, pitch = extents
    slices, numbers, lines = (
        (axis.shifts - axis.lowest) * apart + axis.phase_of_tap * phase * phase_size
        for axis, apart, phase in zip(
            axes,
            (rows * pitch, pitch, 1),
            (len(height.phases) * len(width.phases), len(width.phases), 1),
            strict=True,
        )
    )
    counts, of_depth, of_height = crossed(depth.counts, height.counts, *_pairs(depth.counts, height.counts))
    counts, of_both, of_width = crossed(counts, width.counts, *_pairs(counts, width.counts))
    of_depth, of_height = of_depth[of_both], of_height[of_both]
    elements = depth.elements[of_depth], height.elements[of_height], width.elements[of_width]
    return _Taps(counts, elements, slices[of_depth] + numbers[of_height] + lines[of_width])


def _pairs(one: Table, other: Table) -> tuple[Table, Table]:
    """Return the numbers of all pairs of classes."""
    first, second = combinations(np.arange(len(one)), np.arange(len(other))).T
    return first, second


def _rows(axes: tuple[AxisReads, AxisReads, AxisReads]) -> Table:
    """Return first output and positions along depth and height, and the first class, of each row of classes."""
    depth, height, width = axes
    z, y = _pairs(depth.firsts, height.firsts)
    first = np.arange(len(z)) * len(width.firsts)
    return table(depth.firsts[z], depth.lengths[z], height.firsts[y], height.lengths[y], first)


def _classes(axes: tuple[AxisReads, AxisReads, AxisReads], taps: _Taps, channels: int) -> Table:
    """Return first output and positions along a row, first offset, offsets and place of the packed weight of each."""
    counts = taps.counts * channels
    begin = np.cumsum(counts) - counts
    rows = len(counts) // len(axes[2].firsts)
    return table(np.tile(axes[2].firsts, rows), np.tile(axes[2].lengths, rows), begin, counts, begin)


def _of_channels(taps: _Taps, channels: int, channel_size: int) -> Table:
    """Return the offsets of each class's taps in one channel after the other."""
    starts = np.arange(channels) * channel_size
    counts = taps.counts
    if len(counts) == 1:
        return np.add.outer(starts, taps.offsets).ravel().astype(np.int32)
    rows = np.repeat(counts, channels)
    places = ranges(np.repeat(np.cumsum(counts) - counts, channels), rows)
    return (taps.offsets[places] + np.repeat(np.tile(starts, len(counts)), rows)).astype(np.int32)
