"""Weights in the order in which microkernels read them, transposed by squares in registers."""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from ..cache import inner, whole
from ..implicit_gemm.kernel import turn
from ..tasks import take
from ..vector_ops import add_multiple, clear, copy, prefetch

# Numbers of an output channel that are transposed at once where more than one input channel's are side by side.
_RUN = 128
# Numbers of a line that are combined at once: the elements of a 4x4 filter stay in the first cache, or the second.
PART = 512


@inner
def _pack_few(weight, start, strides, places, firsts, steps, channels, full, width, packed, first):
    """Pack a block number by number: of few filter elements a square would be mostly empty."""
    for c in range(channels):
        row = start + c * strides[1]
        for e in range(places.size):
            source, to = row + places[e], first + firsts[e] + c * steps[e]
            for m in range(full):
                packed[to + m] = weight[source + m * strides[2]]
            clear(packed, to + full, width - full)


@inner
def _pack_squares(
    weight, start, strides, kernel, places, firsts, steps, channels, full, width, packed, first, lanes, scratch, turned
):  # fmt: skip
    """Pack a block: `scratch` has room for a run of all of its output channels, and at `turned` for as many again."""
    # Of one input channel all output channels are side by side, or all input channels of one output channel.
    outputs_beside = strides[2] == kernel
    held = 1 if outputs_beside else max(1, _RUN // kernel)
    pitch = (width + lanes - 1) // lanes * lanes
    for c in range(0, channels, held):
        run = min(held, channels - c) * kernel
        row = start + c * strides[1]
        if outputs_beside:
            prefetch(weight, row + strides[1], full * kernel)
            copy(weight, row, scratch, 0, full * kernel)
        else:
            for m in range(full):
                prefetch(weight, row + m * strides[2] + run, run)
                copy(weight, row + m * strides[2], scratch, m * run, run)
        # Never written to an output, but what memory held may be slow to multiply.
        clear(scratch, full * run, (width - full) * run)
        turn(scratch, 0, run, turned, pitch, width, run, lanes)
        for i in range(0, run, kernel):
            for e in range(places.size):
                to = first + firsts[e] + (c + i // kernel) * steps[e]
                copy(scratch, turned + (i + places[e]) * pitch, packed, to, width)


@whole
def pack(
    weight, strides, elements, packed, groups, channels, out_channels, blocks, width, of_group, kernel, lanes, counter
):  # fmt: skip
    """Lay out the weights in the order in which the microkernels read them, zeros where a block is not full.

    `strides` are the weight's of group, input channel, output channel and filter element, by axes.
    """
    tasks, count = groups * blocks, elements.shape[0]
    # Of each filter element: its place in the weight, in the packed weight, and how far channels are apart there.
    places, firsts, steps = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    for e in range(count):
        places[e] = elements[e, 0] * strides[3] + elements[e, 1] * strides[4] + elements[e, 2] * strides[5]
        firsts[e] = (elements[e, 3] + elements[e, 5]) * width
        steps[e] = elements[e, 4] * width
    few = strides[2] == kernel and 4 * kernel * min(width, lanes) < lanes * lanes
    # In whole squares.
    turned = 0 if few else (max(kernel, _RUN) + lanes) * (width + 2 * lanes)
    scratch = np.empty(2 * turned, weight.dtype)
    while True:
        task = take(counter)
        if task >= tasks:
            return
        group, block = task // blocks, task % blocks
        full = min(width, out_channels - block * width)
        start = group * strides[0] + block * width * strides[2]
        first = task * (of_group // blocks)
        if few:
            _pack_few(weight, start, strides, places, firsts, steps, channels, full, width, packed, first)
        else:
            _pack_squares(
                weight, start, strides, kernel, places, firsts, steps, channels, full, width, packed, first, lanes,
                scratch, turned,
            )  # fmt: skip


@whole
def combine(packed, elements, ends, combined, blocks, kernel, size, counter):
    """Set the weights of products for each block of output channels: lines of `size` numbers, sums of elements' lines.

    Each product has filter elements of its own, of `kernel`, with signs, which end in the table where `ends` says.
    """
    products = ends.size
    # Lines are combined in parts that stay in a cache while all elements are added.
    parts = (size + PART - 1) // PART
    while True:
        task = take(counter)
        if task >= blocks * parts:
            return
        block, first = task // parts, task % parts * PART
        some = min(PART, size - first)
        for p in range(products):
            to = (block * products + p) * size + first
            clear(combined, to, some)
            for e in range(ends[p - 1] if p else 0, ends[p]):
                line = (block * kernel + elements[e, 0]) * size + first
                add_multiple(packed, line, packed.dtype.type(elements[e, 1]), combined, to, some)
