"""The tables that a call's kernels read: boxes of positions, and what each residue class reads and writes there.

Positions of one axis are divided into boxes whose inputs, with the halo around them, fit the second cache. All residue
classes of a box are made of its one copy. A class is a list of taps; a tap is an offset in the copy, the same at every
position, so that classes are tables of offsets, channel by channel, in the order of the packed weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...taps import AxisReads, combinations, crossed, divided, ranges, reads, table
from .. import isa
from ..box import AXIS, BOX_COLUMNS, GATHER, PHASE
from ..isa import RegisterTile, odd_lines
from ..memory import partition
from ..task import Task, table_of, table_type
from .blocking import box_size

Table = NDArray[Any]

# There are so many tasks that a thread that is held up does not hold up the others.
_TASKS = 16

# A box: its vectors of positions, or positions, by their places in the copy, and the sums of a sample, a slice and a
# row.
BOX = table_type(*BOX_COLUMNS, "first_place", "places", "sample_sums", "slice_sums", "row_sums")
# A row of classes: first output and positions along depth and height, and the first class.
ROW = table_type("first_depth", "depth_positions", "first_height", "height_positions", "first_class")
# A class: first output and positions along a row, its first offset, its products of one output, and where its weights
# are.
CLASS = table_type("first", "positions", "first_offset", "products", "first_weight")

TASK = Task(
    "implicit_gemm",
    arrays={
        **dict.fromkeys(("source", "weight", "bias", "out")),
        "axes": AXIS,
        "phases": PHASE,
        "boxes": BOX,
        "places": np.int32,
        "rows": ROW,
        "classes": CLASS,
        "offsets": np.int32,
    },
    fields=(
        *("filling", "lanes", "block", "weight_pitch", "tasks", "groups", "out_channels", "blocks", "parts"),
        *("columns", "classes_per_row", "batch", "weights", "rows_count", "spans_at", "sums_at"),
    ),
    parts={"gather": GATHER},
)


@dataclass(frozen=True)
class Plan:
    """Tables and numbers of `TASK`, and what a call needs to know beside.

    Attributes
    ----------
    tile : RegisterTile
        What micro-kernels make at once.
    order : tuple
        What a packed weight depends on beside the tile.
    gather : ndarray
        The part of the record that `gather` takes.
    tables, numbers : dict
        Arrays and fields of the record.
    taps : _Taps
        The taps of all classes.
    tasks, buffer, spans, sums, weights, macs : int
        Tasks, numbers of the copy, integers of the spans, numbers of the sums, of the packed weight, and products.
    """

    tile: RegisterTile
    order: tuple[object, ...]
    gather: Table
    tables: dict[str, Table]
    numbers: dict[str, int]
    taps: _Taps
    tasks: int
    buffer: int
    spans: int
    sums: int
    weights: int
    macs: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What a packed weight depends on."""
        return self.tile, self.order

    @cached_property
    def elements(self) -> Table:
        """For each tap its filter element, the place and the taps of its class, and which of these it is."""
        counts = self.taps.counts
        of_class = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(of_class)) - np.repeat(np.cumsum(counts) - counts, counts)
        return table(*self.taps.elements, self.tables["classes"]["first_weight"][of_class], counts[of_class], within)

    def memory(self, itemsize: int) -> tuple[list[int], int]:
        """Return where the copy, the spans and the sums are in the memory of a thread, and its bytes."""
        return partition(self.buffer * itemsize, self.spans * 8, self.sums * itemsize)


