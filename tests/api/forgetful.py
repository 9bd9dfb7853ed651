"""Transposed convolutions that are right on one fresh contiguous call of usual size, and wrong otherwise.

Each is made anew, as some remember what they were called with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faults import right

Array = NDArray[Any]
Function = Callable[..., Array]
PLANTS: dict[str, Callable[[], Function]] = {}


def _plant(make: Callable[[], Function]) -> Callable[[], Function]:
    def named() -> Function:
        fn = make()
        fn.__name__ = make.__name__
        return fn

    PLANTS[make.__name__] = named
    return named


@_plant
def overwrites_its_input() -> Function:
    def fn(x: Array, w: Array, *rest: Any) -> Array:
        y = right(x, w, *rest)
        x[..., :1] = 7
        return y

    return fn


@_plant
def overwrites_its_weight() -> Function:
    def fn(x: Array, w: Array, *rest: Any) -> Array:
        y = right(x, w, *rest)
        w[...] = w[..., ::-1].copy()
        return y

    return fn


@_plant
def returns_float64() -> Function:
    return lambda x, w, *rest: right(x, w, *rest).astype(np.float64)


def _past(edge: int) -> Callable[[], Function]:
    def fn(x: Array, w: Array, *rest: Any) -> Array:
        y = right(x, w, *rest)
        y[..., edge:] = 0
        return y

    return lambda: fn


for _edge in (40, 64, 256, 1024):
    _make = _past(_edge)
    _make.__name__ = f"zeros_past_{_edge}"
    _plant(_make)


@_plant
def zeros_past_64_channels() -> Function:
    return lambda x, w, *rest: right(x, w, *rest) * (w.shape[0] <= 64)


@_plant
def keeps_weights_by_shape() -> Function:
    kept: dict[tuple[int, ...], Array] = {}
    return lambda x, w, *rest: right(x, kept.setdefault(w.shape, w.copy()), *rest)


@_plant
def right_only_once() -> Function:
    calls = iter(range(10**9))
    return lambda *call: right(*call) * (1 + (next(calls) > 0))


@_plant
def keeps_weights_by_identity() -> Function:
    kept: dict[str, tuple[Array, Array]] = {}

    def fn(x: Array, w: Array, *rest: Any) -> Array:
        if "w" not in kept or kept["w"][0] is not w:
            kept["w"] = (w, w.copy())
        return right(x, kept["w"][1], *rest)

    return fn


@_plant
def returns_one_buffer() -> Function:
    buffers: dict[tuple[int, ...], Array] = {}

    def fn(*call: Any) -> Array:
        y = right(*call)
        buffer = buffers.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer

    return fn


@_plant
def reads_fortran_as_contiguous() -> Function:
    def fn(x: Array, w: Array, *rest: Any) -> Array:
        read = np.frombuffer(x.tobytes("A"), x.dtype).reshape(x.shape) if x.flags.f_contiguous else x
        return right(read, w, *rest)

    return fn


@_plant
def reads_over_gaps() -> Function:
    def fn(x: Array, w: Array, *rest: Any) -> Array:
        if not (w.flags.c_contiguous or w.flags.f_contiguous):
            w = np.lib.stride_tricks.as_strided(w, w.shape, np.empty_like(w, order="C").strides)
        return right(x, w, *rest)

    return fn


@_plant
def shares_scratch_for_inputs() -> Function:
    scratch: dict[tuple[int, ...], Array] = {}

    def fn(x: Array, w: Array, *rest: Any) -> Array:
        buffer = scratch.setdefault(x.shape, np.empty_like(x))
        buffer[...] = x
        return right(buffer, w, *rest)

    return fn


@_plant
def shares_scratch_for_outputs() -> Function:
    scratch: dict[tuple[int, ...], Array] = {}

    def fn(*call: Any) -> Array:
        y = right(*call)
        buffer = scratch.setdefault(y.shape, np.empty_like(y))
        buffer[...] = y
        return buffer.copy()

    return fn


@_plant
def shares_a_global_weight() -> Function:
    shared: dict[str, Array] = {}

    def fn(x: Array, w: Array, *rest: Any) -> Array:
        shared["w"] = w
        return right(x, shared["w"], *rest)

    return fn
