"""What calls multiply, store and launch, from shapes alone: the record, and what several methods count alike."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from ..dtypes import DType
from ..geometry import Geometry
from .plan import Plan
from .select.context import PlanContext
from .select.cost_model import needs_wide
from .select.device import REFERENCE


class Counts(NamedTuple):
    """The work of one call by one method; the fields are those of `cupy_kst.costs.Cost`."""

    nominal_macs: int
    macs: int
    workspace_bytes: int
    launches: int
    extra_threads: int | None = 0


def valid_macs(geometry: Geometry) -> int:
    """Return the products of a filter element and an input that both exist and land on an output."""
    return channel_pairs(geometry) * geometry.met_taps


def channel_pairs(geometry: Geometry) -> int:
    """Return the number of (sample, small channel, large channel) triples that are multiplied."""
    return geometry.samples * geometry.small_channels * geometry.large_channels // geometry.groups


def class_macs(geometry: Geometry) -> int:
    """Return the products of a transposed convolution whose residue classes take all of their taps everywhere."""
    return channel_pairs(geometry) * geometry.class_taps


def window_macs(geometry: Geometry) -> int:
    """Return the products of a convolution that takes all taps at each output."""
    return channel_pairs(geometry) * geometry.window_taps


def tiled_counts(
    plan: Callable[[Geometry, PlanContext], Plan], geometry: Geometry, dtype: DType, nominal_macs: int, macs: int
) -> Counts:
    """Return the counts of a method that computes in tiles: workspace and launches are those of its plan on an H200."""
    planned = plan(geometry, PlanContext(dtype, REFERENCE, needs_wide(geometry)))
    each = ((prod(array.shape), array.dtype or dtype.storage) for array in planned.workspaces.values())
    return Counts(nominal_macs, macs, sum(size * element.itemsize for size, element in each), len(planned.steps), None)
