"""Launches of ConvV2 (arXiv 2306.15951): one packs the filter, one multiplies by it."""

from __future__ import annotations

from math import prod

from ..geometry import Geometry
from . import tiles
from .plan import Plan, Workspace, of_weight, tiled
from .target import Target

KERNELS = {
    "pack_filter": ("weight", "filters"),
    "multiply_positions": ("large", "filters", "bias", "small"),
}
REGISTERS = 255
forms = tiles.filter_forms


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    columns, positions = geometry.small_channels // geometry.groups, prod(geometry.full_small_shape[2:])
    trimmed = tiles.trims(geometry.samples, _useful_share(geometry))
    if trimmed:
        rows, products = geometry.samples, geometry.groups * positions
    else:
        rows, products = geometry.samples * positions, geometry.groups
    tile = tiles.choose(target, rows, columns, products)
    defines = tiles.filter_form(tile, tiles.vector(target.dtype, columns), trimmed)
    pack = of_weight(geometry, target.wide, "conv_v2", "pack_filter", KERNELS["pack_filter"], defines)
    blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
    arrays = KERNELS["multiply_positions"]
    multiply = tiled(geometry, target.wide, "conv_v2", "multiply_positions", arrays, tile.threads, (blocks, 1), defines)
    return Plan((pack, multiply), {"filters": Workspace(geometry.full_weight_shape)})


def _useful_share(geometry: Geometry) -> float:
    """Return the products that meet the large map, of all that the taps of the small map's elements come to."""
    met = prod(sum(len(axis.meetings(tap)[0]) for tap in range(axis.kernel)) for axis in geometry.axes)
    return met / prod(axis.small * axis.kernel for axis in geometry.axes)
