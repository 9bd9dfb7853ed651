"""Computes on the CPU: picks the form of a method, makes its arrays, and looks at what overflowed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from ..geometry import Geometry
from ..hints.words import question
from ..methods import Role
from ..problem import Choice, Problem
from ..weight_cache import WeightCache
from . import jit
from .arguments import Setting, grouped_shapes
from .form import Form
from .im2col import Index
from .methods import REGISTRY
from .registry import ranked

Array = NDArray[Any]

# By method and name.
FORMS: dict[str, dict[str, Form]] = {
    method.name: {form.name: form for form in method.forms} for method in REGISTRY.values()
}


@lru_cache(maxsize=1024)
def form_names(problem: Problem, method: str, prepared: bool = False) -> tuple[str, ...]:
    """Return the names of the forms of a method that can compute a problem, the one that takes least time first."""
    geometry, compute = problem.geometry, problem.dtype.compute
    there = (form for form in FORMS[method].values() if not form.compiled or jit.available(compute))
    able = tuple(form for form in there if form.suits(geometry, problem.operation))
    return tuple(form.name for form in ranked(able, geometry, prepared))


def is_compiled(method: str, form: str | None) -> bool:
    """Return whether Numba compiles a form; those of a GPU, and of methods that are not ours, it does not."""
    found = FORMS.get(method, {}).get(form or "")
    return found is not None and found.compiled


def check_form(method: str, dtype: DType, name: object) -> None:
    """Raise a ValueError that lists the forms of a method unless `name` is one that is there for an element type."""
    if name not in FORMS[method]:
        there = ", ".join(map(repr, FORMS[method]))
        raise ValueError(f"form={name!r}: in NumPy {method} has {there}{question(name, FORMS[method])}")
    if is_compiled(method, str(name)) and not jit.available(dtype.compute):
        raise ValueError(f"form={name!r}: {jit.problem() or f'is of real numbers, not of {dtype.name}'}")


class Memory(NamedTuple):
    """The form that a call takes, and the most bytes that it holds at once beside its arrays."""

    form: str
    workspace_bytes: int


def memory(
    problem: Problem,
    choice: Choice,
    *,
    prepared: bool = False,
    swapped: bool = False,
    conjugated: Role | None = None,
) -> Memory:
    """Return what `run` takes for C-contiguous arrays of finite numbers, after the first call of these shapes.

    Parameters
    ----------
    problem, choice
        As `run` takes them, but for maps in the problem's layout, which a call with channels last copies.
    prepared : bool
        Whether the weight is, so that what is made of it is there.
    swapped : bool
        Whether what is read is not in native byte order.
    conjugated : str, optional
        The array that is copied before, as its conjugate is read.
    """
    geometry, dtype = problem.geometry, problem.dtype
    name = choice.form or form_names(problem, choice.method, prepared)[0]
    inputs, output = problem.roles
    if geometry.samples == 0:
        return Memory(name, 0)
    shapes = grouped_shapes(geometry)

    def copied(role: Role, converted: bool) -> int:
        """Return the bytes of an array in the compute dtype, channels first, unless it is so already."""
        _, groups, channels, *sizes = shapes[role]
        transposed = problem.channels_last and role in ("small", "large") and groups * channels > 1 and prod(sizes) > 1
        return prod(shapes[role]) * dtype.compute.itemsize if converted or transposed else 0

    converts = dtype.compute != dtype.storage
    copies = copied(output, converts)
    for role in inputs:
        if role == conjugated:
            copies += copied(role, True) + copied(role, False)
        elif role != "bias" and not (prepared and role == "weight"):
            copies += copied(role, converts or swapped)
    setting = Setting(dtype.compute.itemsize, jit.threads.count(), prepared)
    return Memory(name, copies + FORMS[choice.method][name].workspace(geometry, setting))


def _is_finite(array: Array | None) -> bool:
    """Return whether all numbers of an array are finite, as they are if there is none."""
    return array is None or bool(np.isfinite(array).all())


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
    problem: Problem, choice: Choice, arrays: Mapping[Role, Array | None], cache: WeightCache | None = None
) -> None:
    """Write what a problem's arrays give.

    Parameters
    ----------
    problem, choice
        What is computed, and how. Without a form the first of `form_names` computes it, and where its sums overflow
        although what it reads is finite, the first of those that combine nothing.
    arrays : mapping of str to ndarray
        The "small" and the "large" map, their channels in front, the "weight" and the "bias", which may be None or
        missing, of the problem's dtype; the one that is written may have any strides.
    cache : WeightCache, optional
        Keeps what is made of the weight alone.
    """
    geometry, dtype, method, form = problem.geometry, problem.dtype, choice.method, choice.form
    names = form_names(problem, method, cache is not None)
    if form is not None and form not in names:
        raise ValueError(f"form={form!r}: for these shapes {method} has {', '.join(map(repr, names))} in NumPy")
    chosen = FORMS[method][form or names[0]]
    doubtful = choice.replaceable and REGISTRY[method].exact_method is not None and not chosen.exact
    if doubtful and cache is not None:
        doubtful = False
        if not cache.get("finite", lambda: _is_finite(arrays["weight"])):
            chosen = _exact(method)
    inputs, output = problem.roles
    shapes = grouped_shapes(geometry)
    out = arrays[output]
    assert out is not None
    straight = dtype.compute == dtype.storage and out.flags.c_contiguous
    target = out.reshape(shapes[output]) if straight else np.empty(shapes[output], dtype.compute)

    def compute(chosen: Form) -> bool:
        """Write the target, and return whether a form that looks saw sums that are not finite."""

        def made(name: Role) -> Any:
            array = _as_compute(arrays.get(name), dtype, shapes[name])
            return chosen.pack(array) if name == "weight" and chosen.pack is not None and array is not None else array

        given = (
            made(name)
            if cache is None or name != "weight"
            else cache.get((chosen.name, "weight"), lambda: made("weight"))
            for name in inputs
        )
        return bool(chosen.run(geometry, *given, target))

    # A library call that meets an infinity says so in its result, not in warnings.
    with np.errstate(all="ignore"):
        overflowed = compute(chosen)
        if overflowed or (doubtful and not _is_finite_at_first(geometry, output, target)):
            if doubtful and not _is_finite(arrays["weight"]):
                compute(_exact(method))
            elif overflowed and form is None and all(_is_finite(arrays[name]) for name in inputs if name != "bias"):
                compute(next(each for each in map(FORMS[method].__getitem__, names) if not each.combines))
        if not straight:
            out[...] = target.reshape(out.shape)


def _exact(method: str) -> Form:
    """Return the form that takes a method's place where the weight is not finite."""
    exact_method = REGISTRY[method].exact_method
    assert exact_method is not None
    return next(iter(FORMS[exact_method].values()))


def _as_compute(array: Array | None, dtype: DType, shape: tuple[int, ...]) -> Array | None:
    return None if array is None else np.asarray(array, dtype.compute, order="C").reshape(shape)
