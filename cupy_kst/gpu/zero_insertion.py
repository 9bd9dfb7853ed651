"""Launches of the baseline: one builds the zero-inserted map, one convolves it."""

from __future__ import annotations

from ..geometry import Geometry
from .plan import Plan, Workspace, per_position

KERNELS = {
    "insert_zeros": ("input", "map"),
    "convolve_map": ("map", "weight", "bias", "output"),
}
REGISTERS = 128


def plan(geometry: Geometry, wide: bool) -> Plan:
    """Return the launches that compute `geometry`, and the map between them."""
    depth, height, width = geometry.zero_inserted_shape[2:]
    out_depth, out_height, out_width = (axis.out_size for axis in geometry.axes)
    insert = per_position(
        geometry,
        wide,
        "zero_insertion",
        "insert_zeros",
        KERNELS["insert_zeros"],
        geometry.in_channels,
        grid=(depth, height, width),
    )
    convolve = per_position(
        geometry,
        wide,
        "zero_insertion",
        "convolve_map",
        KERNELS["convolve_map"],
        geometry.out_channels,
        grid=(out_depth, out_height, out_width),
    )
    return Plan((insert, convolve), {"map": Workspace(geometry.zero_inserted_shape)})
