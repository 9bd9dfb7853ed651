"""Transposed convolution of a weight as it lies: one matrix product of all taps, whose results are added where they
land.

No weight is packed beforehand, and no product is wasted on a tile that output channels do not fill: the rows of the
product are all filter elements of all output channels. Its columns are the inputs of a part of the map, which stay in
the second cache; panels of up to ROWS_NC rows of the weight are packed, ROWS_KC channels deep, and multiplied while
they are there. Then each output channel of the part is made by adding the lines of its taps, shifted, which is col2im
without a column matrix in main memory.

Where a map has too few positions to fill a vector, vectors hold rows of the weight, and positions are broadcast.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..atomics import fetch_add
from ..cache import inlined, inner
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..isa import CHANNELS, ROWS_KC, ROWS_NC, WIDE, blocking
from ..microkernel import micro_kernel, sizes
from ..operands import EvenInputs
from ..transpose import transpose_lines
from ..vector_ops import clear, copy, prefetch
from .plan import TASK
from .scatter import scatter

# MR rows of the product by vectors of positions, or MR positions by vectors of rows.
MR, VECTORS = blocking().tiles[WIDE]
FEW_MR, FEW_VECTORS = blocking().tiles[CHANNELS]
_KC, _NC = ROWS_KC, ROWS_NC
_multiply = micro_kernel(sizes((MR, VECTORS), True), EvenInputs(), positions_in_lanes=True)
_multiply_few = micro_kernel(sizes((FEW_MR, FEW_VECTORS), False), EvenInputs(), positions_in_lanes=False, prefetch=True)
_unpack = unpacker(TASK)


@inner
def _pack_panel(weight, first, row_pitch, channels, rows, width, scratch, panel, panel_pitch):
    """Copy rows of some channels, each channel's a line of the weight, block by block of `width` rows."""
    # A panel has block after block, and a block channel after channel: the order in which the micro-kernel reads it.
    whole = rows // width
    rest = rows - whole * width
    for c in range(channels):
        start, to = first + c * row_pitch, panel + c * width
        # Lines are too far apart for processors to foresee the next ones.
        prefetch(weight, start + 2 * row_pitch, rows)
        for block in range(whole):
            copy(weight, start + block * width, scratch, to + block * panel_pitch, width)
        if rest:
            to += whole * panel_pitch
            copy(weight, start + whole * width, scratch, to, rest)
            clear(scratch, to + rest, width - rest)


@inlined
def _multiply_positions(task, weight, first, rows, vectors, scratch):
    """Set lines of sums to the products of `rows` rows of the weight with vectors of positions."""
    lanes, depth, pitch = task.lanes, task.channels, task.pitch
    row_pitch, panel, sums = task.out_channels * task.kernel, task.panel_at, task.sums_at
    tiles, most = (vectors + VECTORS - 1) // VECTORS, _NC // MR * MR
    # The outer loop is over channels, the inner one over rows of the weight. A panel is packed once, and meets all
    # positions of the part.
    for c in range(0, depth, _KC):
        deep = min(_KC, depth - c)
        # Behind each block is room for a vector, since blocks a power of two apart would share sets of the first cache.
        block = deep * MR + lanes
        for r in range(0, rows, most):
            some = min(most, rows - r)
            _pack_panel(weight, first + c * row_pitch + r, row_pitch, deep, some, MR, scratch, panel, block)
            for m in range(r, r + some, MR):
                at, done = panel + (m - r) // MR * block, 0
                for tile in range(tiles):
                    # Tiles are as even as can be. `_gather` has laid out the inputs by the same tiles.
                    now = vectors * (tile + 1) // tiles - done
                    wide, to = now * lanes, sums + m * pitch + done * lanes
                    # Inputs lie tile by tile, at the beginning of the scratch memory.
                    inputs = scratch, done * lanes * depth + c * wide, wide
                    _multiply(now, inputs, (scratch, at), (scratch, to, pitch), deep, c > 0)
                    done += now


@inlined
def _multiply_rows(task, source, start, positions, weight, first, rows, scratch):
    """Do the same for few positions, with rows in lanes; inputs are read where they lie, and sums are transposed."""
    lanes, depth, pitch, channel_pitch = task.lanes, task.channels, task.pitch, task.map_size
    row_pitch, panel, sums, stage = task.out_channels * task.kernel, task.panel_at, task.sums_at, task.stage_at
    tiles, width = (positions + FEW_MR - 1) // FEW_MR, FEW_VECTORS * lanes
    # A line of the stage has the sums of all rows at one position, in whole tiles.
    stage_pitch = (rows + width - 1) // width * width
    # Rows are packed by whole blocks, since the sums of a block that is not full would reach over those of the next
    # rows.
    most = _NC // width * width
    for c in range(0, depth, _KC):
        deep = min(_KC, depth - c)
        block = deep * width + lanes
        for r in range(0, rows, most):
            some = min(most, rows - r)
            _pack_panel(weight, first + c * row_pitch + r, row_pitch, deep, some, width, scratch, panel, block)
            for m in range(r, r + some, width):
                at, done = panel + (m - r) // width * block, 0
                for tile in range(tiles):
                    now = positions * (tile + 1) // tiles - done
                    inputs = source, start + c * channel_pitch + done, channel_pitch
                    to = scratch, stage + done * stage_pitch + m, stage_pitch
                    _multiply_few(now, inputs, (scratch, at), to, deep, c > 0)
                    done += now
    transpose_lines(scratch, stage, stage_pitch, sums, pitch, positions, rows, lanes)


