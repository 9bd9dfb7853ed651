"""Launches of kernel segregation (arXiv 2209.03704): one per residue class, over equal grids."""

from __future__ import annotations

import numpy as np

from ...geometry import AXES, Geometry
from ..plan import Plan, per_position
from ..select.context import PlanContext

KERNELS = {"segregated": ("small", "weight", "bias", "large")}
REGISTERS = 128


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`."""
    depth, height, width = (-(-axis.large // axis.stride) for axis in geometry.axes)
    arrays = KERNELS["segregated"]
    launches = per_position(
        geometry,
        context.wide,
        "segregated",
        "segregated",
        arrays,
        geometry.large_channels,
        grid=(depth, height, width),
        firsts=np.indices([axis.class_count for axis in geometry.axes]).reshape(AXES, -1).T,
    )
    return Plan((launches,))
