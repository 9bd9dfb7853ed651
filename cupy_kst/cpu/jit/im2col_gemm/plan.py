"""How a convolution of small maps is divided into tasks, and which input each of its columns has at each output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....geometry import Axis, Geometry
from .. import isa
from ..memory import lines
from ..task import Task

Table = NDArray[Any]

# Fewer positions do not pay for reading the weight once more, nor fewer rows of it for gathering them.
_LEAST_POSITIONS, _LEAST_ROWS = 64, 32
# The most products of an output. Sums of some dozens of them each are added up one after the other, and of more they
# would pass the bound of errors.
_MOST_PRODUCTS = 1 << 19


TASK = Task(
    "im2col_gemm",
    arrays={**dict.fromkeys(("source", "weight", "bias", "out")), "inputs": np.int32},
    fields=(
        *("lanes", "tasks", "samples", "groups", "channels", "out_channels", "size", "kernel", "outputs", "batch"),
        *("parts", "channels_at_once", "pitch", "columns_at", "sums_at"),
    ),
)


@dataclass(frozen=True)
class Im2colPlan:
    """Tables and numbers of `TASK`, and the tasks, scratch numbers and products of a call."""

    tables: dict[str, Table]
    numbers: dict[str, int]
    tasks: int
    scratch: int
    macs: int

    def scratch_bytes(self, itemsize: int) -> int:
        """Bytes that a thread needs."""
        return lines(self.scratch * itemsize)


def is_small(geometry: Geometry, lanes: int) -> bool:
    """Return whether the columns of a channel of a sample fit, and an output sums few enough products for the bound."""
    outputs, kernel = prod(axis.small for axis in geometry.axes), prod(axis.kernel for axis in geometry.axes)
    size = prod(axis.large for axis in geometry.axes)
    if geometry.large_channels // geometry.groups * kernel > _MOST_PRODUCTS:
        return False
    return (
        0 < outputs <= isa.IM2COL_POSITIONS
        and kernel * _pitch(outputs, lanes) <= isa.IM2COL_COLUMNS
        and size < isa.IM2COL_COLUMNS
    )


@lru_cache(maxsize=256)
def im2col_plan(geometry: Geometry, lanes: int, threads: int) -> Im2colPlan:
    """Return the tables of a convolution, the same for all calls of this geometry."""
    samples, groups = geometry.samples, geometry.groups
    channels, out_channels = geometry.large_channels // groups, geometry.small_channels // groups
    outputs, kernel = prod(axis.small for axis in geometry.axes), prod(axis.kernel for axis in geometry.axes)
    size = prod(axis.large for axis in geometry.axes)
    batch = max(1, min(samples, isa.IM2COL_POSITIONS // outputs, isa.IM2COL_COLUMNS // (kernel * 2 * lanes)))
    # The pitch is rounded up, so that the columns of so many samples may not fit after all.
    while batch > 1 and kernel * _pitch(batch * outputs, lanes) > isa.IM2COL_COLUMNS:
        batch -= 1
    # There is a box for each thread where positions are enough.
    shared = ceil(samples / ceil(threads / groups))
    if shared < batch and shared * outputs >= _LEAST_POSITIONS:
        batch = shared
    boxes = ceil(samples / batch)
    batch = max(1, ceil(samples / max(1, boxes)))
    pitch = _pitch(batch * outputs, lanes)
    channels_at_once = min(channels, max(1, isa.IM2COL_COLUMNS // (kernel * pitch)))
    parts = max(1, min(ceil(out_channels / _LEAST_ROWS), ceil(threads / max(1, boxes * groups))))
    # There are more parts than threads where the sums of all output channels would leave the second cache.
    parts = max(parts, ceil(out_channels / max(1, isa.IM2COL_SUMS // pitch)))
    # The last block of MR rows may have sums of no row.
    mr = isa.blocking().tiles[isa.WIDE][0]
    most = ceil(ceil(out_channels / parts) / mr) * mr
    # The columns come behind a zero, which taps beyond the border read, and room for a map.
    columns = ceil((size + 1) / lanes) * lanes
    sums = columns + channels_at_once * kernel * pitch
    numbers = {
        "lanes": lanes,
        "tasks": boxes * groups * parts,
        "samples": samples,
        "groups": groups,
        "channels": channels,
        "out_channels": out_channels,
        "size": size,
        "kernel": kernel,
        "outputs": outputs,
        "batch": batch,
        "parts": parts,
        "channels_at_once": channels_at_once,
        "pitch": pitch,
        "columns_at": columns,
        "sums_at": sums,
    }
    return Im2colPlan(
        {"inputs": _inputs(geometry.axes)},
        numbers,
        tasks=boxes * groups * parts,
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
