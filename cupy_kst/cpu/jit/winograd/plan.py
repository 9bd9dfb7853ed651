"""The tables of minimal filtering: boxes of tiles, the inputs that they share, their points, and where outputs lie."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...taps import combinations, divided, table
from ..box import AXIS, BOX_COLUMNS, GATHER, PHASE
from ..isa import RegisterTile
from ..memory import partition
from ..task import Task, table_of, table_type
from .blocking import RUN_LENGTH, Space
from .products import POINT, products_of
from .transform import AxisTiles

Table = NDArray[Any]

# Tasks for each thread: more than one, so that a thread that is held up does not hold up the others.
_TASKS = 2

# A pass of the transform: `kinds` planes of `tiles` tiles, of `outer` times `size` lines of `inner` numbers.
PASS = table_type("outer", "size", "inner", "first_kind", "kinds", "tiles")
# A kind of transformed inputs. Tile t has the input at ``start + t*step``; unless `apart` is 0, the input that is so
# far behind it is subtracted.
KIND = table_type("start", "step", "apart")
# A box of tiles: where they find their inputs, slices of outputs and the tiles of one, rows of the table of outputs,
# how many outputs are side by side in the map, where the first one is, and the first slice.
BOX = table_type(
    *(*BOX_COLUMNS, "first_place", "places", "slices", "slice_places", "first_output", "outputs", "contiguous"),
    *("corner", "first_slice"),
)
# A class of slices: its first output along the depth, how far apart its outputs are, and how many it has.
SLICE = table_type("first", "step", "positions")

TASK = Task(
    "winograd",
    arrays={
        **dict.fromkeys(("source", "weight", "bias", "out")),
        "axes": AXIS,
        "phases": PHASE,
        "passes": PASS,
        "kinds": KIND,
        "boxes": BOX,
        "places": np.int32,
        "slices": SLICE,
        "points": POINT,
        "outputs": np.int32,
        "offsets": np.int32,
    },
    fields=(
        *("lanes", "block", "tasks", "groups", "channels", "out_channels", "blocks", "parts", "map_size", "pitch"),
        *("sample_size", "plane", "points_of_slice", "products", "line_pitch", "passes_count", "slices_count"),
        *("numbers_at", "stage_at", "other_stage_at", "planes_at", "sums_at", "transposed_at", "run"),
        *("terms", "term_stride", "pair_stride", "out_size", "out_height", "out_width"),
    ),
    parts={"gather": GATHER},
)


@dataclass(frozen=True)
class WinogradPlan:
    """Tables and numbers of `TASK`, and what a call and its packed weight need to know beside.

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
    inputs : ndarray
        For each product where its inputs are in the planes.
    elements, ends : ndarray
        Signed filter elements, product by product, and where the elements of each product end.
    tasks, scratch, weights, macs : int
        Tasks, numbers of a thread's memory, of the packed weight, and products.
    """

    tile: RegisterTile
    order: tuple[object, ...]
    gather: Table
    tables: dict[str, Table]
    numbers: dict[str, int]
    inputs: Table
    elements: Table
    ends: Table
    tasks: int
    scratch: int
    weights: int
    macs: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What a packed weight depends on."""
        return self.tile, self.order

    def memory(self, itemsize: int) -> tuple[list[int], int]:
        """Return where the spans and the numbers are in the memory of a thread, and its bytes."""
        return partition(2 * 8, self.scratch * itemsize)


def winograd_plan(geometry: Geometry, space: Space, threads: int) -> WinogradPlan:
    """Return the tables of a call, the same for all calls of this geometry."""
    axes, of, tile = space.axes, geometry.axes, space.tile
    groups, samples, channels = geometry.groups, geometry.samples, space.channels
    out_channels = geometry.out_channels // groups
    blocks = ceil(out_channels / tile.block)
    products = products_of(axes, space, tuple(axis.kernel for axis in of))
    read = [axis.small if geometry.transposed else axis.large for axis in of]
    made = [axis.large if geometry.transposed else axis.small for axis in of]
    outputs = _Outputs(space, made)
    boxes = outputs.boxes(samples)
    parts = min(blocks, ceil(_TASKS * threads / max(1, len(boxes) * groups)))
    tasks = len(boxes) * groups * parts
    _, stage, other, planes, sums, transposed, scratch = accumulate(space.sizes, initial=0)
    terms, term_stride, pair_stride = space.strides
    passes, kinds = _passes(space)
    offsets = (products.inputs[:, None] + np.arange(channels)).ravel()
    tables = {
        "axes": _fill_axes(space, read),
        "phases": np.zeros(1, PHASE),
        "passes": passes,
        "kinds": kinds,
        "boxes": boxes,
        "places": outputs.places,
        "slices": table_of(SLICE, axes[0].firsts, np.full_like(axes[0].firsts, axes[0].output_step), axes[0].lengths),
        "points": products.points,
        "outputs": np.concatenate([*outputs.table, np.zeros(tile.lanes, np.int32)]).astype(np.int32),
        "offsets": offsets.astype(np.int32),
    }
    numbers = {
        "lanes": tile.lanes,
        "block": tile.block,
        "tasks": tasks,
        "groups": groups,
        "channels": channels,
        "out_channels": out_channels,
        "blocks": blocks,
        "parts": parts,
        "map_size": prod(read),
        "pitch": space.pitch,
        "sample_size": space.sample,
        "plane": space.point,
        "points_of_slice": space.sums,
        "products": len(products.inputs),
        "line_pitch": space.line,
        "passes_count": len(passes),
        "slices_count": len(tables["slices"]),
        "stage_at": stage,
        "other_stage_at": other,
        "planes_at": planes,
        "sums_at": sums,
        "transposed_at": transposed,
        "run": RUN_LENGTH,
        "terms": terms,
        "term_stride": term_stride,
        "pair_stride": pair_stride,
        "out_size": prod(made),
        "out_height": made[1],
        "out_width": made[2],
    }
    gather = table_of(GATHER, *([each] for each in (samples, groups, channels, 1, tile.lanes, 0, space.line, 0)))
    return WinogradPlan(
        tile,
        tuple(axis.order for axis in axes),
        gather,
        tables,
        numbers,
        products.inputs,
        products.elements,
        products.ends,
        tasks=tasks,
        scratch=scratch + tile.lanes,
        weights=groups * blocks * len(products.inputs) * channels * tile.block,
        macs=samples * groups * channels * out_channels * prod(axis.tiles for axis in axes) * len(products.inputs),
    )


