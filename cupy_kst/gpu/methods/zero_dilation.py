"""Launches of the baseline of a weight's gradient: one inserts zeros into the small map, one correlates with it."""

from __future__ import annotations

from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ..counts import Counts, channel_pairs
from ..plan import Plan, Workspace, of_weight, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext

KERNELS = {
    "dilate": ("small", "dilated"),
    "correlate_dilated": ("dilated", "large", "weight"),
}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, and the map between them."""
    samples, channels = geometry.samples, geometry.small_channels
    depth, height, width = (axis.dilated_size for axis in geometry.axes)
    dilate = per_position(
        geometry,
        context.wide,
        "zero_dilation",
        "dilate",
        KERNELS["dilate"],
        channels,
        grid=(depth, height, width),
    )
    arrays, first = KERNELS["correlate_dilated"], (samples, 0, 0)
    correlate = of_weight(geometry, context.wide, "zero_dilation", "correlate_dilated", arrays, (), first)
    return Plan((dilate, correlate), {"dilated": Workspace((samples, channels, depth, height, width))})


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count the products of all taps with the dilated gradient, and that gradient itself."""
    dilated = prod(axis.dilated_size for axis in geometry.axes)
    macs = channel_pairs(geometry) * dilated * prod(axis.kernel for axis in geometry.axes)
    workspace = geometry.samples * geometry.small_channels * dilated * dtype.storage.itemsize
    return Counts(macs, macs, workspace, launches=2)


register(GpuMethod("zero_dilation", KERNELS, 128, plan, counts, judges_forms=True))
