"""How a convolution of small maps is divided into tasks, and which input each of its columns has at each output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....axis import Axis
from ....geometry import Geometry
from ..memory import lines

Table = NDArray[Any]

# Numbers of the columns, which stay in the second cache, and of the sums; positions that are made of them at once.
_COLUMNS, _SUMS, _POSITIONS = 1 << 16, 1 << 17, 256
# Fewer positions do not pay for reading the weight once more, nor fewer rows of it for gathering them.
_LEAST_POSITIONS, _LEAST_ROWS = 64, 32
# Products of an output, whose sums of some dozens each are added up one after the other.
_MOST_PRODUCTS = 1 << 19


@dataclass(frozen=True)
class DensePlan:
    """Tables for `dense.convolve`, which names their columns where it reads them. `scratch` is in numbers."""

    numbers: Table
    inputs: Table
    tasks: int
    scratch: int
    macs: int

    def scratch_bytes(self, itemsize: int) -> int:
        """Bytes that a thread needs."""
        return lines(self.scratch * itemsize)


def is_small(geometry: Geometry, lanes: int) -> bool:
    """Return whether the columns of one channel of a sample fit."""
    outputs, kernel = prod(axis.small for axis in geometry.axes), prod(axis.kernel for axis in geometry.axes)
    size = prod(axis.large for axis in geometry.axes)
    if geometry.large_channels // geometry.groups * kernel > _MOST_PRODUCTS:
        return False
    return 0 < outputs <= _POSITIONS and kernel * _pitch(outputs, lanes) <= _COLUMNS and size < _COLUMNS


@lru_cache(maxsize=256)
def dense_plan(geometry: Geometry, lanes: int, threads: int) -> DensePlan:
    """Return the tables of a convolution, the same for all calls of this geometry."""
    samples, groups = geometry.samples, geometry.groups
    channels, out_channels = geometry.large_channels // groups, geometry.small_channels // groups
    outputs, kernel = prod(axis.small for axis in geometry.axes), prod(axis.kernel for axis in geometry.axes)
    size = prod(axis.large for axis in geometry.axes)
    together = max(1, min(samples, _POSITIONS // outputs, _COLUMNS // (kernel * 2 * lanes)))
    while together > 1 and kernel * _pitch(together * outputs, lanes) > _COLUMNS:
        together -= 1
    # A box for each thread, where there are enough positions.
    shared = ceil(samples / ceil(threads / groups))
    if shared < together and shared * outputs >= _LEAST_POSITIONS:
        together = shared
    boxes = ceil(samples / together)
    together = max(1, ceil(samples / max(1, boxes)))
    pitch = _pitch(together * outputs, lanes)
    held = min(channels, max(1, _COLUMNS // (kernel * pitch)))
    shares = max(1, min(ceil(out_channels / _LEAST_ROWS), ceil(threads / max(1, boxes * groups))))
    rows = max(1, _SUMS // pitch)
    shares = max(shares, ceil(out_channels / rows))
    # The last block of rows has sums that are not of any.
    most = ceil(ceil(out_channels / shares) / 8) * 8
    columns = ceil((size + 1) / lanes) * lanes
    sums = columns + held * kernel * pitch
    numbers = [samples, groups, channels, out_channels, size, kernel, outputs, together, shares, held, pitch]
    return DensePlan(
        np.array([*numbers, columns, sums], np.int64),
        _inputs(geometry.axes),
        tasks=boxes * groups * shares,
        scratch=sums + most * pitch + lanes,
        macs=samples * geometry.small_channels * channels * kernel * outputs,
    )


def _pitch(positions: int, lanes: int) -> int:
    """Return a line's numbers: an odd number of vectors, so that lines do not share sets of the cache."""
    return (ceil(positions / lanes) | 1) * lanes


def _inputs(axes: tuple[Axis, Axis, Axis]) -> Table:
    """Return for each tap and output 1 and the place of its input, 0 where that is beyond the map."""
    places: Table = np.zeros((1, 1), np.int64)
    there: Table = np.ones((1, 1), bool)
    for axis in axes:
        taps = np.arange(axis.kernel)[:, None] * axis.dilation - axis.pad_lo
        at = np.arange(axis.small)[None] * axis.stride + taps
        on = (at >= 0) & (at < axis.large)
        shape = places.shape[0] * axis.kernel, places.shape[1] * axis.small
        places = (places[:, None, :, None] * axis.large + at[None, :, None, :]).reshape(shape)
        there = (there[:, None, :, None] & on[None, :, None, :]).reshape(shape)
    return np.where(there, places + 1, 0).astype(np.int32)
