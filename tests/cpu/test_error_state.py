"""NumPy's error state does not reach what the CPU computes: values that overflow raise nothing and warn of nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import cpu, grad, merge, methods, prepare, segregate
from cupy_kst.cpu import jit
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import OPERATION_OF, Op
from cupy_kst.testing import Case, real_arrays
from tests.support.turns import has_turn

Array = NDArray[Any]

KINDS = ("largest", "smallest", "subnormal", "mixed", "not finite", "zero and infinity", "cancelling")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    """Whatever NumPy or the library would say is an error."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


def values(kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Return extreme numbers of a kind."""
    limits = np.finfo(DTYPES[dtype].compute if dtype != "float16" else "float16")
    # Those of bfloat16 are its own, a little less than those of float32.
    largest = float(np.finfo("float16").max) if dtype == "float16" else float(limits.max) * (1 - 2**-7)
    tiny = 2.0**-133 if dtype == "bfloat16" else float(limits.smallest_subnormal)
    each: dict[str, tuple[float, ...]] = {
        "largest": (largest, largest),
        "smallest": (float(limits.tiny), -float(limits.tiny)),
        "subnormal": (tiny, 3 * tiny, float(limits.tiny)),
        "mixed": (largest, float(limits.tiny), tiny, 0.0, -1.0),
        "not finite": (np.inf, -np.inf, np.nan, 1.0),
        "zero and infinity": (0.0, np.inf, -0.0),
        "cancelling": (largest, -largest),
    }
    numbers = np.resize(np.array(each[kind]), shape)
    # Also parts of complex numbers, which arithmetic would make of an infinity and 0.
    with np.errstate(all="ignore"):
        found = numbers.astype(dtype)
    if found.dtype.kind == "c":
        found.imag = numbers[..., ::-1]
    return found


def calls(op: Op, rank: int, kind: str, dtype: str, batch: tuple[int, ...]) -> Callable[..., Any]:
    """Return an operation on such numbers that lacks its method."""
    channels, sizes, kernel = 2, (5, 4, 6)[:rank], (3, 2, 2)[:rank]
    outputs = tuple((size - taps) // 2 + 1 for size, taps in zip(sizes, kernel, strict=True))
    large, small = values(kind, (*batch, channels, *sizes), dtype), values(kind, (*batch, 3, *outputs), dtype)
    weight = values(kind, (3, channels, *kernel), dtype)
    name, _, gradient = op.removeprefix("conv_transpose").partition("_") if "transpose" in op else op.partition("_")
    del name
    base = "conv_transpose" if op.startswith("conv_transpose") else "conv"
    options: dict[str, Any] = {"stride": 2}
    if gradient:
        of_input, of_output = (large, small) if base == "conv" else (small, large)
        arguments = {
            "input": {"input_size": of_input.shape, "weight": weight},
            "weight": {"input": of_input, "weight_size": weight.shape},
        }[gradient]
        function = getattr(grad, f"{base}{rank}d_{gradient}")
        return lambda **more: function(**arguments, grad_output=of_output, **options, **more)
    x = large if base == "conv" else small
    bias = values(kind, (3 if base == "conv" else channels,), dtype)
    return lambda **more: getattr(cupy_kst, f"{base}{rank}d")(x, weight, bias, **options, **more)


@pytest.mark.long(but=lambda op, dtype: has_turn((op, OPERATION_OF), (dtype, DTYPES)))
@every_dtype
@pytest.mark.parametrize("op", OPERATION_OF)
def test_every_method(op: Op, dtype: str) -> None:
    for method in ("auto", *methods(op)):
        for kind in KINDS:
            for rank, batch in ((1, (2,)), (2, (2,)), (3, (2,)), (2, ()), (2, (0,))):
                calls(op, rank, kind, dtype, batch)(method=method)


@every_dtype
@pytest.mark.parametrize("op", ["conv", "conv_transpose", "conv_input", "conv_transpose_input"])
def test_every_form_of_prepared_calls(op: Any, dtype: str) -> None:
    of = DTYPES[dtype]
    transposed = OPERATION_OF[op] == "conv_transpose"
    for method in methods(op):
        for form in cpu.FORMS[method].values():
            if form.compiled and not jit.available(of.compute):
                continue
            for kind in KINDS:
                weight, x = values(kind, (4, 4, 4, 4), dtype), values(kind, (2, 4, 9, 8), dtype)
                call = prepare(weight, op=op, stride=2, padding=1, method=method, form=form.name)
                if transposed or form.name != "jit_im2col":
                    call(x)
                call.update(values("not finite", weight.shape, dtype))
                call(x, out=np.empty_like(call(x)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions(dtype: str) -> None:
    of = "complex128" if DTYPES[dtype].storage.kind == "c" else "float64"
    for kind in KINDS:
        weight, bias = values(kind, (2, 2, 3), of), values(kind, (2,), of)
        call = prepare(weight, bias, dtype=dtype)
        call(values(kind, (1, 2, 4), dtype))
        call.compile([(1, 2, 5)])
        call.update(values("largest", weight.shape, of)) if of == dtype else None


@every_dtype
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_gradients_of_biases(dtype: str, data_format: Any) -> None:
    for kind in KINDS:
        for shape in ((2, 3, 9), (3, 9), (0, 3, 9), (1, 3000, 2), (1, 2, 3000)):
            grad.conv1d_bias(values(kind, shape, dtype), data_format=data_format)
    grad.conv1d(*(values("largest", shape, dtype) for shape in ((2, 2, 9), (3, 2, 3), (2, 3, 7))))


@every_dtype
def test_several_threads_and_many_elements(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers do not inherit the caller's state, nor do threads of the user."""
    monkeypatch.setenv("CUPY_KST_THREADS", "2")
    x, weight = values("cancelling", (2, 8, 40, 40), dtype), values("mixed", (8, 16, 4, 4), dtype)
    one = values("mixed", (1, 64, 4, 4), dtype)
    failures: list[BaseException] = []

    def compute() -> None:
        try:
            with np.errstate(all="raise"):
                for method in ("unified", "ks_deconv"):
                    cupy_kst.conv_transpose2d(x, weight, stride=2, method=method)
                    # One input channel, which NumPy's threads share out.
                    cupy_kst.conv_transpose2d(x[:1, :1].repeat(2, 2), one, stride=2, padding=1, method=method)
        except BaseException as error:
            failures.append(error)

    compute()
    other = Thread(target=compute)
    other.start()
    other.join()
    assert not failures


@every_dtype
def test_subkernels(dtype: str) -> None:
    for kind in KINDS:
        weight = values(kind, (2, 3, 4, 5), dtype)
        assert merge(segregate(weight, 2), 2).tobytes() == weight.tobytes()


def test_drawn_numbers() -> None:
    """Some of so many are subnormal in float16."""
    case = Case(
        "conv", (1, 1, 500_000), (1, 1, 1), bias=False, dtype="float16", stride=(1,), padding=(0,), output_padding=(0,),
        groups=1, dilation=(1,), output_sizes=(500_000,),
    )  # fmt: skip

    @settings(max_examples=2)
    @given(real_arrays(case))
    def drawn(arrays: Any) -> None:
        smallest = np.finfo("float16").tiny
        assert ((arrays.input != 0) & (abs(arrays.input) < smallest)).any()

    drawn()


def test_a_state_that_is_set_before_anything_is_imported() -> None:
    program = """
import numpy as np
np.seterr(all="raise")
from cupy_kst import conv_transpose2d, grad
large = np.full((1, 8, 9, 9), 3e38, "f4")
assert np.isinf(conv_transpose2d(large, large.reshape(8, 1, 9, 9), stride=2)).any()
assert np.isinf(grad.conv2d_weight(large, (1, 8, 3, 3), large[:, :1, 2:, 2:])).all()
assert np.isinf(grad.conv2d_bias(np.full((1, 2, 9, 9), 60000, "f2"))).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
