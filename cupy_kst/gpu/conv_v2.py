"""Launches of ConvV2 (arXiv 2306.15951): one packs the filter, one multiplies by it."""

from __future__ import annotations

from math import prod

from ..geometry import Geometry
from ..trimming import trims_windows
from . import choice, tiles
from .form import TRIMMED, Form
from .plan import Plan, Workspace, of_weight, tiled
from .target import Target

KERNELS = {
    "pack_filter": ("weight", "filters"),
    "multiply_positions": ("large", "filters", "bias", "small"),
}
REGISTERS = 255
OPTION = TRIMMED
forms = tiles.filter_forms


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    columns, positions = geometry.small_channels // geometry.groups, prod(geometry.full_small_shape[2:])
    trimmed = trims_windows(geometry) if target.form is None else target.form.trimmed
    if trimmed:
        rows, products = geometry.samples, geometry.groups * positions
    else:
        rows, products = geometry.samples * positions, geometry.groups
    tile = choice.tile_for(target, rows, columns, products)
    defines = tiles.filter_form(tile, tiles.vector(target.dtype, columns), trimmed)
    pack = of_weight(geometry, target.wide, "conv_v2", "pack_filter", KERNELS["pack_filter"], defines)
    blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
    arrays = KERNELS["multiply_positions"]
    multiply = tiled(geometry, target.wide, "conv_v2", "multiply_positions", arrays, tile.threads, (blocks, 1), defines)
    form = Form(target.dtype.short, tile, trimmed)
    return Plan((pack, multiply), {"filters": Workspace(geometry.full_weight_shape)}, form)
