"""Launches of ConvV2 (arXiv 2306.15951): one packs the filter, one multiplies by it."""

from __future__ import annotations

from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ...geometry.trimming import trims_windows
from ..counts import Counts, tiled_counts, valid_macs, window_macs
from ..plan import Plan
from ..registry import GpuMethod, register
from ..select.context import PlanContext
from ..select.cost_model import Product
from . import implicit_gemm

KERNELS = {
    "pack_filter": ("weight", "filters"),
    "multiply_positions": ("large", "filters", "bias", "partials", "small"),
    "add_partials": ("partials", "bias", "small"),
}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, and the packed filter between them."""
    columns, channels = (count // geometry.groups for count in (geometry.small_channels, geometry.large_channels))
    positions, taps = prod(geometry.full_small_shape[2:]), prod(axis.kernel for axis in geometry.axes)
    trimmed = implicit_gemm.trims(context, trims_windows(geometry))
    if trimmed:
        product = Product(geometry.groups * positions, geometry.samples, columns, taps, channels)
    else:
        product = Product(geometry.groups, geometry.samples * positions, columns, taps, channels)
    return implicit_gemm.plan(geometry, context, "conv_v2", KERNELS, product, trimmed)


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count the products of all taps at all outputs or, trimmed, of taps that meet an input."""
    macs = window_macs(geometry)
    return tiled_counts(plan, geometry, dtype, macs, valid_macs(geometry) if trims_windows(geometry) else macs)


register(GpuMethod("conv_v2", KERNELS, 255, plan, counts, implicit_gemm.builds, frozenset({"trimmed"})))
