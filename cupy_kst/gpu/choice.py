"""Which build and which tile a geometry takes: pure functions, so that they are tested without a device."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from ..axis import Axis
from ..geometry import Geometry
from .target import Target
from .tiles import Tile, tiles

# Room above the largest offset for a block's threads that fall outside.
_NARROW = 2**31 - 1024
# Blocks that a split product gives each multiprocessor, and the least stages of one split.
SPLIT_BLOCKS = 4
SPLIT_STAGES = 8


@lru_cache(maxsize=1024)
def needs_wide(geometry: Geometry) -> bool:
    """Return whether an offset inside one sample, or inside the weight, may not fit 32 bits, by any method."""
    lengths = [
        prod(geometry.full_small_shape[1:]),
        prod(geometry.full_large_shape[1:]),
        prod(geometry.zero_inserted_shape[1:]),
        geometry.small_channels * prod(axis.dilated_size for axis in geometry.axes),
        prod(geometry.full_weight_shape),
        prod(geometry.split_output_shape[1:]),
        prod(geometry.split_weight_shape),
    ]
    return max(*lengths, *map(_reach, geometry.axes)) > _NARROW


def _reach(axis: Axis) -> int:
    """Return a bound of what kernels compute along one axis on their way to an offset."""
    furthest_tap = axis.dilation * (max(axis.kernel, axis.tap_step) + 1)
    furthest_place = max(axis.large, axis.small * axis.stride)
    return furthest_place + axis.stride + axis.pad_lo + max(furthest_tap, axis.tap_step**2)


@lru_cache(maxsize=1024)
def tile_for(target: Target, rows: int, columns: int, products: int = 1) -> Tile:
    """Return the tile that computes `products` products of ``rows x columns`` in the least time, or the one asked for.

    The estimate: blocks go round by round over the multiprocessors, and one takes as long as its multiply-adds, idle
    rows and columns included, and the loads of its operands, which weigh eight times as much.
    """

    if target.form is not None:
        return target.form.tile

    def time(tile: Tile) -> int:
        blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
        return -(-blocks // target.device.multiprocessors) * (tile.m * tile.n + 8 * (tile.m + tile.n))

    return min(tiles(target.dtype), key=time)


@lru_cache(maxsize=1024)
def splits(target: Target, blocks: int, stages: int) -> int:
    """Return into how many parts the depth of products is split, which have `blocks` tiles and up to `stages` each."""
    if target.form is not None:
        return target.form.splits
    wanted = -(-SPLIT_BLOCKS * target.device.multiprocessors // blocks)
    return max(1, min(wanted, stages // SPLIT_STAGES, target.device.max_grid[1]))
