"""Launches of split deconvolution (arXiv 1907.01773): split the filter, convolve by all its parts, interleave."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ..build.params import Axes
from ..counts import Counts
from ..plan import Plan, Workspace, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext

KERNELS = {
    "split_filter": ("weight", "filters"),
    "convolve_parts": ("small", "filters", "bias", "parts"),
    "interleave": ("parts", "large"),
}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, the sub-filters and what they make of the input."""
    filters, parts = geometry.split_weight_shape, geometry.split_output_shape

    split = per_position(
        geometry,
        context.wide,
        "split",
        "split_filter",
        KERNELS["split_filter"],
        filters[1],
        grid=_axes(filters[2:]),
        firsts=[_axes([axis.leading_zeros for axis in geometry.axes])],
        samples=geometry.small_channels,
    )
    convolve = per_position(
        geometry,
        context.wide,
        "split",
        "convolve_parts",
        KERNELS["convolve_parts"],
        parts[1],
        grid=_axes(parts[2:]),
        firsts=[_axes([axis.sub_positions[0] - axis.sub_taps + 1 for axis in geometry.axes])],
    )
    interleave = per_position(
        geometry,
        context.wide,
        "split",
        "interleave",
        KERNELS["interleave"],
        geometry.large_channels,
        grid=_axes(geometry.full_large_shape[2:]),
        firsts=[_axes([(axis.pad_lo + axis.leading_zeros) % axis.stride for axis in geometry.axes])],
    )
    return Plan((split, convolve, interleave), {"filters": Workspace(filters), "parts": Workspace(parts)})


def _axes(values: Sequence[int]) -> Axes:
    depth, height, width = values
    return depth, height, width


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count all positions of all sub-filters: each sums the same number of taps, expansion zeros and padding included.

    Outputs that are cropped are computed, too.
    """
    samples, channels, *positions = geometry.split_output_shape
    computed, kept = samples * channels * prod(positions), prod(geometry.full_large_shape)
    terms = geometry.small_channels // geometry.groups * prod(axis.sub_taps for axis in geometry.axes)
    workspace = (prod(geometry.split_weight_shape) + computed) * dtype.storage.itemsize
    return Counts(kept * terms, computed * terms, workspace, launches=3, extra_threads=computed - kept)


register(GpuMethod("split", KERNELS, 128, plan, counts))
