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
from . import isa, template, threads
from .gemm_col2im.plan import col2im_plan
from .im2col_gemm.plan import im2col_plan
from .launch import convolve, held_bytes
from .memory import address, bytes_of, lines
from .pack.plan import PackPlan, pack_plan, packed_bytes, single_elements, single_weights
from .pack.weight import PackedWeight, pack_scratch
from .template import with_direction
from .weight_grad.plan import SUMMED_TAPS
from .winograd.blocking import LEAST_ROOM, room
from .winograd.transform import filters

Array = NDArray[Any]

# About as many positions of a row as are made at once.
_LINE = 64
# The most channels of a product. Sums of some dozens of channels each are added up one after the other, and of more
# channels they would pass the bound of errors.
_MOST_SUMMED = 1 << 21


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
    axes = reads(with_direction(geometry, transposed))
    channels = (geometry.small_channels if transposed else geometry.large_channels) // geometry.groups
    if operation == "conv_weight":
        channels = min(channels, SUMMED_TAPS)
    *outer, width = axes
    lines = channels * prod(len(axis.phases) for axis in axes) * prod(1 + axis.halo for axis in outer)
    return lines * (min(_LINE, width.positions) + width.halo) <= room(geometry)


@lru_cache(maxsize=1024)
def suits_winograd(geometry: Geometry, operation: Operation) -> bool:
    """Return whether minimal filtering saves products, in the memory that there is."""
    geometry = with_direction(geometry, operation == "conv_transpose")
    # A box of one tile has as many numbers in any element type.
    return filters(geometry) and bool(sum(template.space(geometry, 4).sizes) <= room(geometry))


def conv_transpose(geometry: Geometry, input: Array, weight: PackedWeight, bias: Array | None, out: Array) -> bool:
    """Write the transposed convolution of `input` to `out`, and return whether minimal filtering overflowed."""
    call = weight.call(with_direction(geometry, True))
    return convolve(call.template, input, call.place, bias, out)


def conv(geometry: Geometry, input: Array, weight: PackedWeight, bias: Array | None, out: Array) -> bool:
    """Write the convolution of `input` to `out`, and return whether minimal filtering overflowed."""
    call = weight.call(with_direction(geometry, False))
    return convolve(call.template, input, call.place, bias, out)


def conv_transpose_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_transpose` holds of a weight of `pack`."""
    return _implicit_gemm_bytes(with_direction(geometry, True), setting)


def conv_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv` holds of a weight of `pack`."""
    return _implicit_gemm_bytes(with_direction(geometry, False), setting)


def conv_transpose_winograd_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_transpose` holds of a weight of `pack_winograd`."""
    return _winograd_bytes(with_direction(geometry, True), setting)


def conv_winograd_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv` holds of a weight of `pack_winograd`."""
    return _winograd_bytes(with_direction(geometry, False), setting)


def _implicit_gemm_bytes(geometry: Geometry, setting: Setting) -> int:
    itemsize = setting.itemsize
    plan = template.implicit_gemm_plan(geometry, template.choose_filling(geometry, itemsize), itemsize)
    call = held_bytes(plan.memory(itemsize)[1], plan.tasks, plan.macs, setting.threads)
    if setting.prepared:
        return call
    packing = pack_plan(geometry, plan.elements, plan.tile, plan.weights)
    return packed_bytes(plan, itemsize) + max(call, _packing_bytes(packing, setting))


def _winograd_bytes(geometry: Geometry, setting: Setting) -> int:
    itemsize = setting.itemsize
    plan = template.winograd_tables(geometry, itemsize, setting.threads)
    call = held_bytes(plan.memory(itemsize)[1], plan.tasks, plan.macs, setting.threads)
    if setting.prepared:
        return call
    # The weight's elements are packed one by one, and then combined to those of products.
    weights = single_weights(geometry, plan.tile)
    packing = pack_plan(geometry, single_elements(geometry), plan.tile, weights)
    single = bytes_of(weights, itemsize) + _packing_bytes(packing, setting)
    return packed_bytes(plan, itemsize) + max(call, single)


def _packing_bytes(how: PackPlan, setting: Setting) -> int:
    return held_bytes(pack_scratch(how, setting.itemsize), how.tasks, how.macs, setting.threads)


def conv_unpacked(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution of `input` by a weight as it lies to `out`: its rows are of an output channel each."""
    geometry, char = with_direction(geometry, False), input.dtype.char
    if template.fills_few_lanes(geometry, input.itemsize):
        found = template.im2col_gemm(geometry, char, threads.count())
    else:
        filling = template.choose_filling(geometry, input.itemsize, rows=True)
        found = template.implicit_gemm(geometry, filling, char, rows=True)
    convolve(found, input, address(weight), bias, out)


def conv_unpacked_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `conv_unpacked` holds."""
    geometry, itemsize = with_direction(geometry, False), setting.itemsize
    if template.fills_few_lanes(geometry, itemsize):
        im2col = im2col_plan(geometry, isa.lanes_of(itemsize), setting.threads)
        return held_bytes(im2col.scratch_bytes(itemsize), im2col.tasks, im2col.macs, setting.threads)
    filling = template.choose_filling(geometry, itemsize, rows=True)
    plan = template.implicit_gemm_plan(geometry, filling, itemsize)
    return held_bytes(plan.memory(itemsize)[1], plan.tasks, plan.macs, setting.threads)


def col2im(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution of `input` by a weight as it lies to `out`."""
    found = template.gemm_col2im(geometry, input.dtype.char, threads.count())
    convolve(found, input, address(weight), bias, out)


def col2im_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `col2im` holds."""
    plan = col2im_plan(geometry, setting.itemsize, setting.threads)
    return held_bytes(lines(plan.scratch * setting.itemsize), plan.tasks, plan.macs, setting.threads)


@lru_cache(maxsize=1024)
def suits_col2im(geometry: Geometry, operation: Operation) -> bool:
    """Return whether sums of a few rows of a transposed convolution fit a thread's memory and the bound of errors."""
    del operation
    if geometry.small_channels // geometry.groups > _MOST_SUMMED:
        return False
    return col2im_plan(geometry, 4, threads.count()).scratch <= room(geometry, 2 * LEAST_ROOM)
