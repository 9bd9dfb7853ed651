"""Laying out weights in the order in which micro-kernels read them, transposed by squares in registers.

A task is a block of output channels. Lines of the weight are copied to scratch memory, transposed there, and copied on
to each filter element's place, so that both the weight and the packed one are read and written line by line.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..atomics import fetch_add
from ..cache import inner
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..transpose import transpose_lines
from ..vector_ops import add_multiple, clear, copy, prefetch
from .plan import COMBINE, PACK, PART

_PART = PART
_unpack_pack, _unpack_combine = unpacker(PACK), unpacker(COMBINE)


@inner
def _pack_few(task, arrays, start, full, first):
    """Pack a block number by number: of few filter elements a square would be mostly empty."""
    weight, packed, elements = arrays.weight, arrays.packed, arrays.elements
    count, block, in_stride, out_stride = task.elements_count, task.block, task.in_stride, task.out_stride
    for c in range(task.channels):
        row = start + c * in_stride
        for e in range(count):
            source, to = row + elements[e].source, first + elements[e].first + c * elements[e].step
            for m in range(full):
                packed[to + m] = weight[source + m * out_stride]
            clear(packed, to + full, block - full)


@inner
def _pack_squares(task, arrays, start, full, first, scratch):
    """Pack a block: the scratch memory has a run of all of its output channels, and the same transposed."""
    weight, packed, elements = arrays.weight, arrays.packed, arrays.elements
    count, block, lanes, kernel, channels = task.elements_count, task.block, task.lanes, task.kernel, task.channels
    in_stride, out_stride, batch, transposed = task.in_stride, task.out_stride, task.run, task.transposed_at
    pitch = (block + lanes - 1) // lanes * lanes
    for c in range(0, channels, batch):
        run = min(batch, channels - c) * kernel
        row = start + c * in_stride
        # The weight of a transposed convolution has the filters of neighbouring output channels side by side.
        if out_stride == kernel:
            prefetch(weight, row + in_stride, full * kernel)
            copy(weight, row, scratch, 0, full * kernel)
        else:
            for m in range(full):
                prefetch(weight, row + m * out_stride + run, run)
                copy(weight, row + m * out_stride, scratch, m * run, run)
        # The other channels of the block are set to zero. They reach no output, but denormal numbers would be slow to
        # multiply.
        clear(scratch, full * run, (block - full) * run)
        transpose_lines(scratch, 0, run, transposed, pitch, block, run, lanes)
        # A line of the transposed run is one filter element of all output channels of the block.
        for i in range(0, run, kernel):
            for e in range(count):
                to = first + elements[e].first + (c + i // kernel) * elements[e].step
                copy(scratch, transposed + (i + elements[e].source) * pitch, packed, to, block)


def pack(tasks, thread):
    """Do tasks, a block of output channels each, until none is left."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack_pack(task)
    scratch = array_at(task.scratch + thread * task.scratch_bytes, task.element)
    blocks, block_size, out_channels, last = task.blocks, task.block, task.out_channels, task.tasks
    group_stride, out_stride, block_weights, few = task.group_stride, task.out_stride, task.block_weights, task.few
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        group, block = number // blocks, number % blocks
        full = min(block_size, out_channels - block * block_size)
        start = group * group_stride + block * block_size * out_stride
        if few:
            _pack_few(task, arrays, start, full, number * block_weights)
        else:
            _pack_squares(task, arrays, start, full, number * block_weights, scratch)


def combine(tasks, thread):
    """Set the transformed weights of products: signed sums of lines, each of a filter element in a block.

    A line is combined part by part, so that a part stays in a cache while all elements are added to it.
    """
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack_combine(task)
    packed, combined, elements, ends = arrays.packed, arrays.combined, arrays.elements, arrays.ends
    products, kernel, line, last = task.products, task.kernel, task.line, task.tasks
    one = task.element + 1
    parts = (line + _PART - 1) // _PART
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        block, first = number // parts, number % parts * _PART
        some = min(_PART, line - first)
        begin = 0
        for p in range(products):
            to = (block * products + p) * line + first
            clear(combined, to, some)
            end = ends[p]
            for e in range(begin, end):
                at = (block * kernel + elements[e].element) * line + first
                add_multiple(packed, at, one if elements[e].sign > 0 else -one, combined, to, some)
            begin = end


RUN_PACK, RUN_COMBINE = EntryPoint(PACK, pack), EntryPoint(COMBINE, combine)
