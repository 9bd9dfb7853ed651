"""Independent oracles: torch for numbers and for what is refused, SciPy's polyphase filter for one axis."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import upfirdn

from cupy_kst.testing import Arrays, Case, examples, real_arrays
from tests.support.bounds import assert_within
from tests.support.engines import PUBLIC, every_dtype, expected, sizes


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def _by_torch(torch: Any, *arguments: Any, **options: Any) -> np.ndarray:
    tensors = [None if array is None else _tensor(torch, array) for array in arguments]
    functions = torch.nn.functional
    by_rank = {1: functions.conv_transpose1d, 2: functions.conv_transpose2d, 3: functions.conv_transpose3d}
    result = by_rank[arguments[1].ndim - 2](*tensors, **options)
    return result.view(torch.int16).numpy().view("bfloat16") if result.dtype == torch.bfloat16 else result.numpy()


def _tensor(torch: Any, array: np.ndarray) -> Any:
    """Return a tensor; NumPy's bfloat16 is one that torch does not know."""
    if array.dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


# On whole numbers, where sums are exact in every element type, and so is torch.
@every_dtype
def test_torch_gives_the_same_numbers(torch: Any, dtype: str) -> None:
    @settings(max_examples=200)
    @given(examples(dtypes=(dtype,), padding="symmetric"))
    def same(example):
        case, arrays = example
        by_torch = _by_torch(torch, *arrays[:3], **case.options)
        ours = PUBLIC[case.rank](*arrays[:3], **case.options)
        assert (ours.shape, ours.dtype) == (by_torch.shape, by_torch.dtype)
        np.testing.assert_array_equal(ours, by_torch)
        np.testing.assert_array_equal(expected(case, arrays), by_torch)

    same()


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64", "complex128"])
def test_torch_gives_nearly_the_same_real_numbers(torch: Any, dtype: str) -> None:
    roundoff = float(ml_dtypes.finfo(dtype).eps) / 2
    is_complex = "complex" in dtype

    @settings(max_examples=100)
    @given(examples(real_arrays, dtypes=(dtype,), padding="symmetric"))
    def near(example):
        case, arrays = example
        ours = PUBLIC[case.rank](*arrays[:3], **case.options)
        by_torch = _by_torch(torch, *arrays[:3], **case.options).astype(complex)
        # Torch may round in bfloat16 at every step: product, sums, bias; we round in it once. It makes a complex
        # convolution of three real ones, two of parts and one of sums of parts, the terms of which come to at most
        # three times the absolute values; ours come to one, with two products for each of the complex ones.
        roundings, size = (2 * case.terms + 6, 4) if is_complex else (case.terms + 4, 1)
        bound = size * np.expm1(roundings * np.log1p(roundoff)) * expected(case, sizes(arrays))
        assert_within(ours, by_torch, bound)

    near()


@given(examples(ranks=(1,), dtypes=("float64",), batches=(1, 2)))
def test_polyphase_filter_gives_the_same_numbers(example: tuple[Case, Arrays]) -> None:
    case, (input, weight, bias, _) = example
    (stride,), (dilation,), (pad,) = case.stride, case.dilation, case.padding
    lo, hi = pad if isinstance(pad, tuple) else (pad, pad)
    taps = np.zeros((*weight.shape[:2], dilation * (weight.shape[2] - 1) + 1))
    taps[..., ::dilation] = weight
    channels, outputs = weight.shape[0] // case.groups, weight.shape[1]
    length = (input.shape[2] - 1) * stride + taps.shape[2]
    full = np.zeros((input.shape[0], outputs * case.groups, length + case.output_padding[0]))
    for sample, channel, output in np.ndindex(input.shape[0], weight.shape[0], outputs):
        filtered = upfirdn(taps[channel, output], input[sample, channel], up=stride)
        full[sample, channel // channels * outputs + output, :length] += filtered[:length]
    cropped = full[..., lo : full.shape[2] - hi] + (0 if bias is None else bias[:, None])
    np.testing.assert_array_equal(expected(case, Arrays(input, weight, bias)), cropped)
    np.testing.assert_array_equal(PUBLIC[1](input, weight, bias, **case.options), cropped)


@st.composite
def calls(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw shapes and options of which one may break a rule. PyTorch checks none of them for an empty batch."""
    rank = draw(st.integers(1, 3))
    wrong = draw(st.sampled_from(["", "", "", "", *RULES]))
    groups = 0 if wrong == "groups" else draw(st.integers(1, 3))
    channels = max(1, groups) * draw(st.integers(1, 2)) + (wrong == "divisor")
    outputs = draw(st.integers(1, 2))

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    shapes = {
        "input": (*draw(st.sampled_from([(), (2,)])), channels + (wrong == "input channels"), *per_axis(1, 4)),
        "weight": (channels, outputs, *per_axis(1, 3)),
        "bias": (outputs * max(1, groups) + (wrong == "bias"),),
    }
    if wrong == "input rank":
        shapes["input"] = (2, 2, *shapes["input"])
    options = {
        "stride": per_axis(0 if wrong == "stride" else 1, 3),
        "padding": per_axis(-1 if wrong == "padding" else 0, 4 if wrong == "empty" else 1),
        "output_padding": per_axis(0, 3) if wrong == "output padding" else (0,) * rank,
        "groups": groups,
        "dilation": per_axis(1, 3),
    }
    if wrong == "length":
        options["stride"] += (1,) * rank
    return shapes, options


RULES = ("groups", "divisor", "input channels", "bias", "input rank", "stride", "padding", "output padding")
RULES += ("empty", "length")


def test_torch_refuses_the_same_calls(torch: Any) -> None:
    counts = {True: 0, False: 0}

    @settings(max_examples=600)
    @given(calls())
    def same(call):
        shapes, options = call
        arrays = [np.ones(shape, "f4") for shape in shapes.values()]
        rank = len(shapes["weight"]) - 2
        try:
            by_torch = _by_torch(torch, *arrays, **options)
        except (RuntimeError, ValueError):
            by_torch = None
        counts[by_torch is None] += 1
        # Torch lets an output of size zero pass.
        if by_torch is None or by_torch.size == 0:
            with pytest.raises(ValueError, match=r"input|weight|groups=|bias|stride=|dilation=|padding=|output"):
                PUBLIC[rank](*arrays, **options)
        else:
            np.testing.assert_array_equal(PUBLIC[rank](*arrays, **options), by_torch)

    same()
    assert min(counts.values()) > 60
