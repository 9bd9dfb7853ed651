"""The params struct that every kernel takes by value: the host's side of `struct Params` in cuda/common.cuh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...geometry import AXES, Geometry

_PER_AXIS = ("small", "large", "grid", "first", "lo", "kernel", "stride", "dilation", "common", "inverse")
FIELDS = (
    "samples",
    *("small_channels", "large_channels", "group_small", "group_large"),
    *(f"{name}_{axis}" for name in _PER_AXIS for axis in "dhw"),
)
THREADS = 256

Axes = tuple[int, int, int]


def struct(index: type[np.signedinteger[Any]]) -> np.dtype[Any]:
    """Return the dtype of the struct for one width of indices."""
    return np.dtype([(name, index) for name in FIELDS], align=True)


def build(
    geometry: Geometry,
    wide: bool,
    grid: Axes,
    firsts: ArrayLike = ((0, 0, 0),),
    samples: int | None = None,
) -> NDArray[Any]:
    """Return the structs of launches, shape (launches,): CuPy passes a part of shape (1,) by value.

    Parameters
    ----------
    geometry : Geometry
        What is computed.
    wide : bool
        Whether indices are 64 bits.
    grid : tuple of int
        Positions that a launch covers in each (sample, channel).
    firsts : array of int
        For each launch what stands at position 0, shape ``(launches, 3)``: the output, where launches are of residue
        classes; the .cu file says what else.
    samples : int, optional
        Number of samples, where launches are not over the batch.
    """
    axes = geometry.axes
    per_axis = {
        "small": [axis.small for axis in axes],
        "large": [axis.large for axis in axes],
        "grid": grid,
        "first": (0, 0, 0),
        "lo": [axis.pad_lo for axis in axes],
        **{
            name: [getattr(axis, name) for axis in axes]
            for name in ("kernel", "stride", "dilation", "common", "inverse")
        },
    }
    values = (
        geometry.samples if samples is None else samples,
        *(geometry.small_channels, geometry.large_channels),
        *(geometry.small_channels // geometry.groups, geometry.large_channels // geometry.groups),
        *(per_axis[name][axis] for name in _PER_AXIS for axis in range(AXES)),
    )
    columns = np.asarray(firsts).T
    structs = np.full(columns.shape[1], np.array(values, dtype=struct(np.int64 if wide else np.int32)))
    for name, column in zip(("first_d", "first_h", "first_w"), columns, strict=True):
        structs[name] = column
    return structs


def without_sizes(structs: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of structs in which the sizes and the padding of both maps are 0."""
    copy: NDArray[Any] = structs.copy()
    for name in ("small", "large", "lo"):
        for axis in "dhw":
            copy[f"{name}_{axis}"] = 0
    return copy
