"""Minimal filtering: products of combined inputs by combined weights, fewer than there are taps, added up to outputs.

Numbers of a position's channels lie side by side, so that inputs are combined line by line. Each plane of combined
inputs is multiplied with output channels in lanes, so that no lane idles, whatever the map's rows are.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from ..atomics import store
from ..cache import inner, whole
from ..implicit_gemm.kernel import fill, sum_by_channels, turn
from ..microkernel import DEPTH
from ..task import OVERFLOWED
from ..tasks import take
from ..vector_ops import add_watched, clear, copy, subtract, turn_sums

_DEPTH = DEPTH
# In bytes.
_OVERFLOWED = 8 * OVERFLOWED
_turn_sums_2, _turn_sums_4 = turn_sums(1), turn_sums(2)


@inner
def _gather(source, origin, channels, size, lanes, numbers, axes, phases, box, scratch, line_pitch, to, pitch):
    """Copy a box of the input, with zeros where it reaches beyond the map, so that channels lie side by side."""
    positions = axes[0, 4] * axes[1, 4] * axes[2, 4]
    for c in range(0, channels, lanes):
        some = min(lanes, channels - c)
        fill(source, origin + c * size, some, channels, numbers, axes, phases, box, scratch, lanes)
        # Multiplied by nothing, but what memory held may be slow to subtract.
        clear(scratch, some * line_pitch, (lanes - some) * line_pitch)
        turn(scratch, 0, line_pitch, to + c, pitch, lanes, positions, lanes)


@inner
def _combine(scratch, start, outer, size, inner, kinds, first, count, tiles, to):
    """Set planes of tiles, one of each kind, to inputs or to differences of inputs along one axis."""
    for k in range(count):
        kind = kinds[first + k]
        for o in range(outer):
            for t in range(tiles):
                line = start + (o * size + kind[0] + t * kind[1]) * inner
                into = to + ((k * outer + o) * tiles + t) * inner
                if kind[2]:
                    subtract(scratch, line, line + kind[2] * inner, scratch, into, inner)
                else:
                    copy(scratch, line, scratch, into, inner)


@inner
def _transform(scratch, passes, kinds, stage, other, to):
    """Combine inputs along axis after axis, between two stages; those of the last axis arrive at `to`."""
    last = passes.shape[0] - 1
    for p in range(last + 1):
        one = passes[p]
        into = to if p == last else other
        _combine(scratch, stage, one[0], one[1], one[2], kinds, one[3], one[4], one[5], into)
        stage, other = into, stage


@inner
def _multiply(
    scratch, planes, places, box, points, first, count, offsets, channels, packed, weight, width, sums, plane
):  # fmt: skip
    """Set the sums of `count` points at all tiles of a box."""
    for p in range(count):
        begin, products = points[first + p, 0], points[first + p, 1]
        at = sums + p * plane
        if products == 0:
            clear(scratch, at, box[9] * width)
        # The inputs of a point's products follow each other in the table of offsets, as their weights do.
        depth = products * channels
        for k in range(0, depth, _DEPTH):
            start = begin * channels + k
            sum_by_channels(
                box[9], scratch, planes, places, box[8], offsets, start, min(_DEPTH, depth - k), packed,
                weight + start * width, scratch, at, width, k > 0,
            )  # fmt: skip


@inner
def _write(
    scratch, sums, width, lanes, terms, apart, pairs_apart, table, box, turned, run, bias, channel, count, out, to,
    size, across,
):  # fmt: skip
    """Set the outputs of a slice in a box, of `count` channels from `channel` on.

    Return whether the sums are finite that they are made of. What is read beside them for whole squares is not asked.
    """
    beside, finite = box[14], True
    for r in range(0, box[13], beside):
        line = to + box[15] + r // beside * across
        for i in range(0, beside, run):
            some = min(run, beside - i)
            for c in range(0, count, lanes):
                for j in range(0, some, lanes):
                    first, into = box[12] + r + i + j, turned + c * run + j
                    if terms == 2:
                        _turn_sums_2(scratch, sums + c, apart, pairs_apart, table, first, scratch, into, run)
                    else:
                        _turn_sums_4(scratch, sums + c, apart, pairs_apart, table, first, scratch, into, run)
            for m in range(count):
                finite &= add_watched(scratch, turned + m * run, bias[channel + m], out, line + m * size + i, some)
    return finite


@whole
def filter_boxes(
    source, packed, bias, out, numbers, fill_numbers, fill_axes, phases, passes, kinds, boxes, places, slices, points,
    inputs, table, offsets, lanes, width, scratch, counter,
):  # fmt: skip
    """Do tasks, some blocks of output channels in one box each, until none is left.

    The scratch memory holds the inputs of some channels as they lie, two stages of inputs, their planes, sums, and
    outputs in their order.
    """
    groups, channels, out_channels, blocks, parts = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    size, pitch, sample_size, plane, per_slice = numbers[5], numbers[6], numbers[7], numbers[8], numbers[9]
    line_pitch, stage, other, planes, sums = numbers[10], numbers[11], numbers[12], numbers[13], numbers[14]
    turned, run, terms, apart, pairs_apart = numbers[15], numbers[16], numbers[17], numbers[18], numbers[19]
    depth, height, across = numbers[20], numbers[21], numbers[22]
    of_block, map_size = inputs.size * channels * width, depth * height * across
    one, held = np.empty(boxes.shape[1], np.int64), -1
    while True:
        task = take(counter)
        if task >= boxes.shape[0] * groups * parts:
            return
        part, group = task % parts, task // parts % groups
        box = boxes[task // parts // groups]
        if task // parts != held:
            held = task // parts
            one[:] = box
            one[4] = 1
            for n in range(box[4]):
                one[0] = box[0] + n
                _gather(
                    source, group * channels * size, channels, size, lanes, fill_numbers, fill_axes, phases, one,
                    scratch, line_pitch, stage, pitch,
                )  # fmt: skip
                _transform(scratch, passes, kinds, stage, other, planes + n * sample_size)
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            weight = (group * blocks + block) * of_block
            count, channel = min(width, out_channels - block * width), group * out_channels + block * width
            for z in range(slices.shape[0]):
                _multiply(
                    scratch, planes, places, box, points, z * per_slice, per_slice, offsets, channels, packed, weight,
                    width, sums, plane,
                )  # fmt: skip
                for each in range(box[4] * box[10]):
                    n, q = box[0] + each // box[10], box[16] + each % box[10]
                    if q >= slices[z, 2]:
                        continue
                    of_channel = (n * groups * out_channels + channel) * map_size
                    to = of_channel + (slices[z, 0] + q * slices[z, 1]) * height * across
                    finite = _write(
                        scratch, sums + each * box[11] * width, width, lanes, terms, apart, pairs_apart, table, box,
                        turned, run, bias, channel, count, out, to, map_size, across,
                    )  # fmt: skip
                    if not finite:
                        store(counter.ctypes.data + _OVERFLOWED, 1)
