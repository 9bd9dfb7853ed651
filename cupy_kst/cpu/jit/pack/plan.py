"""How a weight is packed: the order of its elements, and the tasks that lay them out.

The output channels of a group are divided into blocks, as many as a micro-kernel makes at once. The packed weight has,
block by block and class by class, for each input channel and tap the numbers of all output channels of the block, and
zeros where a block is not full: micro-kernels read it from its beginning to its end.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import AXES, Geometry
from ...taps import table
from ..implicit_gemm.plan import Plan
from ..isa import RegisterTile
from ..memory import bytes_of
from ..task import Task, table_of, table_type
from ..winograd.plan import WinogradPlan
from ..winograd.products import ELEMENT

Array = NDArray[Any]

# As many products take as long as packing an element of the weight.
_PACKED_MACS = 16
# Numbers of an output channel that are transposed at once where more than one input channel's are contiguous.
_RUN = 128
# Numbers of a line that are combined at once: the elements of a 4x4 filter stay in the first cache, or the second.
PART = 512

# A filter element: its place in the weight, where it goes in the packed one, and how far apart channels are there.
PLACE = table_type("source", "first", "step")
PACK = Task(
    "pack",
    arrays={"weight": None, "packed": None, "elements": PLACE},
    fields=(
        *("lanes", "block", "tasks", "channels", "out_channels", "blocks", "kernel", "elements_count", "block_weights"),
        *("group_stride", "in_stride", "out_stride", "few", "run", "transposed_at"),
    ),
)
COMBINE = Task(
    "combine",
    arrays={"packed": None, "combined": None, "elements": ELEMENT, "ends": np.int64},
    fields=("tasks", "products", "kernel", "line"),
)


class PackPlan(NamedTuple):
    """Tables and numbers of `PACK`, and what running it takes: numbers of a thread's memory, tasks, and products."""

    tables: dict[str, Array]
    numbers: dict[str, int]
    scratch: int
    tasks: int
    macs: int


def pack_plan(geometry: Geometry, elements: Array, tile: RegisterTile, weights: int) -> PackPlan:
    """Return how a weight is packed into `weights` numbers.

    `elements` has for each filter element where it is along the axes, the place of its class in the packed weight, how
    many elements that has, and which of them it is.
    """
    groups, block, shape = geometry.groups, tile.block, geometry.full_weight_shape
    kernel = prod(shape[2:])
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    in_stride, out_stride = shape[1] * kernel, kernel
    if not geometry.transposed:
        in_stride, out_stride = out_stride, in_stride
    blocks = ceil(out_channels / block)
    source = np.ravel_multi_index(tuple(elements[:, :AXES].T), shape[2:])
    # A square of few filter elements would be mostly empty.
    few = out_stride == kernel and 4 * kernel * min(block, tile.lanes) < tile.lanes**2
    # Filter elements of one input channel, whose output channels are contiguous, or of several of one output channel.
    run = 1 if out_stride == kernel else max(1, _RUN // kernel)
    # In whole squares.
    half = 0 if few else (run * kernel + tile.lanes) * (block + 2 * tile.lanes)
    numbers = {
        "lanes": tile.lanes,
        "block": block,
        "tasks": groups * blocks,
        "channels": channels,
        "out_channels": out_channels,
        "blocks": blocks,
        "kernel": kernel,
        "elements_count": len(elements),
        "block_weights": weights // groups // blocks,
        "group_stride": prod(shape) // groups,
        "in_stride": in_stride,
        "out_stride": out_stride,
        "few": few,
        "run": run,
        "transposed_at": half,
    }
    places = table_of(PLACE, source, (elements[:, 3] + elements[:, 5]) * block, elements[:, 4] * block)
    return PackPlan({"elements": places}, numbers, 2 * half, groups * blocks, _PACKED_MACS * prod(shape))


def single_elements(geometry: Geometry) -> Array:
    """Return the elements of a filter one by one, as `pack_plan` takes them."""
    kernel = tuple(axis.kernel for axis in geometry.axes)
    at = np.indices(kernel).reshape(AXES, -1)
    count, channels = at.shape[1], geometry.in_channels // geometry.groups
    return table(*at, np.arange(count) * channels, np.ones(count, np.int64), np.zeros(count, np.int64))


def single_weights(geometry: Geometry, tile: RegisterTile) -> int:
    """Return the numbers of a weight that is packed element by element."""
    kernel = prod(axis.kernel for axis in geometry.axes)
    channels, out_channels = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    return geometry.groups * ceil(out_channels / tile.block) * kernel * channels * tile.block


class CombinePlan(NamedTuple):
    """Tables and numbers of `COMBINE`, its tasks, and as many products as take as long."""

    tables: dict[str, Array]
    numbers: dict[str, int]
    tasks: int
    macs: int


def combine_plan(geometry: Geometry, plan: WinogradPlan) -> CombinePlan:
    """Return how the elements of a weight are combined to the transformed weights of products."""
    blocks = geometry.groups * ceil(geometry.out_channels // geometry.groups / plan.tile.block)
    line = geometry.in_channels // geometry.groups * plan.tile.block
    tasks = blocks * ceil(line / PART)
    kernel = prod(axis.kernel for axis in geometry.axes)
    numbers = {"tasks": tasks, "products": len(plan.ends), "kernel": kernel, "line": line}
    tables = {"elements": plan.elements, "ends": plan.ends}
    return CombinePlan(tables, numbers, tasks, _PACKED_MACS * plan.weights)


def packed_bytes(plan: Plan | WinogradPlan, itemsize: int) -> int:
    """Return the bytes of a weight that is packed."""
    return bytes_of(plan.weights, itemsize)
