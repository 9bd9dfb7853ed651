"""Gradients of weights: how their sums are divided into tasks, and the call that makes them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...arguments import Setting
from ...sums import CHAIN
from ...taps import reads
from ..implicit_gemm.plan import Plan
from ..implicit_gemm.plan import plan as plan_of
from ..launch import do, held_bytes
from ..memory import address, lines
from ..task import ARGUMENTS
from ..template import channels_shape, turned

Array = NDArray[Any]

# Filter elements whose gradients are summed at once, for each channel of the small map, and positions until these sums
# are put aside, in small maps and in large ones.
SUMMED_TAPS, _SUMMED, _MOST_SUMMED = 576, 256, 512
# Inputs of these from the large map, which share the second cache with the sums.
_HELD_BYTES = 256 << 10
# Blocks of the small map's channels share the copy of the large map, but not so many that threads have no work.
_LEAST_TASKS = 8
# Bytes of the gradients of parts of the maps, which are added up where channels make too few tasks.
_SHARES_BYTES = 1 << 20
# Products that take longer than adding up their gradients.
_SHARE_MACS = 1 << 18


def correlate(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`: each channel of the small map with each of the large one, per tap.

    Lanes hold channels of the small map, or positions where there are few of them in a group.
    """
    if geometry.samples == 0:
        out[...] = 0
        return
    frame = _correlation(geometry, small.dtype.char)
    record = frame.record.copy()
    record[ARGUMENTS] = address(small)
    record[ARGUMENTS + 1] = address(large)
    shares = np.empty((frame.shares, *out.shape), out.dtype) if frame.shares > 1 else out
    record[ARGUMENTS + 2] = address(shares)
    do(record, frame.scratch, frame.tasks, frame.macs)
    if frame.shares > 1:
        # In their order, whichever thread made them.
        np.add.reduce(shares, axis=0, out=out)


def correlate_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `correlate` holds: scratch memory, and the gradients of shares of the maps."""
    how = _division(geometry, setting.itemsize)
    shares = how.shares * prod(geometry.full_weight_shape) * setting.itemsize if how.shares > 1 else 0
    return shares + held_bytes(how.scratch, how.tasks, how.macs, setting.threads)


class _Division(NamedTuple):
    """How the gradients of a geometry are divided.

    Attributes
    ----------
    plan : Plan
        Boxes of the maps.
    few : bool
        Whether lanes hold positions.
    held, stack : int
        Channels of the large map whose sums are made at once, and blocks of channels of the small one.
    buffer, scratch : int
        Bytes of the inputs in the memory of a thread, and of all of it.
    tasks, shares : int
        Tasks, and shares of the boxes, each of which has a gradient of its own.
    macs : int
        Products.
    """

    plan: Plan
    few: bool
    held: int
    stack: int
    buffer: int
    scratch: int
    tasks: int
    shares: int
    macs: int


class _Correlation(NamedTuple):
    """What gradients of a geometry have in common, as `Frame` has it of its products."""

    tables: tuple[Plan, Array]
    record: Array
    scratch: int
    tasks: int
    shares: int
    macs: int


@lru_cache(maxsize=256)
def _division(geometry: Geometry, itemsize: int) -> _Division:
    from . import few_channels as few_correlation
    from .kernel import DEPTH, LINE, MOST_SUMMED

    shape = channels_shape(itemsize)
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    rows, columns = geometry.small_channels // groups, geometry.large_channels // groups
    axes = reads(turned(geometry, False))
    # Boxes of fewer positions have more channels, but also more inputs that their neighbours have as well.
    positions = max(_SUMMED, prod(axis.positions for axis in axes)) if any(axis.halo for axis in axes) else _SUMMED
    channel = prod(len(axis.phases) for axis in axes) * min(_MOST_SUMMED, positions) * itemsize
    held = min(columns, max(1, min(SUMMED_TAPS // taps, _HELD_BYTES // channel)))
    parts = ceil(columns / held)
    held = ceil(columns / parts)
    # The boxes of a convolution that reads so many channels of the large map.
    plan = plan_of(replace(geometry, transposed=False, large_channels=held * groups), shape, itemsize, _SUMMED)
    buffer = lines(plan.buffer * itemsize)
    macs = rows * columns * geometry.met_taps * groups * geometry.samples
    few = rows <= few_correlation.MOST
    blocks = 1 if few else ceil(rows / shape.block)
    most = min(len(plan.boxes), macs // _SHARE_MACS, _SHARES_BYTES // (prod(geometry.full_weight_shape) * itemsize))
    stack = max(1, min(4, blocks, groups * blocks * parts * max(1, most) // _LEAST_TASKS))
    tasks = groups * ceil(blocks / stack) * parts
    shares = max(1, min(ceil(_LEAST_TASKS / tasks), most))
    if few:
        sums = 2 * rows * (held * taps + MOST_SUMMED) * shape.lanes
    else:
        chains = int(-(-plan.boxes[:, 9] // DEPTH).max()) * ceil(len(plan.boxes) / shares)
        blocks_held = stack + 1 + (stack if chains > CHAIN else 0)
        sums = shape.block * (blocks_held * (held * taps + MOST_SUMMED + shape.lanes) + DEPTH) + shape.lanes * LINE
    return _Division(plan, few, held, stack, buffer, buffer + lines(sums * itemsize), shares * tasks, shares, macs)


@lru_cache(maxsize=256)
def _correlation(geometry: Geometry, char: str) -> _Correlation:
    from .. import jobs
    from .kernel import MOST_SUMMED

    how = _division(geometry, np.dtype(char).itemsize)
    plan, shape = how.plan, how.plan.shape
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    rows, columns = geometry.small_channels // groups, geometry.large_channels // groups
    # Microkernels may read offsets behind the last one, but use no sums of these.
    offsets = np.append(plan.offsets, np.zeros(MOST_SUMMED, plan.offsets.dtype))
    words = [0, 0, 0, *map(address, (plan.numbers, plan.axes, plan.phases, plan.boxes))]
    sizes = [len(plan.phases), len(plan.boxes), shape.lanes]
    if how.few:
        vectors = int((plan.boxes[:, 4:7].prod(axis=1) * -(-plan.boxes[:, 7] // shape.lanes)).max())
        words += [address(offsets), *sizes, vectors, rows, columns, how.held, taps, how.shares, how.buffer]
    else:
        words += [*map(address, (plan.places, offsets)), *sizes, shape.block, how.stack]
        words += [rows, columns, how.held, taps, how.buffer, how.shares]
    record = jobs.record("correlate_few" if how.few else "correlate", char, words)
    return _Correlation((plan, offsets), record, how.scratch, how.tasks, how.shares, how.macs)
