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
from itertools import groupby
from typing import NamedTuple

from ..geometry import Geometry
from .taps import AxisOutputs, AxisReads, Tap, reads

# Outputs of a tile, and the sums of products that they are made of: output b of sums b and b+1.
OUTPUTS, POINTS = 2, 3


class Kind(NamedTuple):
    """Inputs ``start + step*t`` of tiles ``t``, less those that are `apart` behind them unless that is 0."""

    start: int
    step: int
    apart: int


class Term(NamedTuple):
    """What tile ``t`` multiplies: its inputs of a kind at tile ``t + shift``, by a sum of signed filter elements."""

    kind: int
    shift: int
    elements: tuple[tuple[int, int], ...]


class AxisPoints(NamedTuple):
    """Outputs ``first, first + step, ...``, at as many positions, and the terms of each of their points."""

    first: int
    step: int
    positions: int
    points: tuple[tuple[Term, ...], ...]


@dataclass(frozen=True)
class AxisTiles:
    """An axis in tiles of `outputs` positions, each one point by itself, or two outputs that share three points."""

    outputs: int
    kinds: tuple[Kind, ...]
    classes: tuple[AxisPoints, ...]

    @cached_property
    def tiles(self) -> int:
        """The most that a class has."""
        return -(-max(one.positions for one in self.classes) // self.outputs)

    @cached_property
    def lowest(self) -> int:
        """The lowest shift."""
        return min((term.shift for term in self._terms), default=0)

    @cached_property
    def halo(self) -> int:
        """How many more tiles of inputs are read than there are."""
        return max((term.shift for term in self._terms), default=0) - self.lowest

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.kinds[0].step

    @cached_property
    def reach(self) -> int:
        """Inputs from the first of a tile to the last that it reads."""
        return max(kind.start + kind.apart for kind in self.kinds)

    @property
    def _terms(self) -> list[Term]:
        return [term for one in self.classes for point in one.points for term in point]


def filters(geometry: Geometry) -> bool:
    """Return whether minimal filtering of rows or columns takes fewer products."""
    return any(map(_saves, reads(geometry)[1:]))


@lru_cache(maxsize=256)
def axes_in_tiles(geometry: Geometry) -> tuple[AxisTiles, AxisTiles, AxisTiles]:
    """Return the axes of an operation: rows and columns in tiles of two outputs where that saves products."""
    depth, height, width = reads(geometry)
    return _tiles(depth, False), _tiles(height, _saves(height)), _tiles(width, _saves(width))


def _saves(axis: AxisReads) -> bool:
    """Return whether tiles of two outputs take fewer products along an axis."""
    return axis.positions > 1 and any(len(run) > 1 for one in axis.classes for run in _runs(one))


def _tiles(axis: AxisReads, minimal: bool) -> AxisTiles:
    """Return an axis in tiles: of two outputs, or of one whose point has a term for each tap."""
    outputs = OUTPUTS if minimal else 1
    kinds: dict[Kind, int] = {}

    def term(phase: int, shift: int, subtracts: bool, *elements: tuple[int, int]) -> Term:
        tile, rest = divmod(shift, outputs)
        kind = Kind(axis.stride * rest + phase, axis.stride * outputs, axis.stride * subtracts)
        return Term(kinds.setdefault(kind, len(kinds)), tile, elements)

    def of_pair(low: Tap, high: Tap) -> tuple[Term, ...]:
        return (
            term(low.phase, low.shift, True, (low.element, 1)),
            term(low.phase, high.shift, False, (low.element, 1), (high.element, 1)),
            term(low.phase, high.shift, True, (high.element, -1)),
        )

    def points(one: AxisOutputs) -> tuple[tuple[Term, ...], ...]:
        if not minimal:
            return (tuple(term(tap.phase, tap.shift, False, (tap.element, 1)) for tap in one.taps),)
        found: list[list[Term]] = [[] for _ in range(POINTS)]
        for run in _runs(one):
            for low, high in zip(run[::2], run[1::2], strict=False):
                for point, each in zip(found, of_pair(low, high), strict=True):
                    point.append(each)
            if len(run) % 2:
                alone = run[-1]
                for output, point in enumerate((found[0], found[-1])):
                    point.append(term(alone.phase, alone.shift + output, False, (alone.element, 1)))
        return tuple(map(tuple, found))

    classes = tuple(AxisPoints(one.first, one.step, one.positions, points(one)) for one in axis.classes)
    return AxisTiles(outputs, tuple(kinds) or (Kind(0, axis.stride * outputs, 0),), classes)


def _runs(one: AxisOutputs) -> list[list[Tap]]:
    """Return taps that meet neighbouring inputs of a phase, from the lowest input on."""
    taps = sorted(one.taps, key=lambda tap: (tap.phase, tap.shift))
    places = groupby(enumerate(taps), lambda item: (item[1].phase, item[1].shift - item[0]))
    return [[tap for _, tap in run] for _, run in places]
