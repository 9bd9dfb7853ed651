"""The gradient of a weight: the correlation of the two maps, with channels of the small map in lanes.

For each box the inputs of the large map are copied once (`gather`). A few positions of the small map are gathered by
channel and transposed, so that a vector of channels lies at each position; they stay in the first cache while all
filter elements of some channels of the large map meet them. MR filter elements are summed at once by a vector, or
several, of channels. The sums of CHAIN chains are added to totals, so that rounding errors do not grow with the map.

A task sums over its share of the boxes, in their order. Each share has a gradient of its own, and these are added up in
their order, whichever thread made them.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ...sums import CHAIN
from ..atomics import fetch_add
from ..cache import inlined, inner
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..gather import gather
from ..isa import GRADIENT_KC, GRADIENT_LINE, blocking
from ..microkernel import micro_kernel
from ..operands import TableInputs
from ..transpose import transpose_lines
from ..vector_ops import accumulate, clear, copy
from .plan import TASK

_CHAIN, _KC, _LINE = CHAIN, GRADIENT_KC, GRADIENT_LINE
# Filter elements that are summed at once, by vectors of channels.
_SUMMED = blocking().summed
_multiply = micro_kernel(
    {vectors: (elements, vectors) for vectors, elements in enumerate(_SUMMED, 1)},
    TableInputs(),
    positions_in_lanes=False,
)
_unpack = unpacker(TASK)


@inner
def _gather_channels(small, origin, count, sample_stride, axes, box, first, some, sums, lines, lanes):
    """Copy `some` positions of a box of the small map from the `first` on, for as many channels as there are lanes."""
    line = axes[2].outputs
    plane = axes[1].outputs * line
    channel_stride = axes[0].outputs * plane
    depth, height, run = box.depth, box.height, box.width
    # Rows and slices that follow each other in the map are one.
    if run == line:
        height, run = 1, height * run
    if run == plane:
        depth, run = 1, depth * run
    origin += box.first_sample * sample_stride + box.first_depth * plane + box.first_height * line + box.first_width
    # Divisions once for a piece, and then counting: the next run may be in the next row, slice or sample.
    runs, begun = first // run, first % run
    first_n, first_d, first_h = runs // height // depth, runs // height % depth, runs % height
    for m in range(lanes):
        to = lines + m * _LINE
        # Lanes without a channel are zeros, whose sums nobody reads.
        if m >= count:
            clear(sums, to, some)
            continue
        n, d, h, past, done = first_n, first_d, first_h, begun, 0
        of_channel = origin + m * channel_stride
        while done < some:
            length = min(run - past, some - done)
            copy(small, of_channel + n * sample_stride + d * plane + h * line + past, sums, to + done, length)
            done, past, h = done + length, 0, h + 1
            if h == height:
                h, d = 0, d + 1
                if d == depth:
                    d, n = 0, n + 1


@inlined
def _sum(count, inputs, panel, to, width, lanes, depth, sums, resume):
    """Add up the products at `depth` places for `count` filter elements, or some more that nobody reads."""
    buffer, offsets, places, first = inputs
    vectors = width // lanes
    step = _SUMMED[vectors - 1]
    for i in range(0, count, step):
        # The roles of places and offsets change: filter elements are broadcast, positions are steps.
        given = buffer, 0, offsets, i, places, first
        _multiply(vectors, given, (sums, panel), (sums, to + i * width, width), depth, resume)


@inlined
def _add_box(task, arrays, tables, box, group, channel, count, blocks, buffer, sums, resume):
    """Add the products of a box of the large map, which is copied, to the sums of blocks `first` to `last`."""
    small, axes, (places, offsets) = arrays.small, arrays.axes, tables
    first, last, channels = blocks
    lanes, width, taps, of_block = task.lanes, task.block, task.taps, task.block_sums
    lines, panel = task.lines_at, task.panel_at
    of_small = axes[0].outputs * axes[1].outputs * axes[2].outputs
    of_sample = task.gather.groups * channels * of_small
    first_place, positions = box.first_place, box.places
    for block in range(first, last):
        some = min(width, channels - block * width)
        wide = (some + lanes - 1) // lanes * lanes
        origin = (group * channels + block * width) * of_small
        # So few positions that their vectors of channels stay in the first cache while all filter elements meet them.
        for k in range(0, positions, _KC):
            deep = min(_KC, positions - k)
            for lane in range(0, wide, lanes):
                start = origin + lane * of_small
                _gather_channels(small, start, some - lane, of_sample, axes, box, k, deep, sums, lines, lanes)
                transpose_lines(sums, lines, _LINE, panel + lane, wide, lanes, deep, lanes)
            inputs = buffer, offsets, places, first_place + k
            to, again = (block - first) * of_block, resume or k > 0
            _sum(count * taps, inputs, panel, to, wide, lanes, deep, sums, again)


@inlined
def _write(task, out, share, group, channel, count, blocks, sums):
    """Transpose the sums of blocks, and set their part of a share's gradient."""
    first, last, channels = blocks
    lanes, width, taps, of_block = task.lanes, task.block, task.taps, task.block_sums
    transposed, pitch, columns = task.transposed_at, task.block_sums // task.block, task.large_channels
    for block in range(first, last):
        some = min(width, channels - block * width)
        wide = (some + lanes - 1) // lanes * lanes
        transpose_lines(sums, (block - first) * of_block, wide, transposed, pitch, count * taps, wide, lanes)
        for m in range(some):
            row = (share * task.gather.groups + group) * channels + block * width + m
            copy(sums, transposed + m * pitch, out, (row * columns + channel) * taps, count * taps)


