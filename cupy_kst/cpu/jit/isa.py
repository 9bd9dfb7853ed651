"""The processor that Numba compiles for, and the numbers of registers and caches by which its kernels are blocked.

A matrix product is blocked as in BLIS. A micro-kernel keeps MR x NR sums in vector registers; NR is some vectors of
`lanes` numbers each. It adds up KC products of each sum before the sums are stored, so that what it reads meanwhile
stays in the first cache. Around it, panels of up to NC rows and boxes of inputs are sized for the second cache.

MR and NR follow from the number of registers: the sums, the vectors of one step and one broadcast number must fit, but
for one number of `ONE` with 16 registers. They stand in `BLOCKING`, one line for each number of registers, and nowhere
else: micro-kernels are generated from them, plans divide by them, and the cost model reads the line of the processor
whose prices it has. Sizes in bytes are for caches of 32 to 64 KiB and of 512 KiB to 1 MiB; they were measured, not
derived.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..sums import CHAIN

# How a product fills its registers: for many output channels, for few, for one, and with channels in lanes.
WIDE, FEW, ONE, CHANNELS = range(4)


@dataclass(frozen=True)
class Blocking:
    """What micro-kernels make at once on processors with so many vector registers.

    Attributes
    ----------
    tiles : tuple
        MR and the vectors of NR, for each way to fill the registers (`WIDE`, `FEW`, `ONE`, `CHANNELS`).
    summed : tuple of int
        Filter elements whose gradients are summed at once with 1, 2, 3 and 4 vectors of channels: as many sums as fill
        the registers. Where there are addresses for no more, they are as many as hide the latency of additions.
    """

    tiles: tuple[tuple[int, int], ...]
    summed: tuple[int, ...]


# By vector registers: AVX-512 and NEON have 32, SSE and AVX have 16.
BLOCKING = {
    32: Blocking(tiles=((8, 3), (4, 4), (1, 8), (6, 4)), summed=(8, 8, 8, 6)),
    16: Blocking(tiles=((4, 3), (2, 4), (1, 8), (4, 3)), summed=(8, 4, 4, 2)),
}

# Products of a chain, after which sums are stored. It is KC of `implicit_gemm` and `winograd`.
KC = CHAIN
# KC of `im2col_gemm` and `gemm_col2im`, and the rows that `gemm_col2im` packs at once, into the second cache.
ROWS_KC, ROWS_NC = 128, 512
# Filter elements whose gradients are summed at once with positions in lanes.
DOT_TAPS = 8
# Channels of the small map up to which gradients have positions in lanes.
DOT_CHANNELS = 3
# Positions whose channels stay in the first cache while all filter elements meet them, and the numbers from one of
# their lines to the next: in float32 an odd number of cache lines, so that lines share fewer sets of the cache.
GRADIENT_KC, GRADIENT_LINE = 128, 144

# implicit_gemm: the inputs of a box stay in the second cache while all output channels are made of them.
BOX_BYTES, BOX_POSITIONS = 480 << 10, 512
# Where few output channels are summed at once, a box has so many sums of a class: what is done once a box takes longer
# than their products.
BOX_SUMS = 4096
# Sums of several blocks of output channels that share inputs in the first cache.
BLOCK_SUMS_BYTES = 128 << 10

# gemm_col2im: inputs of a part of the map, and the sums of some output channels.
COL2IM_INPUT_BYTES, COL2IM_SUM_BYTES = 384 << 10, 256 << 10

# im2col_gemm: numbers of the columns, numbers of the sums, and positions that are made of the columns at once.
IM2COL_COLUMNS, IM2COL_SUMS, IM2COL_POSITIONS = 1 << 16, 1 << 17, 256

# winograd: the sums of a block of output channels stay in the second cache. The transformed inputs need not, since for
# a block of output channels each is read once for a product, at all tiles.
WINOGRAD_SUM_BYTES, WINOGRAD_INPUT_BYTES = 600 << 10, 2 << 20

# weight_grad: inputs of the large map, which share the second cache with the sums, and the gradients of parts of the
# maps that are added up where channels make too few tasks.
GRADIENT_INPUT_BYTES, GRADIENT_SHARES_BYTES = 256 << 10, 1 << 20
# Positions by which the channels of a box are counted where the map has no halo, and the most where it has one. Samples
# are put together up to the former.
GRADIENT_POSITIONS, GRADIENT_MOST_POSITIONS = 256, 512


@dataclass(frozen=True)
class RegisterTile:
    """The MR x NR sums that a micro-kernel has in registers; NR is `vectors` times `lanes`.

    Vectors hold neighbouring positions if `positions_in_lanes`, and MR counts output channels; else it is the other way
    round.
    """

    positions_in_lanes: bool
    mr: int
    vectors: int
    lanes: int

    @property
    def nr(self) -> int:
        """Numbers of the vectors."""
        return self.vectors * self.lanes

    @property
    def block(self) -> int:
        """Output channels that are made at once."""
        return self.mr if self.positions_in_lanes else self.nr


def tile_of(blocking: Blocking, filling: int, lanes: int) -> RegisterTile:
    """Return the tile of one way to fill the registers."""
    return RegisterTile(filling != CHANNELS, *blocking.tiles[filling], lanes)


def blocking() -> Blocking:
    """Return the numbers of the processor that Numba compiles for."""
    return BLOCKING[registers()]


def tile(filling: int, itemsize: int) -> RegisterTile:
    """Return the tile of one way to fill the registers of the processor that Numba compiles for."""
    return tile_of(blocking(), filling, lanes_of(itemsize))


@lru_cache(maxsize=1)
def _features() -> frozenset[str]:
    # Numba compiles for this processor unless told otherwise by these.
    told = os.environ.get("NUMBA_CPU_FEATURES")
    if os.environ.get("NUMBA_CPU_NAME") == "generic" and told is None:
        return frozenset()
    if told is not None:
        return frozenset(each[1:] for each in told.split(",") if each.startswith("+"))
    # It comes with Numba, without which plans are not made for this processor.
    import llvmlite.binding as llvm

    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def vector_bytes() -> int:
    """Return the size of a vector register."""
    if "avx512f" in _features():
        return 64
    return 32 if "avx" in _features() else 16


def registers() -> int:
    """Return the number of vector registers."""
    return 32 if "avx512f" in _features() or "neon" in _features() else 16


def lanes_of(itemsize: int) -> int:
    """Return the numbers of a vector."""
    return vector_bytes() // itemsize


def odd_lines(size: Any, itemsize: int) -> Any:
    """Return sizes in odd numbers of cache lines, so that the same place of many channels meets many sets."""
    line = 64 // itemsize
    return (-(-size // line) | 1) * line
