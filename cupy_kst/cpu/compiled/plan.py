"""The tables that a call's kernels read: boxes of positions, and what each residue class reads and writes there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..shape import Shape, odd_lines
from ..taps import AxisOutputs, AxisReads, reads
from .memory import lines

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
    """Tables for `kernels.run`; their columns are named where it reads them."""

    shape: Shape
    numbers: Table
    axes: Table
    phases: Table
    boxes: Table
    places: Table
    rows: Table
    classes: Table
    offsets: Table
    elements: Table
    tasks: int
    buffer: int
    sums: int
    weights: int
    macs: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What a packed weight depends on."""
        return self.shape, self.elements.tobytes()

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
    phases = list(product(*(axis.phases for axis in axes)))
    # Of as many boxes that all threads have some.
    several = samples * groups * prod(axis.positions for axis in axes) // _TASKS
    most = max(_BOX_POSITIONS, min(_BOX_SUMS // shape.block, several))
    box = _box(axes, samples, channels * len(phases), shape, itemsize, least, most)
    extents = [length + axis.halo for length, axis in zip(box[1:], axes, strict=True)]
    phase_size = prod(extents)
    channel_size = odd_lines(phase_size * len(phases), itemsize)
    layout = _Layout(shape, axes, extents, channels * channel_size)
    boxes, places = layout.boxes(box, samples)
    blocks = ceil(out_channels / shape.block)
    parts = min(blocks, ceil(_TASKS / max(1, len(boxes) * groups)))
    by_taps = _Reading(axes, extents, phases, phase_size, channel_size, channels)
    rows, classes, offsets, elements, products = by_taps.tables()
    of_group = products * blocks * shape.block
    per_row = max(len(axes[2].classes), 1)
    columns = layout.most_sums
    together = _together(shape, ceil(blocks / parts), per_row * shape.block * columns * itemsize)
    numbers = [samples, groups, channels, out_channels, channels * channel_size, channel_size, phase_size]
    numbers += [blocks, parts, columns, per_row, of_group, together]
    positions = prod(sum(one.positions * len(one.taps) for one in axis.classes) for axis in axes)
    return Plan(
        shape,
        np.array(numbers, np.int64),
        np.array(
            [
                (axis.size, axis.outputs, axis.stride, axis.lowest, extent, axis.classes[0].step, axis.halo)
                for axis, extent in zip(axes, extents, strict=True)
            ],
            np.int64,
        ),
        np.array(phases, np.int64),
        boxes,
        np.array(places, np.int32),
        rows,
        classes,
        offsets,
        elements,
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

    w = _most(width.positions, lambda size: size <= 4 * shape.lanes or fits(1, 1, 1, size))
    heights = [size for size in range(1, height.positions + 1) if fits(1, 1, size, w)] or [1]
    h = min(heights, key=lambda size: (_work(height, size, w, width.halo, shape), -size))
    d = _most(depth.positions, lambda size: fits(1, size, h, w)) if h == height.positions else 1
    whole = d == depth.positions and h == height.positions and w == width.positions
    n = _most(max(1, samples), lambda size: size * d * h * w <= least and fits(size, d, h, w)) if whole else 1
    return n, d, h, w


def _most(length: int, fits: Any) -> int:
    """Return the largest part of `length`, divided as evenly as can be, that fits; 1 if none does."""
    for parts in range(1, length + 1):
        size = ceil(length / parts)
        if fits(size):
            return size
    return 1


def _work(axis: AxisReads, size: int, width: int, halo: int, shape: Shape) -> float:
    """Return what it takes to make the positions of an axis in boxes of `size` rows, in vectors or numbers."""
    lanes = shape.lanes if shape.positions_in_lanes else 1
    boxes, rest = divmod(axis.positions, size)
    rows = [size] * boxes + [rest] * bool(rest)
    copied = sum((each + axis.halo) * width / lanes for each in rows)
    # Rounded, so that of heights that take the same work the order of additions does not choose.
    return round(sum(_vectors(each, width, width + halo, lanes) for each in rows) + _COPY * copied, 3)


def _vectors(rows: int, width: int, pitch: int, lanes: int) -> int:
    """Return the fewest vectors that cover rows: each row its own, or rows that flow into each other."""
    return min(ceil(((rows - 1) * pitch + width) / lanes), rows * ceil(width / lanes))


def idle_lanes(geometry: Geometry, lanes: int) -> float:
    """Return how many numbers the vectors have that a convolution's positions take, for each of these."""
    _, height, width = reads(geometry)
    vectors = _vectors(height.positions, width.positions, width.positions + width.halo, lanes)
    return vectors * lanes / (height.positions * width.positions)


class _Layout:
    """Where the positions of a box lie in the buffer, and their sums in the scratch memory."""

    def __init__(self, shape: Shape, axes: tuple[AxisReads, ...], extents: list[int], sample_size: int) -> None:
        self._shape, self._axes, self._extents, self._sample_size = shape, axes, extents, sample_size
        self._places: list[int] = []
        self.most_sums = 0

    def boxes(self, box: tuple[int, ...], samples: int) -> tuple[Table, list[int]]:
        """Return firsts, sizes, first place, places and pitches of each box, and the places."""
        lengths = (samples, *(axis.positions for axis in self._axes))
        counts = [ceil(length / size) for length, size in zip(lengths, box, strict=True)]
        firsts = np.indices(counts).reshape(len(box), -1).T * np.array(box)
        sizes = np.minimum(box, np.array(lengths) - firsts)
        different, which = np.unique(sizes, axis=0, return_inverse=True)
        layouts = np.array([self._add(tuple(map(int, each))) for each in different], np.int64).reshape(-1, 5)
        return np.concatenate([firsts, sizes, layouts[which.reshape(-1)]], axis=1), self._places

    def _add(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        samples, depth, height, width = sizes
        _, rows, pitch = self._extents
        lanes = self._shape.lanes if self._shape.positions_in_lanes else 1
        # Rows flow into each other unless vectors fit them better one by one.
        flat = ceil(((height - 1) * pitch + width) / lanes) * lanes
        apart = ceil(width / lanes) * lanes
        flows = lanes > 1 and flat < height * apart
        row_sums, slice_sums = (pitch, flat) if flows else (apart, height * apart)
        first = len(self._places)
        for n, d in product(range(samples), range(depth)):
            start = n * self._sample_size + d * rows * pitch
            if flows:
                self._places += range(start, start + flat, lanes)
            else:
                self._places += [start + h * pitch + w for h in range(height) for w in range(0, apart, lanes)]
        sums = samples * depth * slice_sums
        # Rows of whole lines, an odd number of them, and whole vectors where numbers are turned into rows.
        columns = (ceil(sums / 16) | 1) * 16
        self.most_sums = max(self.most_sums, columns)
        return first, len(self._places) - first, depth * slice_sums, slice_sums, row_sums


class _Reading:
    """What each class reads of the buffer, of the weight, and of the packed weight."""

    def __init__(
        self,
        axes: tuple[AxisReads, AxisReads, AxisReads],
        extents: list[int],
        phases: list[tuple[int, ...]],
        phase_size: int,
        channel_size: int,
        channels: int,
    ) -> None:
        self._axes, self._extents, self._phases = axes, extents, phases
        self._phase_size, self._channel_size = phase_size, channel_size
        self._channels = channels

    def tables(self) -> tuple[Table, Table, Table, Table, int]:
        """Return rows of classes, classes, offsets of their products in the buffer, taps, and products in all."""
        depth, height, width = self._axes
        rows: list[tuple[int, ...]] = []
        classes: list[tuple[int, ...]] = []
        elements: list[tuple[int, ...]] = []
        offsets: list[Table] = []
        packed = products = 0
        for z, y in product(depth.classes, height.classes):
            rows.append((z.first, z.positions, y.first, y.positions, len(classes)))
            for x in width.classes:
                taps, of_taps = self._taps(z, y, x)
                classes.append((x.first, x.positions, products, len(taps) * self._channels, packed))
                elements += [(*tap, packed, len(taps), t) for t, tap in enumerate(taps)]
                channels = np.arange(self._channels) * self._channel_size
                offsets.append((channels[:, None] + np.array(of_taps, np.int64)[None]).ravel())
                products += len(taps) * self._channels
                packed += len(taps) * self._channels
        return (
            np.array(rows, np.int64),
            np.array(classes, np.int64),
            np.concatenate(offsets).astype(np.int32),
            np.array(elements, np.int64).reshape(-1, 6),
            packed,
        )

    def _taps(self, z: AxisOutputs, y: AxisOutputs, x: AxisOutputs) -> tuple[list[tuple[int, ...]], list[int]]:
        _, rows, pitch = self._extents
        low = [axis.lowest for axis in self._axes]
        elements, offsets = [], []
        for taps in product(z.taps, y.taps, x.taps):
            d, h, w = (tap.shift - at for tap, at in zip(taps, low, strict=True))
            phase = self._phases.index(tuple(tap.phase for tap in taps))
            offsets.append(phase * self._phase_size + (d * rows + h) * pitch + w)
            elements.append(tuple(tap.element for tap in taps))
        return elements, offsets
