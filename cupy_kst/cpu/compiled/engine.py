"""What the NumPy engine calls: weights packed in the order of a form, and the products of a form by several threads."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, lru_cache
from importlib.util import find_spec
from math import ceil, prod
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ...methods import Operation
from . import threads
from .plan import Plan, Shape, reads
from .plan import plan as plan_of

Array = NDArray[Any]

# What a packed weight keeps: one per geometry, and one per division of the filter into classes.
_MOST_CALLS, _MOST_FORMS = 64, 4
# Filter elements whose gradients are summed at once, for each channel of the small map, and positions until these sums
# are put aside.
_SUMMED_TAPS, _SUMMED = 144, 256
# Blocks of the small map's channels share the copy of the large map, but not so many that threads have no work.
_LEAST_TASKS = 8
# Bytes of a call that a thread keeps for the next one, of each element type.
_MOST_HELD = 4 << 20
# Numbers of a thread's inputs, and about as many positions of a row as are made at once.
_MOST_BUFFERED, _LINE = 4 << 20, 64
# Products that take less time than waking a thread.
_ALONE_MACS = 1 << 21

_memory = local()


@cache
def problem() -> str:
    """Return why nothing can be compiled, or ``""``: found out once, since Numba is slow to import."""
    if find_spec("numba") is None:
        return "Numba is not installed: pip install 'cupy_kst[fast]'"
    try:
        from numba import config

        from . import kernels  # noqa: F401
    except Exception as error:  # another NumPy than it was built for, no folder for its cache, and so on
        warnings.warn(f"Numba is installed, but does not work here: {error}", RuntimeWarning, stacklevel=2)
        return f"Numba does not work here: {error}"
    return "Numba is told by NUMBA_DISABLE_JIT not to compile" if config.DISABLE_JIT else ""


def available(dtype: Any) -> bool:
    """Return whether Numba works here and the element type is one that is compiled."""
    return np.dtype(dtype) in (np.float32, np.float64) and not problem()


@lru_cache(maxsize=1024)
def suits(geometry: Geometry, operation: Operation) -> bool:
    """Return whether the inputs of a few positions, with all that lies between their taps, fit a thread's memory."""
    transposed = operation == "conv_transpose"
    axes = reads(_turned(geometry, transposed))
    channels = (geometry.small_channels if transposed else geometry.large_channels) // geometry.groups
    if operation == "conv_weight":
        channels = min(channels, _SUMMED_TAPS)
    *outer, width = axes
    lines = channels * prod(len(axis.phases) for axis in axes) * prod(1 + axis.halo for axis in outer)
    return lines * (_LINE + width.halo) <= _MOST_BUFFERED


class Packed:
    """A weight in the order in which microkernels read it, for each form that calls have asked for.

    Calls from several threads are safe.
    """

    def __init__(self, weight: Array) -> None:
        self._weight = weight
        self._packed: dict[Any, Array] = {}
        self._calls: dict[Geometry, _Call] = {}
        self._lock = Lock()

    def call(self, geometry: Geometry) -> _Call:
        """Return what calls of a geometry have in common."""
        call = self._calls.get(geometry)
        return self._settle(geometry) if call is None else call

    def _settle(self, geometry: Geometry) -> _Call:
        itemsize = self._weight.itemsize
        kind = _choose(geometry, itemsize)
        shape = _shape(kind, itemsize)
        plan = plan_of(geometry, shape, itemsize, 4 * shape.lanes)
        # Inputs of other sizes read the same elements in the same order.
        key = (plan.shape, geometry.transposed, plan.elements.tobytes())
        with self._lock:
            packed = self._packed.get(key)
            if packed is None:
                if len(self._packed) >= _MOST_FORMS:
                    self._packed.clear()
                    self._calls.clear()
                packed = self._packed[key] = _pack(geometry, self._weight, plan)
            if len(self._calls) >= _MOST_CALLS:
                self._calls.clear()
            call = self._calls[geometry] = _Call(kind, plan, packed)
        return call


class _Call(NamedTuple):
    kind: int
    plan: Plan
    weights: Array


def pack(weight: Array) -> Packed:
    """Return a weight of shape ``(groups, small_channels, large_channels, *kernel)`` for many calls.

    It is packed when a call asks for it, and not copied until then.
    """
    return Packed(weight)


