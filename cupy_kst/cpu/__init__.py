"""The NumPy engine: one file per method, what they share in forms.py, the definition in reference.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..geometry import Geometry
from ..methods import METHODS, OPERATIONS, Role
from . import conv_v2, direct, ks_deconv, segregated, sk_dilated, split, unified, zero_dilation, zero_insertion

Array = NDArray[Any]

# Each takes a Geometry, what its operation reads, and what it writes, all of it: also outputs that no tap reaches. All
# are in the compute dtype, with the channels divided into groups: maps (samples, groups, channels, depth, height,
# width), the weight (groups, small_channels, large_channels, depth, height, width), bias (groups, channels, 1, 1, 1).
RUNS: dict[str, Callable[..., None]] = {
    "zero_insertion": zero_insertion.run,
    "segregated": segregated.run,
    "unified": unified.run,
    "ks_deconv": ks_deconv.run,
    "split": split.run,
    "direct": direct.run,
    "conv_v2": conv_v2.run,
    "zero_dilation": zero_dilation.run,
    "sk_dilated": sk_dilated.run,
}


# How each is carried out.
FORMS: dict[str, tuple[str, ...]] = {"unified": ("taps",), **{name: ("columns",) for name in RUNS if name != "unified"}}


def form_names(method: str, geometry: Geometry, dtype: DType) -> tuple[str, ...]:
    """Return the names of the forms of a method that can compute a geometry, the preferred one first."""
    del geometry, dtype
    return FORMS[method]


def check_form(method: str, name: Any) -> None:
    """Raise a ValueError that lists the forms of a method unless `name` is one of them."""
    if name not in FORMS[method]:
        raise ValueError(f"form={name!r}: in NumPy {method} has {', '.join(map(repr, FORMS[method]))}")


def run(
    method: str,
    geometry: Geometry,
    dtype: DType,
    arrays: Mapping[Role, Array | None],
    packed: Any = None,
    form: str | None = None,
) -> None:
    """Write what `method` computes.

    `arrays` are the small and the large map, the weight and the bias, which may be None or missing, of `dtype`; the one
    that the method writes may have any strides.
    """
    inputs, output = OPERATIONS[METHODS[method].operation]
    shapes = _grouped_shapes(geometry)
    out = arrays[output]
    assert out is not None
    straight = dtype.compute == dtype.storage and out.flags.c_contiguous
    target = out.reshape(shapes[output]) if straight else np.empty(shapes[output], dtype.compute)
    given = (_as_compute(arrays.get(name), dtype, shapes[name]) for name in inputs)
    # A library call that meets an infinity says so in its result, not in warnings.
    with np.errstate(all="ignore"):
        RUNS[method](geometry, *given, target)
        if not straight:
            out[...] = target.reshape(out.shape)


def _grouped_shapes(geometry: Geometry) -> dict[Role, tuple[int, ...]]:
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


def _as_compute(array: Array | None, dtype: DType, shape: tuple[int, ...]) -> Array | None:
    return None if array is None else np.asarray(array, dtype.compute, order="C").reshape(shape)
