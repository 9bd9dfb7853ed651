"""Convolution as a matrix product whose right-hand matrix is never built.

For each box of positions the inputs are copied once (`gather`). A tap of a class then is an offset in that copy: the
micro-kernel reads for each product a vector at ``place + offset``, so that all classes and taps are made of one copy in
the second cache, and nothing is gathered into columns. Sums of up to KC products stay in registers. Those of a block of
output channels stay in the first cache until the bias is added and they are written to the map.

A task is a part of the output channels in one box. Tasks of a box follow each other, and a thread that has copied it
does not copy it again.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..atomics import fetch_add
from ..cache import inlined
from ..channels_in_lanes import sum_by_channels
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..gather import gather
from ..isa import CHANNELS, FEW, KC, ONE, WIDE, blocking
from ..microkernel import micro_kernel, sizes
from ..operands import RowWeights, TableInputs
from ..transpose import transpose_lines
from ..vector_ops import add, add_pairs, add_strided
from .plan import TASK

_WIDE, _FEW, _ONE, _CHANNELS, _KC = WIDE, FEW, ONE, CHANNELS, KC
_TILES = blocking().tiles
_WIDE_VECTORS, _FEW_VECTORS, _ONE_VECTORS = (_TILES[filling][1] for filling in (WIDE, FEW, ONE))


def _kernel(filling, **weights):
    return micro_kernel(sizes(_TILES[filling], True), TableInputs(), positions_in_lanes=True, **weights)


_wide, _wide_rows = _kernel(WIDE), _kernel(WIDE, weights=RowWeights())
_few, _few_rows = _kernel(FEW), _kernel(FEW, weights=RowWeights())
# Places of one output channel are many: whole tiles, and one vector after the other for the rest.
_one = micro_kernel({count: (1, count) for count in (1, _ONE_VECTORS)}, TableInputs(), positions_in_lanes=True)
_unpack = unpacker(TASK)


@inlined
def _multiply_one(count, inputs, weights, sums, depth, resume, lanes):
    """Sum one output channel at `count` vectors of positions."""
    source, base, places, place, offsets, first = inputs
    numbers, to, pitch = sums
    done = 0
    while done < count:
        now = _ONE_VECTORS if count - done >= _ONE_VECTORS else 1
        at = source, base, places, place + done, offsets, first
        _one(now, at, weights, (numbers, to + done * lanes, pitch), depth, resume)
        done += now


@inlined
def _multiply_tile(filling, now, inputs, weights, sums, depth, resume, weight_pitch, rows, lanes):
    """Sum a block of output channels at `now` vectors of positions.

    The weight is packed, or with a `weight_pitch` its rows are so far apart, of which the block has `rows`.
    """
    numbers, base = weights
    if filling == _ONE:
        _multiply_one(now, inputs, weights, sums, depth, resume, lanes)
    # Compiled code has no variable that holds a function, so that a branch takes the tile. It is taken once for KC
    # products.
    elif weight_pitch:
        if filling == _WIDE:
            _wide_rows(now, inputs, (numbers, base, weight_pitch, rows), sums, depth, resume)
        else:
            _few_rows(now, inputs, (numbers, base, weight_pitch, rows), sums, depth, resume)
    elif filling == _WIDE:
        _wide(now, inputs, weights, sums, depth, resume)
    else:
        _few(now, inputs, weights, sums, depth, resume)


@inlined
def _sum_positions(task, tables, box, row, weight, of_block, some, count, buffer, sums):
    """Sum all classes of a row, of `some` blocks of output channels, with positions in lanes.

    The blocks have `count` channels. Each chain of KC products is made for all classes, blocks and tiles before the
    next one, so that the inputs of a tile stay in the first cache.
    """
    places, classes, offsets, numbers = tables
    filling, lanes, block_size, pitch = task.filling, task.lanes, task.block, task.weight_pitch
    per_row, batch, columns = task.classes_per_row, task.batch, task.columns
    first_place, vectors = box.first_place, box.places
    # With a `weight_pitch` the next product's weight is the next number of its row, else it is behind the weights of
    # the block's other channels.
    step = 1 if pitch else block_size
    most = _WIDE_VECTORS if filling == _WIDE else _FEW_VECTORS if filling == _FEW else vectors
    tiles = (vectors + most - 1) // most
    # Classes differ in their taps. One that has no more products is left out, and the others go on.
    deepest = 0
    for c in range(row, row + per_row):
        deepest = max(deepest, classes[c].products)
    begun = 0
    while begun < deepest or begun == 0:
        done = 0
        for tile in range(tiles):
            # Tiles are as even as can be: one of a single vector would wait for each sum before it adds to it.
            now = vectors * (tile + 1) // tiles - done
            for b in range(some):
                for c in range(per_row):
                    one = classes[row + c]
                    depth = min(_KC, one.products - begun)
                    # A class without any products has sums of zero, which become the bias.
                    if depth <= 0 and begun > 0:
                        continue
                    inputs = buffer, 0, places, first_place + done, offsets, one.first_offset + begun
                    weights = numbers, weight + b * of_block + (one.first_weight + begun) * step
                    # Sums lie class by class, then block by block, and channel by channel.
                    to = sums, (c * batch + b) * block_size * columns + done * lanes, columns
                    rows = min(block_size, count - b * block_size)
                    _multiply_tile(filling, now, inputs, weights, to, depth, begun > 0, pitch, rows, lanes)
            done += now
        begun += _KC


@inlined
def _sum_channels(task, tables, box, row, weight, buffer, sums):
    """Sum all classes of a row, of one block of output channels, with channels in lanes, then transpose the sums."""
    places, classes, offsets, numbers = tables
    lanes, block_size, columns = task.lanes, task.block, task.columns
    per_row, of_class = task.classes_per_row, task.batch * task.block * task.columns
    first_place, count = box.first_place, box.places
    # Sums position by position have room behind those of all classes.
    scratch = per_row * of_class
    for c in range(per_row):
        depth, first, at = classes[row + c].products, classes[row + c].first_offset, classes[row + c].first_weight
        begun = 0
        while begun < depth or begun == 0:
            some = min(_KC, depth - begun)
            inputs = buffer, 0, places, first_place, offsets, first + begun
            weights = numbers, weight + (at + begun) * block_size
            sum_by_channels(count, inputs, weights, (sums, scratch, block_size), some, begun > 0)
            begun += _KC
        transpose_lines(sums, scratch, block_size, c * of_class, columns, count, block_size, lanes)


@inlined
def _write(task, axes, box, row, classes, first, count, bias, out, sums):
    """Add the bias to the sums of `count` output channels, and set the outputs of all classes of the last axis."""
    all_channels, columns, per_row = task.groups * task.out_channels, task.columns, task.classes_per_row
    of_class = task.batch * task.block * columns
    # A class may have a position less than others along an axis: boxes are of the largest.
    depth = min(box.depth, row.depth_positions - box.first_depth)
    height = min(box.height, row.height_positions - box.first_height)
    width, first_w = box.width, box.first_width
    sample_sums, slice_sums, row_sums = box.sample_sums, box.slice_sums, box.row_sums
    outputs_d, outputs_h, outputs_w = axes[0].outputs, axes[1].outputs, axes[2].outputs
    step_d, step_h, step = axes[0].step, axes[1].step, axes[2].step
    first_class = row.first_class
    for m in range(count):
        channel = first + m
        number = bias[channel]
        for n in range(box.samples):
            for d in range(depth):
                at_d = row.first_depth + (box.first_depth + d) * step_d
                plane = ((box.first_sample + n) * all_channels + channel) * outputs_d + at_d
                for h in range(height):
                    at_h = row.first_height + (box.first_height + h) * step_h
                    to = (plane * outputs_h + at_h) * outputs_w + first_w * step
                    start = m * columns + n * sample_sums + d * slice_sums + h * row_sums
                    # Outputs of two classes are interleaved in registers. Written class by class, each cache line would
                    # be read and written twice.
                    if per_row == 2 and step == 2:
                        whole = min(width, classes[first_class].positions - first_w)
                        pairs = max(0, min(width, classes[first_class + 1].positions - first_w))
                        add_pairs(sums, start, start + of_class, number, out, to, pairs)
                        if whole > pairs:
                            out[to + 2 * pairs] = sums[start + pairs] + number
                        continue
                    for c in range(per_row):
                        one = classes[first_class + c]
                        length = min(width, one.positions - first_w)
                        at, here = to + one.first, start + c * of_class
                        if step == 1:
                            add(sums, here, number, out, at, max(0, length))
                        else:
                            add_strided(sums, here, number, out, at, step, length)


def implicit_gemm(tasks, thread):
    """Do tasks, a part of the output channels in one box each, until none is left."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    memory = task.scratch + thread * task.scratch_bytes
    buffer, sums = array_at(memory, task.element), array_at(memory + task.sums_at, task.element)
    spans = array_at(memory + task.spans_at, task.groups)
    axes, boxes, rows = arrays.axes, arrays.boxes, arrays.rows
    tables = arrays.places, arrays.classes, arrays.offsets, arrays.weight
    groups, channels, out_channels = task.groups, task.gather.channels, task.out_channels
    blocks, parts, batch, block_size = task.blocks, task.parts, task.batch, task.block
    of_group, of_block = task.weights, task.weights // task.blocks
    if task.weight_pitch:
        of_group, of_block = out_channels * task.weight_pitch, block_size * task.weight_pitch
    inputs = channels * axes[0].size * axes[1].size * axes[2].size
    filling, of_rows, last = task.filling, task.rows_count, task.tasks
    copied = -1
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        part, group = number % parts, number // parts % groups
        box = boxes[number // parts // groups]
        # Tasks of a box follow each other, so that mostly the thread has its copy already.
        if number // parts != copied:
            copied = number // parts
            gather(
                arrays.source, group * inputs, channels, task.gather, axes, arrays.phases, box,
                box.first_sample, box.samples, buffer, spans,
            )  # fmt: skip
        # Parts of the output channels are as even as blocks allow.
        end = (part + 1) * blocks // parts
        for block in range(part * blocks // parts, end, batch):
            some = min(batch, end - block)
            weight = group * of_group + block * of_block
            count = min(some * block_size, out_channels - block * block_size)
            for r in range(of_rows):
                row = rows[r]
                # A row that has no position in this box is made in others.
                if row.depth_positions <= box.first_depth or row.height_positions <= box.first_height:
                    continue
                if filling == _CHANNELS:
                    _sum_channels(task, tables, box, row.first_class, weight, buffer, sums)
                else:
                    _sum_positions(task, tables, box, row.first_class, weight, of_block, some, count, buffer, sums)
                first = group * out_channels + block * block_size
                _write(task, axes, box, row, arrays.classes, first, count, arrays.bias, arrays.out, sums)


RUN = EntryPoint(TASK, implicit_gemm)
