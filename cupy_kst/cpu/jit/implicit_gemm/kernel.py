"""The loops around the microkernels, which Numba compiles for this processor at the first call and keeps on disk."""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from ..cache import inner, whole
from ..microkernel import DEPTH, microkernel, registers, rows_microkernel
from ..overrunning_copy import cover_with_zeros, covering
from ..tasks import take
from ..vector_ops import add, add_pairs, transpose

# Numbers of the forms, and (scalars, vectors) that fill the registers: for many output channels, for few, for one, and
# with channels in lanes.
_MANY = registers() >= 32
WIDE, FEW = (0, (8, 3) if _MANY else (4, 3)), (1, (4, 4) if _MANY else (2, 4))
ONE, CHANNELS = (2, (1, 8)), (3, (6, 4) if _MANY else (4, 3))
_DEPTH = DEPTH

_wide_1, _wide_2, _wide_3 = (microkernel(WIDE[1][0], v, True) for v in (1, 2, 3))
_few_1, _few_2, _few_3, _few_4 = (microkernel(FEW[1][0], v, True) for v in (1, 2, 3, 4))
_wide_rows_1, _wide_rows_2, _wide_rows_3 = (rows_microkernel(WIDE[1][0], v) for v in (1, 2, 3))
_few_rows_1, _few_rows_2, _few_rows_3, _few_rows_4 = (rows_microkernel(FEW[1][0], v) for v in (1, 2, 3, 4))
_one_1, _one_8 = (microkernel(1, v, True) for v in (1, 8))
_channels = [microkernel(s, CHANNELS[1][1], False, True) for s in range(1, 7)]
_channels_1, _channels_2, _channels_3, _channels_4, _channels_5, _channels_6 = _channels
_MOST = CHANNELS[1][0]
_cover, _cover_by_every_other = covering(1), covering(2)


@inner
def _wide(now, buffer, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume):
    if now == 3:
        _wide_3(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)
    elif now == 2:
        _wide_2(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)
    else:
        _wide_1(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)


@inner
def _wide_rows(now, buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume):
    """The same by weights that are not packed: `count` rows, `pitch` numbers apart."""
    if now == 3:
        _wide_rows_3(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)
    elif now == 2:
        _wide_rows_2(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)
    else:
        _wide_rows_1(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)


@inner
def _few_rows(now, buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume):
    if now == 4:
        _few_rows_4(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)
    elif now == 3:
        _few_rows_3(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)
    elif now == 2:
        _few_rows_2(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)
    else:
        _few_rows_1(buffer, places, place, offsets, first, depth, rows, weight, pitch, count, sums, at, to, resume)


@inner
def _few(now, buffer, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume):
    if now == 4:
        _few_4(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)
    elif now == 3:
        _few_3(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)
    elif now == 2:
        _few_2(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)
    else:
        _few_1(buffer, 0, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume)


@inner
def _one(now, buffer, places, place, offsets, first, depth, packed, weight, sums, at, pitch, resume, lanes):
    done = 0
    while now - done >= 8:
        i, to = place + done, at + done * lanes
        _one_8(buffer, 0, places, i, offsets, first, depth, packed, weight, sums, to, pitch, resume)
        done += 8
    for each in range(done, now):
        i, to = place + each, at + each * lanes
        _one_1(buffer, 0, places, i, offsets, first, depth, packed, weight, sums, to, pitch, resume)


@inner
def _by_rows(
    form,
    lanes,
    buffer,
    places,
    box,
    classes,
    row,
    per_row,
    offsets,
    packed,
    weight,
    of_block,
    width,
    pitch,
    count_out,
    some,
    together,
    columns,
    sums,
):
    """Sum all classes of a row, of `some` blocks of output channels, with positions in lanes.

    The weight is packed, or with a `pitch` its rows lie so far apart.
    """
    step = 1 if pitch else width
    count = box[9]
    most = 3 if form == 0 else 4 if form == 1 else count
    tiles = (count + most - 1) // most
    deepest = 0
    for c in range(row, row + per_row):
        deepest = max(deepest, classes[c, 3])
    begun = 0
    while begun < deepest or begun == 0:
        done = 0
        for tile in range(tiles):
            now = count * (tile + 1) // tiles - done
            for b in range(some):
                for c in range(per_row):
                    depth = min(_DEPTH, classes[row + c, 3] - begun)
                    if depth <= 0 and begun > 0:
                        continue
                    k = classes[row + c, 2] + begun
                    w = weight + b * of_block + (classes[row + c, 4] + begun) * step
                    at = (c * together + b) * width * columns + done * lanes
                    i = box[8] + done
                    # fmt: off
                    if form == 2:
                        _one(now, buffer, places, i, offsets, k, depth, packed, w, sums, at, columns, begun > 0, lanes)
                    elif pitch:
                        rows = min(width, count_out - b * width)
                        if form == 0:
                            _wide_rows(
                                now, buffer, places, i, offsets, k, depth, packed, w, pitch, rows, sums, at, columns,
                                begun > 0,
                            )
                        else:
                            _few_rows(
                                now, buffer, places, i, offsets, k, depth, packed, w, pitch, rows, sums, at, columns,
                                begun > 0,
                            )
                    elif form == 0:
                        _wide(now, buffer, places, i, offsets, k, depth, packed, w, sums, at, columns, begun > 0)
                    else:
                        _few(now, buffer, places, i, offsets, k, depth, packed, w, sums, at, columns, begun > 0)
                    # fmt: on
            done += now
        begun += _DEPTH


