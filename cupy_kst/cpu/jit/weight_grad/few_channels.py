"""The gradient of a weight of few channels of the small map, as depthwise ones are, with positions in lanes."""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from ...sums import CHAIN
from ..cache import inner, whole
from ..implicit_gemm.kernel import fill
from ..microkernel import TAPS, dot_microkernel
from ..tasks import take
from ..vector_ops import accumulate, copy

MOST = 3
_dot_1, _dot_2, _dot_3 = (dot_microkernel(channels) for channels in (1, 2, 3))


@inner
def _lay_out(box, axes, groups, channels, numbers, lanes, places, smalls, counts):
    """Set where vectors of a box's rows begin, in the buffer and in the small map, and how many numbers each has."""
    size, plane = axes[0, 1] * axes[1, 1] * axes[2, 1], axes[1, 1] * axes[2, 1]
    rows, pitch = axes[1, 4], axes[2, 4]
    vectors = 0
    for n in range(box[4]):
        for d in range(box[5]):
            for h in range(box[6]):
                place = n * numbers[4] + (d * rows + h) * pitch
                start = (box[0] + n) * groups * channels * size + (box[1] + d) * plane
                start += (box[2] + h) * axes[2, 1] + box[3]
                for w in range(0, box[7], lanes):
                    places[vectors], smalls[vectors], counts[vectors] = place + w, start + w, min(lanes, box[7] - w)
                    vectors += 1
    return vectors


@inner
def _dot(
    small, origin, pitch, smalls, buffer, places, counts, vectors, offsets, elements, channels, sums, lanes, resume
):  # fmt: skip
    """Add up the products of vectors for all filter elements, and add the sums to those that are there if `resume`."""
    for e in range(0, elements, TAPS):
        last, at = min(TAPS, elements - e) - 1, e * channels * lanes
        if channels == 1:
            _dot_1(
                small, origin, pitch, smalls, buffer, places, counts, vectors, offsets, e, last, sums, at, resume,
            )  # fmt: skip
        elif channels == 2:
            _dot_2(
                small, origin, pitch, smalls, buffer, places, counts, vectors, offsets, e, last, sums, at, resume,
            )  # fmt: skip
        else:
            _dot_3(
                small, origin, pitch, smalls, buffer, places, counts, vectors, offsets, e, last, sums, at, resume,
            )  # fmt: skip


@whole
def correlate_few(
    small, large, out, lanes, most, small_channels, large_channels, held, taps, shares, numbers, axes, phases, boxes,
    offsets, buffer, sums, counter,
):  # fmt: skip
    """Do tasks: all channels of the small map, all taps of `held` channels of the large one, in a share of the boxes.

    No box has more than `most` vectors. The scratch memory holds a vector of sums for each product of a channel and a
    filter element, and as many totals, to which the sums of `CHAIN` chains are added.
    """
    groups, parts = numbers[1], (large_channels + held - 1) // held
    of_large, of_small = axes[0, 0] * axes[1, 0] * axes[2, 0], axes[0, 1] * axes[1, 1] * axes[2, 1]
    totals = small_channels * (held * taps + TAPS) * lanes
    places, smalls, counts = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int32)
    while True:
        task = take(counter)
        if task >= shares * groups * parts:
            return
        part, group, share = task % parts, task // parts % groups, task // parts // groups
        channel = part * held
        count = min(held, large_channels - channel)
        begin, elements = share * boxes.shape[0] // shares, count * taps
        origin = group * small_channels * of_small
        size = (elements + TAPS - 1) // TAPS * TAPS * small_channels * lanes
        # Chains whose sums are in the totals, and of which the others are.
        added, chains = 0, 0
        for b in range(begin, (share + 1) * boxes.shape[0] // shares):
            box = boxes[b]
            start = (group * large_channels + channel) * of_large
            fill(large, start, count, large_channels, numbers, axes, phases, box, buffer, lanes)
            vectors = _lay_out(box, axes, groups, small_channels, numbers, lanes, places, smalls, counts)
            for v in range(0, vectors, CHAIN):
                if chains == CHAIN:
                    if added > 0:
                        accumulate(sums, 0, sums, totals, size)
                    else:
                        copy(sums, 0, sums, totals, size)
                    added, chains = added + chains, 0
                _dot(
                    small, origin, of_small, smalls[v:], buffer, places[v:], counts[v:], min(CHAIN, vectors - v),
                    offsets, elements, small_channels, sums, lanes, chains > 0,
                )  # fmt: skip
                chains += 1
        if added > 0:
            accumulate(sums, totals, sums, 0, size)
        for m in range(small_channels):
            row = (share * groups + group) * small_channels + m
            to = (row * large_channels + channel) * taps
            for e in range(elements):
                at = ((e // TAPS * small_channels + m) * TAPS + e % TAPS) * lanes
                total = sums[at]
                for lane in range(1, lanes):
                    total += sums[at + lane]
                out[to + e] = total
