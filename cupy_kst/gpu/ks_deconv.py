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
    trimmed = filtered.trims(target, trims_classes(geometry))
    return filtered.plan(geometry, target, "ks_deconv", KERNELS, product(geometry, trimmed), trimmed)


def product(geometry: Geometry, trimmed: bool) -> Product:
    """Return the matrix products of all classes: of their positions or, trimmed, of the samples for each of these."""
    columns, channels = (count // geometry.groups for count in (geometry.large_channels, geometry.small_channels))
    positions, classes = prod(axis.classes[0].positions for axis in geometry.axes), len(geometry.classes)
    # Classes differ in their taps: these are the mean.
    taps = -(-prod(sum(one.taps for one in axis.classes) for axis in geometry.axes) // classes)
    products = geometry.groups * classes
    if trimmed:
        return Product(products * positions, geometry.samples, columns, taps, channels)
    return Product(products, geometry.samples * positions, columns, taps, channels)
