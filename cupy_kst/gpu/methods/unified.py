"""Launches of unified kernel segregation (arXiv 2502.20493): one, with a thread per output element."""

from __future__ import annotations

from ...geometry import Geometry
from ..plan import Plan, per_position
from ..select.context import PlanContext

KERNELS = {"unified": ("small", "weight", "bias", "large")}
REGISTERS = 128


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launch that computes `geometry`."""
    depth, height, width = (axis.large for axis in geometry.axes)
    arrays = KERNELS["unified"]
    launches = per_position(
        geometry, context.wide, "unified", "unified", arrays, geometry.large_channels, grid=(depth, height, width)
    )
    return Plan((launches,))
