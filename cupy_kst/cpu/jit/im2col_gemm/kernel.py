"""Convolution of small maps by a weight as it lies: columns of inputs that fill vectors, whatever the maps' rows are.

A row of the weight is all that an output channel multiplies, so a product of matrices takes rows where they lie.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from ..cache import inner, whole
from ..implicit_gemm.kernel import WIDE
from ..microkernel import dense_rows_microkernel
from ..tasks import take
from ..vector_ops import add, clear, copy

ROWS, VECTORS = WIDE[1]
_rows_1, _rows_2, _rows_3 = (dense_rows_microkernel(ROWS, v) for v in (1, 2, 3))
# Inputs of so many vectors stay in the first cache while all output channels are made of them.
_DEPTH = 128


@inner
def _gather(source, start, apart, samples, channels, size, kernel, outputs, inputs, plane, pitch, width, scratch, to):
    """Set a line for each channel and tap to the inputs of all samples' outputs; `plane` has room for one map."""
    scratch[plane] = 0
    for c in range(channels):
        for e in range(kernel):
            line = to + (c * kernel + e) * pitch
            # What memory held may be slow to multiply.
            clear(scratch, line + samples * outputs, width - samples * outputs)
        for n in range(samples):
            copy(source, start + n * apart + c * size, scratch, plane + 1, size)
            for e in range(kernel):
                line = to + (c * kernel + e) * pitch + n * outputs
                for p in range(outputs):
                    scratch[line + p] = scratch[plane + inputs[e * outputs + p]]


@inner
def _multiply(lanes, scratch, columns, pitch, vectors, depth, weight, first, row_pitch, rows, sums, resume):
    """Add to `rows` lines at `sums` the products of rows of the weight and all columns."""
    tiles = (vectors + VECTORS - 1) // VECTORS
    for k in range(0, depth, _DEPTH):
        deep, again, done = min(_DEPTH, depth - k), resume or k > 0, 0
        for tile in range(tiles):
            now = vectors * (tile + 1) // tiles - done
            at = columns + k * pitch + done * lanes
            for m in range(0, rows, ROWS):
                w, some, to = first + m * row_pitch + k, min(ROWS, rows - m), sums + m * pitch + done * lanes
                if now == 3:
                    _rows_3(scratch, at, pitch, deep, weight, w, row_pitch, some, scratch, to, pitch, again)
                elif now == 2:
                    _rows_2(scratch, at, pitch, deep, weight, w, row_pitch, some, scratch, to, pitch, again)
                else:
                    _rows_1(scratch, at, pitch, deep, weight, w, row_pitch, some, scratch, to, pitch, again)
            done += now


@whole
def convolve(source, weight, bias, out, numbers, inputs, lanes, scratch, counter):
    """Do tasks, some output channels of some samples each, until none is left.

    `inputs` has the place of each tap's input of each output in a map that a zero is in front of. The scratch memory
    holds that map, the columns of some channels, and the sums.
    """
    samples, groups, channels, out_channels = numbers[0], numbers[1], numbers[2], numbers[3]
    size, kernel, outputs, together, shares = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    held, pitch, columns, sums = numbers[9], numbers[10], numbers[11], numbers[12]
    row_pitch = channels * kernel
    boxes = (samples + together - 1) // together
    while True:
        task = take(counter)
        if task >= boxes * groups * shares:
            return
        share, group, box = task % shares, task // shares % groups, task // shares // groups
        n = box * together
        some = min(together, samples - n)
        first = share * out_channels // shares
        rows = (share + 1) * out_channels // shares - first
        vectors = (some * outputs + lanes - 1) // lanes
        for c in range(0, channels, held):
            now = min(held, channels - c)
            start = ((n * groups + group) * channels + c) * size
            _gather(
                source, start, groups * channels * size, some, now, size, kernel, outputs, inputs, 0, pitch,
                vectors * lanes, scratch, columns,
            )  # fmt: skip
            w = (group * out_channels + first) * row_pitch + c * kernel
            _multiply(
                lanes, scratch, columns, pitch, vectors, now * kernel, weight, w, row_pitch, rows, sums, c > 0
            )  # fmt: skip
        for m in range(rows):
            channel = group * out_channels + first + m
            for i in range(some):
                to = ((n + i) * groups * out_channels + channel) * outputs
                add(scratch, sums + m * pitch + i * outputs, bias[channel], out, to, outputs)
