"""Launches of KS-deconv (arXiv 2306.15951): one splits and rotates the filter, one computes all residue classes."""

from __future__ import annotations

from math import prod

from ..geometry import Geometry
from ..trimming import trims_classes
from . import filtered
from .choice import Product
from .plan import Plan
from .target import Target

KERNELS = {
    "split_and_rotate": ("weight", "filters"),
    "multiply_classes": ("small", "filters", "bias", "partials", "large"),
    "add_partials": ("partials", "bias", "large"),
}
REGISTERS = 255
TRIMS = True
forms = filtered.forms


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    columns, channels = (count // geometry.groups for count in (geometry.large_channels, geometry.small_channels))
    positions, taps = (prod(getattr(axis.classes[0], name) for axis in geometry.axes) for name in ("positions", "taps"))
    products = geometry.groups * len(geometry.classes)
    trimmed = filtered.trims(target, trims_classes(geometry))
    if trimmed:
        product = Product(products * positions, geometry.samples, columns, taps, channels)
    else:
        product = Product(products, geometry.samples * positions, columns, taps, channels)
    return filtered.plan(geometry, target, "ks_deconv", KERNELS, product, trimmed)
