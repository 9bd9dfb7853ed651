"""How exact the sums of the CUDA kernels are: of 100000 numbers of one sign, on the emulator.

The bound is that of docs/how_it_works.md. A sum of ones would show nothing. Two kinds of numbers break the bound in one
running sum: equal ones, of which each addition loses the same part in the same direction, and numbers behind a large
one which it absorbs.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.select import tiles
from cupy_kst.gpu.select.tiles import Tile
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.testing import Arrays, Case
from tests.support.engines import METHODS, emulate, every_dtype, expected
from tests.support.turns import has_turn

# What the documentation promises: errors of n numbers are at most C * sqrt(n) units of the compute type's last place.
C = 8
# Shapes of 100000 terms: channels and taps, or samples and positions.
RUNS, RUN = 2500, 40
TERMS = RUNS * RUN
TILED = ("ks_deconv", "conv_v2", "sk_dilated")
PER_THREAD = tuple(method for method in METHODS if method not in TILED)
CUDA = {
    "float16": "f32",
    "bfloat16": "f32",
    "float32": "f32",
    "float64": "f64",
    "complex64": "c64",
    "complex128": "c128",
}
TENSOR = {"f16": "float16", "bf16": "bfloat16", "tf32": "float32", "tf32x3": "float32"}
FIRST_AND_LAST = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


class Numbers(NamedTuple):
    """Factors whose products are exact: `one` of all terms, the other either `equal` or `large` twice, else `small`."""

    one: float
    equal: float
    large: float
    small: float


_FLOATS = Numbers(1 + 2.0**-8 - 2.0**-23, 1.0, 1.0, 2.0**-25)
_DOUBLES = Numbers(1 + 2.0**-37 - 2.0**-52, 1.0, 1.0, 2.0**-54)
NUMBERS = {
    # Their sum is no more than a float16 holds.
    "float16": Numbers(1.501953125 / 8, 1.7529296875 / 8, 2.0**13, 2.0**-12),
    "bfloat16": Numbers(1.296875, 1.7890625, 1.0, 2.0**-25),
    "float32": _FLOATS,
    "float64": _DOUBLES,
    "complex64": _FLOATS,
    "complex128": _DOUBLES,
}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a tile of few threads to those of each micro-kernel: what a block sums that long is cheap to emulate then."""
    for name, known in tiles._TILES.items():
        on_tensor_cores = Tile(m=16, n=16, k=known[0].k, thread_m=2, thread_n=4, stages=2)
        small = on_tensor_cores if name in TENSOR else Tile(m=8, n=8, k=8, thread_m=2, thread_n=4)
        monkeypatch.setitem(tiles._TILES, name, (*known, small))


def _case(method: str, dtype: str) -> Case:
    """Return a case of one position, or of a filter of one tap, and of two output channels."""
    op, ones = TABLE[method].operation, ((1,), (1,))
    if op == "conv_transpose":
        pads = ((RUNS - 1, RUNS - 1),)
        return Case(op, (1, RUN, RUNS), (RUN, 2, RUNS), False, dtype, (1,), pads, (0,), 1, (1,), (1,))
    if op == "conv":
        return Case(op, (1, RUN, RUNS), (2, RUN, RUNS), False, dtype, (1,), (0,), (0,), 1, (1,), (1,))
    shapes = (RUN, 2, RUNS), (1, 2, 1)
    return Case(op, *shapes, False, dtype, (1,), (0,), (0,), 1, ones[0], (RUNS,))


def _arrays(case: Case) -> Arrays:
    """Return arrays of equal numbers; those that the second output sums have a large one at either end."""
    storage, numbers = DTYPES[case.dtype].storage, NUMBERS[case.dtype]
    rotated = (1 + 1j, 1 - 1j) if storage.kind == "c" else (1, 1)
    of_two = case.input_shape if case.op == "conv_weight" else case.weight_shape
    two = np.full(of_two, float(numbers.equal))
    absorbed = np.moveaxis(two, 0 if case.op == "conv" else 1, 0)[1]
    absorbed[...] = numbers.small
    absorbed[0, 0] = absorbed[-1 if case.op == "conv_weight" else 0, -1] = numbers.large
    one = np.full(case.output_shape if case.op == "conv_weight" else case.input_shape, numbers.one)
    of_one, of_both = ((values * factor).astype(storage) for values, factor in zip((one, two), rotated, strict=True))
    return Arrays(of_both, grad_output=of_one) if case.op == "conv_weight" else Arrays(of_one, of_both)


def _exact(dtype: str) -> list[Fraction]:
    """Return the sums of both outputs, of the numbers of one part if they are complex."""
    one, equal, large, small = map(Fraction, NUMBERS[dtype])
    return [one * equal * TERMS, one * (2 * large + (TERMS - 2) * small)]


