"""Every engine behind one function: NumPy, the CUDA text on the emulator, and CUDA on a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import grad
from cupy_kst.dtypes import DTYPES, Precision
from cupy_kst.geometry import Geometry
from cupy_kst.gpu.engine import Build, Engine
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.methods import OPERATIONS
from cupy_kst.problem import Choice, Problem
from cupy_kst.testing import Arrays, Case, arguments, examples
from cupy_kst.testing.cases import OPERATIONS as CHECKED
from tests.conftest import PROFILE
from tests.emulator import Emulator, require

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
METHODS = tuple(TABLE)
TRANSPOSED = tuple(name for name in METHODS if TABLE[name].operation == "conv_transpose")
# What is not drawn for methods that refuse it.
RESTRICTIONS: dict[str, dict[str, Any]] = {"split": {"max_dilation": 1}}
# Drawn cases per test, of which there is one for every method and element type: a case takes the emulator several times
# as long as NumPy. Continuous integration draws the same ones each time. Others draw new ones, and make do with fewer.
EXAMPLES = {"cpu": 150, "emulator": 60, "gpu": 150} if PROFILE == "ci" else {"cpu": 30, "emulator": 12, "gpu": 150}
PUBLIC = {1: cupy_kst.conv_transpose1d, 2: cupy_kst.conv_transpose2d, 3: cupy_kst.conv_transpose3d}

every_engine = pytest.mark.parametrize("engine", ("cpu", "emulator", GPU))
public_engines = pytest.mark.parametrize("engine", ("cpu", GPU))
every_method = pytest.mark.parametrize("method", METHODS)
every_transposed_method = pytest.mark.parametrize("method", TRANSPOSED)
every_dtype = pytest.mark.parametrize("dtype", tuple(DTYPES))


def examples_of(method: str, *arrays: Any, **restrictions: Any) -> st.SearchStrategy[tuple[Case, Arrays]]:
    """Draw cases that `method` can compute, with their arrays; the rest as in `cupy_kst.testing.examples`.

    The gradient of a weight is drawn as that of a convolution: that of a transposed one is the same to engines.
    """
    return examples(*arrays, op=TABLE[method].operation, **RESTRICTIONS.get(method, {}), **restrictions)


def run(engine: str, method: str, case: Case, arrays: Arrays, channels_last: bool = False) -> NDArray[Any]:
    """Compute a case, by maps in either format; the arrays are read-only from here on."""
    for array in arrays:
        if array is not None:
            array.flags.writeable = False
    compute = emulate if engine == "emulator" else partial(call, engine)
    return compute(method, case, arrays, channels_last=channels_last)


def call(
    engine: str,
    method: str,
    case: Case,
    arrays: Arrays,
    *,
    lay_out: Callable[[Any], Any] = lambda array: array,
    with_out: bool = False,
    channels_last: bool = False,
) -> NDArray[Any]:
    """Compute a case by the public function, on arrays as `lay_out` rearranges them in memory."""
    if engine == "cpu":
        module, back = np, np.asarray
    else:
        import cupy as module

        back = module.asnumpy
    to_format = partial(last, rank=case.rank) if channels_last else lambda array: array
    maps = {name: to_format(getattr(arrays, name)) for name in ("input", "grad_output")}
    given = Arrays(*(None if each is None else lay_out(module.asarray(each)) for each in arrays._replace(**maps)))
    named, is_map = arguments(case, given), not case.op.endswith("_weight")
    if "input_size" in named:
        named["input_size"] = to_format(np.empty(case.input_shape)).shape
    out = None
    if with_out:
        shape = expected(case, arrays).shape
        out = module.full(to_format(np.empty(shape)).shape if is_map else shape, np.nan, case.dtype)
    data_format = "channels_last" if channels_last else "channels_first"
    result = public(case)(**named, **case.options, method=method, out=out, data_format=data_format)
    assert out is None or result is out
    assert result.flags.c_contiguous
    return first(back(result), case.rank) if channels_last and is_map else back(result)


def last(array: Any, rank: int) -> Any:
    """Return a view of a map with its channels last."""
    return None if array is None else np.moveaxis(array, array.ndim - rank - 1, -1)


def first(array: Any, rank: int) -> Any:
    """Return a view of a map with its channels first again."""
    return np.moveaxis(array, -1, array.ndim - rank - 1)


def emulate(
    method: str,
    case: Case,
    arrays: Arrays,
    *,
    sanitize: str = "asan",
    order: str = "forward",
    build: Build = "generic",
    wide: bool = False,
    channels_last: bool = False,
    form: str | None = None,
    precision: Precision = "ieee",
) -> NDArray[Any]:
    """Compute a case by the CUDA engine on the emulator; every element of the output must have been written."""
    require()
    shapes = geometry(case)
    emulator, engine = emulated(sanitize, order, build, wide)
    full = {"small": shapes.full_small_shape, "large": shapes.full_large_shape, "weight": shapes.full_weight_shape}
    output = OPERATIONS[TABLE[method].operation].output
    if channels_last:
        full.update({role: (n, *pixels, c) for role, (n, c, *pixels) in full.items() if role != "weight"})
    out = emulator.empty(full[output], case.dtype)
    given = dict(arrays_by_role(case, arrays), **{output: out})
    if shapes.samples == 0 and output == "weight":
        return np.zeros(shapes.weight_shape, case.dtype)
    if channels_last:
        maps = [role for role in ("small", "large") if role in given and role != output]
        given.update({role: np.ascontiguousarray(last(given[role], case.rank)) for role in maps})
    reshaped = {role: each if role == "bias" else each.reshape(full[role]) for role, each in given.items()}
    problem = Problem(TABLE[method].operation, shapes, DTYPES[case.dtype], channels_last, precision)
    engine.run(problem, Choice(method, form), reshaped)
    emulator.check_written(out)
    of_caller = {"small": shapes.small_shape, "large": shapes.large_shape, "weight": shapes.weight_shape}
    if channels_last and output != "weight":
        out = np.ascontiguousarray(first(out, 3))
    result = out.reshape(of_caller[output])
    return result.conj() if output == "weight" else result


def arrays_by_role(case: Case, arrays: Arrays) -> dict[str, Any]:
    """Return what engines read for a case, under the names that they have for it."""
    if case.op == "conv_transpose":
        return {"small": arrays.input, "weight": arrays.weight, "bias": arrays.bias}
    if case.op == "conv":
        return {"large": arrays.input, "weight": arrays.weight, "bias": arrays.bias}
    # Engines sum products; the gradient conjugates one of them, and its result is conjugated in turn.
    return {"large": arrays.input, "small": arrays.grad_output.conj()}


def geometry(case: Case) -> Geometry:
    """Return the geometry of a case's convolution or transposed convolution."""
    if case.op == "conv_transpose":
        return Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)
    return Geometry.conv(case.input_shape, case.weight_shape, **case.options)


