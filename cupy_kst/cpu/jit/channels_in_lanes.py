"""Products with output channels in lanes, at positions that are found by a table.

No lane idles at the end of a row, however long the map's rows are: the micro-kernel broadcasts MR inputs and multiplies
them by vectors of the packed weight. The sums lie position by position, and are transposed before they are written.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from .cache import inner
from .isa import CHANNELS, blocking
from .microkernel import micro_kernel, sizes
from .operands import TableInputs

MR, VECTORS = blocking().tiles[CHANNELS]
_multiply = micro_kernel(sizes((MR, VECTORS), False), TableInputs(), positions_in_lanes=False, prefetch=True)


@inner
def sum_by_channels(count, inputs, weights, sums, depth, resume):
    """Sum `depth` products at `count` places, tile by tile; operands are tuples as in `microkernel`."""
    source, base, places, place, offsets, first = inputs
    numbers, to, pitch = sums
    tiles, done = (count + MR - 1) // MR, 0
    for tile in range(tiles):
        # Tiles are as even as can be: one of a single place would read the whole weight for it.
        now = count * (tile + 1) // tiles - done
        at = source, base, places, place + done, offsets, first
        _multiply(now, at, weights, (numbers, to + done * pitch, pitch), depth, resume)
        done += now
