"""Every method on every engine gives what the definition gives, and keeps the promises about numbers and memory."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupy_kst.cpu import im2col
from cupy_kst.cpu.methods import unified
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.testing import Arrays, real_arrays
from tests.support.bounds import assert_within
from tests.support.engines import (
    EXAMPLES,
    METHODS,
    call,
    every_dtype,
    every_engine,
    every_method,
    examples_of,
    expected,
    public_engines,
    run,
    sizes,
)
from tests.support.turns import has_turn

# For tests that draw the element type with the case: failures shrink to the first.
DRAWN = ("float32", *(dtype for dtype in DTYPES if dtype != "float32"))


def test_the_table_is_what_is_tested() -> None:
    assert sorted(TABLE) == sorted(METHODS)


@pytest.mark.long(but=lambda method, dtype: has_turn((method, METHODS), (dtype, DTYPES)))
@every_engine
@every_method
@every_dtype
def test_equals_the_definition_exactly(engine: str, method: str, dtype: str) -> None:
    @settings(max_examples=EXAMPLES[engine])
    @given(examples_of(method, dtypes=(dtype,)), st.booleans())
    def equal(example, channels_last):
        case, arrays = example
        result, right = run(engine, method, case, arrays, channels_last), expected(case, arrays)
        assert (result.shape, result.dtype) == (right.shape, dtype)
        np.testing.assert_array_equal(result, right)

    equal()


@pytest.mark.long(but=lambda method, dtype: has_turn((method, METHODS), (dtype, DTYPES)))
@every_engine
@every_method
@every_dtype
def test_rounding_is_bounded_by_the_number_of_terms(engine: str, method: str, dtype: str) -> None:
    element = DTYPES[dtype]
    # The parts of a complex sum have two products for each of its own, each at most as large as the absolute value's.
    products = 2 if element.compute.kind == "c" else 1

    @settings(max_examples=EXAMPLES[engine] // 3)
    @given(examples_of(method, real_arrays, dtypes=(dtype,)))
    def bounded(example):
        case, arrays = example
        exact = expected(case, arrays)
        # Products and sums round by eps/2 each, in the compute type here and in float64 in the definition.
        roundoff = (np.finfo(element.compute).eps + np.finfo(np.float64).eps) / 2
        bound = (products * case.terms + 2) * roundoff * expected(case, sizes(arrays))
        if element.compute != element.storage:
            storage = ml_dtypes.finfo(dtype)
            bound = bound + storage.eps / 2 * (np.abs(exact) + bound) + storage.smallest_subnormal
        assert_within(run(engine, method, case, arrays), exact, bound)

    bounded()


@pytest.mark.long(but=lambda engine: engine == "cpu")
@every_engine
@every_method
def test_bitwise_the_same_twice(engine: str, method: str) -> None:
    @settings(max_examples=EXAMPLES[engine] // 5)
    @given(examples_of(method, real_arrays, dtypes=DRAWN))
    def same(example):
        case, arrays = example
        assert run(engine, method, case, arrays).tobytes() == run(engine, method, case, arrays).tobytes()

    same()


@pytest.mark.long(but=lambda engine, operand: engine == "cpu" and operand == 1)
@every_engine
@every_method
@pytest.mark.parametrize("operand", [0, 1], ids=["first operand", "second operand"])
def test_non_finite_values_reach_what_they_touch(engine: str, method: str, operand: int) -> None:
    @settings(max_examples=EXAMPLES[engine])
    @given(
        examples_of(method, batches=(1, None, 2), dtypes=DRAWN),
        st.integers(0, 10**6),
        st.sampled_from((np.inf, -np.inf, np.nan)),
        st.booleans(),
    )
    def reach(example, place, value, imaginary):
        case, arrays = example
        finite = expected(case, arrays)
        where = _operands(arrays)[operand]
        ones = {name: np.ones_like(getattr(arrays, name), np.float64) for name in _operands(arrays)}
        ones[where] = np.zeros_like(ones[where])
        changed = getattr(arrays, where)
        ones[where].flat[place % changed.size] = 1
        in_parts = complex(0, value) if imaginary else complex(value, 0)
        changed.flat[place % changed.size] = in_parts if np.iscomplexobj(changed) else value
        touched = expected(case, Arrays(**ones)) > 0
        result = run(engine, method, case, arrays)
        assert not np.isfinite(result[touched]).any()
        right = ~touched if TABLE[method].non_finite == "exact" else ~touched & np.isfinite(result)
        np.testing.assert_array_equal(result[right], finite[right])

    reach()


@pytest.mark.long(but=lambda engine: engine == "cpu")
@every_engine
@every_method
def test_subnormal_floats_survive(engine: str, method: str) -> None:
    @settings(max_examples=EXAMPLES[engine] // 3)
    @given(examples_of(method, bias=False, dtypes=DRAWN), st.integers(0, 1074))
    def survive(example, exponent):
        case, arrays = example
        lowest = int(np.log2(float(ml_dtypes.finfo(case.dtype).smallest_subnormal)))
        exponent %= 1 - lowest
        first, second = _operands(arrays)
        smaller = arrays._replace(
            **{
                first: _scaled(getattr(arrays, first), -exponent),
                second: _scaled(getattr(arrays, second), exponent + lowest),
            }
        )
        result = run(engine, method, case, smaller).astype(expected(case, arrays).dtype)
        np.testing.assert_array_equal(_scaled(result, -lowest), expected(case, arrays))

    survive()


def _operands(arrays: Arrays) -> list[str]:
    """Return the names of the two arrays whose products are summed."""
    return [name for name in ("input", "weight", "grad_output") if getattr(arrays, name) is not None]


def _scaled(array: Any, exponent: int) -> Any:
    """Return the array times a power of two."""
    wide = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
    return np.ldexp(wide.view(np.float64), exponent).view(wide.dtype).astype(array.dtype)


def _transposed(array):
    return array.T.copy().T


def _reversed(array):
    backwards = (slice(None, None, -1),) * array.ndim
    return array[backwards].copy()[backwards]


def _spaced(array):
    wide = array
    for axis in range(array.ndim):
        wide = wide.repeat(2, axis)
    view = wide[(slice(1, None, 2),) * array.ndim]
    wide[...] = np.nan
    view[...] = array
    return view


def _swapped(array):
    return array.astype(array.dtype.newbyteorder())


LAYOUTS = {"Fortran order": _transposed, "negative strides": _reversed, "a view with gaps": _spaced}


@public_engines
@every_method
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_is_of_no_account(engine: str, method: str, layout: str) -> None:
    @settings(max_examples=30)
    @given(examples_of(method))
    def same(example):
        result = call(engine, method, *example, lay_out=LAYOUTS[layout])
        np.testing.assert_array_equal(result, expected(*example))

    same()


@pytest.mark.long(but=lambda method, dtype: has_turn((method, METHODS), (dtype, DTYPES)))
@every_method
@every_dtype
def test_byte_order_is_of_no_account(method: str, dtype: str) -> None:
    @settings(max_examples=20)
    @given(examples_of(method, dtypes=(dtype,)))
    def same(example):
        result = call("cpu", method, *example, lay_out=_swapped)
        np.testing.assert_array_equal(result, expected(*example))
        assert result.dtype == dtype and result.dtype.isnative

    same()


@every_method
def test_zero_strides_are_read_right(method: str) -> None:
    @settings(max_examples=20)
    @given(examples_of(method))
    def same(example):
        case, arrays = example
        repeated = Arrays(
            *(None if each is None else np.broadcast_to(each.dtype.type(2), each.shape) for each in arrays)
        )
        np.testing.assert_array_equal(call("cpu", method, case, repeated), expected(case, repeated))

    same()


@pytest.mark.long(but=lambda method, dtype: has_turn((method, METHODS), (dtype, DTYPES)))
@public_engines
@every_method
@every_dtype
def test_every_element_of_out_is_written(engine: str, method: str, dtype: str) -> None:
    @settings(max_examples=50)
    @given(examples_of(method, dtypes=(dtype,)))
    def written(example):
        np.testing.assert_array_equal(call(engine, method, *example, with_out=True), expected(*example))

    written()


@pytest.mark.long(but=lambda block_bytes: block_bytes == 100)
@every_method
@pytest.mark.parametrize("block_bytes", [1, 100, 1000])
def test_memory_divided_into_blocks_is_of_no_account(
    method: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(im2col, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(unified, "BLOCK_BYTES", block_bytes)

    @settings(max_examples=60)
    @given(examples_of(method))
    def same(example):
        np.testing.assert_array_equal(call("cpu", method, *example, with_out=True), expected(*example))

    same()
