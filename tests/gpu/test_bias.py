"""Gradients of biases on CuPy arrays: what each launch adds up and writes, on a CuPy that notes it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cupy_kst import grad
from cupy_kst.cpu.sums import CHAIN
from cupy_kst.gpu import sums
from tests.support.fake_cupy import Fake, FakeCuPy, NoKernels

# Arrays of more numbers are written to no more than a sixteenth of them.
FEW, SHARE = 4096, 16


@pytest.fixture(name="cupy")
def _cupy(fake: Fake) -> FakeCuPy:
    return fake(NoKernels())


def launches(cupy: FakeCuPy) -> list[tuple[int, int]]:
    """Return how many numbers each launch adds up, and to how many results."""
    found = [re.fullmatch(r"sum (\d+) to (\d+)", each) for each in cupy.log]
    return [(int(each[1]), int(each[2])) for each in found if each]


def check(cupy: FakeCuPy, size: int, channels: int, most: int) -> None:
    """Look at the launches of a sum of so many numbers: `most` of them at the most."""
    found = launches(cupy)
    assert 0 < len(found) <= most, found
    assert all(numbers <= CHAIN * results for numbers, results in found)
    # Launches to parts of one array are two.
    assert sum(results for _, results in found) <= max(size / SHARE * 1.1, FEW, 4 * channels)
    assert "copy" not in cupy.log


# Launches: one for each factor of 256 numbers, and as many again where lengths are primes.
SHAPES = [
    ((1, 5000, 500, 2), 3, 3),
    ((2, 3, 257, 300), 1, 4),
    ((2, 257, 300, 3), 3, 4),
    ((3, 5, 700, 513), 1, 4),
    ((3, 700, 513, 5), 3, 4),
    ((70_001, 4, 1, 1), 1, 4),
    ((5, 70_001), 0, 4),
    ((1, 2, 1, 1_000_003), 1, 5),
    ((64, 2, 16, 1, 16), 1, 2),
    ((2, 3, 5, 4), 1, 1),
    ((7, 1, 9, 1), 1, 1),
]


@pytest.mark.parametrize(("shape", "channel", "most"), SHAPES)
@pytest.mark.parametrize("kind", ["contiguous", "reversed", "parts", "transposed"])
def test_launches_are_few_and_write_little(
    shape: tuple[int, ...], channel: int, most: int, kind: str, cupy: FakeCuPy
) -> None:
    numbers = np.random.default_rng(0).integers(-3, 4, shape).astype("float16")
    if kind == "reversed":
        numbers = numbers[..., ::-1]
    elif kind == "parts":
        wider = np.zeros([size + 2 for size in shape], "float16")
        wider[tuple(slice(1, -1) for _ in shape)] = numbers
        numbers, most = wider[tuple(slice(1, -1) for _ in shape)], most + 4
    elif kind == "transposed":
        numbers, channel = numbers.transpose(), numbers.ndim - 1 - channel
    found = sums.channel_sums(cupy.asarray(numbers), channel, np.dtype("float32"))
    others = tuple(axis for axis in range(numbers.ndim) if axis != channel)
    np.testing.assert_array_equal(found.host, numbers.sum(axis=others, dtype=np.float64))
    assert found.dtype == np.float32
    check(cupy, numbers.size, shape[channel] if kind != "transposed" else numbers.shape[channel], most)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_gradients_of_biases(data_format: Any, dtype: str, cupy: FakeCuPy) -> None:
    numbers = np.random.default_rng(1).integers(-3, 4, (2, 3, 257, 300)).astype(dtype)
    memory = np.ascontiguousarray(np.moveaxis(numbers, 1, -1)) if data_format == "channels_last" else numbers
    right = numbers.sum(axis=(0, 2, 3), dtype=np.complex128 if dtype == "complex64" else np.float64)
    found = grad.conv2d_bias(cupy.asarray(memory), data_format=data_format)
    np.testing.assert_array_equal(found.host, right.astype(dtype))
    assert found.dtype == dtype
    check(cupy, numbers.size, 3, 4)
    np.testing.assert_array_equal(
        grad.conv_transpose2d_bias(cupy.asarray(memory), data_format=data_format).host, right.astype(dtype)
    )


@pytest.mark.parametrize(("shape", "channels"), [((0, 3, 5000, 5000), 3), ((2, 0, 4, 4), 0), ((2, 3, 0, 4), 3)])
def test_of_no_numbers_the_sums_are_zero_without_a_launch(
    shape: tuple[int, ...], channels: int, cupy: FakeCuPy
) -> None:
    found = grad.conv2d_bias(cupy.asarray(np.empty(shape, "float32")))
    np.testing.assert_array_equal(found.host, np.zeros(channels, "float32"))
    assert not launches(cupy)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 1, 1)])
def test_of_one_number_the_sum_is_a_copy(shape: tuple[int, ...], cupy: FakeCuPy) -> None:
    numbers = np.arange(4, dtype="float32").reshape(shape)
    found = sums.channel_sums(cupy.asarray(numbers), shape.index(4), np.dtype("float32"))
    np.testing.assert_array_equal(found.host, np.arange(4))
    assert not np.shares_memory(found.host, numbers)


def test_few_launches_sum_any_length(cupy: FakeCuPy) -> None:
    for length in (*range(1, 1100), *range(65_500, 65_600), 99_991, 250_007):
        cupy.log.clear()
        found = sums.channel_sums(cupy.asarray(np.ones((2, length), "int8")), 0, np.dtype("float32"))
        np.testing.assert_array_equal(found.host, [length, length])
        if length > 1:
            check(cupy, 2 * length, 2, 1 if length <= CHAIN else 3 if length <= CHAIN**2 else 5)
