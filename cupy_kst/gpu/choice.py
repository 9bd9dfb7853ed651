"""Which build of a kernel a geometry takes: pure functions, so that they are tested without a device."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from ..axis import Axis
from ..geometry import Geometry

# Room above the largest offset for a block's threads that fall outside.
_NARROW = 2**31 - 1024


@lru_cache(maxsize=1024)
def needs_wide(geometry: Geometry) -> bool:
    """Return whether an offset inside one sample, or inside the weight, may not fit 32 bits, by any method."""
    lengths = [
        prod(geometry.full_small_shape[1:]),
        prod(geometry.full_large_shape[1:]),
        prod(geometry.zero_inserted_shape[1:]),
        geometry.small_channels * prod(axis.dilated_size for axis in geometry.axes),
        prod(geometry.full_weight_shape),
        prod(geometry.split_output_shape[1:]),
        prod(geometry.split_weight_shape),
    ]
    return max(*lengths, *map(_reach, geometry.axes)) > _NARROW


def _reach(axis: Axis) -> int:
    """Return a bound of what kernels compute along one axis on their way to an offset."""
    furthest_tap = axis.dilation * (max(axis.kernel, axis.tap_step) + 1)
    furthest_place = max(axis.large, axis.small * axis.stride)
    return furthest_place + axis.stride + axis.pad_lo + max(furthest_tap, axis.tap_step**2)