def _fill_axes(space: Space, read: list[int]) -> Table:
    """Return the axes that `gather` knows: every input is of one phase."""
    rows = [
        (size, 0, 1, axis.step * axis.lowest, extent, 0, extent - axis.step * count)
        for size, axis, extent, count in zip(read, space.axes, space.extents, space.box[1:], strict=True)
    ]
    return table_of(AXIS, *zip(*rows, strict=True))


def _passes(space: Space) -> tuple[Table, Table]:
    """Return the passes, and the kinds of inputs that they make."""
    passes: list[tuple[int, ...]] = []
    kinds: list[Table] = []
    first = 0
    for one in space.passes:
        axis = one.axis
        passes.append((one.outer, one.size, one.inner, first, len(axis.starts), one.tiles))
        kinds.append(table_of(KIND, axis.starts, np.full_like(axis.starts, axis.step), axis.aparts))
        first += len(axis.starts)
    return np.array(passes, PASS), np.concatenate(kinds or [np.zeros(0, KIND)])


class _Outputs:
    """Where the tiles of a box find their inputs, and its outputs their sums."""

    def __init__(self, space: Space, made: list[int]) -> None:
        self._space, self._made = space, made
        self._places: list[Table] = []
        self.table: list[Table] = []
        self._tiles = self._rows = 0

    @property
    def places(self) -> Table:
        """Where the tiles of boxes find their inputs."""
        return np.concatenate(self._places or [np.zeros(0, np.int64)]).astype(np.int32)

    def boxes(self, samples: int) -> Table:
        """Return a row for each box.

        Firsts and sizes as `gather` knows them, first place, places, slices, places of a slice, first row of the
        table of outputs, outputs of a slice, those that are side by side, where the first one is, the first slice.
        """
        space, axes = self._space, self._space.axes
        steps = np.array([axis.step for axis in axes])
        lengths = (samples, *(axis.tiles for axis in axes))
        firsts, sizes, ends = divided(lengths, space.box)
        # A class may have an output less than others in the last tile.
        kind = np.column_stack([sizes == space.box, ends[:, 2:]]) @ (1 << np.arange(6)[::-1])
        layouts = np.zeros((64, 7), np.int64)
        for each in np.flatnonzero(np.bincount(kind)):
            some = np.argmax(kind == each)
            layouts[each] = self._add(*map(int, sizes[some]), *map(int, ends[some, 2:]))
        # Neighbouring positions are as far apart in all classes.
        _, down, across = (axis.outputs * axis.output_step for axis in axes)
        corners = firsts[:, 2] * down * self._made[2] + firsts[:, 3] * across
        inputs, extents = firsts[:, 1:] * steps, sizes[:, 1:] * steps
        columns = firsts[:, 0], *inputs.T, sizes[:, 0], *extents.T, *layouts[kind].T, corners, firsts[:, 1]
        return table_of(BOX, *columns)

    def _add(self, samples: int, depth: int, height: int, width: int, bottom: int, right: int) -> tuple[int, ...]:
        space, first, row = self._space, self._tiles, self._rows
        _, rows, columns = space.tiles
        n, d, h, w = combinations(*map(np.arange, (samples, depth, height, width))).T
        self._places.append(n * space.sample + ((d * rows + h) * columns + w) * space.pitch)
        self._tiles += len(n)
        down, across = _outputs(space.axes[1], height, bottom), _outputs(space.axes[2], width, right)
        classes = len(space.axes[2].firsts)
        points = [axis.counts.shape[1] for axis in space.axes[1:]]
        of_class = down[:, None, 1] * classes + across[None, :, 1]
        point = (of_class * points[0] + down[:, None, 3]) * points[1] + across[None, :, 3]
        tile = down[:, None, 2] * width + across[None, :, 2]
        self.table.append((point * space.point + tile * space.tile.block).ravel())
        self._rows += point.size
        beside = point.size if len(across) == self._made[2] else len(across)
        return first, samples * depth * height * width, depth, height * width, row, point.size, beside


def _outputs(axis: AxisTiles, count: int, end: int) -> Table:
    """Return the outputs of some tiles, or of the last ones, in their order: where, class, tile, which of a tile's."""
    first = (axis.tiles - count) * axis.outputs if end else 0
    index, tile, which = combinations(*map(np.arange, (len(axis.firsts), count, axis.outputs))).T
    position = tile * axis.outputs + which
    rows = table(axis.firsts[index] + position * axis.output_step, index, tile, which)
    rows = rows[first + position < axis.lengths[index]]
    ordered: Table = rows[np.argsort(rows[:, 0])]
    return ordered
