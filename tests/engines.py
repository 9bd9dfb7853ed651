"""Every engine behind one function: NumPy, the CUDA text on the emulator, and CUDA on a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

import cupy_kst
from cupy_kst.cpu import reference
from cupy_kst.dtypes import DTYPES
from cupy_kst.geometry import Geometry
from cupy_kst.gpu.engine import Build, Engine
from cupy_kst.testing import Arrays, Case, examples
from tests.emulator import Emulator, require

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
METHODS = ("zero_insertion", "segregated", "unified", "ks_deconv", "split")
# What is not drawn for methods that refuse it.
RESTRICTIONS: dict[str, dict[str, Any]] = {"split": {"max_dilation": 1}}
# Drawn cases per test: a case takes the emulator several times as long as NumPy.
EXAMPLES = {"cpu": 150, "emulator": 60, "gpu": 150}
PUBLIC = {1: cupy_kst.conv_transpose1d, 2: cupy_kst.conv_transpose2d, 3: cupy_kst.conv_transpose3d}

every_engine = pytest.mark.parametrize("engine", ("cpu", "emulator", GPU))
public_engines = pytest.mark.parametrize("engine", ("cpu", GPU))
every_method = pytest.mark.parametrize("method", METHODS)
every_dtype = pytest.mark.parametrize("dtype", tuple(DTYPES))


def examples_of(method: str, *arrays: Any, **restrictions: Any) -> st.SearchStrategy[tuple[Case, Arrays]]:
    """Draw cases that `method` can compute, with their arrays; the rest as in `cupy_kst.testing.examples`."""
    return examples(*arrays, **RESTRICTIONS.get(method, {}), **restrictions)


def run(engine: str, method: str, case: Case, arrays: Arrays) -> NDArray[Any]:
    """Compute a case; the arrays are read-only from here on."""
    for array in arrays:
        if array is not None:
            array.flags.writeable = False
    return emulate(method, case, arrays) if engine == "emulator" else call(engine, method, case, arrays)


def call(
    engine: str,
    method: str,
    case: Case,
    arrays: Arrays,
    *,
    lay_out: Callable[[Any], Any] = lambda array: array,
    with_out: bool = False,
) -> NDArray[Any]:
    """Compute a case by the public function, on arrays as `lay_out` rearranges them in memory."""
    if engine == "cpu":
        module, back = np, np.asarray
    else:
        import cupy as module

        back = module.asnumpy
    given = [None if array is None else lay_out(module.asarray(array)) for array in arrays]
    out = module.full(expected(case, arrays).shape, np.nan, case.dtype) if with_out else None
    result = PUBLIC[case.rank](*given, **case.options, method=method, out=out)
    assert out is None or result is out
    assert result.flags.c_contiguous
    return back(result)


def emulate(
    method: str,
    case: Case,
    arrays: Arrays,
    *,
    sanitize: str = "asan",
    order: str = "forward",
    build: Build = "generic",
    wide: bool = False,
) -> NDArray[Any]:
    """Compute a case by the CUDA engine on the emulator; every element of the output must have been written."""
    require()
    shapes = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)
    emulator, engine = _emulated(sanitize, order, build, wide)
    out = emulator.empty(shapes.full_large_shape, case.dtype)
    input, weight = arrays.input.reshape(shapes.full_small_shape), arrays.weight.reshape(shapes.full_weight_shape)
    given = {"small": input, "weight": weight, "bias": arrays.bias, "large": out}
    engine.run(method, shapes, DTYPES[case.dtype], given)
    emulator.check_written(out)
    return out.reshape(shapes.output_shape)


@cache
def _emulated(sanitize: str, order: str, build: Build, wide: bool) -> tuple[Emulator, Engine]:
    emulator = Emulator(sanitize, order)
    return emulator, Engine(emulator, build, wide)


def expected(case: Case, arrays: Arrays) -> NDArray[Any]:
    """Return what the definition gives, in float64 or complex128."""
    return reference.conv_transpose(*arrays, **case.options)


def sizes(arrays: Arrays) -> Arrays:
    """Return the absolute values."""
    return Arrays(*(None if array is None else np.abs(array) for array in arrays))
