"""The tables of minimal filtering: boxes of tiles, the inputs that they share, their points, and where outputs lie."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...axis import Axis
from ...geometry import Geometry
from ..filtering import AxisTiles, Kind
from ..shape import Shape
from ..tiling import RUN, Space

Table = NDArray[Any]

# More tasks than threads, so that one that is held up does not hold up the others.
_TASKS = 2


@dataclass(frozen=True)
class MinimalPlan:
    """Tables for `minimal.filter_boxes`, which names their columns where it reads them. `scratch` is in numbers.

    `elements` has filter elements and their signs, those of one product after those of another, and `ends` where the
    elements of each product end.
    """

    shape: Shape
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
        return self.shape, self.elements.tobytes(), self.ends.tobytes()


def minimal_plan(geometry: Geometry, space: Space, threads: int) -> MinimalPlan:
    """Return the tables of a call, the same for all calls of this geometry."""
    axes, of, shape = space.axes, geometry.axes, space.shape
    groups, samples, channels = geometry.groups, geometry.samples, space.channels
    out_channels = geometry.out_channels // groups
    blocks = ceil(out_channels / shape.block)
    products = _Products(axes, of)
    read = [axis.small if geometry.transposed else axis.large for axis in of]
    made = [axis.large if geometry.transposed else axis.small for axis in of]
    outputs = _Outputs(space, made)
    boxes = outputs.boxes(samples)
    parts = min(blocks, ceil(_TASKS * threads / max(1, len(boxes) * groups)))
    inputs = np.array([_place(space, *one) for one in products.inputs], np.int64)
    _, *starts, scratch = accumulate(space.sizes, initial=0)
    numbers = [groups, channels, out_channels, blocks, parts, prod(read), space.pitch, space.sample, space.point]
    numbers += [space.sums, space.line, *starts, RUN, *space.strides, *made]
    return MinimalPlan(
        shape,
        np.array(numbers, np.int64),
        np.array([samples, groups, channels, 0, 0, space.line, 0], np.int64),
        _fill_axes(space, read),
        np.zeros((1, 3), np.int64),
        *_passes(space),
        boxes,
        np.array(outputs.places, np.int32),
        np.array([(one.first, one.step, one.positions) for one in axes[0].classes], np.int64),
        np.array(products.points, np.int64),
        inputs,
        np.concatenate([*outputs.table, np.zeros(shape.lanes, np.int32)]).astype(np.int32),
        (inputs[:, None] + np.arange(channels)).ravel().astype(np.int32),
        np.array([signed for each in products.elements for signed in each], np.int64).reshape(-1, 2),
        np.cumsum([len(each) for each in products.elements], dtype=np.int64),
        tasks=len(boxes) * groups * parts,
        scratch=scratch + shape.lanes,
        weights=groups * blocks * len(products.inputs) * channels * shape.block,
        macs=samples * groups * channels * out_channels * prod(axis.tiles for axis in axes) * len(products.inputs),
    )


class _Products:
    """The points of all classes, and what each multiplies."""

    def __init__(self, axes: tuple[AxisTiles, ...], of: tuple[Axis, Axis, Axis]) -> None:
        self._kernel = tuple(axis.kernel for axis in of)
        # For each point its first product and how many there are, for each product the kinds and shifts of its inputs,
        # and signed filter elements.
        self.points: list[tuple[int, int]] = []
        self.inputs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.elements: list[list[tuple[int, int]]] = []
        for classes in product(*(axis.classes for axis in axes)):
            for points in product(*(one.points for one in classes)):
                terms = list(product(*points))
                self.points.append((len(self.inputs), len(terms)))
                for each in terms:
                    self.inputs.append((tuple(term.kind for term in each), tuple(term.shift for term in each)))
                    self.elements.append(self._signed(*(term.elements for term in each)))

    def _signed(self, *elements: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
        _, rows, columns = self._kernel
        return [
            ((d * rows + h) * columns + w, one * other * third)
            for (d, one), (h, other), (w, third) in product(*elements)
        ]


def _place(space: Space, kinds: tuple[int, ...], shifts: tuple[int, ...]) -> int:
    """Return where the inputs of a product begin."""
    plane = tile = 0
    for axis, count, kind, shift in zip(space.axes, space.tiles, kinds, shifts, strict=True):
        plane = plane * len(axis.kinds) + kind
        tile = tile * count + shift - axis.lowest
    return plane * space.plane + tile * space.pitch


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
    kinds: list[Kind] = []
    for one in space.passes:
        passes.append((one.outer, one.size, one.inner, len(kinds), len(one.kinds), one.tiles))
        kinds += one.kinds
    return np.array(passes, np.int64).reshape(-1, 6), np.array(kinds, np.int64)


class _Outputs:
    """Where the tiles of a box find their inputs, and its outputs their sums."""

    def __init__(self, space: Space, made: list[int]) -> None:
        self._space, self._made = space, made
        self.places: list[int] = []
        self.table: list[Table] = []
        self._rows = 0

    def boxes(self, samples: int) -> Table:
        """Return a row for each box.

        Firsts and sizes as `kernels.fill` knows them, first place, places, slices, places of a slice, first row of the
        table of outputs, outputs of a slice, those that are side by side, where the first one is, the first slice.
        """
        space, axes = self._space, self._space.axes
        lengths = np.array([samples, *(axis.tiles for axis in axes)])
        size, steps = np.array(space.box), np.array([axis.step for axis in axes])
        counts = -(-lengths // size)
        firsts = np.indices(counts).reshape(4, -1).T * size
        sizes = np.minimum(size, lengths - firsts)
        # A class may have an output less than others in the last tile.
        ends = (firsts + sizes == lengths)[:, 2:]
        different, which = np.unique(np.column_stack([sizes, ends]), axis=0, return_inverse=True)
        layouts = np.array([self._add(*map(int, each)) for each in different], np.int64).reshape(-1, 7)
        # Positions of a class and the next one are as far apart as those of any.
        _, down, across = (axis.outputs * axis.classes[0].step for axis in axes)
        corners = firsts[:, 2] * down * self._made[2] + firsts[:, 3] * across
        inputs, extents = firsts[:, 1:] * steps, sizes[:, 1:] * steps
        return np.column_stack(
            [firsts[:, 0], inputs, sizes[:, 0], extents, layouts[which.reshape(-1)], corners, firsts[:, 1]]
        )

    def _add(self, samples: int, depth: int, height: int, width: int, bottom: int, right: int) -> tuple[int, ...]:
        space, first, row = self._space, len(self.places), self._rows
        _, rows, columns = space.tiles
        for n, d, h, w in product(*map(range, (samples, depth, height, width))):
            self.places.append(n * space.sample + ((d * rows + h) * columns + w) * space.pitch)
        down, across = _outputs(space.axes[1], height, bottom), _outputs(space.axes[2], width, right)
        classes = len(space.axes[2].classes)
        points = [len(axis.classes[0].points) for axis in space.axes[1:]]
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
    rows = [
        (one.first + (tile * axis.outputs + which) * one.step, index, tile, which)
        for index, one in enumerate(axis.classes)
        for tile, which in product(range(count), range(axis.outputs))
        if first + tile * axis.outputs + which < one.positions
    ]
    return np.array(sorted(rows), np.int64).reshape(-1, 4)
