"""Transposed convolution of the weight as it lies: one product of all taps with the input, folded into the output.

No weight is packed, and no product is wasted on a register block that output channels do not fill: the rows of the
product are all filter elements of all output channels.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ...sums import CHAIN
from ..cache import inner, whole
from ..implicit_gemm.kernel import CHANNELS, WIDE, turn
from ..microkernel import dense_microkernel
from ..tasks import take
from ..vector_ops import accumulate, add, add_pairs, clear, copy, prefetch

# Rows of the product that are made at once with positions in lanes, and vectors of positions.
ROWS, VECTORS = WIDE[1]
_rows_1, _rows_2, _rows_3 = (dense_microkernel(ROWS, v, True) for v in (1, 2, 3))
# The same with rows in lanes.
POSITIONS, ROW_VECTORS = CHANNELS[1]
_few = [dense_microkernel(s, ROW_VECTORS, False) for s in range(1, 7)]
_few_1, _few_2, _few_3, _few_4, _few_5, _few_6 = _few

# Channels and rows of the weight that are packed at once, into the second cache.
DEPTH, WIDE_ROWS = 128, 512


@inner
def _pack(weight, first, row_pitch, channels, rows, width, scratch, panel, panel_pitch):
    """Copy rows of some channels, each of them a line of the weight, block by block of `width` rows."""
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


@inner
def _multiply(lanes, scratch, inputs, vectors, depth, weight, first, rows, row_pitch, panel, sums, pitch):
    """Set lines at `sums` to the products of `rows` rows of the weight with vectors of positions at `inputs`."""
    tiles = (vectors + VECTORS - 1) // VECTORS
    for c in range(0, depth, DEPTH):
        deep = min(DEPTH, depth - c)
        # A line apart from a power of two, so that blocks do not share sets of the first cache.
        block = deep * ROWS + lanes
        for r in range(0, rows, WIDE_ROWS):
            _pack(
                weight,
                first + c * row_pitch + r,
                row_pitch,
                deep,
                min(WIDE_ROWS, rows - r),
                ROWS,
                scratch,
                panel,
                block,
            )
            for m in range(r, min(r + WIDE_ROWS, rows), ROWS):
                w, done = panel + (m - r) // ROWS * block, 0
                for tile in range(tiles):
                    now = vectors * (tile + 1) // tiles - done
                    wide, to = now * lanes, sums + m * pitch + done * lanes
                    at = inputs + done * lanes * depth + c * wide
                    if now == 3:
                        _rows_3(scratch, at, wide, deep, scratch, w, scratch, to, pitch, c > 0)
                    elif now == 2:
                        _rows_2(scratch, at, wide, deep, scratch, w, scratch, to, pitch, c > 0)
                    else:
                        _rows_1(scratch, at, wide, deep, scratch, w, scratch, to, pitch, c > 0)
                    done += now


@inner
def _multiply_few(
    lanes, source, start, channel_pitch, positions, depth, weight, first, rows, row_pitch, scratch, panel, aside, sums,
    pitch,
):  # fmt: skip
    """The same for few positions, with rows in lanes, read where the input lies; `aside` holds them turned."""
    tiles, width = (positions + POSITIONS - 1) // POSITIONS, ROW_VECTORS * lanes
    aside_pitch = (rows + width - 1) // width * width
    # In whole blocks, whose last one would reach into the rows that are packed next.
    wide = WIDE_ROWS // width * width
    for c in range(0, depth, DEPTH):
        deep, some = min(DEPTH, depth - c), start + c * channel_pitch
        block = deep * width + lanes
        for r in range(0, rows, wide):
            _pack(
                weight,
                first + c * row_pitch + r,
                row_pitch,
                deep,
                min(wide, rows - r),
                width,
                scratch,
                panel,
                block,
            )
            for m in range(r, min(r + wide, rows), width):
                w, done = panel + (m - r) // width * block, 0
                for tile in range(tiles):
                    now = positions * (tile + 1) // tiles - done
                    at, to = some + done, aside + done * aside_pitch + m
                    if now == 6:
                        _few_6(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    elif now == 5:
                        _few_5(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    elif now == 4:
                        _few_4(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    elif now == 3:
                        _few_3(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    elif now == 2:
                        _few_2(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    else:
                        _few_1(source, at, channel_pitch, deep, scratch, w, scratch, to, aside_pitch, c > 0)
                    done += now
    turn(scratch, aside, aside_pitch, sums, pitch, positions, rows, lanes)


@inner
def _gather(lanes, source, start, channel_pitch, channels, lines, width, left, gap, vectors, scratch, aside, inputs):
    """Copy the inputs of a part, tile of vectors by tile, with zeros around its rows; `aside` holds one channel's."""
    tiles = (vectors + VECTORS - 1) // VECTORS
    clear(scratch, aside, vectors * lanes)
    for c in range(channels):
        at = start + c * channel_pitch
        if gap == 0:
            copy(source, at, scratch, aside, lines * width)
        else:
            for h in range(lines):
                copy(source, at + h * width, scratch, aside + left + h * (width + gap), width)
        done = 0
        for tile in range(tiles):
            now = vectors * (tile + 1) // tiles - done
            copy(scratch, aside + done * lanes, scratch, inputs + (done * channels + c * now) * lanes, now * lanes)
            done += now


