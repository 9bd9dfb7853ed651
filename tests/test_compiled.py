"""The compiled products against the definition, in every form, by one thread and by several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.testing import check

pytest.importorskip("numba")

from cupy_kst.cpu import compiled


def _run(geometry: Geometry, input: Any, weight: Any, bias: Any) -> Any:
    shape = geometry.full_small_shape if geometry.transposed else geometry.full_large_shape
    out = np.full(geometry.output_shape, np.nan, input.dtype)
    packed = compiled.pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:]))
    compiled.convolve(geometry, input.reshape(shape), packed, bias, out)
    return out


def _conv_transpose(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Any:
    options = (stride, padding, output_padding, groups, dilation)
    return _run(Geometry.conv_transpose(input.shape, weight.shape, *options), input, weight, bias)


def _conv(input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return _run(Geometry.conv(input.shape, weight.shape, stride, padding, dilation, groups), input, weight, bias)


_DTYPES = ("float32", "float64")


@pytest.mark.parametrize("op", ["conv_transpose", "conv"])
def test_equals_the_definition(op: Any) -> None:
    check(_conv_transpose if op == "conv_transpose" else _conv, op=op, dtypes=_DTYPES)


@pytest.mark.parametrize("op", ["conv_transpose", "conv"])
def test_equals_the_definition_with_many_channels(op: Any) -> None:
    fn = _conv_transpose if op == "conv_transpose" else _conv
    check(fn, op=op, dtypes=_DTYPES, ranks=(1, 2), max_channels=150, max_kernel=3, max_elements=3000)
