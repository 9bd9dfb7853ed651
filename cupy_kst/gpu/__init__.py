"""The CUDA engine: one launcher per method, over a runtime that CuPy is in use and the emulator in tests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .. import arrays
from ..dtypes import DType
from ..geometry import Geometry
from .engine import Engine
from .runtime import CuPyRuntime, load_cupy


@lru_cache(maxsize=64)
def engine(device: int) -> Engine:
    """Return the engine of one CUDA device."""
    return Engine(CuPyRuntime(device))


def conv_transpose(method: str, geometry: Geometry, dtype: DType, input: Any, weight: Any, bias: Any, out: Any) -> Any:
    """Return the transposed convolution of CuPy arrays, computed on their device and its current stream."""
    cupy = load_cupy()
    given = {"input": input, "weight": weight, "bias": bias, "out": out}
    for name, array in given.items():
        if array is not None and array.device != input.device:
            raise ValueError(f"input is on {input.device} and {name} on {array.device}: move one of them")
    with input.device:
        if out is None:
            out = cupy.empty(geometry.output_shape, dtype.storage)
        else:
            arrays.check_out(cupy, out, geometry.output_shape, dtype.storage, input=input, weight=weight, bias=bias)
        x, w, b = (None if each is None else cupy.ascontiguousarray(each) for each in (input, weight, bias))
        engine(input.device.id).conv_transpose(method, geometry, dtype, x, w, b, out)
    return out
