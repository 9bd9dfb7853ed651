"""What the NumPy engine calls: weights packed in the order of a form, and the products of a form by several threads."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from math import ceil, prod
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ...methods import Operation
from . import threads
from .dense_plan import dense_plan, is_small
from .fold_plan import Rows, fold_plan
from .plan import Plan, Shape, idle_lanes, reads
from .plan import plan as plan_of

Array = NDArray[Any]

# What a packed weight keeps: one per geometry, and one per division of the filter into classes.
_MOST_CALLS, _MOST_FORMS = 64, 4
# Filter elements whose gradients are summed at once, for each channel of the small map, and positions until these sums
# are put aside, in small maps and in large ones.
_SUMMED_TAPS, _SUMMED, _MOST_SUMMED = 576, 256, 512
# Inputs of these from the large map, which share the second cache with the sums.
_HELD_BYTES = 256 << 10
# Blocks of the small map's channels share the copy of the large map, but not so many that threads have no work.
_LEAST_TASKS = 8
# Bytes of the gradients of parts of the maps, which are added up where channels make too few tasks.
_SHARES_BYTES = 1 << 20
# Products that take longer than adding up their gradients.
_SHARE_MACS = 1 << 18
# Bytes of a call that a thread keeps for the next one, and those of two cache lines.
_MOST_HELD, _LINES_BYTES = 16 << 20, 128
# The first word of a record that is its function's.
_ARGUMENTS = 5
# Numbers of a thread's inputs, and about as many positions of a row as are made at once.
_MOST_BUFFERED, _LINE = 4 << 20, 64
# Numbers of a thread's inputs, or of all its scratch memory, that maps may be smaller than.
_LEAST_BUFFERED = 1 << 18
# Products that take less time than waking a thread.
_ALONE_MACS = 1 << 19
# As many products take as long as packing an element of the weight.
_ALONE_WEIGHTS = 16

# As many products as lanes of a vector has take as long as gathering an input.
_GATHERED = 40

_memory = local()


@cache
def problem() -> str:
    """Return why nothing can be compiled, or ``""``: found out once, since Numba is slow to import."""
    if find_spec("numba") is None:
        return "Numba is not installed: pip install 'cupy_kst[fast]'"
    try:
        from numba import config

        import_module(f"{__package__}.kernels")
    except Exception as error:  # another NumPy than it was built for, no folder for its cache, and so on
        # Numba says that it finds no folder, but not how to name one.
        way_out = "; set NUMBA_CACHE_DIR to a folder that can be written" if "cannot cache" in str(error) else ""
        warnings.warn(f"Numba is installed, but does not work here: {error}{way_out}", RuntimeWarning, stacklevel=2)
        return f"Numba does not work here: {error}{way_out}"
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
    larger = max(prod(geometry.full_small_shape), prod(geometry.full_large_shape))
    return lines * (min(_LINE, width.positions) + width.halo) <= min(_MOST_BUFFERED, max(_LEAST_BUFFERED, larger))


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
        frame = _frame(geometry, _choose(geometry, itemsize), self._weight.dtype.char)
        plan = frame.plan
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
            call = self._calls[geometry] = _Call(frame, packed, address(packed))
        return call


class _Frame(NamedTuple):
    """What calls of a geometry have in common: `record` lacks the arrays and the scratch memory, `scratch` is bytes."""

    plan: Any
    zeros: Array
    record: Array
    scratch: int


class _Call(NamedTuple):
    """What calls of a geometry by a weight have in common; `place` is where `weights` are in memory."""

    frame: _Frame
    weights: Array
    place: int


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
    call = weight.call(geometry)
    _convolve(call.frame, input, call.place, bias, out)


def conv_rows(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution of `input` by a weight as it lies to `out`: its rows are of an output channel each."""
    geometry, char = _turned(geometry, False), input.dtype.char
    if fills_few_lanes(geometry, input.itemsize):
        frame = _dense(geometry, char, threads.count())
    else:
        frame = _frame(geometry, _choose(geometry, input.itemsize, rows=True), char, rows=True)
    _convolve(frame, input, address(weight), bias, out)