def correlate(tasks, thread):
    """Do tasks: for some blocks of channels of the small map, all taps of some channels of the large one."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    memory = task.scratch + thread * task.scratch_bytes
    buffer, sums = array_at(memory, task.element), array_at(memory + task.sums_at, task.element)
    spans = array_at(memory + task.spans_at, task.tasks)
    axes, boxes, tables = arrays.axes, arrays.boxes, (arrays.places, arrays.offsets)
    groups, large_channels, channels = task.gather.groups, task.large_channels, task.small_channels
    cached, stack, width, of_block, totals = task.cached, task.stack, task.block, task.block_sums, task.totals_at
    shares, of_boxes, last_task = task.shares, task.boxes_count, task.tasks
    blocks, parts = (channels + width - 1) // width, (large_channels + cached - 1) // cached
    stacks = (blocks + stack - 1) // stack
    of_large = axes[0].size * axes[1].size * axes[2].size
    while True:
        number = fetch_add(counter, 1)
        if number >= last_task:
            return
        part, first, group = number % parts, number // parts % stacks * stack, number // parts // stacks % groups
        share = number // parts // stacks // groups
        channel, last = part * cached, min(first + stack, blocks)
        count, size = min(cached, large_channels - channel), (last - first) * of_block
        # How many chains the totals have, and how many the sums have since.
        added, chains = 0, 0
        for b in range(share * of_boxes // shares, (share + 1) * of_boxes // shares):
            box = boxes[b]
            more = (box.places + _KC - 1) // _KC
            # Sums of CHAIN chains go to the totals before a box whose chains would be too many.
            if chains > 0 and chains + more > _CHAIN:
                if added > 0:
                    accumulate(sums, 0, sums, totals, size)
                else:
                    copy(sums, 0, sums, totals, size)
                added, chains = added + chains, 0
            origin = (group * large_channels + channel) * of_large
            gather(
                arrays.large, origin, count, task.gather, axes, arrays.phases, box,
                box.first_sample, box.samples, buffer, spans,
            )  # fmt: skip
            _add_box(
                task, arrays, tables, box, group, channel, count, (first, last, channels), buffer, sums, chains > 0
            )
            chains += more
        if added > 0:
            accumulate(sums, totals, sums, 0, size)
        _write(task, arrays.out, share, group, channel, count, (first, last, channels), sums)


RUN = EntryPoint(TASK, correlate)
