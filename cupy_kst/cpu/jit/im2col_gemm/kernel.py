"""Convolution of small maps by a weight as it lies: columns of inputs that fill vectors, whatever the maps' rows are.

A row of the weight is all that an output channel multiplies, so the matrix product takes rows where they lie, and packs
nothing. Its other matrix has a column for each output of some samples and a line for each tap of some channels. The
columns stay in the second cache while all output channels are made of them, the lines of KC taps in the first.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..atomics import fetch_add
from ..cache import inlined, inner
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..isa import ROWS_KC, WIDE, blocking
from ..microkernel import micro_kernel, sizes
from ..operands import EvenInputs, RowWeights
from ..vector_ops import add, clear, copy
from .plan import TASK

MR, VECTORS = blocking().tiles[WIDE]
_KC = ROWS_KC
_multiply = micro_kernel(sizes((MR, VECTORS), True), EvenInputs(), RowWeights(), positions_in_lanes=True)
_unpack = unpacker(TASK)


@inner
def _gather(task, arrays, start, samples, channels, scratch, width):
    """Set a line for each channel and tap to the inputs of all samples' outputs.

    The scratch memory begins with room for one map, behind a zero, which is the input of taps beyond the border.
    """
    source, inputs = arrays.source, arrays.inputs
    size, kernel, outputs, pitch = task.size, task.kernel, task.outputs, task.pitch
    columns, sample_stride = task.columns_at, task.groups * task.channels * task.size
    scratch[0] = 0
    for c in range(channels):
        for e in range(kernel):
            line = columns + (c * kernel + e) * pitch
            # The memory may hold denormal numbers from before, which are slow to multiply.
            clear(scratch, line + samples * outputs, width - samples * outputs)
        for n in range(samples):
            # Copied behind a zero, the map has a place for all inputs, for those beyond the border as well, and a table
            # tells it.
            copy(source, start + n * sample_stride + c * size, scratch, 1, size)
            for e in range(kernel):
                line = columns + (c * kernel + e) * pitch + n * outputs
                for p in range(outputs):
                    scratch[line + p] = scratch[inputs[e * outputs + p]]


@inlined
def _multiply_columns(task, weight, first, rows, vectors, depth, scratch, resume):
    """Add to `rows` lines of sums the products of rows of the weight and all columns."""
    lanes, pitch, row_pitch = task.lanes, task.pitch, task.channels * task.kernel
    columns, sums = task.columns_at, task.sums_at
    tiles = (vectors + VECTORS - 1) // VECTORS
    # The loops go over chains, then tiles, then rows: a tile's KC lines stay in the first cache while all rows meet
    # them.
    for k in range(0, depth, _KC):
        deep, again, done = min(_KC, depth - k), resume or k > 0, 0
        for tile in range(tiles):
            now = vectors * (tile + 1) // tiles - done
            inputs = scratch, columns + k * pitch + done * lanes, pitch
            for m in range(0, rows, MR):
                # The last block may have fewer rows than MR, but it has room for the sums of MR.
                at = weight, first + m * row_pitch + k, row_pitch, min(MR, rows - m)
                _multiply(now, inputs, at, (scratch, sums + m * pitch + done * lanes, pitch), deep, again)
            done += now


def im2col_gemm(tasks, thread):
    """Do tasks, some output channels of some samples each, until none is left."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    scratch = array_at(task.scratch + thread * task.scratch_bytes, task.element)
    bias, out = arrays.bias, arrays.out
    samples, groups, channels, out_channels = task.samples, task.groups, task.channels, task.out_channels
    size, kernel, outputs, batch, parts = task.size, task.kernel, task.outputs, task.batch, task.parts
    cached, pitch, sums, lanes = task.channels_at_once, task.pitch, task.sums_at, task.lanes
    row_pitch, last = channels * kernel, task.tasks
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        part, group, n = number % parts, number // parts % groups, number // parts // groups * batch
        some = min(batch, samples - n)
        first = part * out_channels // parts
        rows = (part + 1) * out_channels // parts - first
        vectors = (some * outputs + lanes - 1) // lanes
        # Channels are taken as many at a time as have columns in the second cache. Their sums are added up.
        for c in range(0, channels, cached):
            now = min(cached, channels - c)
            _gather(task, arrays, ((n * groups + group) * channels + c) * size, some, now, scratch, vectors * lanes)
            at = (group * out_channels + first) * row_pitch + c * kernel
            _multiply_columns(task, arrays.weight, at, rows, vectors, now * kernel, scratch, c > 0)
        for m in range(rows):
            channel = group * out_channels + first + m
            for i in range(some):
                to = ((n + i) * groups * out_channels + channel) * outputs
                add(scratch, sums + m * pitch + i * outputs, bias[channel], out, to, outputs)


RUN = EntryPoint(TASK, im2col_gemm)
