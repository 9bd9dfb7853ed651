"""Arrays that break a rule: the message names the argument, its shape or dtype, and the rule or the way out."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cupy_kst import conv_transpose1d, conv_transpose2d, conv_transpose3d
from cupy_kst.dtypes import DTYPES
from tests.support.engines import PUBLIC, TRANSPOSED

X, W, B = np.ones((2, 4, 5, 6), "f4"), np.ones((4, 3, 2, 2), "f4"), np.ones(3, "f4")
NAMES = "float16, bfloat16, float32, float64, complex64, complex128"


def refused(message: str, kind: type[Exception] = ValueError, *arrays: Any, rank: int = 2, **options: Any) -> None:
    """See the call refused with a message, and the arrays left alone."""
    given = [
        default if array is None else array for array, default in zip((*arrays, None, None)[:2], (X, W), strict=True)
    ]
    given += arrays[2:]
    before = [array.tobytes() if isinstance(array, np.ndarray) else None for array in given]
    with pytest.raises(kind, match=re.escape(message)):
        PUBLIC[rank](*given, **options)
    assert before == [array.tobytes() if isinstance(array, np.ndarray) else None for array in given]


def ones(*shape: int, dtype: Any = "f4") -> np.ndarray:
    return np.ones(shape, dtype)


@pytest.mark.parametrize("shape", [(5,), (5, 6), (1, 2, 4, 5, 6), ()])
def test_input_of_wrong_rank(shape: tuple[int, ...]) -> None:
    message = (
        f"input has shape {shape}: weight of shape (4, 3, 2, 2) takes 4 dimensions (batch, in_channels, *spatial), "
        "or 3 without the batch"
    )
    refused(message, ValueError, ones(*shape))


@pytest.mark.parametrize(("rank", "shape"), [(1, (4, 3, 2, 2)), (2, (4, 3, 2)), (3, (4, 3, 2, 2)), (2, ()), (2, (4,))])
def test_weight_of_wrong_rank(rank: int, shape: tuple[int, ...]) -> None:
    message = (
        f"weight has shape {shape}: conv_transpose{rank}d takes {rank + 2} dimensions "
        "(in_channels, out_channels // groups, *kernel)"
    )
    refused(message, ValueError, None, ones(*shape), rank=rank)


def test_channels_that_do_not_match() -> None:
    refused(
        "input of shape (2, 5, 5, 6) has 5 channels, but weight of shape (4, 3, 2, 2) takes 4",
        ValueError,
        ones(2, 5, 5, 6),
    )
    refused("input of shape (5, 5, 6) has 5 channels", ValueError, ones(5, 5, 6))


def test_groups_that_do_not_divide() -> None:
    refused("groups=3 does not divide the 4 channels of input of shape (2, 4, 5, 6)", groups=3)


@pytest.mark.parametrize("shape", [(2, 0, 5, 6), (2, 4, 0, 6), (2, 4, 5, 0), (4, 0, 6)])
def test_input_without_extent(shape: tuple[int, ...]) -> None:
    refused(f"input has shape {shape}: only the batch may be of size zero", ValueError, ones(*shape))


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (4, 0, 2, 2), (4, 3, 0, 2), (4, 3, 2, 0)])
def test_weight_without_extent(shape: tuple[int, ...]) -> None:
    refused(f"weight has shape {shape}: no dimension may be of size zero", ValueError, None, ones(*shape))


def test_empty_output() -> None:
    refused("the output would have spatial size (0, 1)", padding=3)


@pytest.mark.parametrize("shape", [(4,), (1,), (0,), (3, 1), (1, 3, 1, 1), ()])
def test_bias_of_wrong_shape(shape: tuple[int, ...]) -> None:
    refused(f"bias has shape {shape}: the output has 3 channels", ValueError, None, None, ones(*shape))


def test_bias_of_groups() -> None:
    refused("bias has shape (3,): the output has 6 channels", ValueError, None, None, B, groups=2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            (X, W.astype("f8"), B),
            "input has dtype float32 and weight has dtype float64: "
            "pass input.astype(np.float64) or weight.astype(np.float32)",
        ),
        (
            (X, W, B.astype("f2")),
            "input has dtype float32 and bias has dtype float16: "
            "pass input.astype(np.float16) or bias.astype(np.float32)",
        ),
        (
            (X.astype("u1"), W, B),
            f"input has dtype uint8 and weight has dtype float32: uint8 is not supported, use one of {NAMES}: "
            "pass input.astype(np.float32)",
        ),
        (
            (X, W.astype("c8"), B),
            "input has dtype float32 and weight has dtype complex64: pass input.astype(np.complex64)",
        ),
        (
            (X.astype("u1"), W.astype("i8"), B.astype("i8")),
            f"input has dtype uint8 and weight has dtype int64: uint8 and int64 are not supported, use one of {NAMES}: "
            "pass input.astype(np.float32) and weight.astype(np.float32) and bias.astype(np.float32)",
        ),
        (
            (X.astype(np.clongdouble), W, B),
            "input has dtype complex256 and weight has dtype float32: complex256 is not supported, use one of " + NAMES,
        ),
        (
            (X.astype("f2"), W.astype("bfloat16"), None),
            "input has dtype float16 and weight has dtype bfloat16: "
            "pass input.astype('bfloat16') or weight.astype(np.float16)",
        ),
    ],
)
def test_mixed_dtypes_say_which_to_convert_and_to_what(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError) as found:
        conv_transpose2d(*arrays)
    assert str(found.value) == message


@pytest.mark.parametrize(
    "dtype", ["i4", "u1", "?", "O", "M8[s]", "U1", "V2", "V4", np.longdouble, np.clongdouble, "float8_e5m2"]
)
def test_unsupported_dtypes(dtype: Any) -> None:
    name = np.dtype(dtype).name
    message = f"input has dtype {name}: {name} is not supported, use one of {NAMES}"
    refused(message, TypeError, np.zeros(X.shape, dtype), np.zeros(W.shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_swapped_bytes_are_no_mixed_dtypes(dtype: str) -> None:
    x, w, b = (array.astype(dtype) for array in (X, W, B))
    swapped = x.astype(x.dtype.newbyteorder())
    np.testing.assert_array_equal(conv_transpose2d(swapped, w, b), conv_transpose2d(x, w, b))


@pytest.mark.parametrize("name", ["input", "weight", "bias", "out"])
@pytest.mark.parametrize("value", [[1.0, 2.0], 1.0, np.float32(1), "text", {}])
def test_what_is_no_array(name: str, value: Any) -> None:
    arrays = {"input": X, "weight": W, "bias": B, "out": None, name: value}
    kind = type(value).__name__
    message = f"{name} is a {kind}: expected a NumPy or CuPy array"
    # A bare number as an array would break the next rule.
    if not isinstance(value, (float, np.float32)):
        message += f", as numpy.asarray({name}) makes"
    with pytest.raises(TypeError, match=re.escape(message)):
        conv_transpose2d(**arrays)


@pytest.mark.parametrize("name", ["input", "weight"])
def test_missing_arrays(name: str) -> None:
    arrays = {"input": X, "weight": W, name: None}
    with pytest.raises(TypeError, match=f"^{name} is None: expected a NumPy or CuPy array$"):
        conv_transpose2d(**arrays)


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
def test_masked_arrays(name: str) -> None:
    arrays = {"input": X, "weight": W, "bias": B}
    arrays[name] = np.ma.masked_array(arrays[name])
    with pytest.raises(
        TypeError, match=rf"{name} is a masked array, whose mask would be lost: pass {name}.filled\(0\)"
    ):
        conv_transpose2d(**arrays)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    refused(
        "input is a torch.Tensor: pass input.detach().numpy(), or cupy.from_dlpack(input.detach()) on the GPU; "
        "torch.from_dlpack turns the result back",
        TypeError,
        torch.ones(2, 4, 5, 6),
    )
    refused("weight is a torch.Tensor: pass weight.detach().numpy()", TypeError, None, torch.ones(4, 3, 2, 2))
    refused("weight is a torch.Tensor", TypeError, None, torch.nn.Parameter(torch.ones(4, 3, 2, 2)))


@pytest.mark.parametrize("name", ["input", "weight", "bias", "out"])
def test_numpy_with_cupy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice:
        """Stands for a CuPy array, which is known by its class alone."""

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(ndarray=OnDevice))
    arrays = {"input": X, "weight": W, "bias": B, "out": None, name: OnDevice()}
    first, other = ("CuPy", "NumPy") if name == "input" else ("NumPy", "CuPy")
    second = "weight" if name == "input" else name
    message = (
        f"input is a {first} array and {second} a {other} array: "
        "move one with cupy.asarray(array) or cupy.asnumpy(array)"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        conv_transpose2d(**arrays)


def test_numpy_with_a_true_cupy_array() -> None:
    cupy = pytest.importorskip("cupy")
    memory = cupy.cuda.memory.UnownedMemory(0x1000, W.nbytes, None, 0)
    weight = cupy.ndarray(W.shape, W.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))
    refused("input is a NumPy array and weight a CuPy array: move one with cupy.asarray", TypeError, None, weight)


@pytest.mark.parametrize("method", ["fast", "", "Unified", None, 3, ["unified"]])
def test_unknown_methods(method: Any) -> None:
    message = f"method={method!r}: conv_transpose has 'auto', {', '.join(map(repr, TRANSPOSED))}"
    refused(message, method=method)


@pytest.mark.parametrize("dilation", [2, (1, 3), (2, 1)])
def test_a_method_that_cannot_do_it_says_why_and_which_can(dilation: Any) -> None:
    spread = (dilation,) * 2 if isinstance(dilation, int) else dilation
    able = ", ".join(map(repr, ("auto", *(name for name in TRANSPOSED if name != "split"))))
    message = f"method='split': its sub-filters have no dilation, which here is {spread}; use one of {able}"
    refused(message, method="split", dilation=dilation)
    assert conv_transpose2d(X, W, dilation=dilation).size


def test_arguments_that_there_are_not() -> None:
    with pytest.raises(TypeError, match="strides"):
        conv_transpose1d(ones(1, 1, 4), ones(1, 1, 2), strides=2)
    with pytest.raises(TypeError, match="positional"):
        conv_transpose3d(ones(1, 1, 4, 4, 4), ones(1, 1, 2, 2, 2), None, 1, 0, 0, 1, 1, None)
