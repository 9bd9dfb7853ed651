"""The builds of one CUDA text agree: generic and specialised, 32-bit and 64-bit, in any order, under any sanitizer."""

from __future__ import annotations

import numpy as np
import pytest

from cupy_kst.geometry import Geometry
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.testing import Arrays, Case
from tests.engines import METHODS, emulate, expected

CASES = {
    "even sizes, a GAN's layer": Case(
        "conv_transpose", (2, 4, 4, 4), (4, 3, 4, 4), True, "float32", (2, 2), (1, 1), (0, 0), 1, (1, 1)
    ),
    "odd sizes, groups, dilation": Case(
        "conv_transpose", (6, 5, 4), (6, 1, 3, 3), False, "float32", (4, 5), ((0, 3), (3, 2)), (1, 2), 3, (2, 3)
    ),
    "odd sizes, groups": Case(
        "conv_transpose", (6, 5, 4), (6, 1, 3, 5), True, "float32", (4, 2), ((0, 3), (3, 2)), (1, 1), 3, (1, 1)
    ),
    "stride above the kernel, 3-D": Case(
        "conv_transpose",
        (1, 2, 3, 2, 3),
        (2, 2, 2, 1, 3),
        True,
        "float32",
        (3, 2, 4),
        (0, 0, 1),
        (2, 1, 0),
        1,
        (1,) * 3,
    ),
    "long rows, more than one block": Case(
        "conv_transpose", (1, 1, 301), (1, 1, 5), True, "float32", (3,), ((7, 0),), (0,), 1, (1,)
    ),
}
every_method_and_case = pytest.mark.parametrize(
    ("method", "case"),
    [
        pytest.param(method, case, id=f"{method}, {name}")
        for method in METHODS
        for name, case in CASES.items()
        if TABLE[method].supports(Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options))[0]
    ],
)


def _real(case: Case) -> Arrays:
    generator = np.random.default_rng(5)
    shapes = (case.input_shape, case.weight_shape, case.bias_shape)
    input, weight, bias = (generator.standard_normal(shape).astype(case.dtype) for shape in shapes)
    return Arrays(input, weight, bias if case.bias else None)


def _whole(case: Case) -> Arrays:
    return Arrays(*(None if array is None else np.round(array) for array in _real(case)))


@every_method_and_case
def test_specialised_build(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, build="specialised"), expected(case, arrays))


@every_method_and_case
def test_builds_are_bitwise_alike(method: str, case: Case) -> None:
    arrays = _real(case)
    generic = emulate(method, case, arrays)
    for other in ({"wide": True}, {"build": "specialised"}, {"sanitize": "plain"}):
        assert generic.tobytes() == emulate(method, case, arrays, **other).tobytes(), other


@every_method_and_case
@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_order_of_threads_is_of_no_account(method: str, case: Case, order: str) -> None:
    arrays = _real(case)
    forward = emulate(method, case, arrays, sanitize="plain")
    assert forward.tobytes() == emulate(method, case, arrays, sanitize="plain", order=order).tobytes()


@every_method_and_case
def test_no_data_race(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, sanitize="tsan"), expected(case, arrays))
