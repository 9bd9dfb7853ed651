"""Tiles of the methods that are matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..dtypes import DType

Defines = tuple[tuple[str, str], ...]

# Bytes of the widest access to memory.
ACCESS = 16


class Tile(NamedTuple):
    """What a block computes of a product (m by n, in stages of depth k), and what each of its threads does."""

    m: int
    n: int
    k: int
    thread_m: int
    thread_n: int

    def __str__(self) -> str:
        return f"{self.m}x{self.n}"

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
