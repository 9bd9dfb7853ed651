"""Launches of the baseline: one builds the zero-inserted map, one convolves it.

It is as `segregated` and `unified` are, a thread per output, unless it is asked for a form: then the map is convolved
in the tiles of `ks_deconv`, so that ratios are those of the methods there as well.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ..counts import Counts, channel_pairs
from ..plan import Plan, Workspace, per_position
from ..registry import GpuMethod, register
from ..select.context import PlanContext
from . import ks_deconv

KERNELS = {
    "insert_zeros": ("small", "map"),
    "convolve_map": ("map", "weight", "bias", "large"),
}


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, and the map between them."""
    depth, height, width = geometry.zero_inserted_shape[2:]
    out_depth, out_height, out_width = (axis.large for axis in geometry.axes)
    insert = per_position(
        geometry,
        context.wide,
        "zero_insertion",
        "insert_zeros",
        KERNELS["insert_zeros"],
        geometry.small_channels,
        grid=(depth, height, width),
    )
    workspaces = {"map": Workspace(geometry.zero_inserted_shape)}
    if context.form is not None:
        on_map = _on_map(geometry)
        tiled = ks_deconv.plan(on_map, context)
        convolved = (
            replace(step, arrays=tuple("map" if name == "small" else name for name in step.arrays), axes=on_map.axes)
            for step in tiled.steps
        )
        return Plan((insert, *convolved), {**workspaces, **tiled.workspaces}, tiled.form)
    convolve = per_position(
        geometry,
        context.wide,
        "zero_insertion",
        "convolve_map",
        KERNELS["convolve_map"],
        geometry.large_channels,
        grid=(out_depth, out_height, out_width),
    )
    return Plan((insert, convolve), workspaces)


def _on_map(geometry: Geometry) -> Geometry:
    """Return the transposed convolution without stride that makes the output of the map: of its inner part, where all
    taps meet the map."""
    borders = [axis.dilation * (axis.kernel - 1) for axis in geometry.axes]
    depth, height, width = (
        replace(axis, small=axis.zero_inserted_size, stride=1, pad_lo=border, pad_hi=border)
        for axis, border in zip(geometry.axes, borders, strict=True)
    )
    return replace(geometry, axes=(depth, height, width))


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count the products of all taps at all outputs, and the whole zero-inserted map."""
    macs = channel_pairs(geometry) * prod(axis.large * axis.kernel for axis in geometry.axes)
    return Counts(macs, macs, prod(geometry.zero_inserted_shape) * dtype.storage.itemsize, launches=2)


register(GpuMethod("zero_insertion", KERNELS, 128, plan, counts, takes_tiles=True))