@lru_cache(maxsize=256)
def _dense(geometry: Geometry, char: str, several: int) -> _Frame:
    from . import jobs
    from .microkernel import vector_bytes

    zeros = np.zeros(geometry.small_channels, char)
    lanes = vector_bytes() // zeros.itemsize
    plan = dense_plan(geometry, lanes, several)
    words = [0, 0, address(zeros), 0, *map(address, (plan.numbers, plan.inputs)), lanes]
    return _Frame(plan, zeros, jobs.record("dense", char, words), _lines(plan.scratch * zeros.itemsize))


@lru_cache(maxsize=1024)
def fills_few_lanes(geometry: Geometry, itemsize: int) -> bool:
    """Return whether gathering columns takes less time than lanes that idle at the ends of a convolution's rows."""
    from .microkernel import vector_bytes

    lanes = vector_bytes() // itemsize
    if not is_small(geometry, lanes):
        return False
    return geometry.small_channels // geometry.groups * (idle_lanes(geometry, lanes) - 1) > _GATHERED


def _convolve(frame: _Frame, input: Array, weight: int, bias: Array | None, out: Array) -> None:
    record = frame.record.copy()
    record[_ARGUMENTS] = address(input)
    record[_ARGUMENTS + 1] = weight
    if bias is not None:
        record[_ARGUMENTS + 2] = address(bias)
    record[_ARGUMENTS + 3] = address(out)
    _do(record, frame.scratch, frame.plan.tasks, frame.plan.macs)


@lru_cache(maxsize=256)
def _frame(geometry: Geometry, kind: int, char: str, rows: bool = False) -> _Frame:
    from . import jobs

    zeros = np.zeros(geometry.out_channels, char)
    itemsize, shape = zeros.itemsize, _shape(kind, zeros.itemsize)
    plan = plan_of(geometry, shape, itemsize, 4 * shape.lanes)
    buffer = _lines(plan.buffer * itemsize)
    words = [0, 0, address(zeros), 0]
    words += map(address, (plan.numbers, plan.axes, plan.phases, plan.boxes, plan.places, plan.rows))
    words += map(address, (plan.classes, plan.offsets))
    words += [len(plan.phases), len(plan.boxes), len(plan.rows), kind, plan.shape.lanes, plan.shape.block, buffer]
    pitch = prod(geometry.full_weight_shape[1:]) if rows else 0
    record = jobs.record("run", char, [*words, plan.tasks, pitch])
    return _Frame(plan, zeros, record, buffer + _lines(plan.sums * itemsize))


