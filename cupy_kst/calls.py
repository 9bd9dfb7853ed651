"""The one way from public functions to the engines: checks arrays, picks the method, makes the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import arrays, cpu, dtypes
from .arrays import Engine
from .dtypes import DType, Precision
from .geometry import AXES, Geometry
from .hints.words import stride_of_bias
from .labels import Labels, ShapeError, shape_in_format
from .methods import OPERATIONS, Operation, Role, choose
from .options import check_choice, counted
from .packed import Packed


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
    return Settled.of(engine, operation, method, geometry, dtype, data_format, precision).run(given, out)


def check_arrays(named: Mapping[str, Any], out: Any) -> tuple[Engine, DType]:
    """Return which engine computes arrays, by the caller's names of them, and their element type."""
    others = {name: array for name, array in named.items() if name != "bias"}
    engine = arrays.engine_of({"bias": named.get("bias"), "out": out}, **others)
    return engine, dtypes.common(**named)


class WeightCall(Protocol):
    """Calls by one weight on inputs of one shape, with a workspace of at least `workspace_bytes`."""

    workspace_bytes: int

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        """Return the result, which is `out` if that is given; this and the workspace may be None."""


@dataclass(frozen=True, eq=False)
class Settled:
    """A call but for its arrays, which are checked to be of one engine and of the dtype.

    Attributes
    ----------
    engine, operation, geometry, dtype
        What is computed, and by which engine.
    method : str
        The method that computes it.
    auto : bool
        Whether an exact method may take its place.
    data_format, precision : str
        Layout of the maps, and how exactly float32 has to be multiplied.
    form : str, optional
        The method's form; without it, the engine chooses.
    shape : tuple of int
        Shape of the output.
    """

    engine: Engine
    operation: Operation
    geometry: Geometry
    dtype: DType
    method: str
    auto: bool
    data_format: str
    precision: Precision
    form: str | None
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        engine: Engine,
        operation: Operation,
        method: str,
        geometry: Geometry,
        dtype: DType,
        data_format: str,
        precision: Precision,
        form: str | None = None,
    ) -> Settled:
        """Settle the method and the shape of the output."""
        chosen = choose(method, operation, geometry, engine).name
        shape = _shape_of(OPERATIONS[operation].output, geometry, data_format)
        return cls(engine, operation, geometry, dtype, chosen, method == "auto", data_format, precision, form, shape)

    def of_weight(self, weight: Any, bias: Any, packed: Packed) -> WeightCall:
        """Return the calls by one weight; it and its bias are C-contiguous, and `packed` keeps what is made of it."""
        if self.engine == "cupy" and self.geometry.samples:
            from .gpu.call import Call

            return Call(self, weight, bias, packed)
        return _Run(self, weight, bias, packed)

    def run(self, given: Mapping[Role, tuple[str, Any]], out: Any, packed: Packed | None = None) -> Any:
        """Return the result, which is `out` if that is given; on the CPU `packed` keeps what is made of the weight."""
        module = np if self.engine == "numpy" else _cupy(given, out)
        if out is None:
            beside = next(array for _, array in given.values() if array is not None)
            out = arrays.empty_beside(module, beside, self.shape, self.dtype.storage)
        else:
            of_map = OPERATIONS[self.operation].output != "weight"
            layout = self.data_format if of_map else ""
            arrays.check_out(module, out, self.shape, self.dtype.storage, given.values(), self.geometry.rank, layout)
        if out.size == 0:
            return out
        by_role: dict[Role, Any] = {role: array for role, (_, array) in given.items()}
        by_role[OPERATIONS[self.operation].output] = out
        if self.geometry.samples == 0:
            with arrays.device_of(out):
                out[...] = 0
        elif self.engine == "numpy":
            self._run_numpy(by_role, packed)
        else:
            from . import gpu

            last = self.data_format == "channels_last"
            gpu.run(self.method, self.geometry, self.dtype, by_role, last, self.form, self.precision)
        return out

    def _run_numpy(self, by_role: dict[Role, Any], packed: Packed | None) -> None:
        if self.data_format == "channels_last":
            for role in ("small", "large"):
                if role in by_role:
                    by_role[role] = arrays.channels_first(by_role[role], self.geometry.rank, self.data_format)
        cpu.run(self.method, self.geometry, self.dtype, by_role, packed, self.form, self.auto)


class _Run:
    """Calls by one weight that need no workspace: on the CPU, or of nothing."""

    workspace_bytes = 0

    def __init__(self, settled: Settled, weight: Any, bias: Any, packed: Packed) -> None:
        self._settled, self._packed = settled, packed
        self._read: Role = "small" if settled.operation == "conv_transpose" else "large"
        self._of_weight: dict[Role, tuple[str, Any]] = {"weight": ("weight", weight), "bias": ("bias", bias)}

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        if workspace is not None:
            module = arrays.module_of(self._settled.engine)
            arrays.check_workspace(module, workspace, self.workspace_bytes, 1, {"x": x, "out": out})
        return self._settled.run({self._read: ("x", x), **self._of_weight}, out, self._packed)


def _cupy(given: Mapping[Role, tuple[str, Any]], out: Any) -> Any:
    """Return the cupy module, if all arrays are on one device."""
    from .gpu.runtime import load_cupy

    module = load_cupy()
    arrays.check_devices({**dict(given.values()), "out": out})
    return module


def _shape_of(output: Role, geometry: Geometry, data_format: str) -> tuple[int, ...]:
    if output == "weight":
        return geometry.weight_shape
    shape = geometry.small_shape if output == "small" else geometry.large_shape
    return shape_in_format(shape, geometry.rank, data_format)
