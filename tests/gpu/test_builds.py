"""The builds of one CUDA text agree: generic and specialised, 32-bit and 64-bit, in any order, under any sanitizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cupy_kst.geometry import Geometry
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.testing import Arrays, Case
from tests.support.engines import METHODS, emulate, every_dtype, every_method, expected, geometry


def _case(
    op: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    bias: bool,
    stride: tuple[int, ...],
    padding: Any,
    output_padding: tuple[int, ...],
    groups: int,
    dilation: tuple[int, ...],
) -> Case:
    rank = len(weight_shape) - 2
    if op == "conv_transpose":
        made = Geometry.conv_transpose(input_shape, weight_shape, stride, padding, output_padding, groups, dilation)
    else:
        # The map that the transposed one makes, so that both are of one geometry.
        large = Geometry.conv_transpose(input_shape, weight_shape, stride, padding, output_padding, groups, dilation)
        input_shape, output_padding, bias = large.output_shape, (0,) * rank, bias and op == "conv"
        made = Geometry.conv(input_shape, weight_shape, stride, padding, dilation, groups)
    sizes = made.output_shape[-rank:]
    return Case(
        op, input_shape, weight_shape, bias, "float32", stride, padding, output_padding, groups, dilation, sizes
    )


SHAPES: dict[str, tuple[Any, ...]] = {
    "even sizes, a GAN's layer": ((2, 4, 4, 4), (4, 3, 4, 4), True, (2, 2), (1, 1), (0, 0), 1, (1, 1)),
    "odd sizes, groups, dilation": ((6, 5, 4), (6, 1, 3, 3), False, (4, 5), ((0, 3), (3, 2)), (1, 2), 3, (2, 3)),
    "odd sizes, groups": ((6, 5, 4), (6, 1, 3, 5), True, (4, 2), ((0, 3), (3, 2)), (1, 1), 3, (1, 1)),
    "stride above the kernel, 3-D": (
        (1, 2, 3, 2, 3),
        (2, 2, 2, 1, 3),
        True,
        (3, 2, 4),
        (0, 0, 1),
        (2, 1, 0),
        1,
        (1,) * 3,
    ),
    "long rows, more than one block": ((1, 1, 301), (1, 1, 5), True, (3,), ((7, 0),), (0,), 1, (1,)),
}


# What is run where all shapes and methods take too long.
ODD = "odd sizes, groups"
FEW = ("unified", "split", "zero_dilation")


def case_of(method: str, name: str) -> Case:
    return _case(TABLE[method].operation, *SHAPES[name])


every_method_and_case = pytest.mark.parametrize(
    ("method", "case"),
    [
        pytest.param(method, case_of(method, name), id=f"{method}, {name}")
        for method in METHODS
        for name in SHAPES
        if TABLE[method].supports(geometry(case_of(method, name)))[0]
    ],
)


def _real(case: Case, rounded: Callable[[np.ndarray], np.ndarray] = lambda array: array) -> Arrays:
    generator = np.random.default_rng(5)

    def array(shape: tuple[int, ...]) -> np.ndarray:
        real = rounded(generator.standard_normal(shape))
        complex_ = "complex" in case.dtype
        return (real + 1j * rounded(generator.standard_normal(shape)) if complex_ else real).astype(case.dtype)

    input, weight, grad = map(array, (case.input_shape, case.weight_shape, case.output_shape))
    if case.op == "conv_weight":
        return Arrays(input, grad_output=grad)
    return Arrays(input, weight, array(case.bias_shape) if case.bias else None)


def _whole(case: Case) -> Arrays:
    return _real(case, np.round)


@pytest.mark.long(but=lambda method, case: METHODS.index(method) % 3 == 0 and case == case_of(method, ODD))
@every_method_and_case
def test_specialised_build(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, build="specialised"), expected(case, arrays))


@pytest.mark.long(but=lambda method, case: method in FEW and case == case_of(method, ODD))
@every_method_and_case
def test_builds_are_bitwise_alike(method: str, case: Case) -> None:
    arrays = _real(case)
    generic = emulate(method, case, arrays)
    for other in ({"wide": True}, {"build": "specialised"}, {"sanitize": "plain"}):
        assert generic.tobytes() == emulate(method, case, arrays, **other).tobytes(), other


@pytest.mark.long(but=lambda method, dtype: method == "ks_deconv" and dtype == "complex64")
@every_method
@every_dtype
def test_builds_of_every_dtype(method: str, dtype: str) -> None:
    case = replace(case_of(method, ODD), dtype=dtype)
    whole, real = _whole(case), _real(case)
    generic = emulate(method, case, real)
    np.testing.assert_array_equal(emulate(method, case, whole), expected(case, whole))
    # What indices and literals are is written where no element is: one type has both at once.
    both: list[dict[str, Any]] = [{"build": "specialised", "wide": True}] if dtype == "float32" else []
    for how in ({"build": "specialised"}, {"wide": True}, *both):
        np.testing.assert_array_equal(emulate(method, case, whole, **how), expected(case, whole))
        assert emulate(method, case, real, **how).tobytes() == generic.tobytes(), how


@pytest.mark.long(but=lambda method, case, order: order == "shuffled" and case == case_of(method, ODD))
@every_method_and_case
@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_order_of_threads_is_of_no_account(method: str, case: Case, order: str) -> None:
    arrays = _real(case)
    forward = emulate(method, case, arrays, sanitize="plain")
    assert forward.tobytes() == emulate(method, case, arrays, sanitize="plain", order=order).tobytes()


@pytest.mark.long(but=lambda method, case: method == "unified" and case == case_of(method, ODD))
@every_method_and_case
def test_no_data_race(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, sanitize="tsan"), expected(case, arrays))
