"""Sums on the CPU keep to the bound that docs/how_it_works.md states, also on numbers that are made to break it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import log2
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst import conv1d, conv_transpose1d, cpu, grad, methods, prepare
from cupy_kst.cpu import jit
from cupy_kst.cpu.sums import CHAIN, add_up, matrix_product
from cupy_kst.dtypes import DTYPES

Array = NDArray[Any]

# The largest relative error of a sum of n numbers of one sign, in sqrt(n) units in the last place.
FACTOR = 9
# Terms of a sum, of as many as may be, and of sums that are taken in several ways.
MANY, SEVERAL = 10_000_000, (320, 1025, 1 << 17)
# What minimal filtering combines along one axis is up to so many times the terms.
MULTIPLES = {"jit_winograd": 3}

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_count = pytest.mark.parametrize("count", SEVERAL)
every_format = pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])


def parts(numbers: Any) -> list[Array]:
    """Return the real and imaginary part of complex numbers, and real ones, in float64."""
    array = np.asarray(numbers)
    if array.dtype.kind == "c":
        return [array.real.astype(np.float64), array.imag.astype(np.float64)]
    return [array.astype(np.float64)]


def check(found: Any, expected: complex, count: int, dtype: str, multiple: float = 1) -> None:
    """Compare sums of `count` numbers, all of which are `expected`, in each part whose terms are of one sign."""
    of = DTYPES[dtype]
    # float16 and bfloat16 are rounded once when they are stored.
    stored = 0.0 if of.storage == of.compute else {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    bound = multiple * FACTOR * count**0.5 * float(np.finfo(of.compute).eps) + stored
    for part, right in zip(parts(found), parts(expected), strict=False):
        error = np.abs(part / right - 1).max()
        assert error <= bound, f"{error} is {error / bound:.2f} times the bound for {count} terms"


@cache
def hostile(count: int, dtype: str) -> complex:
    """Return a number of which a running sum of so many loses half a unit in the last place each time at its end."""
    of = DTYPES[dtype]
    wide = np.finfo(of.compute)
    lost = 2.0 ** (int(log2(count)) - wide.nmant - 1)
    step = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(dtype, float(wide.eps))
    number = 1 + lost - step if lost > step else 1 + step
    if dtype == "float16":  # a sum of millions has to stay below 65504
        number *= 2.0**-10
    return number * (1 + 1j) if of.storage.kind == "c" else number


def test_running_sums_of_hostile_numbers_break_the_bound() -> None:
    for dtype, count in (("float32", 100_000), ("float32", MANY), ("float64", MANY)):
        number = hostile(count, dtype)
        running = np.add.accumulate(np.full(count, number, dtype))[-1]
        assert abs(running / (count * number) - 1) > FACTOR * count**0.5 * np.finfo(dtype).eps


@pytest.mark.parametrize(
    ("shape", "number", "dtype", "data_format", "right"),
    [
        ((1, 5000, 5000, 2), 1, "float32", "channels_last", 25_000_000),
        ((25_000_000, 2, 1, 1), 1, "float32", "channels_first", 25_000_000),
        ((25_000_000, 2, 1, 1), 2**-10, "float16", "channels_first", 24416),
    ],
)
def test_gradients_of_biases_count_to_millions(
    shape: tuple[int, ...], number: float, dtype: str, data_format: Any, right: float
) -> None:
    ones = np.full(shape, number, dtype)
    np.testing.assert_array_equal(grad.conv2d_bias(ones, data_format=data_format), [right, right])
    if data_format == "channels_last":
        np.testing.assert_array_equal(grad.conv2d_bias(ones.transpose(0, 3, 1, 2)), [right, right])


def maps_of(numbers: Array) -> list[tuple[Array, Any]]:
    """Return views of 2e7 numbers as maps of two channels, in as many orders of strides, with their data format."""
    last = numbers.reshape(1, 2500, 4000, 2)
    first = numbers.reshape(1, 2, 2500, 4000)
    return [
        (first, "channels_first"),
        (last, "channels_last"),
        (last.transpose(0, 3, 1, 2), "channels_first"),
        (first.transpose(0, 2, 3, 1), "channels_last"),
        (numbers.reshape(-1, 2, 1, 1), "channels_first"),
        (first[..., ::-1, 1:-1], "channels_first"),
        (last[0, 1:, 7:], "channels_last"),
    ]


@every_dtype
def test_gradients_of_biases(dtype: str) -> None:
    number = np.dtype(dtype).type(hostile(MANY, dtype))
    for each, data_format in maps_of(np.full(2 * MANY, number)):
        count = each.size // 2
        check(grad.conv2d_bias(each, data_format=data_format), count * complex(number), count, dtype)


@every_dtype
def test_gradients_of_biases_of_uniform_numbers(dtype: str) -> None:
    draw, of = np.random.default_rng(0).random, DTYPES[dtype]
    numbers = draw((1, 1000, 2000, 2)) + (1j * draw((1, 1000, 2000, 2)) if of.storage.kind == "c" else 0)
    numbers = (numbers / 64).astype(of.storage)
    right = numbers.astype(np.complex128 if of.storage.kind == "c" else np.float64).sum(axis=(0, 1, 2))
    found = grad.conv2d_bias(numbers, data_format="channels_last")
    for channel in range(2):
        check(found[channel], right[channel], 2_000_000, dtype)
    swapped = numbers.astype(of.storage.newbyteorder()) if dtype != "bfloat16" else numbers
    np.testing.assert_array_equal(grad.conv2d_bias(swapped, data_format="channels_last"), found)


def ones(shape: tuple[int, ...], dtype: str) -> Array:
    return np.ones(shape, dtype)


# A call of each operation on `count` numbers, whose sum it returns.
OPERATIONS: dict[str, Callable[[Array, Array, Any], Any]] = {
    "conv": lambda numbers, one, of: conv1d(map_of(numbers, of), one.reshape(1, -1, 1), data_format=of),
    "conv_transpose": lambda numbers, one, of: conv_transpose1d(
        map_of(numbers, of), one.reshape(-1, 1, 1), data_format=of
    ),
    "conv_input": lambda numbers, one, of: grad.conv1d_input(
        (1, 1, 1), one.reshape(-1, 1, 1), map_of(numbers, of), data_format=of
    ),
    "conv_transpose_input": lambda numbers, one, of: grad.conv_transpose1d_input(
        (1, 1, 1), one.reshape(1, -1, 1), map_of(numbers, of), data_format=of
    ),
    "conv_weight": lambda numbers, one, of: grad.conv1d_weight(
        line_of(one, of), (1, 1, 1), line_of(numbers, of), data_format=of
    ),
    "conv_transpose_weight": lambda numbers, one, of: grad.conv_transpose1d_weight(
        line_of(one, of), (1, 1, 1), line_of(numbers, of), data_format=of
    ),
}


def map_of(numbers: Array, data_format: str) -> Array:
    """Return a map of one position with a number in each channel."""
    return numbers.reshape((1, -1, 1) if data_format == "channels_first" else (1, 1, -1))


def line_of(numbers: Array, data_format: str) -> Array:
    """Return a map of one channel with a number at each position."""
    return numbers.reshape((1, 1, -1) if data_format == "channels_first" else (1, -1, 1))


@pytest.mark.long(but=lambda dtype: dtype in ("float32", "bfloat16", "complex128"))
@every_dtype
def test_every_operation_on_many_terms(dtype: str) -> None:
    one = ones((MANY,), dtype)
    # A product of vectors is the sum of as many running sums as registers have numbers.
    for data_format, count in (("channels_first", MANY), ("channels_last", MANY // 32)):
        number = np.dtype(dtype).type(hostile(count, dtype))
        numbers = np.full(MANY, number)
        for compute in OPERATIONS.values():
            check(compute(numbers, one, data_format), complex(number) * MANY, MANY, dtype)


def many_kinds(count: int, dtype: str) -> list[tuple[Array, complex]]:
    """Return hostile and uniform numbers, and one beside those that it loses, in either order, with their sums."""
    is_complex = np.dtype(dtype).kind == "c"
    uniform, lost = np.random.default_rng(count).random(count), np.full(count, np.finfo(dtype).eps * (0.5 - 2**-11))
    lost[0] = 1
    kinds = (np.full(count, hostile(count, dtype)), *(each * (1 + 1j if is_complex else 1) for each in (uniform, lost)))
    found = [each.astype(dtype) for each in kinds]
    found.append(found[-1][::-1].copy())
    return [(each, complex(each.astype(np.complex128 if is_complex else np.float64).sum())) for each in found]


def forms_of(op: str, dtype: str) -> list[tuple[str, str]]:
    found = []
    for method in methods(op):
        for form in cpu.FORMS[method].values():
            if not form.compiled or jit.available(dtype):
                found.append((method, form.name))
    return found


FORMS = [
    (op, method, form, dtype)
    for op in ("conv", "conv_transpose")
    for dtype in ("float32", "float64", "complex64")
    for method, form in forms_of(op, dtype)
]


@pytest.mark.long(but=lambda count: count == SEVERAL[0])
@pytest.mark.parametrize(("op", "method", "form", "dtype"), FORMS)
@every_count
def test_depths_of_products(op: Any, method: str, form: str, dtype: str, count: int) -> None:
    """Sums over channels, and over taps, for one output channel and for more than fill a block of any form."""
    for numbers, right in many_kinds(count, dtype):
        for out_channels in (1, 5, 70) if count < SEVERAL[-1] else (1, 3):
            weight = ones((out_channels, count, 1) if op == "conv" else (count, out_channels, 1), dtype)
            call = prepare(weight, op=op, method=method, form=form)
            for width in (1, 40) if count < SEVERAL[-1] else (1,):
                x = np.repeat(numbers.reshape(1, -1, 1), width, axis=2)
                if can(method, form, call, x):
                    check(call(x), right, count, dtype)
        if count < SEVERAL[-1]:
            check_taps(op, method, form, numbers, right, 1)
            check_taps(op, method, form, numbers, right, count // 2)
        else:
            check_pairs(op, method, form, numbers, right)


def check_taps(op: Any, method: str, form: str, numbers: Array, right: complex, padding: int) -> bool:
    """Compare the one output that takes all taps, and return whether the form can compute it."""
    count, dtype = numbers.size, numbers.dtype.name
    call = prepare(ones((1, 1, count), dtype), op=op, method=method, form=form, padding=padding)
    x = numbers.reshape(1, 1, count)
    if not can(method, form, call, x):
        return False
    found = call(x)[..., padding if op == "conv" else count - 1 - padding]
    check(found, right, count, dtype, MULTIPLES.get(form, 1))
    return True


# So many that a running sum of them breaks the bound.
TAPS = 16_000


@pytest.mark.parametrize(("op", "method", "form", "dtype"), [each for each in FORMS if each[-1] == "float32"])
def test_filters_of_many_taps(op: Any, method: str, form: str, dtype: str) -> None:
    number = hostile(TAPS, dtype)
    running = np.add.accumulate(np.full(TAPS, number, dtype))[-1]
    with pytest.raises(AssertionError, match="times the bound"):
        check(running, number * TAPS, TAPS, dtype)
    # Three outputs, of which the one in the middle takes all taps.
    padding = 1 if op == "conv" else TAPS - 2
    if not check_taps(op, method, form, np.full(TAPS, number, dtype), number * TAPS, padding):
        pytest.skip("the form is for fewer taps")


def check_pairs(op: Any, method: str, form: str, numbers: Array, right: complex) -> None:
    """Compare outputs of two taps, the numbers of both of which are the same."""
    count, dtype = numbers.size, numbers.dtype.name
    call = prepare(ones((1, count, 2) if op == "conv" else (count, 1, 2), dtype), op=op, method=method, form=form)
    x = np.repeat(numbers.reshape(1, count, 1), 3, axis=2)
    if can(method, form, call, x):
        found = call(x) if op == "conv" else call(x)[..., 1:3]
        check(found, 2 * right, 2 * count, dtype, MULTIPLES.get(form, 1))


def can(method: str, form: str, call: Any, x: Array) -> bool:
    """Return whether a form can compute a call."""
    return form in cpu.form_names(call._problem(call._geometry(x.shape)), method)


@pytest.mark.long(but=lambda count: count < SEVERAL[-1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("method", methods("conv_weight"))
@every_count
def test_gradients_of_weights(method: str, dtype: str, count: int) -> None:
    for numbers, right in many_kinds(count, dtype):
        for channels in (1, 3, 4, 70) if count < SEVERAL[-1] else (1, 4):
            small = np.repeat(numbers.reshape(1, 1, -1), channels, axis=1)
            large = ones((1, 2, count), dtype)
            check(grad.conv1d_weight(large, (channels, 2, 1), small, method=method), right, count, dtype)
            samples, of_samples = (np.ascontiguousarray(each.transpose(2, 1, 0)) for each in (large, small))
            check(grad.conv1d_weight(samples, (channels, 2, 1), of_samples, method=method), right, count, dtype)


@pytest.mark.parametrize("channels", [1, 5])
def test_totals_of_many_chains(channels: int) -> None:
    draw, count = np.random.default_rng(channels).integers, 3_000_001
    small, large = draw(-1, 2, (1, channels, count)).astype("f4"), draw(-1, 2, (1, 1, count + 1)).astype("f4")
    found = grad.conv1d_weight(large, (channels, 1, 2), small)
    exact = [[np.dot(row.astype(float), large[0, 0, tap : tap + count]) for tap in range(2)] for row in small[0]]
    np.testing.assert_array_equal(found[:, 0], exact)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 4), (64, 64)])
@pytest.mark.parametrize("depth", [1, 255, 256, 257, 1000, 66_000])
def test_products_of_any_depth(shape: tuple[int, int], depth: int) -> None:
    draw = np.random.default_rng(depth).integers
    left, right = (draw(-1, 2, (1 + (depth < CHAIN), size, depth)).astype("f4") for size in shape)
    exact = np.matmul(left.astype(float), right.astype(float).swapaxes(1, 2))
    out = np.full(exact.shape, np.nan, "f4")
    assert matrix_product(left, right.swapaxes(1, 2), out) is out
    np.testing.assert_array_equal(out, exact)
    np.testing.assert_array_equal(matrix_product(left, right.swapaxes(1, 2)), exact)


@pytest.mark.parametrize("count", [1, CHAIN, CHAIN + 1, CHAIN**2 + 3])
def test_arrays_are_added_up_in_chains_of_chains(count: int) -> None:
    # One that loses all others of its chain, and nothing of the sums of other chains.
    first = np.float32(1)
    others = np.float32(2**-25)
    total = add_up(np.array([others if i else first]) for i in range(count))
    lost = min(count, CHAIN) - 1
    assert abs(float(total[0]) - (1 + (count - 1 - lost) * 2**-25)) <= 2**-24 * max(1, count // CHAIN)