@lru_cache(maxsize=256)
def plan(geometry: Geometry, tile: RegisterTile, itemsize: int, least: int) -> Plan:
    """Return the tables of a call, the same for all calls of this geometry.

    Samples are put together in boxes of up to `least` positions.
    """
    axes = reads(geometry)
    groups, samples = geometry.groups, geometry.samples
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    phases = prod(len(axis.phases) for axis in axes)
    # The most positions that a box may have if there are to be `_TASKS` boxes.
    several = samples * groups * prod(axis.positions for axis in axes) // _TASKS
    most = max(isa.BOX_POSITIONS, min(isa.BOX_SUMS // tile.block, several))
    box = box_size(axes, samples, channels * phases, tile, itemsize, least, most)
    extents = [length + axis.halo for length, axis in zip(box[1:], axes, strict=True)]
    phase_size = prod(extents)
    # A product reads the same place of channel after channel: a power of two apart, they would share a set of a cache.
    channel_size = odd_lines(phase_size * phases, itemsize)
    layout = _Layout(tile, axes, extents, channels * channel_size)
    boxes, places = layout.boxes(box, samples)
    blocks = ceil(out_channels / tile.block)
    # Another thread that makes a part of the channels copies the box as well: there are parts where boxes are few.
    parts = min(blocks, ceil(_TASKS / max(1, len(boxes) * groups)))
    taps = _taps(axes, extents, phase_size)
    products = len(taps.offsets) * channels
    of_group = products * blocks * tile.block
    per_row = len(axes[2].firsts)
    columns = layout.most_sums
    batch = _batch(tile, ceil(blocks / parts), per_row * tile.block * columns * itemsize)
    positions = prod(int(axis.lengths @ axis.counts) for axis in axes)
    tasks = len(boxes) * groups * parts
    tables = {
        "axes": table_of(AXIS, *zip(*map(_axis, axes, extents), strict=True)),
        "phases": table_of(PHASE, *combinations(*(axis.phases for axis in axes)).T),
        "boxes": boxes,
        "places": places,
        "rows": _rows(axes),
        "classes": _classes(axes, taps, channels),
        "offsets": _of_channels(taps, channels, channel_size),
    }
    gather = table_of(
        GATHER, *([each] for each in (samples, groups, channels, phases, tile.lanes)),
        *([each] for each in (channels * channel_size, channel_size, phase_size)),
    )  # fmt: skip
    numbers = {
        "lanes": tile.lanes,
        "block": tile.block,
        "tasks": tasks,
        "groups": groups,
        "out_channels": out_channels,
        "blocks": blocks,
        "parts": parts,
        "columns": columns,
        "classes_per_row": per_row,
        "batch": batch,
        "weights": of_group,
        "rows_count": len(tables["rows"]),
    }
    return Plan(
        tile,
        tuple(axis.order for axis in axes),
        gather,
        tables,
        numbers,
        taps,
        tasks=tasks,
        buffer=box[0] * channels * channel_size + tile.nr + extents[2],
        spans=2 * phases,
        sums=(per_row * batch + 1) * tile.block * columns,
        weights=groups * of_group,
        macs=samples * groups * channels * out_channels * positions,
    )


def _axis(axis: AxisReads, extent: int) -> tuple[int, ...]:
    """Return a row of the table of axes."""
    return axis.size, axis.outputs, axis.stride, axis.lowest, extent, axis.step, axis.halo


def _batch(tile: RegisterTile, blocks: int, block_bytes: int) -> int:
    """Return how many blocks of output channels are made at once of inputs that are in the first cache."""
    return max(1, min(4, blocks, isa.BLOCK_SUMS_BYTES // max(1, block_bytes))) if tile.positions_in_lanes else 1


class _Layout:
    """Where the positions of a box lie in the buffer, and their sums in the scratch memory."""

    def __init__(self, tile: RegisterTile, axes: tuple[AxisReads, ...], extents: list[int], sample_size: int) -> None:
        self._tile, self._axes, self._extents, self._sample_size = tile, axes, extents, sample_size
        self._places: list[Table] = []
        self._count = 0
        self.most_sums = 0

    def boxes(self, box: tuple[int, ...], samples: int) -> tuple[Table, Table]:
        """Return the table of boxes, and the places of their vectors."""
        lengths = (samples, *(axis.positions for axis in self._axes))
        firsts, sizes, _ = divided(lengths, box)
        # Boxes are whole along an axis, or have what others leave.
        kind = (sizes == box) @ (1 << np.arange(len(box))[::-1])
        layouts = np.zeros((1 << len(box), 5), np.int64)
        for each in np.flatnonzero(np.bincount(kind)):
            layouts[each] = self._add(*map(int, sizes[np.argmax(kind == each)]))
        places = np.concatenate(self._places or [np.zeros(0, np.int64)]).astype(np.int32)
        return table_of(BOX, *firsts.T, *sizes.T, *layouts[kind].T), places

    def _add(self, samples: int, depth: int, height: int, width: int) -> tuple[int, ...]:
        _, extent, pitch = self._extents
        lanes = self._tile.lanes if self._tile.positions_in_lanes else 1
        # Rows flow into each other unless vectors fit them better one by one.
        flat = ceil(((height - 1) * pitch + width) / lanes) * lanes
        apart = ceil(width / lanes) * lanes
        flows = lanes > 1 and flat < height * apart
        row_sums, slice_sums = (pitch, flat) if flows else (apart, height * apart)
        slices = np.add.outer(np.arange(samples) * self._sample_size, np.arange(depth) * (extent * pitch))
        if flows:
            places = np.add.outer(slices, np.arange(0, flat, lanes))
        else:
            places = np.add.outer(np.add.outer(slices, np.arange(height) * pitch), np.arange(0, apart, lanes))
        first = self._count
        self._places.append(places.ravel())
        self._count += places.size
        sums = samples * depth * slice_sums
        # Lines of sums have whole vectors, since they may be transposed. In float32 they are an odd number of cache
        # lines apart.
        columns = (ceil(sums / 16) | 1) * 16
        self.most_sums = max(self.most_sums, columns)
        return first, places.size, depth * slice_sums, slice_sums, row_sums


class _Taps(NamedTuple):
    """How many taps each class has, each tap's filter element along each axis, and its offset in the buffer."""

    counts: Table
    elements: tuple[Table, Table, Table]
    offsets: Table


def _taps(axes: tuple[AxisReads, AxisReads, AxisReads], extents: list[int], phase_size: int) -> _Taps:
    """Return the taps of all classes: each is one tap of each axis."""
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
    # Two axes are crossed at a time. The order of taps along an axis is that of the packed weight.
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
    return table_of(ROW, depth.firsts[z], depth.lengths[z], height.firsts[y], height.lengths[y], first)


def _classes(axes: tuple[AxisReads, AxisReads, AxisReads], taps: _Taps, channels: int) -> Table:
    """Return first output and positions along a row, first offset, offsets and place of the packed weight of each."""
    counts = taps.counts * channels
    begin = np.cumsum(counts) - counts
    times = len(counts) // len(axes[2].firsts)
    return table_of(CLASS, np.tile(axes[2].firsts, times), np.tile(axes[2].lengths, times), begin, counts, begin)


def _of_channels(taps: _Taps, channels: int, channel_size: int) -> Table:
    """Return the offsets of each class's taps in one channel after the other."""
    starts = np.arange(channels) * channel_size
    counts = taps.counts
    if len(counts) == 1:
        return np.add.outer(starts, taps.offsets).ravel().astype(np.int32)
    runs = np.repeat(counts, channels)
    places = ranges(np.repeat(np.cumsum(counts) - counts, channels), runs)
    return (taps.offsets[places] + np.repeat(np.tile(starts, len(counts)), runs)).astype(np.int32)
