"""Launches of kernel segregation (arXiv 2209.03704): one per residue class, over equal grids."""

from __future__ import annotations

from math import prod

import numpy as np

from ...dtypes import DType
from ...geometry import AXES, Geometry
from ..counts import Counts, class_macs, valid_macs
from ..plan import Plan, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext

KERNELS = {"segregated": ("small", "weight", "bias", "large")}


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


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count a launch for each class: their grids are equal, so that smaller classes have threads without an output."""
    del dtype
    launches = geometry.class_count
    threads = launches * prod(-(-axis.large // axis.stride) for axis in geometry.axes)
    extra = threads - prod(axis.large for axis in geometry.axes)
    outputs = geometry.samples * geometry.large_channels
    return Counts(class_macs(geometry), valid_macs(geometry), 0, launches, extra * outputs)


register(GpuMethod("segregated", KERNELS, 128, plan, counts))
