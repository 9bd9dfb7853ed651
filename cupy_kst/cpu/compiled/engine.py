"""What the NumPy engine calls: weights packed in the order of a form, and the products of a form by several threads."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from math import ceil
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from . import threads
from .plan import Plan, Shape, plan, reads

Array = NDArray[Any]

_memory = local()


def available(dtype: Any) -> bool:
    """Return whether Numba is installed and the element type is one that is compiled."""
    return np.dtype(dtype) in (np.float32, np.float64) and find_spec("numba") is not None


class Packed:
    """A weight in the order in which microkernels read it, for each form that calls have asked for."""

    def __init__(self, geometry: Geometry, weight: Array) -> None:
        self._weight = weight
        self._packed: dict[Any, Array] = {}

    def of(self, geometry: Geometry, form: Plan) -> Array:
        """Return the weights packed for a form."""
        key = (form.shape, tuple(axis.classes for axis in reads(geometry)))
        if key not in self._packed:
            self._packed[key] = _pack(geometry, self._weight, form)
        return self._packed[key]


def pack(geometry: Geometry, weight: Array) -> Packed:
    """Return a weight of shape ``(groups, small_channels, large_channels, *kernel)`` for many calls."""
    return Packed(geometry, weight)


def convolve(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> None:
    """Write the convolution, or transposed convolution, to `out`."""
    from . import kernels

    form = _form(geometry, input.dtype.char)
    packed = weight.of(geometry, form)
    biases = np.zeros(geometry.out_channels, input.dtype) if bias is None else bias.reshape(-1)
    counter = np.zeros(1, np.int64)
    source, flat = input.reshape(-1), out.reshape(-1)
    kind = _kind(form.shape)

    def work() -> None:
        buffer, sums = _scratch(input.dtype, form.buffer, form.sums)
        kernels.run(
            kind, form.shape.lanes, form.shape.block, source, packed, biases, flat, form.numbers, form.axes,
            form.phases, form.boxes, form.places, form.rows, form.classes, form.offsets, buffer, sums, counter,
            form.tasks,
        )  # fmt: skip

    threads.together(work, min(threads.count(), form.tasks))


def _kind(shape: Shape) -> int:
    from . import kernels

    if not shape.positions_in_lanes:
        return 2
    return 0 if (shape.scalars, shape.vectors) == kernels.WIDE else 1


@lru_cache(maxsize=256)
def _form(geometry: Geometry, char: str) -> Plan:
    from . import kernels
    from .microkernel import vector_bytes

    itemsize = np.dtype(char).itemsize
    lanes = vector_bytes() // itemsize
    wide, few = (Shape(True, *each, lanes) for each in (kernels.WIDE, kernels.FEW))
    channels = Shape(False, *kernels.CHANNELS, lanes)
    out_channels = geometry.out_channels // geometry.groups
    rows = few if out_channels <= few.scalars else wide
    width = reads(geometry)[2].positions
    narrow = width < lanes and out_channels >= channels.block
    return plan(geometry, channels if narrow else rows, itemsize)


def _scratch(dtype: Any, *sizes: int) -> list[Array]:
    """Return memory of this thread, the same for every call that is not larger."""
    held: dict[Any, list[Array]] = _memory.__dict__
    arrays = held.setdefault(dtype.char, [np.empty(0, dtype)] * len(sizes))
    for i, size in enumerate(sizes):
        if arrays[i].size < size:
            arrays[i] = np.empty(size, dtype)
    return arrays


def _pack(geometry: Geometry, weight: Array, form: Plan) -> Array:
    from . import kernels

    strides = [stride // weight.itemsize for stride in weight.strides]
    if not geometry.transposed:
        strides[1], strides[2] = strides[2], strides[1]
    groups, channels, out_channels = (
        geometry.groups,
        *(each // geometry.groups for each in (geometry.in_channels, geometry.out_channels)),
    )
    packed = np.empty(form.weights, weight.dtype)
    counter = np.zeros(1, np.int64)
    blocks = ceil(out_channels / form.shape.block)
    flat = np.lib.stride_tricks.as_strided(weight, (weight.size,), (weight.itemsize,), writeable=False)

    def work() -> None:
        kernels.pack(
            flat, np.array(strides), form.elements, packed, groups, channels, out_channels, blocks, form.shape.block,
            form.weights // groups, counter,
        )  # fmt: skip

    threads.together(work, min(threads.count(), groups * blocks))
    return packed
