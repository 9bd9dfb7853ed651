"""How minimal filtering divides maps into boxes of tiles, and what a thread's memory has room for.

A box of more tiles reads the weight less often, and fewer tiles of inputs twice. Its size is bounded by its sums of one
block of output channels, which stay in the second cache, by its transformed inputs, and by the memory of a thread. All
widths that fit are compared, each with the largest height that fits beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import ceil, isqrt, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from .. import isa
from ..isa import RegisterTile, odd_lines
from .transform import POINTS, AxisTiles, axes_in_tiles

Table = NDArray[Any]

# What is done once a box takes as long as so many tiles.
_BEGIN = 16
# The most numbers of a thread's memory, and the least that it may have, however small the maps are.
_MOST_ROOM, LEAST_ROOM = 4 << 20, 1 << 18
# Outputs of a channel that are transposed before they are written.
RUN_LENGTH = 64


def room(geometry: Geometry, least: int = LEAST_ROOM) -> int:
    """Return how many numbers a thread's memory may have."""
    larger = max(prod(geometry.full_small_shape), prod(geometry.full_large_shape))
    return min(_MOST_ROOM, max(least, larger))


# An int, or an array of ints where several boxes are looked at together.
Size = Any


class Box(NamedTuple):
    """Samples, and tiles along each axis."""

    samples: Size
    depth: Size
    height: Size
    width: Size

    @property
    def tiles(self) -> Size:
        return prod(self)


class Pass(NamedTuple):
    """Planes of `tiles` tiles, one of each kind of an axis, of `outer` times `size` lines of `inner` numbers."""

    outer: Size
    size: Size
    inner: Size
    axis: AxisTiles
    tiles: Size