@inner
def _gather(task, source, start, lines, width, vectors, scratch):
    """Copy the inputs of a part, tile of vectors by tile, with zeros around its rows."""
    lanes, channels, channel_pitch = task.lanes, task.channels, task.map_size
    left, gap, stage = task.left, task.gap, task.stage_at
    tiles = (vectors + VECTORS - 1) // VECTORS
    clear(scratch, stage, vectors * lanes)
    for c in range(channels):
        at = start + c * channel_pitch
        # Without zeros around its rows, a part is one run of the map.
        if gap == 0:
            copy(source, at, scratch, stage, lines * width)
        else:
            for h in range(lines):
                copy(source, at + h * width, scratch, stage + left + h * (width + gap), width)
        # A tile's inputs of all channels lie together, so that the micro-kernel reads them one behind the other.
        done = 0
        for tile in range(tiles):
            now = vectors * (tile + 1) // tiles - done
            copy(scratch, stage + done * lanes, scratch, (done * channels + c * now) * lanes, now * lanes)
            done += now


@inner
def _make_exact(task, rows, lines, width, scratch):
    """Set to zero what weights that are not finite made of the zeros around the rows of the input."""
    pitch, left, gap, sums = task.pitch, task.left, task.gap, task.sums_at
    for m in range(rows):
        at = sums + m * pitch
        # In front of the products of the part's first row, or behind them, is one that is made of zeros alone.
        zero = at if left else at + width
        # It is a sum of products with zero, and NaN if one of the weights is not finite.
        if scratch[zero] != 0:
            clear(scratch, at, left)
            for h in range(lines):
                clear(scratch, at + left + h * (width + gap) + width, gap)


def gemm_col2im(tasks, thread):
    """Do tasks, some output channels in a part of one sample's map each, until none is left."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    scratch = array_at(task.scratch + thread * task.scratch_bytes, task.element)
    source, weight, bias, axes, parts = arrays.source, arrays.weight, arrays.bias, arrays.axes, arrays.parts
    groups, channels, out_channels, kernel = task.groups, task.channels, task.out_channels, task.kernel
    shares, few, pitch, left, gap = task.shares, task.few, task.pitch, task.left, task.gap
    lanes, sums, size, last, of_parts = task.lanes, task.sums_at, task.map_size, task.tasks, task.parts_count
    outputs = axes[0].large * axes[1].large * axes[2].large
    height, line = axes[1].small, axes[2].small
    row_pitch = out_channels * kernel
    gathered = -1
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        share, part = number % shares, parts[number // shares % of_parts]
        sample_group = number // shares // of_parts
        group = sample_group % groups
        depth, rows, columns = part.depth, part.height, part.width
        at = sample_group * channels * size
        at += (depth.first_input * height + rows.first_input) * line + columns.first_input
        # Only the first axis that is longer than 1 is divided, so that the rows of a part follow each other in the map.
        lines = (depth.end_input - depth.first_input) * (rows.end_input - rows.first_input)
        width = columns.end_input - columns.first_input
        positions = left + lines * (width + gap)
        vectors = (positions + lanes - 1) // lanes
        first = share * out_channels // shares
        count = (share + 1) * out_channels // shares - first
        row = group * channels * row_pitch + first * kernel
        if few:
            _multiply_rows(task, source, at, positions, weight, row, count * kernel, scratch)
        else:
            # Shares of the output channels in one part follow each other, so that mostly the thread has its inputs.
            if number // shares != gathered:
                gathered = number // shares
                _gather(task, source, at, lines, width, vectors, scratch)
            _multiply_positions(task, weight, row, count * kernel, vectors, scratch)
            if gap:
                _make_exact(task, count * kernel, lines, width, scratch)
        for m in range(count):
            number_of_bias = bias[group * out_channels + first + m]
            to = (sample_group * out_channels + first + m) * outputs
            scatter(task, arrays, part, sums + m * kernel * pitch, number_of_bias, to, scratch)


RUN = EntryPoint(TASK, gemm_col2im)
