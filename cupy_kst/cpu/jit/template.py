"""Launch templates: what all calls of a geometry have in common, form by form, made once and kept.

A template is a task record that lacks the arrays of a call and the scratch memory. A call copies it, sets these words,
and hands it to the pool, so that it plans nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..taps import reads
from . import isa, threads
from .gemm_col2im.plan import col2im_plan
from .im2col_gemm.plan import im2col_plan, is_small
from .implicit_gemm.blocking import idle_lanes
from .implicit_gemm.plan import Plan
from .implicit_gemm.plan import plan as plan_of
from .memory import lines
from .winograd.blocking import Space, space_of
from .winograd.plan import WinogradPlan, winograd_plan

Array = NDArray[Any]

# Gathering an input takes as long as so many products that fill the lanes of vectors.
_GATHERED = 40


@lru_cache(maxsize=256)
def with_direction(geometry: Geometry, transposed: bool) -> Geometry:
    """Return the geometry of an operation: a gradient has that of the other one."""
    return replace(geometry, transposed=transposed)


class Template(NamedTuple):
    """What calls of a geometry have in common.

    Attributes
    ----------
    plan
        The plan of the kernel, whose tables live as long as the template.
    zeros : ndarray
        Biases of calls without one.
    record : ndarray
        The words of a task record without the arrays of a call and the scratch memory.
    slots : tuple of int
        The words of the source, the weight, the bias and the output.
    scratch : int
        Bytes of scratch memory of each thread.
    """

    plan: Any
    zeros: Array
    record: Array
    slots: tuple[int, ...]
    scratch: int


_CALL = ("source", "weight", "bias", "out")


def _template(
    entry: Any, plan: Any, char: str, outputs: int, scratch: int, fields: Mapping[str, Any] | None = None
) -> Template:
    zeros = np.zeros(outputs, char)
    values = {**dict.fromkeys(_CALL), **plan.tables, **plan.numbers, **(fields or {}), "bias": zeros}
    return Template(plan, zeros, entry.record(char, values), tuple(map(entry.task.slot, _CALL)), scratch)


def implicit_gemm_of(geometry: Geometry, char: str) -> Template:
    return implicit_gemm(geometry, choose_filling(geometry, np.dtype(char).itemsize), char)


def implicit_gemm_plan(geometry: Geometry, filling: int, itemsize: int) -> Plan:
    tile = isa.tile(filling, itemsize)
    return plan_of(geometry, tile, itemsize, 4 * tile.lanes)


@lru_cache(maxsize=256)
def implicit_gemm(geometry: Geometry, filling: int, char: str, rows: bool = False) -> Template:
    from .implicit_gemm import kernel

    itemsize = np.dtype(char).itemsize
    plan = implicit_gemm_plan(geometry, filling, itemsize)
    (_, spans_at, sums_at), scratch = plan.memory(itemsize)
    fields = {
        "gather": plan.gather,
        "filling": filling,
        "spans_at": spans_at,
        "sums_at": sums_at,
        "weight_pitch": prod(geometry.full_weight_shape[1:]) if rows else 0,
    }
    return _template(kernel.RUN, plan, char, geometry.out_channels, scratch, fields)


def winograd_of(geometry: Geometry, char: str) -> Template:
    return winograd(geometry, char, threads.count())


@lru_cache(maxsize=256)
def winograd_tables(geometry: Geometry, itemsize: int, several: int) -> WinogradPlan:
    return winograd_plan(geometry, space(geometry, itemsize), several)


@lru_cache(maxsize=256)
def winograd(geometry: Geometry, char: str, several: int) -> Template:
    from .winograd import kernel

    itemsize = np.dtype(char).itemsize
    plan = winograd_tables(geometry, itemsize, several)
    (_, numbers_at), scratch = plan.memory(itemsize)
    fields = {"gather": plan.gather, "numbers_at": numbers_at}
    return _template(kernel.RUN, plan, char, geometry.out_channels, scratch, fields)


@lru_cache(maxsize=256)
def im2col_gemm(geometry: Geometry, char: str, several: int) -> Template:
    from .im2col_gemm import kernel

    itemsize = np.dtype(char).itemsize
    plan = im2col_plan(geometry, isa.lanes_of(itemsize), several)
    return _template(kernel.RUN, plan, char, geometry.small_channels, plan.scratch_bytes(itemsize))


@lru_cache(maxsize=256)
def gemm_col2im(geometry: Geometry, char: str, several: int) -> Template:
    from .gemm_col2im import kernel

    itemsize = np.dtype(char).itemsize
    plan = col2im_plan(geometry, itemsize, several)
    return _template(kernel.RUN, plan, char, geometry.large_channels, lines(plan.scratch * itemsize))


def choose_filling(geometry: Geometry, itemsize: int, rows: bool = False) -> int:
    """Return how a call fills the registers, or how one does whose weight is rows that are not packed."""
    lanes, blocking = isa.lanes_of(itemsize), isa.blocking()
    out_channels = geometry.out_channels // geometry.groups
    if out_channels == 1:
        return isa.ONE
    if out_channels <= blocking.tiles[isa.FEW][0]:
        return isa.FEW
    # Rows that do not fill a vector leave lanes idle, whereas many channels fill several.
    vectors = blocking.tiles[isa.CHANNELS][1]
    narrow = not rows and reads(geometry)[2].positions < lanes and out_channels >= vectors * lanes
    return isa.CHANNELS if narrow else isa.WIDE


@lru_cache(maxsize=1024)
def fills_few_lanes(geometry: Geometry, itemsize: int) -> bool:
    """Return whether gathering columns takes less time than lanes that idle at the ends of a convolution's rows."""
    lanes = isa.lanes_of(itemsize)
    if not is_small(geometry, lanes):
        return False
    return geometry.small_channels // geometry.groups * (idle_lanes(geometry, lanes) - 1) > _GATHERED


def space(geometry: Geometry, itemsize: int) -> Space:
    """Return how minimal filtering divides the map, on this processor."""
    return space_of(geometry, isa.tile(isa.CHANNELS, itemsize), itemsize)
