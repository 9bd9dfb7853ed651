"""The NumPy engine: one file per method, what they share in forms.py, the definition in reference.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..geometry import Geometry
from . import segregated, split, unified, zero_insertion

Array = NDArray[Any]
Run = Callable[[Geometry, Array, Array, Array | None, Array], None]

# Each writes the transposed convolution of (input, weight, bias), also to outputs that no tap reaches. All are in the
# compute dtype, with the channels divided into groups: (samples, groups, channels, depth, height, width),
# (groups, in_channels, out_channels, depth, height, width) and (groups, out_channels, 1, 1, 1).
RUNS: dict[str, Run] = {
    "zero_insertion": zero_insertion.run,
    "segregated": segregated.run,
    "unified": unified.run,
    "split": split.run,
}


def conv_transpose(
    method: str, geometry: Geometry, dtype: DType, input: Array, weight: Array, bias: Array | None, out: Array
) -> None:
    """Write the transposed convolution of `input` by `weight` to `out`, which is C-contiguous."""
    groups, samples = geometry.groups, geometry.samples
    if samples == 0:
        return
    x = _as_compute(input, dtype).reshape(samples, groups, -1, *geometry.full_input_shape[2:])
    w = _as_compute(weight, dtype).reshape(groups, -1, *geometry.full_weight_shape[1:])
    shape = (samples, groups, geometry.out_channels // groups, *geometry.full_output_shape[2:])
    y = out.reshape(shape) if dtype.compute == dtype.storage else np.empty(shape, dtype.compute)
    b = None if bias is None else _as_compute(bias, dtype).reshape(groups, -1, 1, 1, 1)
    # A library call that meets an infinity says so in its result, not in warnings.
    with np.errstate(all="ignore"):
        RUNS[method](geometry, x, w, b, y)
        if dtype.compute != dtype.storage:
            out.reshape(shape)[...] = y


def _as_compute(array: Array, dtype: DType) -> Array:
    return np.asarray(array, dtype.compute, order="C")
