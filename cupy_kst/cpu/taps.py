"""What residue classes read: the common form of a transposed convolution and of a convolution, along one axis.

Classes and taps are columns of arrays, so that a filter of many taps, or a stride of many classes, is planned by few
operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Axis, AxisClass, Geometry

Table = NDArray[Any]


@dataclass(frozen=True, eq=False)
class AxisReads:
    """All outputs of one axis by classes that share their taps, and where their taps read: every `stride`-th input.

    Attributes
    ----------
    size, outputs : int
        Inputs and outputs.
    stride, step : int
        Distance of the inputs that neighbouring positions of a class read, and of these positions' outputs.
    firsts, lengths, counts : ndarray of int64
        For each class its first output, how many outputs it has, and how many taps. Outputs are ``first + q*step`` at
        positions ``q``.
    elements, shifts, residues : ndarray of int64
        For each tap, class by class, its filter element and its input, ``stride*(q + shift) + residue`` at position
        ``q``.
    order : tuple
        Axes of equal orders have the same elements in the same classes.
    """

    size: int
    outputs: int
    stride: int
    step: int
    firsts: Table
    lengths: Table
    counts: Table
    elements: Table
    shifts: Table
    residues: Table
    order: tuple[int, ...]

    @cached_property
    def positions(self) -> int:
        """The most that a class has."""
        return int(self.lengths.max())

    @cached_property
    def ends(self) -> Table:
        """For each class the end of its taps among all."""
        return np.cumsum(self.counts)

    @cached_property
    def phases(self) -> Table:
        """The residues of the inputs that taps meet."""
        if self.stride == 1 or not self.elements.size:
            return np.zeros(1, np.int64)
        return np.unique(self.residues)

    @cached_property
    def phase_of_tap(self) -> Table:
        """For each tap where its residue is among the phases."""
        return np.zeros_like(self.residues) if len(self.phases) == 1 else np.searchsorted(self.phases, self.residues)

    @cached_property
    def lowest(self) -> int:
        """The lowest shift."""
        return int(self.shifts.min(initial=self._some_shift))

    @cached_property
    def highest(self) -> int:
        """The highest shift."""
        return int(self.shifts.max(initial=self._some_shift))

    @property
    def halo(self) -> int:
        """How many inputs of a phase neighbouring positions read more than there are positions."""
        return self.highest - self.lowest

    @property
    def _some_shift(self) -> int:
        return int(self.shifts[0]) if self.shifts.size else 0


def reads(geometry: Geometry) -> tuple[AxisReads, AxisReads, AxisReads]:
    """Return what the operation of a geometry reads along its axes."""
    each = transposed_reads if geometry.transposed else conv_reads
    depth, height, width = map(each, geometry.axes)
    return depth, height, width


def table(*columns: Table) -> Table:
    """Return columns side by side, row behind row in memory."""
    found = np.empty((len(columns[0]), len(columns)), np.int64)
    for number, column in enumerate(columns):
        found[:, number] = column
    return found


def ranges(starts: Table, counts: Table) -> Table:
    """Return ranges of integers, so many from each start on, one behind the other."""
    before = np.cumsum(counts) - counts
    found: Table = np.arange(int(counts.sum())) + np.repeat(starts - before, counts)
    return found


def combinations(*columns: Table) -> Table:
    """Return all combinations of the columns' values, the last one's in turn."""
    return np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns))


def crossed(one: Table, other: Table, first: Table, second: Table) -> tuple[Table, Table, Table]:
    """Return what the products of groups have: how many members each, and for each of these the two that it is made of.

    `one` and `other` count the members of groups, which are numbered group by group. Products are of group `first` of
    the one with group `second` of the other.
    """
    starts, counts = np.cumsum(other) - other, one[first] * other[second]
    if len(one) == 1 and one[0] == 1:
        members = ranges(starts[second], counts)
        return counts, np.zeros_like(members), members
    # A run for each member of the first group has all those of the second one.
    rows = np.repeat(second, one[first])
    lengths = other[rows]
    members = np.repeat(ranges((np.cumsum(one) - one)[first], one[first]), lengths)
    return counts, members, ranges(starts[rows], lengths)


def divided(lengths: Sequence[int], box: Sequence[int]) -> tuple[Table, Table, Table]:
    """Return first place, size, and whether it is the last one along each axis, of the boxes of some lengths."""
    counts = [-(-length // size) for length, size in zip(lengths, box, strict=True)]
    numbers = np.indices(counts).reshape(len(box), -1).T
    firsts = numbers * np.array(box)
    return firsts, np.minimum(box, np.array(lengths) - firsts), numbers == np.array(counts) - 1


# Outputs of an axis that may each be a class of their own.
_MOST_SINGLE = 16


@lru_cache(maxsize=256)
def transposed_reads(axis: Axis) -> AxisReads:
    """Return what a transposed convolution reads along an axis: each class of outputs has taps of its own."""
    if axis.small == 1 < axis.kernel and axis.large <= _MOST_SINGLE:
        return _single(axis)
    classes = class_table(axis)
    elements = ranges(np.zeros_like(classes.counts), classes.counts)
    shifts = np.repeat(classes.starts, classes.counts)
    shifts -= elements if axis.input_step == 1 else elements * axis.input_step
    if axis.tap_step > 1:
        elements *= axis.tap_step
    elements += np.repeat(classes.first_taps, classes.counts)
    order = (axis.kernel, axis.stride, axis.dilation, axis.pad_lo % axis.stride, axis.class_count)
    return AxisReads(
        axis.small,
        axis.large,
        1,
        axis.stride,
        classes.firsts,
        classes.lengths,
        classes.counts,
        elements,
        shifts,
        np.zeros_like(elements),
        order,
    )


@lru_cache(maxsize=256)
def conv_reads(axis: Axis) -> AxisReads:
    """Return what a convolution reads along an axis: all outputs have all taps, which step over the input."""
    elements = np.arange(axis.kernel)
    shifts = elements * axis.dilation - axis.pad_lo
    residues = np.zeros_like(shifts)
    if axis.stride > 1:
        shifts, residues = np.divmod(shifts, axis.stride)
    first, length, count = np.array([[0], [axis.small], [axis.kernel]])
    return AxisReads(
        axis.large,
        axis.small,
        axis.stride,
        1,
        first,
        length,
        count,
        elements,
        shifts,
        residues,
        (axis.kernel,),
    )


def _single(axis: Axis) -> AxisReads:
    """Return outputs each by itself: of one input it has one tap at most, whatever its class has."""
    outputs = np.arange(axis.large)
    elements, rest = np.divmod(outputs + axis.pad_lo, axis.dilation)
    met = (rest == 0) & (elements < axis.kernel)
    elements = elements[met]
    none = np.zeros_like(elements)
    order = (-1, axis.kernel, axis.dilation, axis.pad_lo, axis.large)
    return AxisReads(
        1, axis.large, 1, axis.stride, outputs, np.ones_like(outputs), met.astype(np.int64), elements, none, none, order
    )


@dataclass(frozen=True, eq=False)
class ClassTable:
    """The classes of an axis by columns, which `AxisClass` explains."""

    firsts: Table
    lengths: Table
    first_taps: Table
    counts: Table
    starts: Table


@lru_cache(maxsize=256)
def class_table(axis: Axis) -> ClassTable:
    """Return the classes that have outputs, by their first one."""
    stride, common, tap_step = axis.stride, axis.common, axis.tap_step
    firsts = np.arange(axis.class_count)
    # Divisions take as long as all else.
    residues = firsts + axis.pad_lo % stride
    residues[residues >= stride] -= stride
    whole, rest = divmod(axis.large, stride)
    lengths = whole + (firsts < rest)
    first_taps = residues // common if common > 1 else residues.copy()
    if axis.inverse > 1:
        first_taps *= axis.inverse
        first_taps %= tap_step
    elif tap_step == 1:
        first_taps[:] = 0
    whole, rest = divmod(axis.kernel, tap_step)
    counts = whole + (first_taps < rest)
    if common > 1:
        counts[residues % common > 0] = 0
    starts = np.zeros_like(firsts)
    some = counts > 0
    starts[some] = (firsts[some] + axis.pad_lo - first_taps[some] * axis.dilation) // stride
    return ClassTable(firsts, lengths, first_taps, counts, starts)


def classes_with_taps(axis: Axis) -> list[AxisClass]:
    """Return those of the axis' classes that have taps."""
    classes = class_table(axis)
    residues = (classes.firsts + axis.pad_lo) % axis.stride
    columns = (residues, classes.firsts, classes.lengths, classes.first_taps, classes.counts, classes.starts)
    return list(map(AxisClass, *(column[classes.counts > 0].tolist() for column in columns)))


def valid_pairs(axis: Axis) -> tuple[Table, Table]:
    """Return for each tap of the filter the first input whose product with it lands on an output, and their end."""
    shifts = np.arange(axis.kernel) * axis.dilation - axis.pad_lo
    starts = np.maximum(0, -(shifts // axis.stride))
    return starts, np.maximum(starts, np.minimum(axis.small, (axis.large - 1 - shifts) // axis.stride + 1))
