"""The gradient of a weight of few channels of the small map, as depthwise ones are, with positions in lanes.

Vectors of both maps are multiplied where they lie, so that the small map is not copied. Rows of a box end with a part
of a vector, whose other lanes are neither read nor added. There is a vector of sums for each pair of a channel and a
filter element; its lanes are added up when a task ends. The sums of CHAIN chains are added to totals.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ...sums import CHAIN
from ..atomics import fetch_add
from ..cache import inlined
from ..dot_kernel import dot_kernel
from ..entry import EntryPoint, address_of, array_at, task_at, unpacker
from ..gather import gather
from ..isa import DOT_TAPS
from ..vector_ops import accumulate, copy
from .plan import FEW_TASK

_CHAIN, _TAPS = CHAIN, DOT_TAPS
_dot = dot_kernel()
_unpack = unpacker(FEW_TASK)


@inlined
def _list_vectors(task, axes, box, places, starts, counts):
    """Set where vectors of a box's rows begin, in the copy and in the small map, and how many numbers each has."""
    layout, lanes = task.gather, task.lanes
    line, sample_size = axes[2].outputs, layout.sample_size
    plane = axes[1].outputs * line
    sample_stride = layout.groups * task.small_channels * axes[0].outputs * plane
    extent, pitch, width = axes[1].extent, axes[2].extent, box.width
    vectors = 0
    for n in range(box.samples):
        for d in range(box.depth):
            # Vectors begin anew at each row: behind it the small map has the next row, and the copy the halo.
            for h in range(box.height):
                place = n * sample_size + (d * extent + h) * pitch
                start = (box.first_sample + n) * sample_stride + (box.first_depth + d) * plane
                start += (box.first_height + h) * line + box.first_width
                for w in range(0, width, lanes):
                    places[vectors], starts[vectors], counts[vectors] = place + w, start + w, min(lanes, width - w)
                    vectors += 1
    return vectors


@inlined
def _sum(task, maps, lists, begin, vectors, offsets, elements, sums, resume):
    """Add up the products of some vectors for all filter elements; if `resume` add the sums to what is there."""
    small, origin, pitch, buffer = maps
    places, starts, counts = lists
    channels, lanes, some = task.small_channels, task.lanes, (counts, begin, vectors)
    # Filter elements are taken `_TAPS` at a time. With 32 registers their sums for all channels fit. The last ones may
    # be of no element: there are offsets for them, and room for their sums.
    for e in range(0, elements, _TAPS):
        large = buffer, places, offsets, e
        _dot(channels, (small, origin, pitch, starts), large, some, (sums, e * channels * lanes), resume)


@inlined
def _write(task, out, row, channel, elements, sums):
    """Add up the lanes of all sums, and set their part of a share's gradient."""
    channels, lanes, taps, columns = task.small_channels, task.lanes, task.taps, task.large_channels
    for m in range(channels):
        to = ((row + m) * columns + channel) * taps
        for e in range(elements):
            # Sums lie by groups of filter elements, then by channels, as the micro-kernel stores them.
            at = ((e // _TAPS * channels + m) * _TAPS + e % _TAPS) * lanes
            total = sums[at]
            for lane in range(1, lanes):
                total += sums[at + lane]
            out[to + e] = total


def correlate_few(tasks, thread):
    """Do tasks: all channels of the small map, all taps of some channels of the large one, in a share of the boxes."""
    task, counter = task_at(tasks), address_of(tasks)
    arrays = _unpack(task)
    memory = task.scratch + thread * task.scratch_bytes
    buffer, sums = array_at(memory, task.element), array_at(memory + task.sums_at, task.element)
    spans, counts = array_at(memory + task.spans_at, task.tasks), array_at(memory + task.counts_at, arrays.offsets[0])
    places, starts = array_at(memory + task.places_at, task.tasks), array_at(memory + task.starts_at, task.tasks)
    axes, boxes = arrays.axes, arrays.boxes
    groups, large_channels, channels = task.gather.groups, task.large_channels, task.small_channels
    cached, lanes, totals, shares = task.cached, task.lanes, task.totals_at, task.shares
    of_boxes, last_task = task.boxes_count, task.tasks
    parts = (large_channels + cached - 1) // cached
    of_large = axes[0].size * axes[1].size * axes[2].size
    of_small = axes[0].outputs * axes[1].outputs * axes[2].outputs
    while True:
        number = fetch_add(counter, 1)
        if number >= last_task:
            return
        part, group, share = number % parts, number // parts % groups, number // parts // groups
        channel = part * cached
        count = min(cached, large_channels - channel)
        elements = count * task.taps
        size = (elements + _TAPS - 1) // _TAPS * _TAPS * channels * lanes
        maps = arrays.small, group * channels * of_small, of_small, buffer
        # How many chains the totals have, and how many the sums have since.
        added, chains = 0, 0
        for b in range(share * of_boxes // shares, (share + 1) * of_boxes // shares):
            box = boxes[b]
            start = (group * large_channels + channel) * of_large
            gather(
                arrays.large, start, count, task.gather, axes, arrays.phases, box,
                box.first_sample, box.samples, buffer, spans,
            )  # fmt: skip
            vectors = _list_vectors(task, axes, box, places, starts, counts)
            # A chain is of CHAIN vectors, and each lane adds up one product of each.
            for v in range(0, vectors, _CHAIN):
                if chains == _CHAIN:
                    if added > 0:
                        accumulate(sums, 0, sums, totals, size)
                    else:
                        copy(sums, 0, sums, totals, size)
                    added, chains = added + chains, 0
                lists = places, starts, counts
                _sum(task, maps, lists, v, min(_CHAIN, vectors - v), arrays.offsets, elements, sums, chains > 0)
                chains += 1
        if added > 0:
            accumulate(sums, totals, sums, 0, size)
        _write(task, arrays.out, (share * groups + group) * channels, channel, elements, sums)


RUN = EntryPoint(FEW_TASK, correlate_few)
