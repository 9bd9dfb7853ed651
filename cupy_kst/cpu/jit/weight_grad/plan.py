"""How the sums of a weight's gradient are divided into tasks, and what a thread's memory holds of them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...sums import CHAIN
from ...taps import reads
from .. import isa
from ..box import AXIS, GATHER, PHASE
from ..implicit_gemm.plan import BOX, Plan
from ..implicit_gemm.plan import plan as plan_of
from ..isa import RegisterTile
from ..memory import partition
from ..task import Task
from ..template import with_direction

Array = NDArray[Any]

# Filter elements whose gradients are summed at once, for each channel of the small map.
SUMMED_TAPS = 576
# Blocks of the small map's channels share the copy of the large map, but not so many that threads have no work.
_LEAST_TASKS = 8
# Products that take longer than adding up their gradients.
_SHARE_MACS = 1 << 18

_FIELDS = (
    *("lanes", "tasks", "small_channels", "large_channels", "cached", "taps", "shares", "boxes_count"),
    *("spans_at", "sums_at", "totals_at"),
)
_ARRAYS = {
    **dict.fromkeys(("small", "large", "out")),
    "axes": AXIS,
    "phases": PHASE,
    "boxes": BOX,
    "offsets": np.int32,
}
TASK = Task(
    "correlate",
    arrays={**_ARRAYS, "places": np.int32},
    fields=(*_FIELDS, "block", "stack", "block_sums", "transposed_at", "lines_at", "panel_at"),
    parts={"gather": GATHER},
)
FEW_TASK = Task(
    "correlate_few",
    arrays=_ARRAYS,
    fields=(*_FIELDS, "places_at", "starts_at", "counts_at"),
    parts={"gather": GATHER},
)


class Division(NamedTuple):
    """How the gradients of a geometry are divided.

    Attributes
    ----------
    plan : Plan
        Boxes of the maps.
    few : bool
        Whether lanes hold positions.
    numbers : dict
        Fields of the record, of `FEW_TASK` if `few`, else of `TASK`.
    scratch : int
        Bytes of a thread's memory.
    tasks, shares : int
        Tasks, and shares of the boxes, each of which has a gradient of its own.
    macs : int
        Products.
    """

    plan: Plan
    few: bool
    numbers: dict[str, int]
    scratch: int
    tasks: int
    shares: int
    macs: int


@lru_cache(maxsize=256)
def division(geometry: Geometry, itemsize: int) -> Division:
    """Return how the gradients of a geometry are divided, for numbers of so many bytes."""
    tile = isa.tile(isa.CHANNELS, itemsize)
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    rows, columns = geometry.small_channels // groups, geometry.large_channels // groups
    cached, plan = _boxes(geometry, tile, itemsize)
    parts = ceil(columns / cached)
    macs = rows * columns * geometry.met_taps * groups * geometry.samples
    few = rows <= isa.DOT_CHANNELS
    blocks = 1 if few else ceil(rows / tile.block)
    of_boxes = len(plan.tables["boxes"])
    most = isa.GRADIENT_SHARES_BYTES // (prod(geometry.full_weight_shape) * itemsize)
    most = min(of_boxes, macs // _SHARE_MACS, most)
    stack = max(1, min(4, blocks, groups * blocks * parts * max(1, most) // _LEAST_TASKS))
    tasks = groups * ceil(blocks / stack) * parts
    shares = max(1, min(ceil(_LEAST_TASKS / tasks), most))
    numbers = {
        "lanes": tile.lanes,
        "tasks": shares * tasks,
        "small_channels": rows,
        "large_channels": columns,
        "cached": cached,
        "taps": taps,
        "shares": shares,
        "boxes_count": of_boxes,
    }
    divide = _few_memory if few else _memory
    more, scratch = divide(plan, tile, itemsize, numbers, stack)
    return Division(plan, few, numbers | more, scratch, shares * tasks, shares, macs)


def _boxes(geometry: Geometry, tile: RegisterTile, itemsize: int) -> tuple[int, Plan]:
    """Return how many channels of the large map are copied at once, and the boxes of so many."""
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    columns = geometry.large_channels // groups
    axes = reads(with_direction(geometry, False))
    # Boxes of fewer positions have more channels, but also more inputs that their neighbours have as well.
    positions = isa.GRADIENT_POSITIONS
    if any(axis.halo for axis in axes):
        positions = max(positions, prod(axis.positions for axis in axes))
    channel = prod(len(axis.phases) for axis in axes) * min(isa.GRADIENT_MOST_POSITIONS, positions) * itemsize
    cached = min(columns, max(1, min(SUMMED_TAPS // taps, isa.GRADIENT_INPUT_BYTES // channel)))
    cached = ceil(columns / ceil(columns / cached))
    # The boxes of a convolution that reads so many channels of the large map.
    of_some = replace(geometry, transposed=False, large_channels=cached * groups)
    return cached, plan_of(of_some, tile, itemsize, isa.GRADIENT_POSITIONS)


def _memory(
    plan: Plan, tile: RegisterTile, itemsize: int, numbers: dict[str, int], stack: int
) -> tuple[dict[str, int], int]:
    """Return the fields of `TASK` alone, and the bytes of a thread's memory.

    It has the copy of the large map, the spans, and then the sums of each block, one block's transposed sums, a few
    positions of the small map by channel, these transposed, and totals, if there are more than CHAIN chains.
    """
    elements = numbers["cached"] * numbers["taps"] + max(isa.blocking().summed)
    # Room for sums that nobody reads.
    block_sums = ceil(elements / tile.lanes) * tile.lanes * tile.block
    chains = int(-(-plan.tables["boxes"]["places"] // isa.GRADIENT_KC).max())
    chains *= ceil(numbers["boxes_count"] / numbers["shares"])
    transposed = stack * block_sums
    lines = transposed + block_sums
    panel = lines + tile.lanes * isa.GRADIENT_LINE
    totals = panel + tile.block * isa.GRADIENT_KC
    sums = totals + (transposed if chains > CHAIN else 0)
    (_, spans_at, sums_at), scratch = partition(plan.buffer * itemsize, plan.spans * 8, sums * itemsize)
    fields = {
        "block": tile.block,
        "stack": stack,
        "block_sums": block_sums,
        "spans_at": spans_at,
        "sums_at": sums_at,
        "transposed_at": transposed,
        "lines_at": lines,
        "panel_at": panel,
        "totals_at": totals,
    }
    return fields, scratch


def _few_memory(
    plan: Plan, tile: RegisterTile, itemsize: int, numbers: dict[str, int], stack: int
) -> tuple[dict[str, int], int]:
    """Return the fields of `FEW_TASK` alone, and the bytes of a thread's memory.

    It has the copy of the large map, the spans, lists of the vectors of a box, and then a vector of sums for each pair
    of a channel and a filter element, and as many totals.
    """
    del stack
    boxes = plan.tables["boxes"]
    vectors = boxes["samples"] * boxes["depth"] * boxes["height"] * -(-boxes["width"] // tile.lanes)
    most = int(vectors.max())
    totals = numbers["small_channels"] * (numbers["cached"] * numbers["taps"] + isa.DOT_TAPS) * tile.lanes
    (_, spans_at, places_at, starts_at, counts_at, sums_at), scratch = partition(
        plan.buffer * itemsize, plan.spans * 8, most * 8, most * 8, most * 4, 2 * totals * itemsize
    )
    fields = {
        "spans_at": spans_at,
        "places_at": places_at,
        "starts_at": starts_at,
        "counts_at": counts_at,
        "sums_at": sums_at,
        "totals_at": totals,
    }
    return fields, scratch
