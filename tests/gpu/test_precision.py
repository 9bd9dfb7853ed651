"""How exact sums on tensor cores are, on real numbers: on the emulator, which rounds as they do."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst import Geometry
from cupy_kst.cpu import reference
from cupy_kst.dtypes import DTYPES, Precision
from cupy_kst.gpu.engine import Engine
from cupy_kst.problem import Choice
from tests.emulator import Emulator, require
from tests.support.problems import problem_of

# One tap a class: sums as deep as there are channels, and a few outputs.
DEPTHS = (64, 1024, 4096)
OPTIONS = {"stride": 2, "padding": 0}


@cache
def _case(depth: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    draw = np.random.default_rng(depth).standard_normal
    return draw((1, depth, 2, 2)), draw((depth, 8, 2, 2))


def _error(depth: int, dtype: str, precision: Precision, form: str) -> tuple[float, float]:
    """Return the largest error of sums, and the largest sum of absolute values, of elements as the type holds them."""
    require()
    element = DTYPES[dtype]
    x, weight = (array.astype(element.storage) for array in _case(depth))
    exact = [array.astype(np.float64) for array in (x, weight)]
    geometry = Geometry.conv_transpose(x.shape, weight.shape, **OPTIONS)
    emulator = Emulator("plain")
    out = emulator.empty(geometry.full_large_shape, element.storage)
    arrays = {"small": x[:, :, None], "weight": weight[:, :, None], "large": out}
    Engine(emulator).run(
        problem_of("ks_deconv", geometry, dtype, precision=precision), Choice("ks_deconv", form), arrays
    )
    got = out[:, :, 0].astype(np.float64)
    wanted, sizes = (reference.conv_transpose(*pair, **OPTIONS) for pair in (exact, map(np.abs, exact)))
    return float(np.abs(got - wanted).max()), float(sizes.max())


@pytest.mark.long(but=lambda depth, dtype: depth == min(DEPTHS) and dtype == "bfloat16")
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("dtype", "form", "deep", "stored"), [("float16", "f16/32x64", 16, 2**-11), ("bfloat16", "bf16/32x64", 16, 2**-8)]
)
def test_halves_are_summed_as_floats(depth: int, dtype: str, form: str, deep: int, stored: float) -> None:
    error, size = _error(depth, dtype, "ieee", form)
    # Each instruction rounds its sum toward zero once, and the output is rounded once.
    assert error <= size * (depth / deep * 2**-23 + stored)


@pytest.mark.long(but=lambda depth: depth == min(DEPTHS))
@pytest.mark.parametrize("depth", DEPTHS)
def test_tf32_rounds_factors_to_11_bits(depth: int) -> None:
    error, size = _error(depth, "float32", "tf32", "tf32/32x64")
    # Half a place of each factor, and of all that is added in one instruction.
    assert error <= size * (2 * 2**-12 + 2**-24 + depth / 8 * 2**-23)
    assert error > 4 * _error(depth, "float32", "ieee", "f32/32x32")[0]


@pytest.mark.long(but=lambda depth: depth == max(each for each in DEPTHS if each < 4096))
@pytest.mark.parametrize("depth", DEPTHS)
def test_tf32x3_is_as_exact_as_float32(depth: int) -> None:
    error, _ = _error(depth, "float32", "tf32x3", "tf32x3/32x64")
    assert error <= 2 * _error(depth, "float32", "ieee", "f32/32x32")[0]
