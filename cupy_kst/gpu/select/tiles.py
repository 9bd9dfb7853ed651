"""Tiles of the methods that are matrix products."""

from __future__ import annotations

from typing import NamedTuple

from ...dtypes import DType
from .microkernel import MicroKernel

Defines = tuple[tuple[str, str], ...]

# Bytes of the widest access to memory.
ACCESS = 16
# Shared memory that every block may have; more must be asked for by the launch.
STATIC_SHARED_BYTES = 48 * 1024
# Elements at the end of a buffer's rows on tensor cores, unless these hold depth; see cuda/tile_mma.cuh.
_ROW_PAD = 8
# Elements at the end of a line of sums; see cuda/tile_interleave.cuh.
_LINE_PAD = 4
# Bytes of all banks of shared memory, which classes' lines divide among them.
_BANKS = 128


class Tile(NamedTuple):
    """What a block computes of a product (m by n, in stages of depth k), and what each of its threads does."""

    m: int
    n: int
    k: int
    thread_m: int
    thread_n: int
    stages: int = 2

    def __str__(self) -> str:
        return f"{self.m}x{self.n}"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.m // self.thread_m * (self.n // self.thread_n)


# The sums of one thread take at most 64 registers. Narrow tiles serve the few channels of images, low tiles few
# positions.
_HALF = (
    Tile(m=128, n=128, k=32, thread_m=8, thread_n=8, stages=4),
    Tile(m=64, n=64, k=32, thread_m=4, thread_n=8, stages=4),
    Tile(m=32, n=64, k=32, thread_m=2, thread_n=8, stages=4),
    Tile(m=128, n=16, k=32, thread_m=4, thread_n=4, stages=4),
)
_FLOAT = (
    Tile(m=128, n=128, k=16, thread_m=8, thread_n=8, stages=4),
    Tile(m=64, n=64, k=16, thread_m=4, thread_n=8, stages=4),
    Tile(m=32, n=64, k=16, thread_m=2, thread_n=8, stages=4),
    Tile(m=128, n=16, k=16, thread_m=4, thread_n=4, stages=4),
)
_TILES = {
    "f16": _HALF,
    "bf16": _HALF,
    "tf32": _FLOAT,
    # Sums of two kinds.
    "tf32x3": (Tile(m=128, n=64, k=16, thread_m=4, thread_n=8, stages=4), *_FLOAT[1:]),
    "f32": (
        Tile(m=128, n=64, k=8, thread_m=8, thread_n=4),
        Tile(m=64, n=64, k=8, thread_m=8, thread_n=4),
        Tile(m=32, n=32, k=8, thread_m=4, thread_n=4),
        Tile(m=128, n=16, k=8, thread_m=4, thread_n=4),
    ),
    "f64": (
        Tile(m=64, n=64, k=8, thread_m=4, thread_n=4),
        Tile(m=32, n=32, k=8, thread_m=4, thread_n=2),
        Tile(m=64, n=16, k=8, thread_m=4, thread_n=2),
    ),
    "c64": (
        Tile(m=64, n=64, k=8, thread_m=4, thread_n=4),
        Tile(m=32, n=32, k=8, thread_m=4, thread_n=2),
        Tile(m=64, n=16, k=8, thread_m=4, thread_n=2),
    ),
    "c128": (
        Tile(m=64, n=32, k=8, thread_m=4, thread_n=2),
        Tile(m=32, n=32, k=8, thread_m=2, thread_n=2),
        Tile(m=64, n=16, k=8, thread_m=2, thread_n=2),
    ),
}


def tiles(micro: MicroKernel) -> tuple[Tile, ...]:
    """Return the tiles that a micro-kernel multiplies."""
    return _TILES[micro.name]


def vector(dtype: DType, *channels: int) -> int:
    """Return how many elements a load is of: 16 bytes, if they divide the numbers of channels, or 1."""
    most = ACCESS // dtype.storage.itemsize
    return most if all(each % most == 0 for each in channels) else 1


def shared_bytes(tile: Tile, micro: MicroKernel, deep: bool) -> int:
    """Return the bytes of a block's buffers; on tensor cores those of the rows may hold depth, if they are `deep`."""
    if not micro.tensor:
        return tile.stages * tile.k * (tile.m + tile.n + 2 * (ACCESS // micro.bytes)) * micro.bytes
    a = tile.m * (tile.k + ACCESS // micro.bytes) if deep else tile.k * (tile.m + _ROW_PAD)
    return tile.stages * (a + tile.k * (tile.n + _ROW_PAD)) * micro.bytes


def interleaved_bytes(tile: Tile, micro: MicroKernel, dtype: DType, classes: int) -> int:
    """Return the bytes of a block that keeps the sums of residue classes, those of the last where its buffers were."""
    sums = tile.n * (tile.m + _LINE_PAD) * dtype.storage.itemsize + -(-_BANKS // classes // ACCESS) * ACCESS
    return (classes - 1) * sums + max(sums, shared_bytes(tile, micro, False))


def launch_bytes(needed: int) -> int:
    """Return the shared memory that a launch asks for: none, where every block may have as much."""
    return needed if needed > STATIC_SHARED_BYTES else 0


def defines(tile: Tile, micro: MicroKernel, needed: int, vector_a: int, **more: int) -> Defines:
    """Return what cuda/tile.cuh expects to be defined where a block needs so many shared bytes, and `more`."""
    values = {
        "TENSOR": micro.tensor,
        "TILE_M": tile.m,
        "TILE_N": tile.n,
        "TILE_K": tile.k,
        "THREAD_M": tile.thread_m,
        "THREAD_N": tile.thread_n,
        "STAGES": tile.stages,
        "SHARED_BYTES": launch_bytes(needed),
        "VECTOR_A": vector_a,
        **more,
    }
    return tuple((name, str(value)) for name, value in values.items())
