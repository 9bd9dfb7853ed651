"""Winograd's minimal filtering: products of transformed inputs by transformed weights, fewer than there are taps.

For a box of tiles the inputs are gathered with the channels of a position side by side, so that transforms along rows
and columns are sums of whole lines. They make a plane of tiles for each kind of transformed input. A point of a class
is a sum of products of planes with transformed weights, with output channels in lanes, so that no lane idles, whatever
the map's rows are. The inverse transform adds up the sums of two or four points while they are transposed to rows of
outputs.

A task is some blocks of output channels in one box; a thread that has transformed a box does not do so again.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..atomics import fetch_add, store
from ..cache import inlined, inner
from ..channels_in_lanes import sum_by_channels
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..gather import gather
from ..isa import KC
from ..task import OVERFLOWED
from ..transpose import transpose_lines, transpose_sums
from ..vector_ops import add_watched, clear, copy, subtract
from .plan import TASK

_KC = KC
# Where a record has `overflowed`, in bytes.
_OVERFLOWED = 8 * OVERFLOWED
_transpose_pair, _transpose_square = transpose_sums(1), transpose_sums(2)
_unpack = unpacker(TASK)


@inner
def _gather_channels(task, arrays, box, sample, origin, scratch, spans):
    """Copy one sample of a box, with zeros where it reaches beyond the map, so that channels lie side by side."""
    channels, lanes, size, axes = task.channels, task.lanes, task.map_size, arrays.axes
    line_pitch, to, pitch = task.line_pitch, task.stage_at, task.pitch
    positions = axes[0].extent * axes[1].extent * axes[2].extent
    # As many channels as a vector has lanes, so that squares are transposed in registers.
    for c in range(0, channels, lanes):
        some = min(lanes, channels - c)
        gather(arrays.source, origin + c * size, some, task.gather, axes, arrays.phases, box, sample, 1, scratch, spans)
        # These lines are of no channel and multiply no weight, but denormal numbers would be slow to subtract.
        clear(scratch, some * line_pitch, (lanes - some) * line_pitch)
        transpose_lines(scratch, 0, line_pitch, to + c, pitch, lanes, positions, lanes)


@inner
def _transform_axis(one, kinds, start, to, scratch):
    """Set planes of tiles, one of each kind, to inputs or to differences of inputs along one axis."""
    outer, size, inner_size, first, count, tiles = one.outer, one.size, one.inner, one.first_kind, one.kinds, one.tiles
    for k in range(count):
        kind = kinds[first + k]
        begin, step, apart = kind.start, kind.step, kind.apart
        for o in range(outer):
            for t in range(tiles):
                # A line is all that lies inside of this axis: the channels of a position, or those of whole rows.
                line = start + (o * size + begin + t * step) * inner_size
                into = to + ((k * outer + o) * tiles + t) * inner_size
                if apart:
                    subtract(scratch, line, line + apart * inner_size, scratch, into, inner_size)
                else:
                    copy(scratch, line, scratch, into, inner_size)


@inlined
def _transform(task, passes, kinds, to, scratch):
    """Transform inputs along axis after axis, between two stages; those of the last axis arrive at `to`."""
    stage, other, last = task.stage_at, task.other_stage_at, task.passes_count - 1
    for p in range(last + 1):
        into = to if p == last else other
        _transform_axis(passes[p], kinds, stage, into, scratch)
        stage, other = into, stage


@inlined
def _multiply(task, tables, box, first, weight, scratch):
    """Set the sums of a slice's points at all tiles of a box."""
    points, places, offsets, packed = tables
    channels, block_size, planes, plane = task.channels, task.block, task.planes_at, task.plane
    first_place, count = box.first_place, box.places
    for p in range(task.points_of_slice):
        begin, products = points[first + p].first_product, points[first + p].products
        at = task.sums_at + p * plane
        # A point without products is of a class without taps, whose outputs are the bias.
        if products == 0:
            clear(scratch, at, count * block_size)
        # The inputs of a point's products follow each other in the table of offsets, as their weights do.
        depth = products * channels
        for k in range(0, depth, _KC):
            start = begin * channels + k
            inputs = scratch, planes, places, first_place, offsets, start
            weights = packed, weight + start * block_size
            sum_by_channels(count, inputs, weights, (scratch, at, block_size), min(_KC, depth - k), k > 0)


