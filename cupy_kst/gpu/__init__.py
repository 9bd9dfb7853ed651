"""The CUDA engine: one launcher per method, over a runtime that CuPy is in use and the emulator in tests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..dtypes import DType, Precision
from ..geometry import Geometry
from ..methods import METHODS, OPERATIONS, Role
from ..packed import Packed
from .engine import Engine
from .runtime import CuPyRuntime, load_cupy
from .tiles import ACCESS


@lru_cache(maxsize=64)
def engine(device: int) -> Engine:
    """Return the engine of one CUDA device."""
    return Engine(CuPyRuntime(device))


def packed() -> Packed:
    """Return a store of what is made of one weight."""
    return Packed(_wait)


def wait_for(array: Any) -> None:
    """Wait until the current stream of an array's device has made it: then calls on other streams may read it."""
    with array.device:
        _wait()


def _wait() -> None:
    load_cupy().cuda.get_current_stream().synchronize()


def run(
    method: str,
    geometry: Geometry,
    dtype: DType,
    arrays: Mapping[Role, Any],
    channels_last: bool = False,
    form: str | None = None,
    precision: Precision = "ieee",
) -> None:
    """Write what `method` computes of CuPy arrays, on their device and its current stream, as `Engine.run` does.

    What is read may have any strides; what is written is C-contiguous.
    """
    output = OPERATIONS[METHODS[method].operation].output
    out = arrays[output]
    with out.device as device:
        given: dict[str, Any] = {name: None if array is None else readable(array) for name, array in arrays.items()}
        given[output] = written = writable(out)
        engine(device.id).run(
            method, geometry, dtype, given, channels_last=channels_last, form=form, precision=precision
        )
        if written is not out:
            out[...] = written


def readable(array: Any) -> Any:
    """Return an array as kernels read it: C-contiguous, and aligned to their widest access."""
    contiguous = load_cupy().ascontiguousarray(array)
    return contiguous.copy() if contiguous.data.ptr % ACCESS else contiguous


def writable(out: Any) -> Any:
    """Return an array, or another if it is not aligned to the widest access of kernels."""
    return load_cupy().empty_like(out) if out.data.ptr % ACCESS else out
