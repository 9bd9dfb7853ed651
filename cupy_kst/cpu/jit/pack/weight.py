"""Weights in the order in which microkernels read them."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import AXES, Geometry
from ...taps import table
from .. import template as frames
from ..implicit_gemm.plan import Plan
from ..isa import Shape
from ..launch import do
from ..memory import address, bytes_of, empty
from ..template import Frame
from ..winograd.plan import MinimalPlan

Array = NDArray[Any]

# What a packed weight keeps: one per geometry, and one per division of the filter into classes.
_MOST_CALLS, _MOST_FORMS = 64, 4
# As many products take as long as packing an element of the weight.
_ALONE_WEIGHTS = 16

# Of a geometry, a weight and a plan.
_LayOut = Callable[[Geometry, Array, Any], Array]


class Packed:
    """A weight in the order in which microkernels read it, for each form that calls have asked for.

    Calls from several threads are safe.
    """

    def __init__(self, weight: Array, frame: Callable[[Geometry, str], Frame], lay_out: _LayOut) -> None:
        self._weight, self._frame, self._lay_out = weight, frame, lay_out
        self._packed: dict[Any, Array] = {}
        self._calls: dict[Geometry, Call] = {}
        self._lock = Lock()

    def call(self, geometry: Geometry) -> Call:
        """Return what calls of a geometry have in common."""
        call = self._calls.get(geometry)
        return self._settle(geometry) if call is None else call

    def _settle(self, geometry: Geometry) -> Call:
        frame = self._frame(geometry, self._weight.dtype.char)
        # Inputs of other sizes read the same elements in the same order.
        key = (geometry.transposed, frame.plan.layout)
        with self._lock:
            packed = self._packed.get(key)
            if packed is None:
                if len(self._packed) >= _MOST_FORMS:
                    self._packed.clear()
                    self._calls.clear()
                packed = self._packed[key] = self._lay_out(geometry, self._weight, frame.plan)
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            call = self._calls[geometry] = Call(frame, packed, address(packed))
        return call


class Call(NamedTuple):
    """What calls of a geometry by a weight have in common; `place` is where `weights` are in memory."""

    frame: Frame
    weights: Array
    place: int


def pack(weight: Array) -> Packed:
    """Return a weight of shape ``(groups, small_channels, large_channels, *kernel)`` for many calls.

    It is packed when a call asks for it, and not copied until then.
    """
    return Packed(weight, frames.plain_of, _pack)


def pack_minimal(weight: Array) -> Packed:
    """Return the same for products of minimal filtering."""
    return Packed(weight, frames.minimal_of, _pack_minimal)


def packed_bytes(plan: Plan | MinimalPlan, itemsize: int) -> int:
    """Return the bytes of a weight that is packed."""
    return bytes_of(plan.weights, itemsize)


def single_bytes(geometry: Geometry, plan: MinimalPlan, itemsize: int) -> int:
    """Return the bytes of the weight's elements one by one, which `pack_minimal` combines to those of products."""
    return bytes_of(_singles(geometry, plan), itemsize)


def _singles(geometry: Geometry, plan: MinimalPlan) -> int:
    kernel = prod(axis.kernel for axis in geometry.axes)
    channels, out_channels = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    return geometry.groups * ceil(out_channels / plan.shape.block) * kernel * channels * plan.shape.block


def _pack(geometry: Geometry, weight: Array, plan: Plan) -> Array:
    packed = empty(plan.weights, weight.dtype)
    _pack_elements(geometry, weight, plan.elements, plan.shape, packed)
    return packed


def _pack_minimal(geometry: Geometry, weight: Array, plan: MinimalPlan) -> Array:
    from .. import jobs
    from .kernel import PART

    groups, kernel = geometry.groups, prod(weight.shape[3:])
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    blocks, of_element = groups * ceil(out_channels / plan.shape.block), channels * plan.shape.block
    at = np.indices(weight.shape[3:]).reshape(AXES, -1)
    count = at.shape[1]
    elements = table(*at, np.arange(count) * channels, np.ones(count), np.zeros(count))
    single = empty(_singles(geometry, plan), weight.dtype)
    _pack_elements(geometry, weight, elements, plan.shape, single)
    packed = empty(plan.weights, weight.dtype)
    # By threads of its own: those of a BLAS go on looking for work, on the cores of those that multiply next.
    words = [*map(address, (single, packed, plan.elements, plan.ends)), len(plan.ends), blocks, kernel, of_element]
    tasks = blocks * ceil(of_element / PART)
    do(jobs.record("combine", weight.dtype.char, words), 0, tasks, _ALONE_WEIGHTS * packed.size)
    return packed


def _pack_elements(geometry: Geometry, weight: Array, elements: Array, shape: Shape, packed: Array) -> None:
    from .. import jobs

    weight = np.ascontiguousarray(weight)
    strides = np.array(weight.strides, np.int64) // weight.itemsize
    if not geometry.transposed:
        strides[[1, 2]] = strides[[2, 1]]
    groups = geometry.groups
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    blocks = ceil(out_channels / shape.block)
    words = [*map(address, (weight, packed, strides, elements)), len(elements), groups, channels]
    words += [out_channels, blocks, shape.block, packed.size // groups, prod(weight.shape[3:]), shape.lanes]
    do(jobs.record("pack", weight.dtype.char, words), 0, groups * blocks, _ALONE_WEIGHTS * weight.size)
