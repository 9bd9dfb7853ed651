"""Minimal filtering along one axis: F(2,2), two outputs of a filter of two taps by three products in place of four.

Of inputs ``d0, d1, d2`` and taps ``g0, g1`` the outputs ``d0*g0 + d1*g1`` and ``d1*g0 + d2*g1`` are sums of the first
two and of the last two of ::

    (d0 - d1)*g0    d1*(g0 + g1)    (d1 - d2)*(-g1)

(S. Winograd, Arithmetic Complexity of Computations, 1980). A filter of more taps is a sum of such pairs, and of a tap
by itself where their number is odd, so that its products are added up before they are combined.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axis import Axis
from ..geometry import Geometry
from .taps import AxisReads, ranges, reads, table

Table = NDArray[Any]

# Outputs of a tile, and the sums of products that they are made of: output b of sums b and b+1.
OUTPUTS, POINTS = 2, 3


@dataclass(frozen=True, eq=False)
class AxisTiles:
    """An axis in tiles of `outputs` positions, each one point by itself, or two outputs that share three points.

    A point of a class is a sum of terms. A term multiplies inputs of a kind at tile ``t + shift`` by a sum of one or
    two signed filter elements.

    Attributes
    ----------
    outputs : int
        Positions of a tile.
    step, output_step : int
        Distance of the inputs of neighbouring tiles, and of the outputs at neighbouring positions of a class.
    starts, aparts : ndarray of int64
        For each kind the input of tile 0, less the one that is `apart` behind it unless that is 0. That of tile ``t``
        is ``start + step*t``.
    firsts, lengths : ndarray of int64
        For each class its first output, and how many outputs it has.
    counts : ndarray of int64
        Terms of each class and point, shape ``(classes, points)``.
    kinds, shifts : ndarray of int64
        For each term, class by class and point by point, the kind of its inputs, and how many tiles these are ahead.
    elements, signs : ndarray of int64
        For each term its filter elements and their signs, 0 where there is no second one, shape ``(terms, 2)``.
    order : tuple
        Axes of equal orders have the same elements in the same terms.
    """

    outputs: int
    step: int
    output_step: int
    starts: Table
    aparts: Table
    firsts: Table
    lengths: Table
    counts: Table
    kinds: Table
    shifts: Table
    elements: Table
    signs: Table
    order: tuple[object, ...]

    @cached_property
    def tiles(self) -> int:
        """The most that a class has."""
        return -(-int(self.lengths.max()) // self.outputs)

    @cached_property
    def lowest(self) -> int:
        """The lowest shift."""
        return int(self.shifts.min()) if self.shifts.size else 0

    @cached_property
    def halo(self) -> int:
        """How many more tiles of inputs are read than there are."""
        return int(self.shifts.max()) - self.lowest if self.shifts.size else 0

    @cached_property
    def reach(self) -> int:
        """Inputs from the first of a tile to the last that it reads."""
        return int((self.starts + self.aparts).max())

    @property
    def is_plain(self) -> bool:
        """Whether tiles are the inputs as they lie."""
        return self.step == 1 and len(self.starts) == 1 and self.starts[0] == self.aparts[0] == 0


def filters(geometry: Geometry) -> bool:
    """Return whether minimal filtering of rows or columns takes fewer products."""
    pairs = zip(reads(geometry)[1:], geometry.axes[1:], strict=True)
    return any(_saves(read, axis, geometry.transposed) for read, axis in pairs)


@lru_cache(maxsize=256)
def axes_in_tiles(geometry: Geometry) -> tuple[AxisTiles, AxisTiles, AxisTiles]:
    """Return the axes of an operation: rows and columns in tiles of two outputs where that saves products."""
    transposed = geometry.transposed
    depth, height, width = (
        _minimal(read, axis, transposed) if at > 0 and _saves(read, axis, transposed) else _plain(read)
        for at, (read, axis) in enumerate(zip(reads(geometry), geometry.axes, strict=True))
    )
    return depth, height, width


def _saves(read: AxisReads, axis: Axis, transposed: bool) -> bool:
    """Return whether tiles of two outputs take fewer products: where two taps of a class meet neighbouring inputs."""
    if read.positions == 1 or axis.input_step > 1:
        return False
    return int(read.counts.max()) > (1 if transposed else axis.tap_step)


class _Runs(NamedTuple):
    """Taps of a class that meet neighbouring inputs of a phase, run by run.

    Each run has a phase, the lowest shift with its filter element, and a number of taps; filter elements of neighbouring
    taps are `element_step` apart.
    """

    residues: Table
    shifts: Table
    elements: Table
    lengths: Table
    element_step: int


def _runs(read: AxisReads, axis: Axis, transposed: bool) -> _Runs:
    """Return the runs of an axis whose taps are one input apart: of each class, or of each phase of a convolution."""
    if transposed:
        # Taps of a class go from the highest shift to the lowest.
        last = read.ends[read.counts > 0] - 1
        lengths = read.counts[read.counts > 0]
        return _Runs(np.zeros_like(last), read.shifts[last], read.elements[last], lengths, -axis.tap_step)
    first = np.arange(min(axis.kernel, axis.tap_step))
    first = first[np.argsort(read.residues[first])]
    lengths = -((first - axis.kernel) // axis.tap_step)
    return _Runs(read.residues[first], read.shifts[first], first, lengths, axis.tap_step)


def _minimal(read: AxisReads, axis: Axis, transposed: bool) -> AxisTiles:
    """Return an axis in tiles of two outputs."""
    runs = _runs(read, axis, transposed)
    number, points = np.arange(len(runs.lengths)), np.arange(POINTS)
    # Terms go by class, point and run, where each class has one run, or the only class has all.
    if transposed:
        run, point = np.repeat(number, POINTS), np.tile(points, len(number))
    else:
        run, point = np.tile(number, POINTS), np.repeat(points, len(number))
    # A pair of taps has a term in each point, a tap by itself one in the first point and one in the last.
    several = (runs.lengths[run] + (point != 1)) // 2
    pair, run, point = ranges(np.zeros_like(several), several), np.repeat(run, several), np.repeat(point, several)
    paired = 2 * pair + 1 < runs.lengths[run]
    tap = 2 * pair + (paired & (point == 2))
    shifts = runs.shifts[run] + 2 * pair + (point > 0)
    first = runs.elements[run] + tap * runs.element_step
    elements = table(first, first + runs.element_step)
    signs = table(np.where(paired & (point == 2), -1, 1), point == 1)
    if transposed:
        counts = np.stack([(read.counts + 1) // 2, read.counts // 2, (read.counts + 1) // 2], axis=1)
    else:
        counts = np.bincount(point, minlength=POINTS)[None]
    subtracts = paired & (point != 1)
    return _tiles(read, OUTPUTS, counts, runs.residues[run], shifts, subtracts, elements, signs)


def _plain(read: AxisReads) -> AxisTiles:
    """Return an axis in tiles of one output, whose point has a term for each tap."""
    none = np.zeros_like(read.elements)
    elements, signs = table(read.elements, none), table(none + 1, none)
    return _tiles(read, 1, read.counts[:, None], read.residues, read.shifts, none, elements, signs)


def _tiles(
    read: AxisReads,
    outputs: int,
    counts: Table,
    residues: Table,
    shifts: Table,
    subtracts: Table,
    elements: Table,
    signs: Table,
) -> AxisTiles:
    """Return the tiles whose terms read the inputs of these residues and shifts, or differences of them."""
    # Kinds in the order of their input in the tile, then of whether they subtract.
    phase = np.searchsorted(read.phases, residues) if len(read.phases) > 1 else np.zeros_like(residues)
    code = ((shifts % outputs) * len(read.phases) + phase) * 2 + subtracts
    there = np.bincount(code, minlength=1) > 0
    kinds = np.flatnonzero(there) if len(code) else np.zeros(1, np.int64)
    place, apart = kinds // 2, kinds % 2
    starts = place // len(read.phases) * read.stride + read.phases[place % len(read.phases)]
    return AxisTiles(
        outputs,
        read.stride * outputs,
        read.step,
        starts,
        apart * read.stride,
        read.firsts,
        read.lengths,
        counts,
        (np.cumsum(there) - 1)[code],
        shifts // outputs,
        elements,
        signs,
        (outputs, *read.order),
    )
