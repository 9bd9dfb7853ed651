"""Parts of one axis: neighbouring outputs, and the taps that all of them use or that meet the input for all."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ..axis import Axis, AxisClass


class Part(NamedTuple):
    """Outputs, taps that all of them use, and the first tap's input at the first output."""

    outputs: range
    taps: range
    start: int


def trimmed_conv(axis: Axis) -> list[Part]:
    """Divide the outputs of a convolution where taps leave the input."""
    meetings = [axis.meetings(tap)[0] for tap in range(axis.kernel)]
    edges = {0, axis.small}.union(*({met.start, met.stop} for met in meetings if met))
    parts = []
    for first, end in pairwise(sorted(edges)):
        taps = [tap for tap, met in enumerate(meetings) if first in met]
        if taps:
            start = first * axis.stride + taps[0] * axis.dilation - axis.pad_lo
            parts.append(Part(range(first, end), range(taps[0], taps[-1] + 1), start))
    return parts


def whole_class(axis: Axis, one: AxisClass) -> list[Part]:
    """Return all positions of a class with all of its taps, which may leave the input."""
    return [_part(axis, one, range(one.positions), range(one.taps))] if one.taps else []


def trimmed_class(axis: Axis, one: AxisClass) -> list[Part]:
    """Divide a class where taps leave the input."""
    edges = {0, one.positions}
    for tap in range(one.taps):
        first = tap * axis.input_step - one.start
        edges |= {min(max(edge, 0), one.positions) for edge in (first, first + axis.small)}
    parts = []
    for first, end in pairwise(sorted(edges)):
        met = [t for t in range(one.taps) if 0 <= one.start + first - t * axis.input_step < axis.small]
        if met:
            parts.append(_part(axis, one, range(first, end), range(met[0], met[-1] + 1)))
    return parts


def _part(axis: Axis, one: AxisClass, positions: range, taps: range) -> Part:
    return Part(
        range(one.first, one.first + one.positions * axis.stride, axis.stride)[positions.start : positions.stop],
        range(one.first_tap, axis.kernel, axis.tap_step)[taps.start : taps.stop],
        one.start + positions[0] - taps[0] * axis.input_step,
    )
