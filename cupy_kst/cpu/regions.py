"""Parts of one axis: neighbouring outputs, and the taps that all of them use or that meet the input for all."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..geometry import Axis, AxisClass
from .taps import valid_pairs


class Part(NamedTuple):
    """Outputs, taps that all of them use, and the first tap's input at the first output."""

    outputs: range
    taps: range
    start: int


@lru_cache(maxsize=256)
def trimmed_conv(axis: Axis) -> list[Part]:
    """Divide the outputs of a convolution where taps leave the input."""
    starts, stops = valid_pairs(axis)
    met = starts < stops
    edges = np.unique(np.concatenate([[0, axis.small], starts[met], stops[met]]))
    parts = []
    for first, end in pairwise(edges.tolist()):
        # Where the first tap of the filter reads for the first of these outputs.
        origin = first * axis.stride - axis.pad_lo
        taps = range(axis.kernel)[max(0, -(origin // axis.dilation)) : (axis.large - 1 - origin) // axis.dilation + 1]
        if taps and axis.large > origin:
            parts.append(Part(range(first, end), taps, origin + taps[0] * axis.dilation))
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
        reach = one.start + first
        taps = range(one.taps)[max(0, -((axis.small - 1 - reach) // axis.input_step)) : reach // axis.input_step + 1]
        if taps and reach >= 0:
            parts.append(_part(axis, one, range(first, end), taps))
    return parts


def _part(axis: Axis, one: AxisClass, positions: range, taps: range) -> Part:
    return Part(
        range(one.first, one.first + one.positions * axis.stride, axis.stride)[positions.start : positions.stop],
        range(one.first_tap, axis.kernel, axis.tap_step)[taps.start : taps.stop],
        one.start + positions[0] - taps[0] * axis.input_step,
    )
