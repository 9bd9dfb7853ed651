"""The emulator's meaning of 16-bit conversions is NumPy's and ml_dtypes', bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from cupy_kst.gpu.build import source
from tests import emulator

KERNELS = """
extern "C" __global__ void widen(const unsigned short* x, float* y)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    y[i] = to_float(x[i]);
}
extern "C" __global__ void narrow(const float* x, unsigned short* y)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    y[i] = from_float(x[i]);
}
"""


@pytest.fixture
def runtime() -> emulator.Emulator:
    emulator.require()
    return emulator.Emulator()


def run(runtime: emulator.Emulator, kernel: str, x: np.ndarray, y: np.ndarray, dtype: str = "float16") -> np.ndarray:
    text = source.text("unified", dtype) + KERNELS
    runtime.launch(runtime.compile(text, kernel), (x.size // 64, 1, 1), (64, 1, 1), (x, y))
    return y


def test_every_half_widens_to_its_value(runtime: emulator.Emulator) -> None:
    bits = np.arange(2**16).astype(np.uint16)
    # One NaN of each sign: the emulator takes some of the others for memory that was never written.
    bits[(bits & 0x7FFF) > 0x7C00] |= 0x7E00
    bits[(bits & 0x7FFF) > 0x7C00] &= 0xFE00
    widened = run(runtime, "widen", bits, np.full(bits.size, np.nan, np.float32))
    np.testing.assert_array_equal(widened, bits.view(np.float16).astype(np.float32))


def test_floats_narrow_to_the_nearest_half(runtime: emulator.Emulator) -> None:
    halves = np.arange(2**15 - 1024, dtype=np.uint16).view(np.float16)[: 31 * 1024].astype(np.float32)
    middles = (halves[:-1] + halves[1:]) / 2
    around = np.concatenate([halves, middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.inf)])
    drawn = np.random.default_rng(0).integers(0, 2**32, 2**17, dtype=np.uint32).view(np.float32)
    edges = np.array([0, 65504, 65519.996, 65520, np.inf, 1e-8, 2**-25, 2**-24], np.float32)
    values = np.concatenate([around, -around, drawn, edges, -edges])
    values = np.resize(values, -(-values.size // 64) * 64).astype(np.float32)
    narrowed = run(runtime, "narrow", values, np.full(values.size, 0xFFFF, np.uint16)).view(np.float16)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.testing.assert_array_equal(narrowed, values.astype(np.float16))


def test_every_bfloat16_widens_to_its_value(runtime: emulator.Emulator) -> None:
    bits = np.arange(2**16).astype(np.uint16)
    bits[(bits & 0x7FFF) > 0x7F80] |= 0x7FC0
    bits[(bits & 0x7FFF) > 0x7F80] &= 0xFFC0
    widened = run(runtime, "widen", bits, np.full(bits.size, np.nan, np.float32), "bfloat16")
    np.testing.assert_array_equal(widened.view(np.uint32), bits.view("bfloat16").astype(np.float32).view(np.uint32))


def test_floats_narrow_to_the_nearest_bfloat16(runtime: emulator.Emulator) -> None:
    """Around every bfloat16 and every middle between two, subnormals, infinities and NaNs among them."""
    tails = np.array(
        [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, *np.random.default_rng(0).integers(0, 2**16, 10)], np.uint32
    )
    values = (np.arange(2**16, dtype=np.uint32)[:, None] << 16 | tails).reshape(-1).view(np.float32)
    narrowed = run(runtime, "narrow", values, np.full(values.size, 0xFFFF, np.uint16), "bfloat16")
    with np.errstate(over="ignore", invalid="ignore"):
        right = values.astype("bfloat16").view(np.uint16)
    nan = np.isnan(values)
    np.testing.assert_array_equal(narrowed[~nan], right[~nan])
    assert np.isnan(narrowed[nan].view("bfloat16").astype(np.float32)).all()
    np.testing.assert_array_equal(narrowed[nan] >> 15, np.signbit(values[nan]))