def _check(got: NDArray[Any], dtype: str, bound: float) -> None:
    """Compare both outputs with their exact sums, which may err by `bound` times the sum of absolute values."""
    storage = DTYPES[dtype].storage
    for value, exact in zip(got.ravel(), _exact(dtype), strict=True):
        if storage.kind != "c":
            _check_part(value, exact, exact, bound, storage)
            continue
        # (1 + 1j) * (1 - 1j) is 2; where one factor is conjugated, it is 2j or -2j.
        parts = (value.real, value.imag)
        large = int(abs(parts[1]) > abs(parts[0]))
        _check_part(abs(parts[large]), 2 * exact, 2 * exact, bound, value.real.dtype)
        _check_part(parts[1 - large], Fraction(0), 2 * exact, bound, value.real.dtype)


def _check_part(value: Any, exact: Fraction, size: Fraction, bound: float, storage: np.dtype[Any]) -> None:
    error = Fraction(float(value)) - exact
    # An output is rounded once, as are these.
    lowest, highest = (np.array(float(exact + side * Fraction(bound) * size)).astype(storage) for side in (-1, 1))
    assert lowest <= value <= highest, f"error {float(error / size):.3g} of the sum, bound {bound:.3g}"


def _bound(dtype: str) -> float:
    """Return the bound, relative to the sum of absolute values; each part of a complex sum is of twice the numbers."""
    compute = DTYPES[dtype].compute
    return C * sqrt(TERMS * (2 if compute.kind == "c" else 1)) * float(np.finfo(compute).eps)


def _run(method: str, dtype: str, channels_last: bool, form: str | None = None, **options: Any) -> NDArray[Any]:
    case = _case(method, dtype)
    return emulate(method, case, _arrays(case), channels_last=channels_last, form=form, **options)


@every_dtype
def test_one_running_sum_breaks_the_bound(dtype: str) -> None:
    """So that the tests below can fail."""
    compute, numbers = DTYPES[dtype].compute, NUMBERS[dtype]
    real = compute.type(0).real.dtype
    running = np.add.accumulate(np.full(TERMS * (2 if compute.kind == "c" else 1), numbers.one * numbers.equal, real))
    got = running[-1].astype(DTYPES[dtype].storage) if compute.kind != "c" else running[-1] / 2
    with pytest.raises(AssertionError, match=r"error -?[0-9.e-]+ of the sum, bound"):
        _check_part(got, _exact(dtype)[0], _exact(dtype)[0], _bound(dtype), got.dtype)


@pytest.mark.long(
    but=lambda method, dtype, channels_last: dtype == "float32" and channels_last == (PER_THREAD.index(method) % 2 == 0)
)
@pytest.mark.parametrize("method", PER_THREAD)
@every_dtype
@FIRST_AND_LAST
def test_threads_sum_within_the_bound(method: str, dtype: str, channels_last: bool) -> None:
    _check(_run(method, dtype, channels_last), dtype, _bound(dtype))


# Every element type and every method in both layouts, which are a matter of loads alone.
ALTERNATING = [
    pytest.param(method, dtype, bool((row + column) % 2), id=f"{method}, {dtype}")
    for (row, method), (column, dtype) in product(enumerate(TILED), enumerate(CUDA))
]


@pytest.mark.long(but=lambda method, dtype, channels_last: channels_last and has_turn((method, TILED), (dtype, CUDA)))
@pytest.mark.parametrize(("method", "dtype", "channels_last"), ALTERNATING)
def test_tiles_sum_within_the_bound(method: str, dtype: str, channels_last: bool, small_tiles: None) -> None:
    got = _run(method, dtype, channels_last, f"{CUDA[dtype]}/8x8", sanitize="plain")
    _check(got, dtype, _bound(dtype))


@pytest.mark.long(but=lambda method, form: method != "sk_dilated" or form == "f32/8x8/split2")
@pytest.mark.parametrize(
    ("method", "dtype", "form"),
    [
        *(("sk_dilated", dtype, f"{CUDA[dtype]}/8x8/split2") for dtype in CUDA),
        *((method, "float32", "f32/8x8/split9") for method in ("ks_deconv", "conv_v2")),
        # As many parts as stages.
        ("sk_dilated", "float32", "f32/8x8/split12500"),
        ("ks_deconv", "float32", "f32/8x8/trimmed"),
        ("zero_insertion", "float32", "f32/8x8"),
    ],
)
def test_other_forms_sum_within_the_bound(method: str, dtype: str, form: str, small_tiles: None) -> None:
    _check(_run(method, dtype, False, form, sanitize="plain"), dtype, _bound(dtype))


# Sums over channels and taps on tiles: many channels of few taps, and many taps of one channel more than a stage's,
# where the kernels come to all taps of the first channels before the last one's.
SHAPES = [(100_000, 1), (33_333, 3), (11_111, 9), (9, 25), (9, 49), (9, 60)]


