"""Weights in the order in which micro-kernels read them, for each geometry that calls have asked for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from .. import template
from ..implicit_gemm.plan import Plan
from ..isa import RegisterTile
from ..launch import run_tasks
from ..memory import address, empty, lines
from ..template import Template
from ..winograd.plan import WinogradPlan
from .plan import PackPlan, combine_plan, pack_plan, single_elements, single_weights

Array = NDArray[Any]

# What a packed weight keeps: one per geometry, and one per division of the filter into classes.
_MOST_CALLS, _MOST_FORMS = 64, 4

# Makes the packed numbers of a geometry, a weight and a plan.
_LayOut = Callable[[Geometry, Array, Any], Array]


class PackedWeight:
    """A weight in the order in which micro-kernels read it, for each form that calls have asked for.

    Calls from several threads are safe.
    """

    def __init__(self, weight: Array, template: Callable[[Geometry, str], Template], lay_out: _LayOut) -> None:
        self._weight, self._template, self._lay_out = weight, template, lay_out
        self._packed: dict[Any, Array] = {}
        self._calls: dict[Geometry, Call] = {}
        self._lock = Lock()

    def call(self, geometry: Geometry) -> Call:
        """Return what calls of a geometry have in common."""
        call = self._calls.get(geometry)
        return self._bind(geometry) if call is None else call

    def _bind(self, geometry: Geometry) -> Call:
        template = self._template(geometry, self._weight.dtype.char)
        # Inputs of other sizes read the same elements in the same order.
        key = (geometry.transposed, template.plan.layout)
        with self._lock:
            packed = self._packed.get(key)
            if packed is None:
                if len(self._packed) >= _MOST_FORMS:
                    self._packed.clear()
                    self._calls.clear()
                packed = self._packed[key] = self._lay_out(geometry, self._weight, template.plan)
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            call = self._calls[geometry] = Call(template, packed, address(packed))
        return call


class Call(NamedTuple):
    """What calls of a geometry by a weight have in common; `place` is where `weights` are in memory."""

    template: Template
    weights: Array
    place: int


def pack(weight: Array) -> PackedWeight:
    """Return a weight of shape ``(groups, small_channels, large_channels, *kernel)`` for many calls.

    It is packed when a call asks for it, and not copied until then.
    """
    return PackedWeight(weight, template.implicit_gemm_of, _pack)


def pack_winograd(weight: Array) -> PackedWeight:
    """Return the same with transformed weights, for minimal filtering."""
    return PackedWeight(weight, template.winograd_of, _pack_winograd)


def pack_scratch(how: PackPlan, itemsize: int) -> int:
    """Return the bytes of a thread's memory while it packs."""
    return lines(how.scratch * itemsize)


def _pack(geometry: Geometry, weight: Array, plan: Plan) -> Array:
    return _pack_elements(geometry, weight, plan.elements, plan.tile, plan.weights)


def _pack_winograd(geometry: Geometry, weight: Array, plan: WinogradPlan) -> Array:
    from .kernel import RUN_COMBINE

    elements, numbers = single_elements(geometry), single_weights(geometry, plan.tile)
    single = _pack_elements(geometry, weight, elements, plan.tile, numbers)
    combined = empty(plan.weights, weight.dtype)
    # NumPy's matrix product would do this, but threads of a BLAS go on looking for work, on the cores that multiply
    # next.
    how = combine_plan(geometry, plan)
    record = RUN_COMBINE.record(
        weight.dtype.char, {"packed": single, "combined": combined, **how.tables, **how.numbers}
    )
    run_tasks(record, 0, how.tasks, how.macs)
    return combined


def _pack_elements(geometry: Geometry, weight: Array, elements: Array, tile: RegisterTile, numbers: int) -> Array:
    from .kernel import RUN_PACK

    weight, packed = np.ascontiguousarray(weight), empty(numbers, weight.dtype)
    how = pack_plan(geometry, elements, tile, numbers)
    record = RUN_PACK.record(weight.dtype.char, {"weight": weight, "packed": packed, **how.tables, **how.numbers})
    run_tasks(record, pack_scratch(how, weight.itemsize), how.tasks, how.macs)
    return packed
