"""The NumPy engine: one file per method, what they share in forms.py, the definition in reference.py.

What Numba compiles, where it is installed, is in `compiled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..geometry import Geometry
from ..hints import question
from ..methods import METHODS, OPERATIONS, Role
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
from .form import Form
from .forms import Index

Array = NDArray[Any]

_COMPILED = Form("compiled", compiled.conv_transpose, compiled.pack, compiled=True, suits=compiled.suits)
_MINIMAL = Form(
    "compiled_minimal", compiled.conv_transpose, compiled.pack_minimal, compiled=True, suits=compiled.suits_minimal
)
# Where no estimate of times tells forms of a method apart, the first one is taken.
_FORMS: dict[str, tuple[Form, ...]] = {
    "zero_insertion": (Form("columns", zero_insertion.run),),
    "segregated": (Form("columns", segregated.run, exact=True),),
    "unified": (Form("fold", unified.run, exact=True),),
    "ks_deconv": (
        _COMPILED,
        _MINIMAL,
        Form("compiled_fold", compiled.fold, compiled=True, exact=True, suits=compiled.folds),
        Form("fold", unified.run, exact=True),
        Form("columns", ks_deconv.run),
    ),
    "split": (Form("columns", split.run),),
    "direct": (Form("columns", direct.run, exact=True),),
    "conv_v2": (
        replace(_COMPILED, run=compiled.conv),
        replace(_MINIMAL, run=compiled.conv),
        Form("compiled_rows", compiled.conv_rows, compiled=True, suits=compiled.suits),
        Form("columns", conv_v2.run),
    ),
    "zero_dilation": (Form("taps", zero_dilation.run),),
    "sk_dilated": (
        Form("compiled", compiled.correlate, compiled=True, suits=compiled.suits),
        Form("taps", sk_dilated.run),
    ),
}
# By method and name.
FORMS: dict[str, dict[str, Form]] = {method: {form.name: form for form in forms} for method, forms in _FORMS.items()}
# What "auto" takes where the weight is not finite, in place of forms that multiply zeros by it, which these do not.
_EXACT = {"ks_deconv": "unified", "conv_v2": "direct"}


@lru_cache(maxsize=1024)
def form_names(method: str, geometry: Geometry, dtype: DType, prepared: bool = False) -> tuple[str, ...]:
    """Return the names of the forms of a method that can compute a geometry, the one that takes least time first."""
    operation = METHODS[method].operation
    able = (form for form in FORMS[method].values() if not form.compiled or compiled.available(dtype.compute))
    return ranked(tuple(form.name for form in able if form.suits(geometry, operation)), geometry, prepared)


def is_compiled(method: str, form: str | None) -> bool:
    """Return whether Numba compiles a form; those of a GPU, and of methods that are not ours, it does not."""
    found = FORMS.get(method, {}).get(form or "")
    return found is not None and found.compiled


def check_form(method: str, dtype: DType, name: object) -> None:
    """Raise a ValueError that lists the forms of a method unless `name` is one that is there for an element type."""
    if name not in FORMS[method]:
        there = ", ".join(map(repr, FORMS[method]))
        raise ValueError(f"form={name!r}: in NumPy {method} has {there}{question(name, FORMS[method])}")
    if is_compiled(method, str(name)) and not compiled.available(dtype.compute):
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
    chosen = FORMS[method][form or names[0]]
    doubtful = arrays.get("weight") if auto and method in _EXACT and not chosen.exact else None
    if doubtful is not None and packed is not None and not _is_finite(doubtful, dtype, packed):
        chosen = _exact(method)
    inputs, output = OPERATIONS[METHODS[method].operation]
    shapes = _grouped_shapes(geometry)
    out = arrays[output]
    assert out is not None

    def made(name: Role) -> Any:
        array = _as_compute(arrays.get(name), dtype, shapes[name])
        return chosen.pack(array) if name == "weight" and chosen.pack is not None and array is not None else array

    straight = dtype.compute == dtype.storage and out.flags.c_contiguous
    target = out.reshape(shapes[output]) if straight else np.empty(shapes[output], dtype.compute)
    given = (
        made(name)
        if packed is None or name != "weight"
        else packed.get((chosen.name, "weight"), lambda: made("weight"))
        for name in inputs
    )
    # A library call that meets an infinity says so in its result, not in warnings.
    with np.errstate(all="ignore"):
        chosen.run(geometry, *given, target)
        if (
            doubtful is not None
            and packed is None
            and not _is_finite_at_first(geometry, output, target)
            and not _is_finite(doubtful, dtype, None)
        ):
            chosen = _exact(method)
            chosen.run(geometry, *map(made, inputs), target)
        if not straight:
            out[...] = target.reshape(out.shape)


def _exact(method: str) -> Form:
    """Return the form that takes a method's place where the weight is not finite."""
    return next(iter(FORMS[_EXACT[method]].values()))


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
