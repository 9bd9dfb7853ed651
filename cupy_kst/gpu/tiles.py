"""Tiles of the methods that are matrix products: which there are, and which one a product takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ..dtypes import DType
from .target import Target

Defines = tuple[tuple[str, str], ...]

# Bytes of the widest access to memory.
ACCESS = 16
# Blocks that a split product gives each multiprocessor, and the least stages of one split.
SPLIT_BLOCKS = 4
SPLIT_STAGES = 8


class Tile(NamedTuple):
    """What a block computes of a product (m by n, in stages of depth k), and what each of its threads does."""

    m: int
    n: int
    k: int
    thread_m: int
    thread_n: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.m // self.thread_m * (self.n // self.thread_n)

    @property
    def defines(self) -> Defines:
        """What cuda/tile.cuh expects to be defined."""
        names = ("TILE_M", "TILE_N", "TILE_K", "THREAD_M", "THREAD_N")
        return tuple((name, str(value)) for name, value in zip(names, self, strict=True))


# By the size of the compute type: sums of one thread take at most 64 registers. Narrow ones are for images' channels.
_TILES = {
    4: (Tile(128, 64, 8, 8, 4), Tile(64, 64, 8, 8, 4), Tile(32, 32, 8, 4, 4), Tile(128, 16, 8, 4, 4)),
    8: (Tile(64, 64, 8, 4, 4), Tile(32, 32, 8, 4, 2), Tile(64, 16, 8, 4, 2)),
    16: (Tile(64, 32, 8, 4, 2), Tile(32, 32, 8, 2, 2), Tile(64, 16, 8, 2, 2)),
}


def tiles(dtype: DType) -> tuple[Tile, ...]:
    """Return the tiles that there are for an element type."""
    return _TILES[dtype.compute.itemsize]


def vectors(dtype: DType) -> tuple[int, ...]:
    """Return the numbers of elements of a packed filter that a load may be of."""
    return tuple(sorted({1, ACCESS // dtype.storage.itemsize}))


def filter_forms(dtype: DType) -> Iterator[Defines]:
    """Yield the defines of every build of a product of a map by a packed filter."""
    for tile in tiles(dtype):
        for vector in vectors(dtype):
            for trimmed in (False, True):
                yield filter_form(tile, vector, trimmed)


def filter_form(tile: Tile, vector: int, trimmed: bool) -> Defines:
    """Return the defines of one build of a product of a map by a packed filter."""
    return (*tile.defines, ("VECTOR", str(vector)), ("TRIMMED", str(int(trimmed))))


def vector(dtype: DType, columns: int) -> int:
    """Return how many elements of a packed filter's rows a load is of: 16 bytes, if they divide the columns, or 1."""
    most = ACCESS // dtype.storage.itemsize
    return most if columns % most == 0 else 1


@lru_cache(maxsize=1024)
def choose(target: Target, rows: int, columns: int, products: int = 1) -> Tile:
    """Return the tile that computes `products` products of ``rows x columns`` in the least time.

    The estimate: blocks go round by round over the multiprocessors, and one takes as long as its multiply-adds, idle
    rows and columns included, and the loads of its operands, which weigh eight times as much.
    """

    def time(tile: Tile) -> int:
        blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
        return -(-blocks // target.device.multiprocessors) * (tile.m * tile.n + 8 * (tile.m + tile.n))

    return min(tiles(target.dtype), key=time)


@lru_cache(maxsize=1024)
def splits(target: Target, blocks: int, stages: int) -> int:
    """Return into how many parts the depth of products is split, which have `blocks` tiles and up to `stages` each."""
    wanted = -(-SPLIT_BLOCKS * target.device.multiprocessors // blocks)
    return max(1, min(wanted, stages // SPLIT_STAGES, target.device.max_grid[1]))
