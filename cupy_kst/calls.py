"""The one way from public functions to the engines: checks arrays, picks the method, makes the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from . import arrays, cpu, dtypes
from .geometry import Geometry
from .methods import OPERATIONS, Operation, Role, choose

DataFormat = Literal["channels_first", "channels_last"]
Precision = Literal["ieee", "tf32", "tf32x3"]


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise a ValueError that lists the choices of a Literal unless `value` is one of them."""
    if not isinstance(value, str) or value not in get_args(choices):
        raise ValueError(f"{name}={value!r}: there is {', '.join(map(repr, get_args(choices)))}")


def check_rank(function: str, rank: int, weight_shape: tuple[int, ...], channels: str) -> None:
    """Raise a ValueError unless a weight of this shape has `rank` spatial axes."""
    if len(weight_shape) != rank + 2:
        raise ValueError(
            f"weight has shape {weight_shape}: {function} takes {rank + 2} dimensions ({channels}, *kernel)"
        )


def check_bias(bias: Any, geometry: Geometry) -> None:
    """Raise a ValueError unless the bias, if there is one, has one value per output channel."""
    if bias is not None and bias.shape != (geometry.out_channels,):
        raise ValueError(f"bias has shape {bias.shape}: the output has {geometry.out_channels} channels")


def channels_first(array: Any, rank: int, data_format: str) -> Any:
    """Return a view of a map with its channels in front of the `rank` spatial axes."""
    if data_format == "channels_first" or array.ndim <= rank:
        return array
    return array.transpose(*range(array.ndim - rank - 1), array.ndim - 1, *range(array.ndim - rank - 1, array.ndim - 1))


def channels_first_shape(shape: tuple[int, ...], rank: int, data_format: str) -> tuple[int, ...]:
    """Return a map's shape with its channels in front of the `rank` spatial axes."""
    if data_format == "channels_first" or len(shape) <= rank:
        return shape
    return (*shape[: -rank - 1], shape[-1], *shape[-rank - 1 : -1])


def compute(
    operation: Operation,
    method: str,
    geometry: Geometry,
    given: Mapping[Role, tuple[str, Any]],
    *,
    out: Any,
    data_format: str,
    precision: str,
    packed: Any = None,
    workspace: Any = None,
    form: str | None = None,
) -> Any:
    """Return what `operation` makes of arrays in the given format, by `method`.

    Parameters
    ----------
    operation, method, geometry
        What is computed; the shapes of the arrays are already those of the geometry.
    given : mapping of role to (str, array)
        For each array that the operation reads the caller's name of it; the bias may be None.
    out : array, optional
        Where to write the result.
    data_format, precision : str
        The options of the public functions.
    packed, workspace, form
        As the engines take them.
    """
    check_choice("precision", precision, Precision)
    named = dict(given.values())
    bias = dict(item for item in named.items() if item[0] == "bias")
    others = {name: array for name, array in named.items() if name != "bias"}
    engine = arrays.engine_of({**bias, "out": out}, **others)
    dtype = dtypes.common(**named)
    output = OPERATIONS[operation].output
    chosen = choose(method, operation, geometry, engine).name
    shape = _shape_of(output, geometry, data_format)
    module: Any = np
    if engine == "cupy":
        from . import gpu
        from .gpu.runtime import load_cupy

        module = load_cupy()
        arrays.check_devices({**named, "out": out})
    if out is None:
        out = arrays.empty_beside(module, next(iter(others.values())), shape, dtype.storage)
    else:
        arrays.check_out(module, out, shape, dtype.storage, **named)
    if out.size == 0:
        return out
    by_role: dict[Role, Any] = {role: array for role, (_, array) in given.items()}
    by_role[output] = out
    if geometry.samples == 0:
        out[...] = 0
    elif engine == "numpy":
        for role in ("small", "large"):
            if role in by_role:
                by_role[role] = channels_first(by_role[role], geometry.rank, data_format)
        if method == "auto":
            chosen = cpu.exact(chosen, by_role.get("weight"), packed)
        cpu.run(chosen, geometry, dtype, by_role, packed, form)
    else:
        gpu.run(chosen, geometry, dtype, by_role, packed, workspace, data_format == "channels_last", form)
    return out


def _shape_of(output: Role, geometry: Geometry, data_format: str) -> tuple[int, ...]:
    if output == "weight":
        return geometry.weight_shape
    shape = geometry.small_shape if output == "small" else geometry.large_shape
    if data_format == "channels_first":
        return shape
    channel = len(shape) - geometry.rank - 1
    return (*shape[:channel], *shape[channel + 1 :], shape[channel])
