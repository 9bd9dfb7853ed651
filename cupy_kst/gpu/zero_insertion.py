"""Launches of the baseline: one builds the zero-inserted map, one convolves it."""

from __future__ import annotations

from ..geometry import Geometry
from .plan import Plan, Workspace, per_position
from .target import Target

KERNELS = {
    "insert_zeros": ("small", "map"),
    "convolve_map": ("map", "weight", "bias", "large"),
}
REGISTERS = 128


def plan(geometry: Geometry, target: Target) -> Plan:
    """Return the launches that compute `geometry`, and the map between them."""
    depth, height, width = geometry.zero_inserted_shape[2:]
    out_depth, out_height, out_width = (axis.large for axis in geometry.axes)
    insert = per_position(
        geometry,
        target.wide,
        "zero_insertion",
        "insert_zeros",
        KERNELS["insert_zeros"],
        geometry.small_channels,
        grid=(depth, height, width),
    )
    convolve = per_position(
        geometry,
        target.wide,
        "zero_insertion",
        "convolve_map",
        KERNELS["convolve_map"],
        geometry.large_channels,
        grid=(out_depth, out_height, out_width),
    )
    return Plan((insert, convolve), {"map": Workspace(geometry.zero_inserted_shape)})
