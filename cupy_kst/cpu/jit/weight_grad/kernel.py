"""The gradient of a weight: the correlation of the two maps, with channels of the small map in lanes."""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ...sums import CHAIN
from ..cache import inner, whole
from ..implicit_gemm.kernel import fill, turn
from ..microkernel import microkernel, registers
from ..tasks import take
from ..vector_ops import accumulate, clear, copy

# Filter elements that are summed at once with channels in so many vectors: as many sums as fill the registers, or as
# hide the latency of adding to them where there are addresses for no more.
ONE, TWO, THREE, FOUR = (8, 8, 8, 6) if registers() >= 32 else (8, 4, 4, 2)
_sum_1, _sum_2 = microkernel(ONE, 1, False), microkernel(TWO, 2, False)
_sum_3, _sum_4 = microkernel(THREE, 3, False), microkernel(FOUR, 4, False)
MOST_SUMMED = 8
# Positions whose turned channels stay in the first cache while all filter elements meet them, and how far apart the
# channels' lines of these are: an odd number of cache lines.
DEPTH, LINE = 128, 144


@inner
def _gather(small, origin, count, sample, axes, box, first, some, sums, lines, lanes):
    """Copy `some` positions of a box of the small map from the `first` on, for as many channels as a vector has lanes.

    Samples are `sample` numbers apart.
    """
    line = axes[2, 1]
    plane = axes[1, 1] * line
    depth, height, run = box[5], box[6], box[7]
    # Rows and slices that follow each other in the map are one.
    if run == line:
        height, run = 1, height * run
    if run == plane:
        depth, run = 1, depth * run
    origin += box[0] * sample + box[1] * plane + box[2] * line + box[3]
    runs, begun = first // run, first % run
    first_n, first_d, first_h = runs // height // depth, runs // height % depth, runs % height
    for m in range(lanes):
        to = lines + m * LINE
        if m >= count:
            clear(sums, to, some)
            continue
        n, d, h, past, done = first_n, first_d, first_h, begun, 0
        of_channel = origin + m * axes[0, 1] * plane
        while done < some:
            length = min(run - past, some - done)
            copy(small, of_channel + n * sample + d * plane + h * line + past, sums, to + done, length)
            done, past, h = done + length, 0, h + 1
            if h == height:
                h, d = 0, d + 1
                if d == depth:
                    d, n = 0, n + 1


@inner
def _sum(count, buffer, rows, places, first, depth, panel, sums, to, width, resume, lanes):
    """Add up the products at `depth` places for `count` filter elements, or some more that nobody reads.

    If `resume` their sums are added to those that are there.
    """
    if width == lanes:
        for i in range(0, count, ONE):
            _sum_1(buffer, 0, rows, i, places, first, depth, sums, panel, sums, to + i * width, width, resume)
    elif width == 2 * lanes:
        for i in range(0, count, TWO):
            _sum_2(buffer, 0, rows, i, places, first, depth, sums, panel, sums, to + i * width, width, resume)
    elif width == 3 * lanes:
        for i in range(0, count, THREE):
            _sum_3(buffer, 0, rows, i, places, first, depth, sums, panel, sums, to + i * width, width, resume)
    else:
        for i in range(0, count, FOUR):
            _sum_4(buffer, 0, rows, i, places, first, depth, sums, panel, sums, to + i * width, width, resume)


@inner
def _put_aside(sums, totals, size, resume):
    """Add sums to the totals, which are theirs unless `resume`."""
    if resume:
        accumulate(sums, 0, sums, totals, size)
    else:
        copy(sums, 0, sums, totals, size)


@whole
def correlate(
    small, large, out, lanes, width, stack, small_channels, large_channels, held, taps, shares, numbers, axes, phases,
    boxes, places, rows, buffer, sums, counter,
):  # fmt: skip
    """Do tasks: for `stack` blocks of `width` channels of the small map, all taps of `held` channels of the large one.

    One task sums over its share of the boxes, in their order, and each share has a gradient of its own. The sums of
    `CHAIN` chains are added to totals. The scratch memory holds the sums of each block, those of one turned, a few
    positions of the small map by channel, these turned, and the totals, if there are so many chains.
    """
    groups = numbers[1]
    blocks, parts = (small_channels + width - 1) // width, (large_channels + held - 1) // held
    stacks = (blocks + stack - 1) // stack
    of_large, of_small = axes[0, 0] * axes[1, 0] * axes[2, 0], axes[0, 1] * axes[1, 1] * axes[2, 1]
    of_sample = groups * small_channels * of_small
    # Room for sums that nobody reads.
    turned_pitch = (held * taps + MOST_SUMMED + lanes - 1) // lanes * lanes
    of_block = turned_pitch * width
    turned = stack * of_block
    lines = turned + of_block
    panel = lines + lanes * LINE
    totals = panel + width * DEPTH
    while True:
        task = take(counter)
        if task >= shares * groups * stacks * parts:
            return
        part, first, group = task % parts, task // parts % stacks * stack, task // parts // stacks % groups
        share = task // parts // stacks // groups
        begin = share * boxes.shape[0] // shares
        channel, last = part * held, min(first + stack, blocks)
        count = min(held, large_channels - channel)
        # Chains whose sums are in the totals, and of which the others are.
        added, chains = 0, 0
        for b in range(begin, (share + 1) * boxes.shape[0] // shares):
            box = boxes[b]
            more = (box[9] + DEPTH - 1) // DEPTH
            if chains > 0 and chains + more > CHAIN:
                _put_aside(sums, totals, (last - first) * of_block, added > 0)
                added, chains = added + chains, 0
            origin = (group * large_channels + channel) * of_large
            fill(large, origin, count, large_channels, numbers, axes, phases, box, buffer, lanes)
            for block in range(first, last):
                some = min(width, small_channels - block * width)
                wide = (some + lanes - 1) // lanes * lanes
                origin = (group * small_channels + block * width) * of_small
                to = (block - first) * of_block
                for k in range(0, box[9], DEPTH):
                    deep = min(DEPTH, box[9] - k)
                    for lane in range(0, wide, lanes):
                        start = origin + lane * of_small
                        _gather(small, start, some - lane, of_sample, axes, box, k, deep, sums, lines, lanes)
                        turn(sums, lines, LINE, panel + lane, wide, lanes, deep, lanes)
                    again = chains > 0 or k > 0
                    _sum(count * taps, buffer, rows, places, box[8] + k, deep, panel, sums, to, wide, again, lanes)
            chains += more
        if added > 0:
            accumulate(sums, totals, sums, 0, (last - first) * of_block)
        for block in range(first, last):
            some = min(width, small_channels - block * width)
            wide = (some + lanes - 1) // lanes * lanes
            turn(sums, (block - first) * of_block, wide, turned, turned_pitch, count * taps, wide, lanes)
            for m in range(some):
                row = (share * groups + group) * small_channels + block * width + m
                copy(sums, turned + m * turned_pitch, out, (row * large_channels + channel) * taps, count * taps)
