"""Launches of unified kernel segregation (arXiv 2502.20493): one, with a thread per output element."""

from __future__ import annotations

from ..geometry import Geometry
from .plan import Plan, per_position

KERNELS = {"unified": ("input", "weight", "bias", "output")}
REGISTERS = 128


def plan(geometry: Geometry, wide: bool) -> Plan:
    """Return the launch that computes `geometry`."""
    depth, height, width = (axis.out_size for axis in geometry.axes)
    arrays = KERNELS["unified"]
    launches = per_position(
        geometry, wide, "unified", "unified", arrays, geometry.out_channels, grid=(depth, height, width)
    )
    return Plan((launches,))
