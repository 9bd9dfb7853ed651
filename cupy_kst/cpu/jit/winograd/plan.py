"""The tables of minimal filtering: boxes of tiles, the inputs that they share, their points, and where outputs lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...taps import combinations, crossed, divided, ranges, table
from ..isa import Shape
from .blocking import RUN, Space
from .transform import AxisTiles

Table = NDArray[Any]

# More tasks than threads, so that one that is held up does not hold up the others.
_TASKS = 2


@dataclass(frozen=True)
class MinimalPlan:
    """Tables for `minimal.filter_boxes`, which names their columns where it reads them. `scratch` is in numbers.

    `elements` has filter elements and their signs, those of one product after those of another, and `ends` where the
    elements of each product end. `order` is what a packed weight depends on beside the shape.
    """

    shape: Shape
    order: tuple[object, ...]
    numbers: Table
    fill_numbers: Table
    fill_axes: Table
    phases: Table
    passes: Table
    kinds: Table
    boxes: Table
    places: Table
    slices: Table
    points: Table
    inputs: Table
    outputs: Table
    offsets: Table
    elements: Table
    ends: Table
    tasks: int
    scratch: int
    weights: int
    macs: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What a packed weight depends on."""
        return self.shape, self.order


def minimal_plan(geometry: Geometry, space: Space, threads: int) -> MinimalPlan:
    """Return the tables of a call, the same for all calls of this geometry."""
    axes, of, shape = space.axes, geometry.axes, space.shape
    groups, samples, channels = geometry.groups, geometry.samples, space.channels
    out_channels = geometry.out_channels // groups
    blocks = ceil(out_channels / shape.block)
    products = _products(axes, space, tuple(axis.kernel for axis in of))
    read = [axis.small if geometry.transposed else axis.large for axis in of]
    made = [axis.large if geometry.transposed else axis.small for axis in of]
    outputs = _Outputs(space, made)
    boxes = outputs.boxes(samples)
    parts = min(blocks, ceil(_TASKS * threads / max(1, len(boxes) * groups)))
    _, *starts, scratch = accumulate(space.sizes, initial=0)
    numbers = [groups, channels, out_channels, blocks, parts, prod(read), space.pitch, space.sample, space.point]
    numbers += [space.sums, space.line, *starts, RUN, *space.strides, *made]
    return MinimalPlan(
        shape,
        tuple(axis.order for axis in axes),
        np.array(numbers, np.int64),
        np.array([samples, groups, channels, 0, 0, space.line, 0], np.int64),
        _fill_axes(space, read),
        np.zeros((1, 3), np.int64),
        *_passes(space),
        boxes,
        outputs.places,
        table(axes[0].firsts, np.full_like(axes[0].firsts, axes[0].output_step), axes[0].lengths),
        products.points,
        products.inputs,
        np.concatenate([*outputs.table, np.zeros(shape.lanes, np.int32)]).astype(np.int32),
        (products.inputs[:, None] + np.arange(channels)).ravel().astype(np.int32),
        products.elements,
        products.ends,
        tasks=len(boxes) * groups * parts,
        scratch=scratch + shape.lanes,
        weights=groups * blocks * len(products.inputs) * channels * shape.block,
        macs=samples * groups * channels * out_channels * prod(axis.tiles for axis in axes) * len(products.inputs),
    )


class _Products(NamedTuple):
    """For each point its first product and how many it has, for each product where its inputs begin, and its elements.

    `elements` and `ends` are those of the plan.
    """

    points: Table
    inputs: Table
    elements: Table
    ends: Table


def _products(axes: tuple[AxisTiles, AxisTiles, AxisTiles], space: Space, kernel: tuple[int, ...]) -> _Products:
    """Return the points of all classes, and what each multiplies."""
    # Classes of all axes come before their points.
    each = combinations(*(np.arange(size) for part in (0, 1) for size in (axis.counts.shape[part] for axis in axes)))
    depth, height, width = (each[:, at] * axis.counts.shape[1] + each[:, 3 + at] for at, axis in enumerate(axes))
    of_depth, of_height, of_width = (axis.counts.ravel() for axis in axes)
    counts, first, second = crossed(of_depth, of_height, depth, height)
    counts, both, third = crossed(counts, of_width, np.arange(len(counts)), width)
    terms = first[both], second[both], third
    inputs = reduce(np.add, (place[term] for place, term in zip(_places(space), terms, strict=True)))
    elements, ends = _elements(axes, terms, kernel)
    return _Products(table(np.cumsum(counts) - counts, counts), inputs, elements, ends)


def _places(space: Space) -> list[Table]:
    """Return for each term of each axis how far the inputs of its products are from the first ones."""
    places = []
    planes, tiles = space.plane, space.pitch
    for axis, count in list(zip(space.axes, space.tiles, strict=True))[::-1]:
        places.append(axis.terms.kinds * planes + (axis.terms.shifts - axis.lowest) * tiles)
        planes, tiles = planes * len(axis.starts), tiles * count
    return places[::-1]


def _elements(axes: tuple[AxisTiles, ...], terms: tuple[Table, ...], kernel: tuple[int, ...]) -> tuple[Table, Table]:
    """Return signed filter elements, products of those of an axis's terms, and where those of each product end."""
    several = [(axis.terms.signs[term, 1] != 0) for axis, term in zip(axes, terms, strict=True)]
    counts = reduce(np.multiply, (1 + each for each in several))
    product, left = np.repeat(np.arange(len(counts)), counts), ranges(np.zeros_like(counts), counts)
    places, signs, apart = np.zeros_like(left), np.ones_like(left), 1
    for axis, term, two, size in list(zip(axes, terms, several, kernel, strict=True))[::-1]:
        # The last axis's elements go first.
        which = left * two[product] % 2
        left = np.where(two[product], left // 2, left)
        places += axis.terms.elements[term[product], which] * apart
        signs *= axis.terms.signs[term[product], which]
        apart *= size
    return table(places, signs), np.cumsum(counts)


def _fill_axes(space: Space, read: list[int]) -> Table:
    """Return the axes that `kernels.fill` knows: every input is of one phase."""
    rows = [
        (size, 0, 1, axis.step * axis.lowest, extent, 0, extent - axis.step * count)
        for size, axis, extent, count in zip(read, space.axes, space.extents, space.box[1:], strict=True)
    ]
    return np.array(rows, np.int64)


def _passes(space: Space) -> tuple[Table, Table]:
    """Return the passes, and the kinds of inputs that they make."""
    passes: list[tuple[int, ...]] = []
    kinds: list[Table] = []
    first = 0
    for one in space.passes:
        axis = one.axis
        passes.append((one.outer, one.size, one.inner, first, len(axis.starts), one.tiles))
        kinds.append(table(axis.starts, np.full_like(axis.starts, axis.step), axis.aparts))
        first += len(axis.starts)
    return np.array(passes, np.int64).reshape(-1, 6), np.concatenate(kinds or [np.zeros((0, 3), np.int64)])


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

        Firsts and sizes as `kernels.fill` knows them, first place, places, slices, places of a slice, first row of the
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
        # Positions of a class and the next one are as far apart as those of any.
        _, down, across = (axis.outputs * axis.output_step for axis in axes)
        corners = firsts[:, 2] * down * self._made[2] + firsts[:, 3] * across
        inputs, extents = firsts[:, 1:] * steps, sizes[:, 1:] * steps
        return table(firsts[:, 0], *inputs.T, sizes[:, 0], *extents.T, *layouts[kind].T, corners, firsts[:, 1])

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
        self.table.append((point * space.point + tile * space.shape.block).ravel())
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