@pytest.mark.long(but=lambda dtype: dtype == "float32")
@pytest.mark.parametrize(("channels", "taps"), SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize(("method", "form"), [("conv_v2", ""), ("conv_v2", "/split2"), ("ks_deconv", "")])
def test_tiles_sum_channels_and_taps_within_the_bound(
    method: str, form: str, dtype: str, channels: int, taps: int, small_tiles: None
) -> None:
    """One large number comes first, and each that follows it is half a unit in its last place."""
    parts, op = 2 if dtype == "complex64" else 1, TABLE[method].operation
    weight = np.full((2, channels, taps), parts * 2.0**-24)
    weight[0, 0, 0] = weight[1, 0, -1] = 1
    one = np.ones((1, channels, taps))
    rotated = (1 + 1j, 1 - 1j) if parts == 2 else (1, 1)
    if op == "conv_transpose":
        weight = weight.swapaxes(0, 1)
    given, filters = (
        (each * factor).astype(dtype, order="C") for each, factor in zip((one, weight), rotated, strict=True)
    )
    pads = ((taps - 1, taps - 1),) if op == "conv_transpose" else (0,)
    case = Case(op, given.shape, filters.shape, False, dtype, (1,), pads, (0,), 1, (1,), (1,))
    got = emulate(method, case, Arrays(given, filters), form=f"{CUDA[dtype]}/8x8{form}", sanitize="plain")
    terms = channels * taps
    exact = parts * (1 + (terms - 1) * Fraction(parts, 2**24))
    bound = C * sqrt(parts * terms) * 2.0**-23
    for value in got.ravel():
        _check_part(value.real, exact, exact, bound, value.real.dtype)
        _check_part(value.imag, Fraction(0), exact, bound, value.real.dtype)


@pytest.mark.long(but=lambda form, wide: not wide and "split" not in form)
@pytest.mark.parametrize(
    ("method", "form", "stride", "wide"),
    [
        ("conv_v2", "f32/8x8", 1, False),
        ("conv_v2", "f32/8x8/split2", 1, False),
        ("conv_v2", "f32/8x8", 1, True),
        ("ks_deconv", "f32/8x8", 1, False),
        ("ks_deconv", "f32/8x8/split2", 1, False),
        ("ks_deconv", "f32/32x32/interleaved", 2, False),
        ("zero_insertion", "f32/8x8", 1, False),
        ("sk_dilated", "f32/8x8", 1, False),
        ("sk_dilated", "f32/8x8/split2", 1, False),
    ],
)
def test_several_runs_add_every_term_and_the_bias_once(
    method: str, form: str, stride: int, wide: bool, small_tiles: None
) -> None:
    """Sums of over a thousand integers are exact."""
    op = TABLE[method].operation
    if op == "conv_weight":
        shapes, outputs, taps = ((3, 2, 402), (2, 2, 3)), 400, 3
    else:
        taps = 8 * stride + 1
        shapes = (2, 130, 20), (130, 3, taps) if op == "conv_transpose" else (3, 130, taps)
        outputs = (20 - 1) * stride + taps if op == "conv_transpose" else 20 - taps + 1
    has_bias = op != "conv_weight"
    case = Case(op, *shapes, has_bias, "float32", (stride,), (0,), (0,), 1, (1,), (outputs,))
    draw = np.random.default_rng(taps).integers
    given = draw(-3, 4, shapes[0]).astype("f4")
    if has_bias:
        arrays = Arrays(given, draw(-3, 4, shapes[1]).astype("f4"), np.array([10_000, 20_000, 30_000], "f4"))
    else:
        arrays = Arrays(given, grad_output=draw(-3, 4, case.output_shape).astype("f4"))
    got = emulate(method, case, arrays, form=form, wide=wide, sanitize="plain")
    np.testing.assert_array_equal(got, expected(case, arrays))


@pytest.mark.parametrize(
    ("method", "micro", "channels_last"),
    [
        ("sk_dilated", "f16", True),
        ("conv_v2", "bf16", False),
        ("ks_deconv", "tf32", True),
        ("sk_dilated", "tf32x3", False),
    ],
)
def test_tensor_cores_sum_within_the_number_of_their_instructions(
    method: str, micro: str, channels_last: bool, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Numbers of 11 bits, but for tf32x3, are multiplied exactly.
    numbers = NUMBERS["float32"] if micro == "tf32x3" else NUMBERS[TENSOR[micro]]._replace(one=1 + 2.0**-7)
    monkeypatch.setitem(NUMBERS, TENSOR[micro], numbers if micro != "f16" else NUMBERS["float16"])
    got = _run(method, TENSOR[micro], channels_last, f"{micro}/16x16", sanitize="plain", precision=_precision(micro))
    deep = 16 if micro in ("f16", "bf16") else 8
    # Those of 64 elements of depth leave tensor cores for a sum in float32; lower parts are of no account.
    instructions = 64 / deep + 1 + TERMS / 64 / 2 if micro == "tf32x3" else TERMS / deep
    _check(got, TENSOR[micro], instructions * 2.0**-23)


def _precision(micro: str) -> Any:
    return micro if micro.startswith("tf32") else "ieee"
