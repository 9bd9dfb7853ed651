"""Which build of a kernel a geometry takes: pure functions, so that they are tested without a device."""

from __future__ import annotations

from math import prod

from ..geometry import Geometry

# Room above the largest offset for a block's threads that fall outside.
_NARROW = 2**31 - 1024


def needs_wide(geometry: Geometry) -> bool:
    """Return whether an offset inside one sample, or inside the weight, may not fit 32 bits."""
    lengths = [
        prod(geometry.full_input_shape[1:]),
        prod(geometry.full_output_shape[1:]),
        prod(geometry.zero_inserted_shape[1:]),
        prod(geometry.full_weight_shape),
    ]
    reaches = [axis.zero_inserted_size + axis.pad_lo + axis.tap_step**2 for axis in geometry.axes]
    return max(lengths + reaches) > _NARROW
