"""The one way from public functions to a problem: checks arrays and their shapes, and picks the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import arrays, dispatch, dtypes
from .arrays import Engine
from .dtypes import DType, Precision
from .geometry import AXES, Geometry
from .geometry.options import check_choice, counted
from .hints.words import stride_of_bias
from .labels import Labels, ShapeError
from .methods import Operation, Role
from .problem import Choice, Problem


def check_rank(function: str, rank: int, weight_shape: tuple[int, ...], channels: str, labels: Labels) -> None:
    """Raise a ValueError unless a weight of this shape has `rank` spatial axes."""
    if len(weight_shape) != rank + 2:
        others = len(weight_shape) - 2
        fits = f"; {function.replace(f'{rank}d', f'{others}d')} takes {others + 2}" if 1 <= others <= AXES else ""
        error = ShapeError(
            f"{{weight_is}}: {function} takes {rank + 2} dimensions ({channels}, *kernel){fits}",
            rank,
            weight=weight_shape,
        )
        raise ValueError(error.told(labels))


def check_bias(bias: Any, geometry: Geometry) -> None:
    """Raise a ValueError unless the bias, if there is one, has one value per output channel."""
    channels = geometry.out_channels
    if bias is not None and bias.shape != (channels,):
        as_many = f"; bias.reshape({channels}) fits" if bias.size == channels else ""
        if bias.ndim == 0 and isinstance(bias, np.ndarray):
            as_many = as_many or stride_of_bias(bias[()], geometry.rank)
        raise ValueError(f"bias has shape {bias.shape}: the output has {counted(channels, 'channel')}{as_many}")


def compute(
    operation: Operation,
    method: str,
    geometry: Geometry,
    given: Mapping[Role, tuple[str, Any]],
    *,
    out: Any,
    data_format: str,
    precision: Precision,
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
    """
    check_choice("precision", precision, Precision)
    engine, dtype = check_arrays(dict(given.values()), out)
    problem = Problem(operation, geometry, dtype, data_format == "channels_last", precision)
    return dispatch.run(engine, problem, Choice.of(problem, engine, method), given, out)


def check_arrays(named: Mapping[str, Any], out: Any) -> tuple[Engine, DType]:
    """Return which engine computes arrays, by the caller's names of them, and their element type."""
    others = {name: array for name, array in named.items() if name != "bias"}
    engine = arrays.engine_of({"bias": named.get("bias"), "out": out}, **others)
    return engine, dtypes.common(**named)
