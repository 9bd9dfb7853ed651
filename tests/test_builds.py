"""The builds of one CUDA text agree: generic and specialised, 32-bit and 64-bit, in any order, under any sanitizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cupy_kst.dtypes import DTYPES
from cupy_kst.geometry import Geometry
from cupy_kst.gpu.choice import needs_wide
from cupy_kst.gpu.engine import Engine
from cupy_kst.testing import Arrays, Case
from tests.emulator import DEVICE
from tests.engines import emulate, every_method, expected

CASES = {
    "even sizes, a GAN's layer": Case(
        "conv_transpose", (2, 4, 4, 4), (4, 3, 4, 4), True, "float32", (2, 2), (1, 1), (0, 0), 1, (1, 1)
    ),
    "odd sizes, groups, dilation": Case(
        "conv_transpose", (6, 5, 4), (6, 1, 3, 3), False, "float32", (2, 3), ((0, 2), (3, 1)), (1, 2), 3, (2, 3)
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
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _real(case: Case) -> Arrays:
    generator = np.random.default_rng(5)
    shapes = (case.input_shape, case.weight_shape, case.bias_shape)
    input, weight, bias = (generator.standard_normal(shape).astype(case.dtype) for shape in shapes)
    return Arrays(input, weight, bias if case.bias else None)


def _whole(case: Case) -> Arrays:
    return Arrays(*(None if array is None else np.round(array) for array in _real(case)))


@every_method
@every_case
def test_specialised_build(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, build="specialised"), expected(case, arrays))


@every_method
@every_case
def test_builds_are_bitwise_alike(method: str, case: Case) -> None:
    arrays = _real(case)
    generic = emulate(method, case, arrays)
    for other in ({"wide": True}, {"build": "specialised"}, {"sanitize": "plain"}):
        assert generic.tobytes() == emulate(method, case, arrays, **other).tobytes(), other


@every_method
@every_case
@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_order_of_threads_is_of_no_account(method: str, case: Case, order: str) -> None:
    arrays = _real(case)
    forward = emulate(method, case, arrays, sanitize="plain")
    assert forward.tobytes() == emulate(method, case, arrays, sanitize="plain", order=order).tobytes()


@every_method
@every_case
def test_no_data_race(method: str, case: Case) -> None:
    arrays = _whole(case)
    np.testing.assert_array_equal(emulate(method, case, arrays, sanitize="tsan"), expected(case, arrays))


class _Recorder:
    """A runtime that notes what it is asked to compile."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def limits(self) -> Any:
        return DEVICE

    def empty(self, shape: Any, dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Any:
        self.texts.append(text)

    def launch(self, kernel: Any, grid: Any, block: Any, args: Any) -> None:
        pass


def _texts(engine: Engine, recorder: _Recorder, geometry: Geometry, dtype: str = "float32") -> set[str]:
    recorder.texts.clear()
    x, w, y = (np.empty(shape, dtype) for shape in (geometry.full_input_shape, geometry.full_weight_shape, (0,)))
    engine.conv_transpose("unified", geometry, DTYPES[dtype], x, w, None, y)
    return set(recorder.texts)


def test_a_filter_seen_twice_gets_a_build_of_its_own() -> None:
    recorder = _Recorder()
    engine = Engine(recorder)
    small, large = (Geometry.conv_transpose((1, 1, n, n), (1, 1, 4, 4), 2, 1) for n in (4, 9))
    (generic,), (special,) = _texts(engine, recorder, small), _texts(engine, recorder, large)
    assert "#define KH (p.kernel_h)" in generic
    assert "#define KH 4" in special and "#define SW 2" in special
    assert _texts(engine, recorder, small) == {special}
    other = Geometry.conv_transpose((1, 1, 4, 4), (1, 1, 3, 3), 2, 1)
    assert _texts(engine, recorder, other) == {generic}
    assert "#define STORAGE double" in _texts(engine, recorder, small, "float64").pop()


def test_an_empty_batch_launches_nothing() -> None:
    recorder = _Recorder()
    assert _texts(Engine(recorder), recorder, Geometry.conv_transpose((0, 1, 4), (1, 1, 4))) == set()


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "wide"),
    [
        ((1, 1, 40_000, 40_000), (1, 1, 1, 1), False),
        ((1, 1, 50_000, 50_000), (1, 1, 1, 1), True),
        ((1000, 1, 40_000, 40_000), (1, 1, 1, 1), False),
        ((1, 2, 40_000, 40_000), (2, 1, 1, 1), True),
        ((1, 1, 40_000, 40_000), (1, 2, 1, 1), True),
        ((1, 70_000, 1), (70_000, 70_000, 1), True),
    ],
)
def test_wide_indices_where_one_sample_needs_them(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], wide: bool
) -> None:
    assert needs_wide(Geometry.conv_transpose(input_shape, weight_shape)) is wide
