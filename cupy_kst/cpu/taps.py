"""What a residue class reads: the common form of a transposed convolution and of a convolution, along one axis."""

from __future__ import annotations

from typing import NamedTuple

from ..axis import Axis
from ..geometry import Geometry


class Tap(NamedTuple):
    """Filter element `element` meets input ``stride*(q + shift) + phase`` at position ``q``."""

    element: int
    shift: int
    phase: int


class AxisOutputs(NamedTuple):
    """Outputs ``first, first + step, ...``, at as many positions, that share their taps."""

    first: int
    step: int
    positions: int
    taps: tuple[Tap, ...]


class AxisReads(NamedTuple):
    """All outputs of one axis, and where their taps read: every `stride`-th input."""

    size: int
    outputs: int
    stride: int
    classes: tuple[AxisOutputs, ...]

    @property
    def positions(self) -> int:
        """The most that a class has."""
        return max(one.positions for one in self.classes)

    @property
    def phases(self) -> tuple[int, ...]:
        """The residues of the inputs that taps meet."""
        return tuple(sorted({tap.phase for one in self.classes for tap in one.taps})) or (0,)

    @property
    def lowest(self) -> int:
        """The lowest shift."""
        return min((tap.shift for one in self.classes for tap in one.taps), default=0)

    @property
    def halo(self) -> int:
        """How many inputs of a phase neighbouring positions read more than there are positions."""
        return max((tap.shift for one in self.classes for tap in one.taps), default=0) - self.lowest


def reads(geometry: Geometry) -> tuple[AxisReads, AxisReads, AxisReads]:
    """Return what the operation of a geometry reads along its axes."""
    each = transposed_reads if geometry.transposed else conv_reads
    depth, height, width = map(each, geometry.axes)
    return depth, height, width


# Outputs of an axis that may each be a class of their own.
_MOST_SINGLE = 16


def transposed_reads(axis: Axis) -> AxisReads:
    """Return what a transposed convolution reads along an axis: each class of outputs has taps of its own."""
    if axis.small == 1 < axis.kernel and axis.large <= _MOST_SINGLE:
        return AxisReads(1, axis.large, 1, tuple(_single(axis, output) for output in range(axis.large)))
    classes = []
    for one in axis.classes:
        taps = tuple(
            Tap(one.first_tap + t * axis.tap_step, one.start - t * axis.input_step, 0) for t in range(one.taps)
        )
        classes.append(AxisOutputs(one.first, axis.stride, one.positions, taps))
    return AxisReads(axis.small, axis.large, 1, tuple(classes))


def conv_reads(axis: Axis) -> AxisReads:
    """Return what a convolution reads along an axis: all outputs have all taps, which step over the input."""
    taps = []
    for element in range(axis.kernel):
        shift, phase = divmod(element * axis.dilation - axis.pad_lo, axis.stride)
        taps.append(Tap(element, shift, phase))
    return AxisReads(axis.large, axis.small, axis.stride, (AxisOutputs(0, 1, axis.small, tuple(taps)),))


def _single(axis: Axis, output: int) -> AxisOutputs:
    """Return an output by itself: of one input it has one tap at most, whatever its class has."""
    element, rest = divmod(output + axis.pad_lo, axis.dilation)
    met = not rest and element < axis.kernel
    return AxisOutputs(output, axis.stride, 1, (Tap(element, 0, 0),) if met else ())