def options_of_prepared(case: Case) -> dict[str, Any]:
    """Return a case's options for `prepare`: sizes of the larger map that no filter explains are output padding."""
    if case.op in ("conv", "conv_transpose"):
        return case.options
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    if case.transposed:
        return {**options, "output_padding": case.output_padding}
    sizes, outputs = case.input_shape[-case.rank :], (1, *case.output_shape[-case.rank - 1 :])
    weight = (case.weight_shape[0], case.weight_shape[1], *case.weight_shape[2:])
    # The padding crops what an unpadded transposed convolution makes; the rest are rows at the end.
    full = Geometry.conv_transpose(outputs, weight, case.stride, 0, 0, case.groups, case.dilation).output_shape[2:]
    pads = [(pad, pad) if isinstance(pad, int) else pad for pad in case.padding]
    extra = [size - (span - lo - hi) for size, span, (lo, hi) in zip(sizes, full, pads, strict=True)]
    return {**options, "output_padding": tuple(extra)}


def public(case: Case) -> Callable[..., Any]:
    """Return the public function of a case's operation and rank."""
    name, _, gradient = case.op.partition("_") if not case.transposed else ("conv_transpose", "", case.op[15:])
    return getattr(grad, f"{name}{case.rank}d_{gradient}") if gradient else getattr(cupy_kst, f"{name}{case.rank}d")


@cache
def emulated(sanitize: str, order: str, build: Build, wide: bool) -> tuple[Emulator, Engine]:
    """Return an emulator and the engine on it."""
    emulator = Emulator(sanitize, order)
    return emulator, Engine(emulator, build, wide)


def expected(case: Case, arrays: Arrays) -> NDArray[Any]:
    """Return what the definition gives, in float64 or complex128."""
    return CHECKED[case.op].definition(**arguments(case, arrays), **case.options)


def sizes(arrays: Arrays) -> Arrays:
    """Return the absolute values."""
    return Arrays(*(None if array is None else np.abs(array) for array in arrays))