@inner
def sum_by_channels(count, buffer, base, places, place, offsets, first, depth, packed, weight, sums, to, width, resume):
    """Sum at `count` places, tile by tile, with channels in lanes."""
    tiles, done = (count + _MOST - 1) // _MOST, 0
    for tile in range(tiles):
        now = count * (tile + 1) // tiles - done
        i, at = place + done, to + done * width
        if now == 6:
            _channels_6(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        elif now == 5:
            _channels_5(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        elif now == 4:
            _channels_4(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        elif now == 3:
            _channels_3(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        elif now == 2:
            _channels_2(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        else:
            _channels_1(buffer, base, places, i, offsets, first, depth, packed, weight, sums, at, width, resume)
        done += now


@inner
def turn(sums, start, pitch, to, to_pitch, rows, columns, lanes):
    """Transpose lines, whole squares of them."""
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            transpose(sums, start + i * pitch + j, pitch, to + j * to_pitch + i, to_pitch)


@inner
def _by_channels(
    buffer, places, place, count, offsets, first, depth, packed, weight, sums, at, aside, pitch, width, lanes
):  # fmt: skip
    """Sum with channels in lanes at `aside`, then turn the sums to rows at `at`."""
    begun = 0
    while begun < depth or begun == 0:
        some = min(_DEPTH, depth - begun)
        k, w = first + begun, weight + begun * width
        sum_by_channels(count, buffer, 0, places, place, offsets, k, some, packed, w, sums, aside, width, begun > 0)
        begun += _DEPTH
    turn(sums, aside, width, at, pitch, count, width, lanes)


@inner
def fill(source, origin, count, channels, numbers, axes, phases, box, buffer, lanes):
    """Copy `count` of a group's `channels` in a box, phase by phase, with zeros where it reaches beyond the map.

    Rows are written one behind the other, so each may be covered by whole vectors, unless these end beyond the source.
    """
    sample_size, channel_size, phase_size = numbers[4], numbers[5], numbers[6]
    sizes, strides = axes[:, 0], axes[:, 2]
    depth, height, width = box[5] + axes[0, 6], box[6] + axes[1, 6], box[7] + axes[2, 6]
    rows, pitch = axes[1, 4], axes[2, 4]
    line, step_h, step = sizes[2], strides[1], strides[2]
    plane = sizes[1] * line
    size = numbers[0] * numbers[1] * channels * sizes[0] * plane
    reach = (width + lanes - 1) // lanes * lanes * step
    # Divisions take as long as short rows.
    spans = np.empty((phases.shape[0], 2), np.int64)
    for f in range(phases.shape[0]):
        low_w = step * (box[3] + axes[2, 3]) + phases[f, 2]
        spans[f, 0] = min(width, max(0, -(low_w // step)))
        spans[f, 1] = max(spans[f, 0], min(width, (line - 1 - low_w) // step + 1))
    for n in range(box[4]):
        for c in range(count):
            of_channel = origin + ((box[0] + n) * numbers[1] * channels + c) * sizes[0] * plane
            for f in range(phases.shape[0]):
                low_d = strides[0] * (box[1] + axes[0, 3]) + phases[f, 0]
                low_h = step_h * (box[2] + axes[1, 3]) + phases[f, 1]
                low_w = step * (box[3] + axes[2, 3]) + phases[f, 2]
                begin, end = spans[f, 0], spans[f, 1]
                to_phase = n * sample_size + c * channel_size + f * phase_size
                for d in range(depth):
                    at_d = low_d + d * strides[0]
                    to = to_phase + d * rows * pitch
                    if at_d < 0 or at_d >= sizes[0]:
                        cover_with_zeros(buffer, to, height * pitch)
                        continue
                    of_slice = of_channel + at_d * plane + low_w
                    for h in range(height):
                        at_h = low_h + h * step_h
                        start = of_slice + at_h * line
                        if at_h < 0 or at_h >= sizes[1]:
                            cover_with_zeros(buffer, to, width)
                        elif step > 2 or start < 0 or start + reach > size:
                            cover_with_zeros(buffer, to, begin)
                            for w in range(begin, end):
                                buffer[to + w] = source[start + w * step]
                            cover_with_zeros(buffer, to + end, width - end)
                        elif step == 1:
                            _cover(source, start, buffer, to, begin, end, width)
                        else:
                            _cover_by_every_other(source, start, buffer, to, begin, end, width)
                        to += pitch


@inner
def _write(sums, bias, out, numbers, axes, box, row, classes, first, count, apart):
    """Add the bias to the sums of `count` output channels, and set the outputs of all classes of the last axis."""
    all_channels, columns, per_row = numbers[1] * numbers[3], numbers[9], numbers[10]
    depth, height = min(box[5], row[1] - box[1]), min(box[6], row[3] - box[2])
    steps, outputs = axes[:, 5], axes[:, 1]
    step = steps[2]
    for m in range(count):
        channel = first + m
        number = bias[channel]
        for n in range(box[4]):
            for d in range(depth):
                at_d = row[0] + (box[1] + d) * steps[0]
                plane = ((box[0] + n) * all_channels + channel) * outputs[0] + at_d
                for h in range(height):
                    at_h = row[2] + (box[2] + h) * steps[1]
                    to = (plane * outputs[1] + at_h) * outputs[2] + box[3] * step
                    start = m * columns + n * box[10] + d * box[11] + h * box[12]
                    if per_row == 2 and step == 2:
                        whole = min(box[7], classes[row[4], 1] - box[3])
                        pairs = max(0, min(box[7], classes[row[4] + 1, 1] - box[3]))
                        add_pairs(sums, start, start + apart, number, out, to, pairs)
                        if whole > pairs:
                            out[to + 2 * pairs] = sums[start + pairs] + number
                        continue
                    for c in range(per_row):
                        length = min(box[7], classes[row[4] + c, 1] - box[3])
                        at = to + classes[row[4] + c, 0]
                        of_class = start + c * apart
                        if step == 1:
                            add(sums, of_class, number, out, at, max(0, length))
                        else:
                            for w in range(length):
                                out[at + w * step] = sums[of_class + w] + number


@whole
def run(
    form, lanes, width, source, packed, bias, out, numbers, axes, phases, boxes, places, rows, classes, offsets,
    buffer, sums, counter, tasks, pitch,
):  # fmt: skip
    """Do tasks, a part of the output channels in one box each, until none is left.

    Without a `pitch` the weight is packed, else its rows lie so far apart, each of an output channel.
    """
    groups, channels, out_channels, blocks, parts = numbers[1], numbers[2], numbers[3], numbers[7], numbers[8]
    columns, per_row, of_group, together = numbers[9], numbers[10], numbers[11], numbers[12]
    inputs = channels * axes[0, 0] * axes[1, 0] * axes[2, 0]
    of_block = of_group // blocks
    if pitch:
        of_group, of_block = out_channels * pitch, width * pitch
    apart = together * width * columns
    held = -1
    while True:
        task = take(counter)
        if task >= tasks:
            return
        part, group = task % parts, task // parts % groups
        box = boxes[task // parts // groups]
        if task // parts != held:
            held = task // parts
            fill(source, group * inputs, channels, channels, numbers, axes, phases, box, buffer, lanes)
        end = (part + 1) * blocks // parts
        for block in range(part * blocks // parts, end, together):
            some = min(together, end - block)
            weight = group * of_group + block * of_block
            count = min(some * width, out_channels - block * width)
            for r in range(rows.shape[0]):
                row = rows[r]
                if row[1] <= box[1] or row[3] <= box[2]:
                    continue
                if form == 3:
                    for c in range(per_row):
                        one = classes[row[4] + c]
                        _by_channels(
                            buffer, places, box[8], box[9], offsets, one[2], one[3], packed, weight + one[4] * width,
                            sums, c * apart, per_row * apart, columns, width, lanes,
                        )  # fmt: skip
                else:
                    _by_rows(
                        form, lanes, buffer, places, box, classes, row[4], per_row, offsets, packed, weight, of_block,
                        width, pitch, count, some, together, columns, sums,
                    )  # fmt: skip
                _write(
                    sums,
                    bias,
                    out,
                    numbers,
                    axes,
                    box,
                    row,
                    classes,
                    group * out_channels + block * width,
                    count,
                    apart,
                )
