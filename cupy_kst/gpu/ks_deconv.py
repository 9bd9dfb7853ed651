"""Launches of KS-deconv (arXiv 2306.15951): one splits and rotates the filter, one computes all residue classes."""

from __future__ import annotations

from math import prod

from ..geometry import Geometry
from ..trimming import trims_classes
from . import choice, tiles
from .form import TRIMMED, Form
from .plan import Plan, Workspace, of_weight, tiled
from .target import Target

KERNELS = {
    "split_and_rotate": ("weight", "filters"),
    "multiply_classes": ("small", "filters", "bias", "large"),
}
REGISTERS = 255
OPTION = TRIMMED
forms = tiles.filter_forms


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    columns, classes = geometry.large_channels // geometry.groups, len(geometry.classes)
    positions = prod(axis.classes[0].positions for axis in geometry.axes)
    products = geometry.groups * classes
    trimmed = trims_classes(geometry) if target.form is None else target.form.trimmed
    if trimmed:
        rows, products = geometry.samples, products * positions
    else:
        rows = geometry.samples * positions
    tile = choice.tile_for(target, rows, columns, products)
    defines = tiles.filter_form(tile, tiles.vector(target.dtype, columns), trimmed)
    split = of_weight(geometry, target.wide, "ks_deconv", "split_and_rotate", KERNELS["split_and_rotate"], defines)
    blocks = products * -(-rows // tile.m) * -(-columns // tile.n)
    arrays = KERNELS["multiply_classes"]
    multiply = tiled(geometry, target.wide, "ks_deconv", "multiply_classes", arrays, tile.threads, (blocks, 1), defines)
    form = Form(target.dtype.short, tile, trimmed)
    return Plan((split, multiply), {"filters": Workspace(geometry.full_weight_shape)}, form)