@dataclass(frozen=True)
class Space:
    """The sizes of a box: of its inputs, of what each step makes of them, and of its sums.

    Sizes may be arrays, by which several boxes are compared at once.

    Attributes
    ----------
    axes : tuple of AxisTiles
        The axes that it divides.
    box : Box
        Its tiles.
    channels : int
        Channels of a group.
    sums : int
        Points that a slice of outputs is made of.
    tile : RegisterTile
        What micro-kernels make at once.
    itemsize : int
        Bytes of a number.
    """

    axes: tuple[AxisTiles, AxisTiles, AxisTiles]
    box: Box
    channels: int
    sums: int
    tile: RegisterTile
    itemsize: int

    @property
    def pitch(self) -> Size:
        """Numbers from the channels of a position to the channels of the next one."""
        return odd_lines(self.channels, self.itemsize)

    @property
    def tiles(self) -> list[Size]:
        """Tiles of inputs along each axis: those of the box, and a halo of tiles that its last positions read."""
        return [size + axis.halo for size, axis in zip(self.box[1:], self.axes, strict=True)]

    @property
    def extents(self) -> list[Size]:
        """Inputs along each axis."""
        return [axis.step * (count - 1) + axis.reach + 1 for count, axis in zip(self.tiles, self.axes, strict=True)]

    @property
    def plane(self) -> Size:
        """Numbers of a plane: all tiles of one kind of transformed inputs."""
        return prod(self.tiles) * self.pitch

    @property
    def sample(self) -> Size:
        """Numbers of all planes of a sample."""
        return self.plane * prod(len(axis.starts) for axis in self.axes)

    @property
    def line(self) -> Size:
        """Numbers of a channel's inputs as they lie, in whole squares."""
        return odd_lines(-(-prod(self.extents) // self.tile.lanes) * self.tile.lanes, self.itemsize)

    @property
    def passes(self) -> list[Pass]:
        """The transforms along axes, the last axis first. An axis whose tiles are its inputs needs none."""
        passes = []
        outer, inner = prod(self.extents), self.pitch
        for axis, extent, count in list(zip(self.axes, self.extents, self.tiles, strict=True))[::-1]:
            # An array that a pass keeps must not be changed in place.
            outer = outer // extent
            if not axis.is_plain:
                passes.append(Pass(outer, extent, inner, axis, count))
            outer = outer * len(axis.starts)
            inner = inner * count
        return passes

    @property
    def stages(self) -> tuple[Size, Size]:
        """Numbers of two stages, which passes read and write in turn. The first stage begins with the inputs."""
        sizes = [-(-prod(self.extents) // self.tile.lanes) * self.tile.lanes * self.pitch]
        sizes += [one.outer * len(one.axis.starts) * one.tiles * one.inner for one in self.passes[:-1]]
        return reduce(np.maximum, sizes[::2]), reduce(np.maximum, sizes[1::2], 0)

    @property
    def point(self) -> Size:
        """Numbers of the sums of a point."""
        return self.box.tiles * self.tile.block

    @property
    def strides(self) -> tuple[int, Size, Size]:
        """The sums that an output is made of, and how far neighbouring points' sums are apart along two axes."""
        _, height, width = self.axes
        across = POINTS if width.outputs > 1 else 1
        apart = [each for each, axis in ((across, height), (1, width)) if axis.outputs > 1]
        return 2 ** len(apart), apart[-1] * self.point, apart[0] * self.point

    @property
    def sizes(self) -> list[Size]:
        """Numbers of the parts of a thread's memory, in their order.

        The parts are the inputs of some channels, two stages, the planes of all samples, sums, and transposed outputs.
        """
        # Rows are copied by whole vectors, which overrun a line into the next one, and the last line by a part.
        inputs = [self.tile.lanes * (self.line + 1), *self.stages, self.box.samples * self.sample]
        return [*inputs, self.sums * self.point, self.tile.block * RUN_LENGTH]

    def _with(self, **sizes: Size) -> Space:
        """Return the same with other sizes of the box."""
        return replace(self, box=self.box._replace(**sizes))

    def _grown(self, name: str, length: int, room: int) -> Space:
        """Return a box with the largest part of `length` that fits."""
        sizes = _parts(length)
        count = bisect_left(sizes, True, key=lambda size: not self._with(**{name: size})._fits(room))
        return self._with(**{name: int(sizes[count - 1])}) if count else self

    @property
    def _read(self) -> Size:
        """Tiles that are read, for each tile that is made."""
        return self.box.samples * prod(self.tiles) / self.box.tiles

    def _fits(self, room: int) -> Size:
        *_, planes, sums, _ = self.sizes
        fits = (sums * self.itemsize <= isa.WINOGRAD_SUM_BYTES) & (planes * self.itemsize <= isa.WINOGRAD_INPUT_BYTES)
        return fits & (sum(self.sizes) <= room)

    def best(self, samples: int, room: int) -> Space:
        """Return the sizes of the box that takes least effort for each tile, in the room that a thread has."""
        depth, height, width = (axis.tiles for axis in self.axes)
        heights, widths = self._highest(height, width, room)
        if not len(widths):
            return self
        spaces = self._with(height=heights, width=widths)
        effort = spaces._read + _BEGIN / spaces.box.tiles
        whole = None
        if heights[-1] == height and widths[-1] == width:
            space = self._with(height=height, width=width)._grown("depth", depth, room)
            whole = space._grown("samples", samples, room) if space.box.depth == depth else space
            effort[-1] = whole._read + _BEGIN / whole.box.tiles
        # Rounded, so that the order of additions does not choose between boxes of the same effort.
        few = np.flatnonzero(effort <= effort.min() + 0.002)
        found = min(few, key=lambda number: (round(float(effort[number]), 3), -widths[number]))
        if whole is not None and found == len(widths) - 1:
            return whole
        return self._with(height=int(heights[found]), width=int(widths[found]))

    def _highest(self, height: int, width: int, room: int) -> tuple[Table, Table]:
        """Return for each width of a box that fits the largest height that fits beside it."""
        most = isa.WINOGRAD_SUM_BYTES // (self.sums * self.tile.block * self.itemsize)
        heights, widths = (sizes[: np.searchsorted(sizes, most, "right")] for sizes in map(_parts, (height, width)))
        which, other = np.nonzero(np.multiply.outer(widths, heights) <= most)
        fits = self._with(height=heights[other], width=widths[which])._fits(room)
        # A larger box fits only if a smaller one does.
        count = np.bincount(which[fits], minlength=len(widths))
        count = count[: np.count_nonzero(count)]
        return heights[count - 1], widths[: len(count)]


@lru_cache(maxsize=1024)
def space_of(geometry: Geometry, tile: RegisterTile, itemsize: int) -> Space:
    """Return how a map is divided, so that a thread's memory has room for a box unless it is of one tile."""
    axes, channels = axes_in_tiles(geometry), geometry.in_channels // geometry.groups
    sums = prod(axis.counts.size for axis in axes[1:])
    return Space(axes, Box(1, 1, 1, 1), channels, sums, tile, itemsize).best(geometry.samples, room(geometry))


@lru_cache(maxsize=1024)
def _parts(length: int) -> Table:
    """Return the sizes of the parts that a length can be divided into evenly, the smallest first."""
    root = min(length, isqrt(length) + 1)
    # One of each pair of a size and a number of parts is not larger.
    few = {ceil(length / count) for count in range(1, root + 1)}
    many = {size for size in range(1, root + 1) if ceil(length / ceil(length / size)) == size}
    return np.array(sorted(few | many), np.int64)