def conv_transpose(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution of `input` to `out`."""
    convolve(_turned(geometry, True), input, weight, bias, out)


def conv(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> None:
    """Write the convolution of `input` to `out`."""
    convolve(_turned(geometry, False), input, weight, bias, out)


@lru_cache(maxsize=256)
def _turned(geometry: Geometry, transposed: bool) -> Geometry:
    """Return the geometry of an operation: a gradient has that of the other one."""
    return replace(geometry, transposed=transposed)


def convolve(geometry: Geometry, input: Array, weight: Packed, bias: Array | None, out: Array) -> None:
    """Write the operation of a geometry to `out`."""
    from . import kernels

    kind, plan, packed = weight.call(geometry)
    biases = _read_only(np.zeros(geometry.out_channels, input.dtype) if bias is None else bias)
    counter = np.zeros(1, np.int64)
    source, flat = _read_only(input), out.reshape(-1)

    def work() -> None:
        buffer, sums = _scratch(input.dtype, plan.buffer, plan.sums)
        kernels.run(
            kind, plan.shape.lanes, plan.shape.block, source, packed, biases, flat, plan.numbers, plan.axes,
            plan.phases, plan.boxes, plan.places, plan.rows, plan.classes, plan.offsets, buffer, sums, counter,
            plan.tasks,
        )  # fmt: skip

    several = plan.macs > _ALONE_MACS
    threads.together(work, min(threads.count(), plan.tasks) if several else 1)


def correlate(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`: each channel of the small map with each of the large one, per tap.

    Lanes hold channels of the small map: with few of them in a group most lanes idle.
    """
    from . import kernels
    from .correlation import correlate as run

    if geometry.samples == 0:
        out[...] = 0
        return
    shape = _shape(kernels.CHANNELS[0], small.itemsize)
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    rows, columns = geometry.small_channels // groups, geometry.large_channels // groups
    held = min(columns, max(1, _SUMMED_TAPS // taps))
    # The boxes of a convolution that reads so many channels of the large map.
    plan = plan_of(replace(geometry, transposed=False, large_channels=held * groups), shape, small.itemsize, _SUMMED)
    width, pitch = shape.block, int(plan.numbers[9])
    blocks, parts = ceil(rows / width), ceil(columns / held)
    stack = max(1, min(4, blocks, groups * blocks * parts // _LEAST_TASKS))
    scratch = width * ((stack + 1) * (held * taps + shape.lanes) + 2 * pitch)
    counter = np.zeros(1, np.int64)
    left, right, flat = _read_only(small), _read_only(large), out.reshape(-1)

    def work() -> None:
        buffer, sums = _scratch(small.dtype, plan.buffer, scratch)
        run(
            left, right, flat, shape.lanes, width, stack, rows, columns, held, taps, plan.numbers, plan.axes,
            plan.phases, plan.boxes, plan.places, plan.offsets, buffer, sums, counter,
        )  # fmt: skip

    tasks = groups * ceil(blocks / stack) * parts
    several = rows * columns * geometry.met_taps * groups * geometry.samples > _ALONE_MACS
    threads.together(work, min(threads.count(), tasks) if several else 1)


def _choose(geometry: Geometry, itemsize: int) -> int:
    """Return the form of a call, as `kernels.run` knows it."""
    from . import kernels
    from .microkernel import vector_bytes

    lanes = vector_bytes() // itemsize
    out_channels = geometry.out_channels // geometry.groups
    if out_channels == 1:
        return kernels.ONE[0]
    if out_channels <= kernels.FEW[1][0]:
        return kernels.FEW[0]
    # Rows that do not fill a vector leave lanes idle, whereas many channels fill several.
    narrow = reads(geometry)[2].positions < lanes and out_channels >= kernels.CHANNELS[1][1] * lanes
    return kernels.CHANNELS[0] if narrow else kernels.WIDE[0]


def _shape(kind: int, itemsize: int) -> Shape:
    from . import kernels
    from .microkernel import vector_bytes

    tile = dict([kernels.WIDE, kernels.FEW, kernels.ONE, kernels.CHANNELS])[kind]
    return Shape(kind != kernels.CHANNELS[0], *tile, vector_bytes() // itemsize)


def _read_only(array: Array) -> Array:
    """Return the numbers of an array: Numba compiles once for inputs that may be written to and for others."""
    flat = array.reshape(-1)
    flat.flags.writeable = False
    return flat


def _scratch(dtype: Any, *sizes: int) -> list[Array]:
    """Return memory of this thread, the same for every call that is not larger."""
    if sum(sizes) * dtype.itemsize > _MOST_HELD:
        return [np.empty(size, dtype) for size in sizes]
    held: dict[Any, list[Array]] = _memory.__dict__
    arrays = held.setdefault(dtype.char, [np.empty(0, dtype)] * len(sizes))
    for i, size in enumerate(sizes):
        if arrays[i].size < size:
            arrays[i] = np.empty(size, dtype)
    return arrays


def _pack(geometry: Geometry, weight: Array, plan: Plan) -> Array:
    from . import kernels

    weight = np.ascontiguousarray(weight)
    strides = np.array(weight.strides, np.int64) // weight.itemsize
    if not geometry.transposed:
        strides[[1, 2]] = strides[[2, 1]]
    groups = geometry.groups
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    packed = np.empty(plan.weights, weight.dtype)
    counter = np.zeros(1, np.int64)
    blocks = ceil(out_channels / plan.shape.block)
    flat = _read_only(weight)

    def work() -> None:
        kernels.pack(
            flat, strides, plan.elements, packed, groups, channels, out_channels, blocks, plan.shape.block,
            plan.weights // groups, counter,
        )  # fmt: skip

    threads.together(work, min(threads.count(), groups * blocks))
    return _read_only(packed)
