"""What calls of a geometry have in common, form by form: tables, the record that names them, and how much memory."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..taps import reads
from . import threads
from .gemm_col2im.plan import Rows, fold_plan
from .im2col_gemm.plan import dense_plan, is_small
from .implicit_gemm.plan import Plan, idle_lanes
from .implicit_gemm.plan import plan as plan_of
from .isa import Shape
from .memory import address, lines
from .winograd.blocking import Space, space_of
from .winograd.plan import MinimalPlan, minimal_plan

Array = NDArray[Any]

# As many products as lanes of a vector has take as long as gathering an input.
_GATHERED = 40


@lru_cache(maxsize=256)
def turned(geometry: Geometry, transposed: bool) -> Geometry:
    """Return the geometry of an operation: a gradient has that of the other one."""
    return replace(geometry, transposed=transposed)


class Frame(NamedTuple):
    """What calls of a geometry have in common: `record` lacks the arrays and the scratch memory, `scratch` is bytes."""

    plan: Any
    zeros: Array
    record: Array
    scratch: int


def plain_of(geometry: Geometry, char: str) -> Frame:
    return plain(geometry, choose(geometry, np.dtype(char).itemsize), char)


def plain_plan(geometry: Geometry, kind: int, itemsize: int) -> Plan:
    shape = shape_of(kind, itemsize)
    return plan_of(geometry, shape, itemsize, 4 * shape.lanes)


@lru_cache(maxsize=256)
def plain(geometry: Geometry, kind: int, char: str, rows: bool = False) -> Frame:
    from . import jobs

    zeros = np.zeros(geometry.out_channels, char)
    itemsize, plan = zeros.itemsize, plain_plan(geometry, kind, zeros.itemsize)
    buffer = lines(plan.buffer * itemsize)
    words = [0, 0, address(zeros), 0]
    words += map(address, (plan.numbers, plan.axes, plan.phases, plan.boxes, plan.places, plan.rows))
    words += map(address, (plan.classes, plan.offsets))
    words += [len(plan.phases), len(plan.boxes), len(plan.rows), kind, plan.shape.lanes, plan.shape.block, buffer]
    pitch = prod(geometry.full_weight_shape[1:]) if rows else 0
    record = jobs.record("run", char, [*words, plan.tasks, pitch])
    return Frame(plan, zeros, record, plan.scratch_bytes(itemsize))


def minimal_of(geometry: Geometry, char: str) -> Frame:
    return minimal(geometry, char, threads.count())


@lru_cache(maxsize=256)
def minimal_tables(geometry: Geometry, itemsize: int, several: int) -> MinimalPlan:
    return minimal_plan(geometry, space(geometry, itemsize), several)


@lru_cache(maxsize=256)
def minimal(geometry: Geometry, char: str, several: int) -> Frame:
    from . import jobs

    zeros = np.zeros(geometry.out_channels, char)
    plan = minimal_tables(geometry, zeros.itemsize, several)
    words = [0, 0, address(zeros), 0]
    words += map(address, (plan.numbers, plan.fill_numbers, plan.fill_axes, plan.phases, plan.passes, plan.kinds))
    words += map(address, (plan.boxes, plan.places, plan.slices, plan.points, plan.inputs, plan.outputs, plan.offsets))
    words += [len(plan.passes), len(plan.boxes), len(plan.slices), len(plan.inputs), plan.shape.lanes, plan.shape.block]
    return Frame(plan, zeros, jobs.record("minimal", char, words), lines(plan.scratch * zeros.itemsize))


@lru_cache(maxsize=256)
def dense(geometry: Geometry, char: str, several: int) -> Frame:
    from . import jobs

    zeros = np.zeros(geometry.small_channels, char)
    lanes = lanes_of(zeros.itemsize)
    plan = dense_plan(geometry, lanes, several)
    words = [0, 0, address(zeros), 0, *map(address, (plan.numbers, plan.inputs)), lanes]
    return Frame(plan, zeros, jobs.record("dense", char, words), lines(plan.scratch * zeros.itemsize))


@lru_cache(maxsize=256)
def folding(geometry: Geometry, char: str, several: int) -> Frame:
    from . import jobs

    zeros = np.zeros(geometry.large_channels, char)
    shape = rows_of(zeros.itemsize)
    plan = fold_plan(geometry, shape, zeros.itemsize, several)
    words = [0, 0, address(zeros), 0, *map(address, (plan.numbers, plan.axes, plan.parts, plan.classes, plan.taps))]
    record = jobs.record("fold", char, [*words, len(plan.parts), len(plan.classes), len(plan.taps), shape.lanes])
    return Frame(plan, zeros, record, lines(plan.scratch * zeros.itemsize))


def lanes_of(itemsize: int) -> int:
    """Return the numbers of a vector."""
    from .microkernel import vector_bytes

    return vector_bytes() // itemsize


def choose(geometry: Geometry, itemsize: int, rows: bool = False) -> int:
    """Return the form of a call, as `kernels.run` knows it, or that of a weight whose rows are not packed."""
    from .implicit_gemm import kernel as kernels

    lanes = lanes_of(itemsize)
    out_channels = geometry.out_channels // geometry.groups
    if out_channels == 1:
        return kernels.ONE[0]
    if out_channels <= kernels.FEW[1][0]:
        return kernels.FEW[0]
    # Rows that do not fill a vector leave lanes idle, whereas many channels fill several.
    narrow = not rows and reads(geometry)[2].positions < lanes and out_channels >= kernels.CHANNELS[1][1] * lanes
    return kernels.CHANNELS[0] if narrow else kernels.WIDE[0]


@lru_cache(maxsize=1024)
def fills_few_lanes(geometry: Geometry, itemsize: int) -> bool:
    """Return whether gathering columns takes less time than lanes that idle at the ends of a convolution's rows."""
    lanes = lanes_of(itemsize)
    if not is_small(geometry, lanes):
        return False
    return geometry.small_channels // geometry.groups * (idle_lanes(geometry, lanes) - 1) > _GATHERED


def shape_of(kind: int, itemsize: int) -> Shape:
    from .implicit_gemm import kernel as kernels

    tile = dict([kernels.WIDE, kernels.FEW, kernels.ONE, kernels.CHANNELS])[kind]
    return Shape(kind != kernels.CHANNELS[0], *tile, lanes_of(itemsize))


def channels_shape(itemsize: int) -> Shape:
    from .implicit_gemm import kernel as kernels

    return shape_of(kernels.CHANNELS[0], itemsize)


def space(geometry: Geometry, itemsize: int) -> Space:
    return space_of(geometry, channels_shape(itemsize), itemsize)


def rows_of(itemsize: int) -> Rows:
    from .gemm_col2im import kernel as folding

    sizes = folding.ROWS, folding.VECTORS, folding.POSITIONS, folding.ROW_VECTORS, folding.DEPTH, folding.WIDE_ROWS
    return Rows(*sizes, lanes_of(itemsize))
