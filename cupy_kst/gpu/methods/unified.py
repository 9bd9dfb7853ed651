"""Launches of unified kernel segregation (arXiv 2502.20493): one, with a thread per output element."""

from __future__ import annotations

from ...dtypes import DType
from ...geometry import Geometry
from ..counts import Counts, class_macs, valid_macs
from ..plan import Plan, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext

KERNELS = {"unified": ("small", "weight", "bias", "large")}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launch that computes `geometry`."""
    depth, height, width = (axis.large for axis in geometry.axes)
    arrays = KERNELS["unified"]
    launches = per_position(
        geometry, context.wide, "unified", "unified", arrays, geometry.large_channels, grid=(depth, height, width)
    )
    return Plan((launches,))


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count one launch, in which each output multiplies the taps that meet an input."""
    del dtype
    return Counts(class_macs(geometry), valid_macs(geometry), 0, launches=1)


register(GpuMethod("unified", KERNELS, 128, plan, counts, judges_forms=True))
