"""The NumPy engine: one file per method, what they share in forms.py, the definition in reference.py.

What Numba compiles, where it is installed, is in `compiled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..geometry import Geometry
from ..methods import METHODS, OPERATIONS, Operation, Role
from ..packed import Packed
from . import (
    compiled,
    conv_v2,
    direct,
    ks_deconv,
    segregated,
    sk_dilated,
    split,
    unified,
    zero_dilation,
    zero_insertion,
)
from .choice import ranked
from .forms import Index

Array = NDArray[Any]

# By method and form. Each takes a Geometry, what its operation reads, and what it writes, all of it: also outputs that
# no tap reaches. All are in the compute dtype, with the channels divided into groups: maps (samples, groups, channels,
# depth, height, width), the weight (groups, small_channels, large_channels, depth, height, width) or what PACKS makes
# of it, bias (groups, channels, 1, 1, 1).
RUNS: dict[tuple[str, str], Callable[..., None]] = {
    ("zero_insertion", "columns"): zero_insertion.run,
    ("segregated", "columns"): segregated.run,
    ("unified", "fold"): unified.run,
    ("ks_deconv", "compiled"): compiled.conv_transpose,
    ("ks_deconv", "compiled_minimal"): compiled.conv_transpose,
    ("ks_deconv", "compiled_fold"): compiled.fold,
    ("ks_deconv", "fold"): unified.run,
    ("ks_deconv", "columns"): ks_deconv.run,
    ("split", "columns"): split.run,
    ("direct", "columns"): direct.run,
    ("conv_v2", "compiled"): compiled.conv,
    ("conv_v2", "compiled_minimal"): compiled.conv,
    ("conv_v2", "compiled_rows"): compiled.conv_rows,
    ("conv_v2", "columns"): conv_v2.run,
    ("zero_dilation", "taps"): zero_dilation.run,
    ("sk_dilated", "compiled"): compiled.correlate,
    ("sk_dilated", "taps"): sk_dilated.run,
}
PACKS: dict[str, Callable[[Array], Any]] = {"compiled": compiled.pack, "compiled_minimal": compiled.pack_minimal}
FORMS: dict[str, tuple[str, ...]] = {
    method: tuple(form for other, form in RUNS if other == method) for method, _ in RUNS
}
# What "auto" takes where the weight is not finite, in place of forms that multiply zeros by it, which these do not.
_EXACT = {"ks_deconv": "unified", "conv_v2": "direct"}
_EXACT_FORMS = ("fold", "compiled_fold")


@lru_cache(maxsize=1024)
def form_names(method: str, geometry: Geometry, dtype: DType, prepared: bool = False) -> tuple[str, ...]:
    """Return the names of the forms of a method that can compute a geometry, the one that takes least time first."""
    operation = METHODS[method].operation
    forms = tuple(name for name in FORMS[method] if _can(name, geometry, operation, dtype))
    return ranked(forms, geometry, prepared)


def _can(form: str, geometry: Geometry, operation: Operation, dtype: DType) -> bool:
    if not form.startswith("compiled"):
        return True
    if not compiled.available(dtype.compute):
        return False
    if form == "compiled_minimal":
        return compiled.suits_minimal(geometry, operation)
    return compiled.folds(geometry) if form == "compiled_fold" else compiled.suits(geometry, operation)


def check_form(method: str, dtype: DType, name: object) -> None:
    """Raise a ValueError that lists the forms of a method unless `name` is one that is there for an element type."""
    if name not in FORMS[method]:
        raise ValueError(f"form={name!r}: in NumPy {method} has {', '.join(map(repr, FORMS[method]))}")
    if str(name).startswith("compiled") and not compiled.available(dtype.compute):
        raise ValueError(f"form={name!r}: {compiled.problem() or f'is of real numbers, not of {dtype.name}'}")


def _is_finite(weight: Array, dtype: DType, packed: Packed | None) -> bool:
    def finite() -> bool:
        with np.errstate(all="ignore"):
            # A sum that overflows counts as not finite, which is slower and as right.
            return bool(np.isfinite(weight.sum(dtype=dtype.compute)))

    return finite() if packed is None else packed.get("finite", finite)


def _is_finite_at_first(geometry: Geometry, output: Role, out: Array) -> bool:
    """Return whether all channels of an output are finite at the first one of each residue class.

    A form that is not exact multiplies for each output all weights of its channel and class, so that one that is not
    finite reaches them all: looking there takes less time than looking at the weight.
    """
    if output == "large":
        classes = (axis.large if axis.small == 1 else axis.stride for axis in geometry.axes)
    else:
        classes = (1 for _ in geometry.axes)
    first: Index = (slice(1), ..., *map(slice, classes))
    return bool(np.isfinite(out[first]).all())


def run(
    method: str,
    geometry: Geometry,
    dtype: DType,
    arrays: Mapping[Role, Array | None],
    packed: Packed | None = None,
    form: str | None = None,
    auto: bool = False,
) -> None:
    """Write what `method` computes.

    Parameters
    ----------
    method, geometry, dtype
        What is computed.
    arrays : mapping of str to ndarray
        The "small" and the "large" map, the "weight" and the "bias", which may be None or missing, of `dtype`; the one
        that the method writes may have any strides.
    packed : Packed, optional
        Keeps what is made of the weight alone.
    form : str, optional
        One of `form_names`; without it the first.
    auto : bool
        Whether another method may compute it, if the weight is not finite.
    """
    names = form_names(method, geometry, dtype, packed is not None)
    if form is not None and form not in names:
        raise ValueError(f"form={form!r}: for these shapes {method} has {', '.join(map(repr, names))} in NumPy")
    form = form or names[0]
    doubtful = arrays.get("weight") if auto and method in _EXACT and form not in _EXACT_FORMS else None
    if doubtful is not None and packed is not None and not _is_finite(doubtful, dtype, packed):
        method = _EXACT[method]
        form = FORMS[method][0]
    inputs, output = OPERATIONS[METHODS[method].operation]
    shapes = _grouped_shapes(geometry)
    out = arrays[output]
    assert out is not None

    def made(name: Role) -> Any:
        array = _as_compute(arrays.get(name), dtype, shapes[name])
        return PACKS[form](array) if name == "weight" and form in PACKS and array is not None else array

    straight = dtype.compute == dtype.storage and out.flags.c_contiguous
    target = out.reshape(shapes[output]) if straight else np.empty(shapes[output], dtype.compute)
    given = (
        made(name) if packed is None or name != "weight" else packed.get((form, "weight"), lambda: made("weight"))
        for name in inputs
    )
    # A library call that meets an infinity says so in its result, not in warnings.
    with np.errstate(all="ignore"):
        RUNS[method, form](geometry, *given, target)
        if (
            doubtful is not None
            and packed is None
            and not _is_finite_at_first(geometry, output, target)
            and not _is_finite(doubtful, dtype, None)
        ):
            method = _EXACT[method]
            form = FORMS[method][0]
            RUNS[method, form](geometry, *map(made, inputs), target)
        if not straight:
            out[...] = target.reshape(out.shape)


@lru_cache(maxsize=1024)
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