@inner
def _make_exact(scratch, sums, rows, pitch, row_pitch, lines, left, gap, width):
    """Set to zero what weights that are not finite made of the zeros around the rows of the input."""
    for m in range(rows):
        at = sums + m * pitch
        zero = at if left else at + width
        # A sum of products with zero: NaN if one of the weights is not finite.
        if scratch[zero] != 0:
            clear(scratch, at, left)
            for h in range(lines):
                clear(scratch, at + left + h * row_pitch + width, gap)


@inner
def _put_aside(scratch, line, totals, size, resume):
    """Add a line of sums to totals, which are theirs unless `resume`, and set it to zero."""
    if resume:
        accumulate(scratch, line, scratch, totals, size)
    else:
        copy(scratch, line, scratch, totals, size)
    clear(scratch, line, size)


@inner
def _fold(scratch, at, pitch, number, out, to, part, axes, classes, taps, line, line_pitch, left, gap, padded):
    """Add up the sums of one output channel where they land, and set its outputs in a part of the map.

    Rows that are `padded`, with zeros between them, are added up all at once, others one by one without what lies
    beyond their ends. The sums of `CHAIN` taps are added to totals, behind the lines of all classes.
    """
    kernel_h, kernel_w = axes[1, 2], axes[2, 2]
    height, row_pitch = part[7] - part[6], part[11] - part[10] + gap
    first_x, last_x = axes[2, 3], axes[2, 4]
    step_z, step_y, step_x = axes[0, 5], axes[1, 5], axes[2, 5]
    pairs = last_x - first_x == 2 and step_x == 2
    # Outputs of a part begin at a multiple of the step.
    low = part[8] // step_x
    totals = line + (last_x - first_x) * line_pitch
    for z in range(axes[0, 3], axes[0, 4]):
        for q_z in range(classes[z, 1]):
            o_z = classes[z, 0] + q_z * step_z
            if o_z < part[0] or o_z >= part[1]:
                continue
            for y in range(axes[1, 3], axes[1, 4]):
                q_first = max(0, (part[4] - classes[y, 0] + step_y - 1) // step_y)
                q_last = min(classes[y, 1], (part[5] - classes[y, 0] + step_y - 1) // step_y)
                together = max(1, q_last - q_first) if padded else 1
                for q in range(q_first, q_last, together):
                    for x in range(first_x, last_x):
                        high = min(classes[x, 1], (part[9] - classes[x, 0] + step_x - 1) // step_x)
                        length = max(0, high - low)
                        t = line + (x - first_x) * line_pitch
                        size = (together - 1) * row_pitch + length
                        clear(scratch, t, size)
                        # Taps that were added to the line, and whether there are totals of others.
                        added, resume = 0, False
                        for tz in range(classes[z, 2], classes[z, 3]):
                            i_z = q_z + taps[tz, 1]
                            if i_z < part[2] or i_z >= part[3]:
                                continue
                            for ty in range(classes[y, 2], classes[y, 3]):
                                begin_y = max(q, part[6] - taps[ty, 1])
                                rows = min(q + together, part[7] - taps[ty, 1]) - begin_y
                                if rows <= 0:
                                    continue
                                i_y = (i_z - part[2]) * height + begin_y + taps[ty, 1] - part[6]
                                lead = left + i_y * row_pitch - part[10]
                                of_row = (taps[tz, 0] * kernel_h + taps[ty, 0]) * kernel_w
                                into = t + (begin_y - q) * row_pitch - low
                                for tx in range(classes[x, 2], classes[x, 3]):
                                    if added == CHAIN:
                                        _put_aside(scratch, t, totals, size, resume)
                                        added, resume = 0, True
                                    added += 1
                                    shift = taps[tx, 1]
                                    begin, end = low, high
                                    if not padded:
                                        begin, end = max(low, part[10] - shift), min(high, part[11] - shift)
                                    accumulate(
                                        scratch, at + (of_row + taps[tx, 0]) * pitch + lead + begin + shift, scratch,
                                        into + begin, max(0, (rows - 1) * row_pitch + end - begin),
                                    )  # fmt: skip
                        if resume:
                            accumulate(scratch, totals, scratch, t, size)
                    for row in range(together):
                        o_y = classes[y, 0] + (q + row) * step_y
                        start = to + (o_z * axes[1, 1] + o_y) * axes[2, 1]
                        t = line + row * row_pitch
                        _set_row(
                            scratch,
                            t,
                            line_pitch,
                            number,
                            out,
                            start,
                            classes,
                            first_x,
                            last_x,
                            low,
                            part[9],
                            step_x,
                            pairs,
                        )


@inner
def _set_row(scratch, t, line_pitch, number, out, start, classes, first_x, last_x, low, end, step, pairs):
    """Add the bias to the lines of all classes of a row, and set its outputs."""
    if pairs:
        whole = min(classes[first_x, 1], (end + 1) // 2) - low
        both = max(0, min(classes[first_x + 1, 1], end // 2) - low)
        add_pairs(scratch, t, t + line_pitch, number, out, start + 2 * low, both)
        if whole > both:
            out[start + 2 * (low + both)] = scratch[t + both] + number
        return
    for x in range(first_x, last_x):
        length = max(0, min(classes[x, 1], (end - classes[x, 0] + step - 1) // step) - low)
        line, to = t + (x - first_x) * line_pitch, start + classes[x, 0] + low * step
        if step == 1:
            add(scratch, line, number, out, to, length)
        else:
            for w in range(length):
                out[to + w * step] = scratch[line + w] + number


@whole
def fold(source, weight, bias, out, numbers, axes, parts, classes, taps, lanes, scratch, counter):
    """Do tasks, some output channels in a part of one sample's map each, until none is left.

    The scratch memory holds the part's inputs, the sums, those of few positions turned, a block of the weight, and a
    line for each class of a row.
    """
    samples, groups, channels, out_channels, kernel = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    shares, few, pitch, left, gap = numbers[5], numbers[6], numbers[7], numbers[13], numbers[14]
    inputs, sums, aside, panel, line, line_pitch = 0, numbers[8], numbers[9], numbers[10], numbers[11], numbers[12]
    size = axes[0, 0] * axes[1, 0] * axes[2, 0]
    outputs = axes[0, 1] * axes[1, 1] * axes[2, 1]
    row_pitch = out_channels * kernel
    tasks, held = samples * groups * parts.shape[0] * shares, -1
    while True:
        task = take(counter)
        if task >= tasks:
            return
        share, p = task % shares, task // shares % parts.shape[0]
        sample_group = task // shares // parts.shape[0]
        part = parts[p]
        group = sample_group % groups
        of_sample = sample_group * channels * size
        start = of_sample + (part[2] * axes[1, 0] + part[6]) * axes[2, 0] + part[10]
        lines, width = (part[3] - part[2]) * (part[7] - part[6]), part[11] - part[10]
        positions = left + lines * (width + gap)
        vectors = (positions + lanes - 1) // lanes
        first = share * out_channels // shares
        count = (share + 1) * out_channels // shares - first
        row = group * channels * row_pitch + first * kernel
        if few:
            _multiply_few(
                lanes, source, start, size, positions, channels, weight, row, count * kernel, row_pitch, scratch, panel,
                aside, sums, pitch,
            )  # fmt: skip
        else:
            if task // shares != held:
                held = task // shares
                _gather(lanes, source, start, size, channels, lines, width, left, gap, vectors, scratch, aside, inputs)
            _multiply(
                lanes, scratch, inputs, vectors, channels, weight, row, count * kernel, row_pitch, panel, sums, pitch,
            )  # fmt: skip
            if gap:
                _make_exact(scratch, sums, count * kernel, pitch, width + gap, lines, left, gap, width)
        for m in range(count):
            channel = group * out_channels + first + m
            to = (sample_group * out_channels + first + m) * outputs
            _fold(
                scratch, sums + m * kernel * pitch, pitch, bias[channel], out, to, part, axes, classes, taps, line,
                line_pitch, left, gap, not few,
            )  # fmt: skip
