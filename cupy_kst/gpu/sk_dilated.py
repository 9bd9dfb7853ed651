"""Launches of Sk-dilated (arXiv 2306.15951): one makes split sums of every tap's product, one adds them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..dtypes import DType
from ..geometry import Geometry
from . import tiles
from .plan import Plan, Workspace, of_weight, tiled
from .target import Target

KERNELS = {
    "multiply_taps": ("small", "large", "partials"),
    "add_partials": ("partials", "weight"),
}
REGISTERS = 255


def forms(dtype: DType) -> Iterator[tiles.Defines]:
    """Yield the defines of every build."""
    return (tile.defines for tile in tiles.tiles(dtype))


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the split sums between them."""
    rows, columns = (count // geometry.groups for count in (geometry.small_channels, geometry.large_channels))
    products = geometry.groups * prod(axis.kernel for axis in geometry.axes)
    tile = tiles.choose(target, rows, columns, products)
    blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
    splits = tiles.splits(target, blocks, -(-geometry.samples * _most_positions(geometry) // tile.k))
    arrays = KERNELS["multiply_taps"]
    grid = (blocks, splits)
    multiply = tiled(geometry, target.wide, "sk_dilated", "multiply_taps", arrays, tile.threads, grid, tile.defines)
    add = of_weight(
        geometry, target.wide, "sk_dilated", "add_partials", KERNELS["add_partials"], tile.defines, (0, 0, splits)
    )
    shape = (splits, *geometry.full_weight_shape)
    return Plan((multiply, add), {"partials": Workspace(shape, target.dtype.compute)})


def _most_positions(geometry: Geometry) -> int:
    """Return the positions of the small map where the tap that meets most of them does."""
    return prod(max(len(axis.meetings(tap)[0]) for tap in range(axis.kernel)) for axis in geometry.axes)
