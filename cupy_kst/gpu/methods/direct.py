"""Launches of the baseline of convolution: one, with a thread per output element."""

from __future__ import annotations

from ...geometry import Geometry
from ..plan import Plan, per_position
from ..select.context import PlanContext

KERNELS = {"direct": ("large", "weight", "bias", "small")}
REGISTERS = 128


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launch that computes `geometry`."""
    depth, height, width = (axis.small for axis in geometry.axes)
    channels, arrays = geometry.small_channels, KERNELS["direct"]
    return Plan((per_position(geometry, context.wide, "direct", "direct", arrays, channels, (depth, height, width)),))