@inlined
def _write(task, arrays, box, sums, channel, count, to, scratch):
    """Set the outputs of a slice in a box, of `count` channels from `channel` on.

    Return whether the sums are finite that they are made of. Numbers that are read beside them for whole squares do not
    count.
    """
    bias, out, table = arrays.bias, arrays.out, arrays.outputs
    lanes, terms, stride, pair_stride = task.lanes, task.terms, task.term_stride, task.pair_stride
    transposed, run_length, map_size, across = task.transposed_at, task.run, task.out_size, task.out_width
    contiguous, corner, first_output = box.contiguous, box.corner, box.first_output
    finite = True
    for r in range(0, box.outputs, contiguous):
        line = to + corner + r // contiguous * across
        for i in range(0, contiguous, run_length):
            some = min(run_length, contiguous - i)
            for c in range(0, count, lanes):
                # A square is of as many outputs as lanes. Neighbouring outputs are of different classes and tiles,
                # so that a table tells where the first sum of each is.
                for j in range(0, some, lanes):
                    first, into = first_output + r + i + j, transposed + c * run_length + j
                    if terms == 2:
                        _transpose_pair(scratch, sums + c, stride, pair_stride, table, first, scratch, into, run_length)
                    else:
                        _transpose_square(
                            scratch, sums + c, stride, pair_stride, table, first, scratch, into, run_length
                        )
            for m in range(count):
                at, number = transposed + m * run_length, bias[channel + m]
                finite &= add_watched(scratch, at, number, out, line + m * map_size + i, some)
    return finite


@inlined
def _write_box(task, arrays, box, slice_, group, block, counter, scratch):
    """Set the outputs of a block of output channels, for one class of slices in a box."""
    groups, out_channels, block_size = task.groups, task.out_channels, task.block
    plane_size, map_size, sums = task.out_height * task.out_width, task.out_size, task.sums_at
    count, channel = min(block_size, out_channels - block * block_size), group * out_channels + block * block_size
    slices, of_slice = box.slices, box.slice_places * block_size
    # Slices of outputs are the positions of a class along the depth.
    for each in range(box.samples * slices):
        n, q = box.first_sample + each // slices, box.first_slice + each % slices
        if q >= slice_.positions:
            continue
        of_channel = (n * groups * out_channels + channel) * map_size
        to = of_channel + (slice_.first + q * slice_.step) * plane_size
        # Several threads may store this. It is the same number.
        if not _write(task, arrays, box, sums + each * of_slice, channel, count, to, scratch):
            store(counter + _OVERFLOWED, 1)


def winograd(tasks, thread):
    """Do tasks, some blocks of output channels in one box each, until none is left."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    memory = task.scratch + thread * task.scratch_bytes
    scratch, spans = array_at(memory + task.numbers_at, task.element), array_at(memory, task.groups)
    boxes, slices = arrays.boxes, arrays.slices
    tables = arrays.points, arrays.places, arrays.offsets, arrays.weight
    groups, channels, blocks, parts = task.groups, task.channels, task.blocks, task.parts
    size, points, of_slices, last = task.map_size, task.points_of_slice, task.slices_count, task.tasks
    of_block = task.products * channels * task.block
    transformed = -1
    while True:
        number = fetch_add(counter, 1)
        if number >= last:
            return
        part, group = number % parts, number // parts % groups
        box = boxes[number // parts // groups]
        if number // parts != transformed:
            transformed = number // parts
            for n in range(box.samples):
                sample = box.first_sample + n
                _gather_channels(task, arrays, box, sample, group * channels * size, scratch, spans)
                _transform(task, arrays.passes, arrays.kinds, task.planes_at + n * task.sample_size, scratch)
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            weight = (group * blocks + block) * of_block
            for z in range(of_slices):
                _multiply(task, tables, box, z * points, weight, scratch)
                _write_box(task, arrays, box, slices[z], group, block, counter, scratch)


RUN = EntryPoint(TASK, winograd)
