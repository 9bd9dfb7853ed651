"""Launches of the baseline of convolution: one, with a thread per output element."""

from __future__ import annotations

from ...dtypes import DType
from ...geometry import Geometry
from ..counts import Counts, valid_macs, window_macs
from ..plan import Plan, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext

KERNELS = {"direct": ("large", "weight", "bias", "small")}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launch that computes `geometry`."""
    depth, height, width = (axis.small for axis in geometry.axes)
    channels, arrays = geometry.small_channels, KERNELS["direct"]
    return Plan((per_position(geometry, context.wide, "direct", "direct", arrays, channels, (depth, height, width)),))


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count one launch, in which each output multiplies the taps that meet an input."""
    del dtype
    return Counts(window_macs(geometry), valid_macs(geometry), 0, launches=1)


register(GpuMethod("direct", KERNELS, 128, plan, counts, judges_forms=True))
