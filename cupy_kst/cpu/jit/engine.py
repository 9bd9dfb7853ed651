"""What the NumPy engine calls: what can be computed here, and transposed convolutions and convolutions in each form."""

from __future__ import annotations

import warnings
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ...install import from_extra
from ...methods import Operation
from ..arguments import Setting
from ..taps import reads
from . import template as frames
from . import threads
from .gemm_col2im.plan import fold_plan
from .im2col_gemm.plan import DensePlan, dense_plan
from .implicit_gemm.plan import Plan
from .launch import convolve, held_bytes
from .memory import address, lines
from .pack.weight import Packed, packed_bytes, single_bytes
from .template import turned
from .weight_grad.plan import SUMMED_TAPS
from .winograd.blocking import LEAST_ROOM, room
from .winograd.transform import filters

Array = NDArray[Any]

# About as many positions of a row as are made at once.
_LINE = 64
# Channels of a product whose sums of some dozens each are added up one after the other.
_MOST_FOLDED = 1 << 21


@cache
def problem() -> str:
    """Return why nothing can be compiled, or ``""``: found out once, since Numba is slow to import."""
    if find_spec("numba") is None:
        return f"Numba is not installed: {from_extra('fast', 'numba')}"
    try:
        from numba import config

        if config.DISABLE_JIT:
            return "Numba is told by NUMBA_DISABLE_JIT not to compile"
        import_module(f"{__package__}.pool")
    except Exception as error:  # another NumPy than it was built for, no folder for its cache, and so on
        # Numba says that it finds no folder, but not how to name one.
        way_out = "; set NUMBA_CACHE_DIR to a folder that can be written" if "cannot cache" in str(error) else ""
        warnings.warn(f"Numba is installed, but does not work here: {error}{way_out}", RuntimeWarning, stacklevel=2)
        return f"Numba does not work here: {error}{way_out}"
    return ""


def available(dtype: Any) -> bool:
    """Return whether Numba works here and the element type is one that is compiled."""
    return np.dtype(dtype) in (np.float32, np.float64) and not problem()


@lru_cache(maxsize=1024)
def suits(geometry: Geometry, operation: Operation) -> bool:
    """Return whether the inputs of a few positions, with all that lies between their taps, fit a thread's memory."""
    transposed = operation == "conv_transpose"
    axes = reads(turned(geometry, transposed))
    channels = (geometry.small_channels if transposed else geometry.large_channels) // geometry.groups
    if operation == "conv_weight":
        channels = min(channels, SUMMED_TAPS)
    *outer, width = axes
    lines = channels * prod(len(axis.phases) for axis in axes) * prod(1 + axis.halo for axis in outer)
    return lines * (min(_LINE, width.positions) + width.halo) <= room(geometry)


@lru_cache(maxsize=1024)
def suits_minimal(geometry: Geometry, operation: Operation) -> bool:
    """Return whether minimal filtering saves products, in the memory that there is."""
    geometry = turned(geometry, operation == "conv_transpose")
    # A box of one tile has as many numbers in any element type.
    return filters(geometry) and bool(sum(frames.space(geometry, 4).sizes) <= room(geometry))


def conv_transpose(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> bool:
    """Write the transposed convolution of `input` to `out`, and return whether minimal filtering overflowed."""
    call = weight.call(turned(geometry, True))
    return convolve(call.frame, input, call.place, bias, out)


def conv(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> bool:
    """Write the convolution of `input` to `out`, and return whether minimal filtering overflowed."""
    call = weight.call(turned(geometry, False))
    return convolve(call.frame, input, call.place, bias, out)


def conv_transpose_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_transpose` holds of a weight of `pack`."""
    return _plain_bytes(turned(geometry, True), setting)


def conv_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv` holds of a weight of `pack`."""
    return _plain_bytes(turned(geometry, False), setting)


def conv_transpose_minimal_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_transpose` holds of a weight of `pack_minimal`."""
    return _minimal_bytes(turned(geometry, True), setting)


def conv_minimal_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv` holds of a weight of `pack_minimal`."""
    return _minimal_bytes(turned(geometry, False), setting)


def _plain_bytes(geometry: Geometry, setting: Setting) -> int:
    itemsize = setting.itemsize
    plan = frames.plain_plan(geometry, frames.choose(geometry, itemsize), itemsize)
    packed = 0 if setting.prepared else packed_bytes(plan, itemsize)
    return packed + held_bytes(plan.scratch_bytes(itemsize), plan.tasks, plan.macs, setting.threads)


def _minimal_bytes(geometry: Geometry, setting: Setting) -> int:
    plan = frames.minimal_tables(geometry, setting.itemsize, setting.threads)
    call = held_bytes(lines(plan.scratch * setting.itemsize), plan.tasks, plan.macs, setting.threads)
    if setting.prepared:
        return call
    return packed_bytes(plan, setting.itemsize) + max(call, single_bytes(geometry, plan, setting.itemsize))


def conv_rows(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution of `input` by a weight as it lies to `out`: its rows are of an output channel each."""
    geometry, char = turned(geometry, False), input.dtype.char
    if frames.fills_few_lanes(geometry, input.itemsize):
        frame = frames.dense(geometry, char, threads.count())
    else:
        frame = frames.plain(geometry, frames.choose(geometry, input.itemsize, rows=True), char, rows=True)
    convolve(frame, input, address(weight), bias, out)


def conv_rows_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_rows` holds."""
    geometry, itemsize = turned(geometry, False), setting.itemsize
    plan: Plan | DensePlan
    if frames.fills_few_lanes(geometry, itemsize):
        plan = dense_plan(geometry, frames.lanes_of(itemsize), setting.threads)
    else:
        plan = frames.plain_plan(geometry, frames.choose(geometry, itemsize, rows=True), itemsize)
    return held_bytes(plan.scratch_bytes(itemsize), plan.tasks, plan.macs, setting.threads)


def fold_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `fold` holds."""
    plan = fold_plan(geometry, frames.rows_of(setting.itemsize), setting.itemsize, setting.threads)
    return held_bytes(lines(plan.scratch * setting.itemsize), plan.tasks, plan.macs, setting.threads)


def fold(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution of `input` by a weight as it lies to `out`."""
    convolve(frames.folding(geometry, input.dtype.char, threads.count()), input, address(weight), bias, out)


@lru_cache(maxsize=1024)
def folds(geometry: Geometry, operation: Operation) -> bool:
    """Return whether the sums of a few rows of positions fit a thread's memory, of a transposed convolution."""
    del operation
    if geometry.small_channels // geometry.groups > _MOST_FOLDED:
        return False
    plan = fold_plan(geometry, frames.rows_of(4), 4, threads.count())
    return plan.scratch <= room(geometry, 2 * LEAST_ROOM)
