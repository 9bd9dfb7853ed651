"""What forms are given: the shapes of their arrays, and what their memory depends on beside these."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..geometry import Geometry
from ..methods import Role


class Setting(NamedTuple):
    """What memory depends on beside shapes: bytes of a number, threads at most, and whether the weight is prepared."""

    itemsize: int
    threads: int
    prepared: bool


@lru_cache(maxsize=1024)
def grouped_shapes(geometry: Geometry) -> dict[Role, tuple[int, ...]]:
    """Return the shapes of the arrays of a geometry, with their channels divided into groups."""
    groups = geometry.groups

    def of_map(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], groups, shape[1] // groups, *shape[2:])

    small, large, weight = geometry.full_small_shape, geometry.full_large_shape, geometry.full_weight_shape
    return {
        "small": of_map(small),
        "large": of_map(large),
        "weight": (groups, weight[0] // groups, *weight[1:]),
        "bias": (groups, -1, 1, 1, 1),
    }
