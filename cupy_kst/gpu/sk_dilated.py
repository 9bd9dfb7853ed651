"""Launches of Sk-dilated (arXiv 2306.15951): one for every tap's product, one to add split sums."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..dtypes import DType
from ..geometry import Geometry
from . import choice, tiles
from .form import SPLIT, Form
from .plan import NULL, Plan, Workspace, of_weight, tiled
from .target import Target

KERNELS = {
    "multiply_taps": ("small", "large", "partials", "weight"),
    "add_partials": ("partials", "weight"),
}
REGISTERS = 255
OPTION = SPLIT


def forms(dtype: DType) -> Iterator[tiles.Defines]:
    """Yield the defines of every build."""
    return (tile.defines for tile in tiles.tiles(dtype))


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the split sums between them, if there are any."""
    rows, columns = (count // geometry.groups for count in (geometry.small_channels, geometry.large_channels))
    products = geometry.groups * prod(axis.kernel for axis in geometry.axes)
    tile = choice.tile_for(target, rows, columns, products)
    blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
    stages = -(-geometry.samples * _most_positions(geometry) // tile.k)
    splits = choice.splits(target, blocks, stages)
    form = Form(target.dtype.short, tile, splits=splits)
    arrays = KERNELS["multiply_taps"] if splits > 1 else ("small", "large", NULL, "weight")
    grid = (blocks, splits)
    multiply = tiled(geometry, target.wide, "sk_dilated", "multiply_taps", arrays, tile.threads, grid, tile.defines)
    if splits == 1:
        return Plan((multiply,), form=form)
    add = of_weight(
        geometry, target.wide, "sk_dilated", "add_partials", KERNELS["add_partials"], tile.defines, (0, 0, splits)
    )
    shape = (splits, *geometry.full_weight_shape)
    return Plan((multiply, add), {"partials": Workspace(shape, target.dtype.compute)}, form)


def _most_positions(geometry: Geometry) -> int:
    """Return the positions of the small map where the tap that meets most of them does."""
    return prod(max(len(axis.meetings(tap)[0]) for tap in range(axis.kernel)) for axis in geometry.axes)