def fold(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution of `input` by a weight as it lies to `out`."""
    _convolve(_folding(geometry, input.dtype.char, threads.count()), input, address(weight), bias, out)


@lru_cache(maxsize=256)
def _folding(geometry: Geometry, char: str, several: int) -> _Frame:
    from . import jobs

    zeros = np.zeros(geometry.large_channels, char)
    shape = _rows(zeros.itemsize)
    plan = fold_plan(geometry, shape, zeros.itemsize, several)
    words = [0, 0, address(zeros), 0, *map(address, (plan.numbers, plan.axes, plan.parts, plan.classes, plan.taps))]
    record = jobs.record("fold", char, [*words, len(plan.parts), len(plan.classes), len(plan.taps), shape.lanes])
    return _Frame(plan, zeros, record, _lines(plan.scratch * zeros.itemsize))


@lru_cache(maxsize=1024)
def folds(geometry: Geometry) -> bool:
    """Return whether the sums of a few rows of positions fit a thread's memory."""
    plan = fold_plan(geometry, _rows(4), 4, threads.count())
    larger = max(prod(geometry.full_small_shape), prod(geometry.full_large_shape))
    return plan.scratch <= min(_MOST_BUFFERED, max(2 * _LEAST_BUFFERED, larger))


def _rows(itemsize: int) -> Rows:
    from . import folding
    from .microkernel import vector_bytes

    sizes = folding.ROWS, folding.VECTORS, folding.POSITIONS, folding.ROW_VECTORS, folding.DEPTH, folding.WIDE_ROWS
    return Rows(*sizes, vector_bytes() // itemsize)


def _do(record: Array, scratch: int, tasks: int, macs: float) -> None:
    """Do the work of a record, whose function takes so many tasks and so much scratch memory in each thread."""
    several = min(threads.count(), tasks) if macs > _ALONE_MACS else 1
    # Memory that no thread keeps lives until the work is done.
    held = _scratch(scratch * several)
    record[3], record[4] = held[1], scratch
    threads.together(record, several)


def address(array: Array) -> int:
    """Return where an array is in memory."""
    found: int = array.__array_interface__["data"][0]
    return found


def _lines(size: int) -> int:
    """Return bytes in whole pairs of cache lines."""
    return ceil(size / _LINES_BYTES) * _LINES_BYTES


def _aligned(memory: Array) -> int:
    """Return the address of the first whole line of memory that is one line longer."""
    return _lines(address(memory))


def correlate(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`: each channel of the small map with each of the large one, per tap.

    Lanes hold channels of the small map, or positions where there are few of them in a group.
    """
    if geometry.samples == 0:
        out[...] = 0
        return
    frame = _correlation(geometry, small.dtype.char)
    record = frame.record.copy()
    record[_ARGUMENTS] = address(small)
    record[_ARGUMENTS + 1] = address(large)
    shares = np.empty((frame.shares, *out.shape), out.dtype) if frame.shares > 1 else out
    record[_ARGUMENTS + 2] = address(shares)
    _do(record, frame.scratch, frame.tasks, frame.macs)
    if frame.shares > 1:
        # In their order, whichever thread made them.
        np.add.reduce(shares, axis=0, out=out)


class _Correlation(NamedTuple):
    """What gradients of a geometry have in common, as `_Frame` has it of its products."""

    tables: tuple[Plan, Array]
    record: Array
    scratch: int
    tasks: int
    shares: int
    macs: int


@lru_cache(maxsize=256)
def _correlation(geometry: Geometry, char: str) -> _Correlation:
    from . import few_correlation, jobs, kernels
    from .correlation import DEPTH, LINE, MOST_SUMMED

    itemsize = np.dtype(char).itemsize
    shape = _shape(kernels.CHANNELS[0], itemsize)
    groups, taps = geometry.groups, prod(axis.kernel for axis in geometry.axes)
    rows, columns = geometry.small_channels // groups, geometry.large_channels // groups
    axes = reads(_turned(geometry, False))
    # Boxes of fewer positions have more channels, but also more inputs that their neighbours have as well.
    positions = max(_SUMMED, prod(axis.positions for axis in axes)) if any(axis.halo for axis in axes) else _SUMMED
    channel = prod(len(axis.phases) for axis in axes) * min(_MOST_SUMMED, positions) * itemsize
    held = min(columns, max(1, min(_SUMMED_TAPS // taps, _HELD_BYTES // channel)))
    parts = ceil(columns / held)
    held = ceil(columns / parts)
    # The boxes of a convolution that reads so many channels of the large map.
    plan = plan_of(replace(geometry, transposed=False, large_channels=held * groups), shape, itemsize, _SUMMED)
    # Microkernels may read offsets behind the last one, but use no sums of these.
    offsets = np.append(plan.offsets, np.zeros(MOST_SUMMED, plan.offsets.dtype))
    buffer = _lines(plan.buffer * itemsize)
    macs = rows * columns * geometry.met_taps * groups * geometry.samples
    few = rows <= few_correlation.MOST
    blocks = 1 if few else ceil(rows / shape.block)
    most = min(len(plan.boxes), macs // _SHARE_MACS, _SHARES_BYTES // (prod(geometry.full_weight_shape) * itemsize))
    stack = max(1, min(4, blocks, groups * blocks * parts * max(1, most) // _LEAST_TASKS))
    tasks = groups * ceil(blocks / stack) * parts
    shares = max(1, min(ceil(_LEAST_TASKS / tasks), most))
    words = [0, 0, 0, *map(address, (plan.numbers, plan.axes, plan.phases, plan.boxes))]
    sizes = [len(plan.phases), len(plan.boxes), shape.lanes]
    if few:
        vectors = int((plan.boxes[:, 4:7].prod(axis=1) * -(-plan.boxes[:, 7] // shape.lanes)).max())
        words += [address(offsets), *sizes, vectors, rows, columns, held, taps, shares, buffer]
        sums = rows * (held * taps + MOST_SUMMED) * shape.lanes
    else:
        width = shape.block
        words += [*map(address, (plan.places, offsets)), *sizes, width, stack]
        words += [rows, columns, held, taps, buffer, shares]
        sums = width * ((stack + 1) * (held * taps + MOST_SUMMED + shape.lanes) + DEPTH) + shape.lanes * LINE
    record = jobs.record("correlate_few" if few else "correlate", char, words)
    return _Correlation((plan, offsets), record, buffer + _lines(sums * itemsize), shares * tasks, shares, macs)


def _choose(geometry: Geometry, itemsize: int, rows: bool = False) -> int:
    """Return the form of a call, as `kernels.run` knows it, or that of a weight whose rows are not packed."""
    from . import kernels
    from .microkernel import vector_bytes

    lanes = vector_bytes() // itemsize
    out_channels = geometry.out_channels // geometry.groups
    if out_channels == 1:
        return kernels.ONE[0]
    if out_channels <= kernels.FEW[1][0]:
        return kernels.FEW[0]
    # Rows that do not fill a vector leave lanes idle, whereas many channels fill several.
    narrow = not rows and reads(geometry)[2].positions < lanes and out_channels >= kernels.CHANNELS[1][1] * lanes
    return kernels.CHANNELS[0] if narrow else kernels.WIDE[0]


def _shape(kind: int, itemsize: int) -> Shape:
    from . import kernels
    from .microkernel import vector_bytes

    tile = dict([kernels.WIDE, kernels.FEW, kernels.ONE, kernels.CHANNELS])[kind]
    return Shape(kind != kernels.CHANNELS[0], *tile, vector_bytes() // itemsize)


def _scratch(size: int) -> tuple[Array, int]:
    """Return memory of this thread, the same for every call that does not need more, and where so many bytes begin."""
    held: tuple[Array, int] | None = getattr(_memory, "held", None)
    if held is None or held[0].size < size + _LINES_BYTES:
        memory = np.empty(size + _LINES_BYTES, np.uint8)
        held = memory, _aligned(memory)
        if size <= _MOST_HELD:
            _memory.held = held
    return held


def _pack(geometry: Geometry, weight: Array, plan: Plan) -> Array:
    from . import jobs

    weight = np.ascontiguousarray(weight)
    strides = np.array(weight.strides, np.int64) // weight.itemsize
    if not geometry.transposed:
        strides[[1, 2]] = strides[[2, 1]]
    groups = geometry.groups
    channels, out_channels = geometry.in_channels // groups, geometry.out_channels // groups
    # Vectors of weights that begin where a cache line does are read twice as fast.
    memory = np.empty(plan.weights * weight.itemsize + _LINES_BYTES, np.uint8)
    start = _aligned(memory) - address(memory)
    packed = memory[start : start + plan.weights * weight.itemsize].view(weight.dtype)
    blocks = ceil(out_channels / plan.shape.block)
    words = [*map(address, (weight, packed, strides, plan.elements)), len(plan.elements), groups, channels]
    words += [out_channels, blocks, plan.shape.block, plan.weights // groups]
    words += [prod(weight.shape[3:]), plan.shape.lanes]
    _do(jobs.record("pack", weight.dtype.char, words), 0, groups * blocks, _ALONE_WEIGHTS * weight.size)
    return packed
