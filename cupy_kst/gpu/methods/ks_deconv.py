"""Launches of KS-deconv (arXiv 2306.15951): one splits and rotates the filter, one computes all residue classes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ...geometry.trimming import trims_classes
from ..counts import Counts, class_macs, tiled_counts, valid_macs
from ..plan import Plan
from ..registry import GpuMethod, register
from ..select.context import PlanContext
from ..select.cost_model import Product
from ..select.tiles import Defines
from . import implicit_gemm

KERNELS = {
    "split_and_rotate": ("weight", "filters"),
    "multiply_classes": ("small", "filters", "bias", "partials", "large"),
    "add_partials": ("partials", "bias", "large"),
}


def builds(dtype: DType, channels_last: bool) -> Iterator[Defines]:
    """Yield the defines of every build."""
    yield from implicit_gemm.builds(dtype, channels_last)
    if not channels_last:
        yield from implicit_gemm.interleaved_builds(dtype)


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    trimmed = implicit_gemm.trims(context, trims_classes(geometry))
    return implicit_gemm.plan(
        geometry, context, "ks_deconv", KERNELS, product(geometry, trimmed, context.channels_last), trimmed
    )


def product(geometry: Geometry, trimmed: bool, channels_last: bool) -> Product:
    """Return the matrix products of all classes: of their positions or, trimmed, of the samples for each of these.

    With channels first a class along a row is written between its neighbours.
    """
    columns, channels = (count // geometry.groups for count in (geometry.large_channels, geometry.small_channels))
    positions = prod(-(-axis.large // axis.stride) for axis in geometry.axes)
    classes = geometry.class_count
    # Classes differ in their taps: these are the mean.
    taps = -(-prod(axis.taps_of_classes for axis in geometry.axes) // classes)
    products = geometry.groups * classes
    if trimmed:
        return Product(products * positions, geometry.samples, columns, taps, channels)
    neighbours = 1 if channels_last else geometry.axes[-1].class_count
    return Product(products, geometry.samples * positions, columns, taps, channels, neighbours)


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count the products of full classes or, trimmed, of taps that meet an input."""
    macs = class_macs(geometry)
    return tiled_counts(plan, geometry, dtype, macs, valid_macs(geometry) if trims_classes(geometry) else macs)


register(GpuMethod("ks_deconv", KERNELS, 255, plan, counts, builds, frozenset({"trimmed", "interleaved"})))
