"""Minimal filtering along one axis: F(2,2), two outputs of a filter of two taps by three products in place of four.

Outputs ``d0*g0 + d1*g1`` and ``d1*g0 + d2*g1`` of inputs ``d0, d1, d2`` and taps ``g0, g1`` are sums of the first
two and of the last two of ::

    (d0 - d1)*g0    d1*(g0 + g1)    (d1 - d2)*(-g1)

(S. Winograd, Arithmetic Complexity of Computations, 1980). A filter of more taps is a sum of such pairs, and of a tap
by itself where their number is odd, so that its products are added up before they are combined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Axis, Geometry
from ...taps import AxisReads, combinations, ranges, reads, table

Table = NDArray[Any]

# Outputs of a tile, and the sums of products that they are made of: output b of sums b and b+1.
OUTPUTS, POINTS = 2, 3


class Terms(NamedTuple):
    """The terms of an axis, class by class and point by point.

    Each has the kind of its inputs, and how many tiles these are ahead. Its filter elements and their signs, 0 where
    there is no second one, are of shape ``(terms, 2)``.
    """

    kinds: Table
    shifts: Table
    elements: Table
    signs: Table


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
    lowest, highest : int
        The lowest shift of a term and the highest.
    order : tuple
        Axes of equal orders have the same elements in the same terms.
    make_terms : callable
        Returns the terms, of which there are as many as taps.
    """

    outputs: int
    step: int
    output_step: int
    starts: Table
    aparts: Table
    firsts: Table
    lengths: Table
    counts: Table
    lowest: int
    highest: int
    order: tuple[object, ...]
    make_terms: Callable[[], Terms]

    @cached_property
    def terms(self) -> Terms:
        """The terms of all points."""
        return self.make_terms()

    @cached_property
    def products(self) -> int:
        """How many terms there are."""
        return int(self.counts.sum())

    @cached_property
    def tiles(self) -> int:
        """The most that a class has."""
        return -(-int(self.lengths.max()) // self.outputs)

    @property
    def halo(self) -> int:
        """How many more tiles of inputs are read than there are."""
        return self.highest - self.lowest

    @cached_property
    def reach(self) -> int:
        """Inputs from the first of a tile to the last that it reads."""
        return int((self.starts + self.aparts).max())

    @cached_property
    def is_plain(self) -> bool:
        """Whether tiles are the inputs as they lie."""
        return self.step == 1 and len(self.starts) == 1 and not self.starts[0] and not self.aparts[0]


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

    Each run has a class, a phase, the lowest shift with its filter element, and a number of taps. Filter elements of
    neighbouring taps are `element_step` apart.
    """

    classes: Table
    phases: Table
    shifts: Table
    elements: Table
    lengths: Table
    element_step: int


def _runs(read: AxisReads, axis: Axis, transposed: bool) -> _Runs:
    """Return the runs of an axis whose taps are one input apart: of each class, or of each phase of a convolution."""
    if transposed:
        # Taps of a class go from the highest shift to the lowest.
        classes = np.flatnonzero(read.counts)
        last, lengths = read.ends[classes] - 1, read.counts[classes]
        none = np.zeros_like(classes)
        return _Runs(classes, none, read.shifts[last], read.elements[last], lengths, -axis.tap_step)
    first = np.empty(len(read.phases), np.int64)
    taps = np.arange(len(first))
    first[read.phase_of_tap[: len(first)]] = taps
    lengths = -((first - axis.kernel) // axis.tap_step)
    return _Runs(np.zeros_like(taps), taps, read.shifts[first], first, lengths, axis.tap_step)


def _minimal(read: AxisReads, axis: Axis, transposed: bool) -> AxisTiles:
    """Return an axis in tiles of two outputs."""
    runs, phases = _runs(read, axis, transposed), len(read.phases)
    # A pair of taps has a term in each point, a tap by itself one in the first point and one in the last.
    counts = np.zeros((len(read.counts), POINTS), np.int64)
    for point in range(POINTS):
        counts[:, point] = np.bincount(runs.classes, (runs.lengths + (point != 1)) // 2, len(counts))
    # Terms of a run differ by whole tiles. Its first ones read each of its kinds.
    there = np.zeros((OUTPUTS, phases, 2), bool)
    pairs, alone, rests = runs.lengths > 1, runs.lengths % 2 > 0, runs.shifts % OUTPUTS
    for rest in (rests, 1 - rests):
        there[rest[pairs], runs.phases[pairs], 1] = True
        there[rest[alone], runs.phases[alone], 0] = True
    there[1 - rests[pairs], runs.phases[pairs], 0] = True
    # Kinds in the order of their input in the tile, then of whether they subtract.
    places, phase, subtracts = np.nonzero(there)
    last = runs.shifts + 2 * ((runs.lengths - 1) // 2) + 1
    return AxisTiles(
        OUTPUTS,
        read.stride * OUTPUTS,
        read.step,
        places * read.stride + read.phases[phase],
        subtracts * read.stride,
        read.firsts,
        read.lengths,
        counts,
        int(runs.shifts.min()) // OUTPUTS,
        int(last.max()) // OUTPUTS,
        (OUTPUTS, *read.order, *(() if transposed else (axis.stride, axis.dilation, axis.pad_lo % axis.stride))),
        lambda: _minimal_terms(runs, transposed, np.cumsum(there).reshape(there.shape) - 1),
    )


def _minimal_terms(runs: _Runs, transposed: bool, kinds: Table) -> Terms:
    """Return the terms of runs; `kinds` is indexed by place in the tile, phase, and whether the kind subtracts."""
    number, points = np.arange(len(runs.lengths)), np.arange(POINTS)
    # Terms go by class, point and run, where each class has one run, or the only class has all.
    run, point = combinations(number, points).T if transposed else combinations(points, number).T[::-1]
    several = (runs.lengths[run] + (point != 1)) // 2
    pair, run, point = ranges(np.zeros_like(several), several), np.repeat(run, several), np.repeat(point, several)
    paired = 2 * pair + 1 < runs.lengths[run]
    # The last point of a pair has its second tap alone.
    second = paired & (point == POINTS - 1)
    shifts = runs.shifts[run] + 2 * pair + (point > 0)
    elements = runs.elements[run] + (2 * pair + second) * runs.element_step
    subtracts = paired & (point != 1)
    return Terms(
        kinds[shifts % OUTPUTS, runs.phases[run], subtracts.astype(np.int64)],
        shifts // OUTPUTS,
        table(elements, elements + runs.element_step),
        table(np.where(second, -1, 1), point == 1),
    )


def _plain(read: AxisReads) -> AxisTiles:
    """Return an axis in tiles of one output, whose point has a term for each tap."""

    def terms() -> Terms:
        none = np.zeros_like(read.elements)
        return Terms(read.phase_of_tap, read.shifts, table(read.elements, none), table(none + 1, none))

    return AxisTiles(
        1,
        read.stride,
        read.step,
        read.phases,
        np.zeros_like(read.phases),
        read.firsts,
        read.lengths,
        read.counts[:, None],
        read.lowest,
        read.highest,
        (1, *read.order),
        terms,
    )
