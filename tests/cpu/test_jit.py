"""The compiled products against the definition: in every form, in parts, by one thread and by several."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.cpu import reference
from cupy_kst.testing import check
from tests.support.skips import need_compiled

from .jit_calls import poisoned, several_threads

need_compiled()

from cupy_kst.cpu.jit import engine, isa, template, threads
from cupy_kst.cpu.jit.gemm_col2im import plan as col2im_plan
from cupy_kst.cpu.jit.im2col_gemm import plan as im2col_plan
from cupy_kst.cpu.jit.im2col_gemm.plan import is_small
from cupy_kst.cpu.jit.implicit_gemm import plan
from cupy_kst.cpu.jit.pack import weight as packed_weights
from cupy_kst.cpu.jit.weight_grad import call as weight_grad
from cupy_kst.cpu.jit.weight_grad import plan as weight_grad_plan

# What compiled code is given is laid out already.
_check = partial(check, layouts="contiguous")
__all__ = ["poisoned", "several_threads"]

_DTYPES = ("float32", "float64")
_OPS = ("conv_transpose", "conv", "conv_transpose_weight", "conv_weight")


@pytest.fixture
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide into boxes, and put sums aside, as large maps and deep sums do."""
    monkeypatch.setattr(isa, "BOX_POSITIONS", 24)
    monkeypatch.setattr(weight_grad_plan, "_SHARE_MACS", 1)
    for cache in (plan.plan, template.implicit_gemm, weight_grad_plan.division, weight_grad._template):
        cache.cache_clear()
    yield
    for cache in (plan.plan, template.implicit_gemm, weight_grad_plan.division, weight_grad._template):
        cache.cache_clear()


def _packed(geometry: Geometry, weight: Any) -> Any:
    return packed_weights.pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:]))


def _run(geometry: Geometry, input: Any, weight: Any, bias: Any) -> Any:
    shape = geometry.full_small_shape if geometry.transposed else geometry.full_large_shape
    out = np.full(geometry.output_shape, np.nan, input.dtype)
    operation = engine.conv_transpose if geometry.transposed else engine.conv
    operation(geometry, input.reshape(shape), _packed(geometry, weight), bias, out)
    return out


def _conv_transpose(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Any:
    options = (stride, padding, output_padding, groups, dilation)
    return _run(Geometry.conv_transpose(input.shape, weight.shape, *options), input, weight, bias)


def _conv(input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return _run(Geometry.conv(input.shape, weight.shape, stride, padding, dilation, groups), input, weight, bias)


def _correlate(geometry: Geometry, small: Any, large: Any) -> Any:
    out = np.full(geometry.weight_shape, np.nan, small.dtype)
    maps = small.reshape(geometry.full_small_shape), large.reshape(geometry.full_large_shape)
    weight_grad.correlate(geometry, *maps, out)
    return out


def _conv_transpose_weight(
    input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    options = (stride, padding, dilation, groups)
    geometry = Geometry.conv_transpose_to(input.shape, weight_size, grad_output.shape, *options)
    return _correlate(geometry, input, grad_output)


def _conv_weight(
    input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    geometry = Geometry.conv(input.shape, weight_size, stride, padding, dilation, groups)
    return _correlate(geometry, grad_output, input)


def _col2im(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Any:
    geometry = Geometry.conv_transpose(input.shape, weight.shape, stride, padding, output_padding, groups, dilation)
    out = np.full(geometry.output_shape, np.nan, input.dtype)
    engine.col2im(geometry, input, weight, bias, out)
    return out


def _conv_unpacked(input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    geometry = Geometry.conv(input.shape, weight.shape, stride, padding, dilation, groups)
    out = np.full(geometry.output_shape, np.nan, input.dtype)
    engine.conv_unpacked(geometry, input, weight, bias, out)
    return out


_FUNCTIONS: dict[Any, Any] = {
    "conv_transpose": _conv_transpose,
    "conv": _conv,
    "conv_transpose_weight": _conv_transpose_weight,
    "conv_weight": _conv_weight,
}


@pytest.mark.parametrize("op", _OPS)
def test_equals_the_definition(op: Any) -> None:
    _check(_FUNCTIONS[op], op=op, dtypes=_DTYPES)


@pytest.mark.long
@pytest.mark.parametrize("op", _OPS)
def test_equals_the_definition_with_many_channels(op: Any) -> None:
    _check(_FUNCTIONS[op], op=op, dtypes=_DTYPES, ranks=(1, 2), max_channels=150, max_kernel=3, max_elements=3000)


@pytest.mark.long(but=lambda op: op == "conv")
@pytest.mark.usefixtures("_small_boxes", "several_threads")
@pytest.mark.parametrize("op", _OPS)
def test_equals_the_definition_in_small_boxes(op: Any) -> None:
    _check(_FUNCTIONS[op], op=op, max_elements=2000)


def test_col2im_equals_the_definition() -> None:
    _check(_col2im, op="conv_transpose", dtypes=_DTYPES)


@pytest.mark.long
def test_col2im_equals_the_definition_with_many_channels() -> None:
    limits = {"max_channels": 150, "max_kernel": 3, "max_elements": 3000}
    _check(_col2im, op="conv_transpose", dtypes=_DTYPES, ranks=(1, 2), **limits)


def test_col2im_has_as_many_biases_as_outputs() -> None:
    """The gradient of a convolution's input has those that the convolution reads."""
    geometry = Geometry.conv((1, 40, 2), (1, 40, 1), 2, 1)
    out = np.full((1, 40, 2), np.nan, "f4")
    zeros = template.gemm_col2im(geometry, "f", 2).zeros
    engine.col2im(geometry, np.ones((1, 1, 2), "f4"), np.ones((1, 40, 1), "f4"), None, out)
    assert zeros.size == 40
    np.testing.assert_array_equal(out, np.stack([np.zeros((1, 40)), np.ones((1, 40))], axis=-1))


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide maps into parts, as large ones are."""
    monkeypatch.setattr(isa, "COL2IM_INPUT_BYTES", 200)
    template.gemm_col2im.cache_clear()
    col2im_plan.col2im_plan.cache_clear()
    yield
    template.gemm_col2im.cache_clear()
    col2im_plan.col2im_plan.cache_clear()


@pytest.mark.usefixtures("_small_parts", "several_threads")
def test_col2im_equals_the_definition_in_small_parts() -> None:
    _check(_col2im, op="conv_transpose", dtypes=_DTYPES, max_elements=2000)


# (samples, channels, out_channels, groups, size, kernel, stride, padding): positions in lanes, and rows in lanes.
_COL2IM = [(1, 300, 70, 1, 9, 5, 2, 2), (3, 300, 70, 1, 4, 4, 2, 1), (2, 40, 6, 2, 21, 3, 2, 0)]


@pytest.mark.long(but=lambda case, dtype: case == _COL2IM[2] and dtype == "float32")
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("case", _COL2IM)
def test_deep_sums_of_col2im_equal_the_definition(case: tuple[int, ...], dtype: str) -> None:
    _, input, weight, bias = _drawn(case, dtype)
    *_, groups, _, _, stride, padding = case
    expected = reference.conv_transpose(input, weight, bias, stride, padding, groups=groups)
    np.testing.assert_array_equal(_col2im(input, weight, bias, stride, padding, 0, groups, 1), expected)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("case", _COL2IM)
def test_col2im_has_the_same_bits_from_any_number_of_threads(
    case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, input, weight, bias = _drawn(case)
    *_, groups, _, _, stride, padding = case
    args = (input * np.float32(np.pi), weight * np.float32(np.pi), bias, stride, padding, 0, groups, 1)
    several = [_col2im(*args) for _ in range(5)]
    monkeypatch.setenv("CUPY_KST_THREADS", "1")
    alone = _col2im(*args)
    assert all(np.array_equal(each, alone) for each in several)


@pytest.mark.long(but=lambda case: case == _COL2IM[2])
@pytest.mark.parametrize("case", _COL2IM)
def test_what_is_not_finite_reaches_by_col2im_what_it_touches(case: tuple[int, ...]) -> None:
    _, input, weight, bias = _drawn(case)
    *_, groups, _, _, stride, padding = case
    weight[3, 1, 0, 2], weight[17, 0, 1, 0], input[0, 5, 1, 1] = np.inf, np.nan, -np.inf
    with np.errstate(all="ignore"):
        expected = reference.conv_transpose(input, weight, bias, stride, padding, groups=groups)
    found = _col2im(input, weight, bias, stride, padding, 0, groups, 1)
    assert not np.isfinite(expected).all() and np.isfinite(expected).any()
    np.testing.assert_array_equal(found, expected)


def _drawn(case: tuple[int, ...], dtype: str = "float32") -> tuple[Geometry, Any, Any, Any]:
    samples, channels, out_channels, groups, size, kernel, stride, padding = case
    generator = np.random.default_rng(0)
    shapes = (samples, channels, size, size), (channels, out_channels // groups, kernel, kernel), (out_channels,)
    input, weight, bias = (generator.integers(-3, 4, shape).astype(dtype) for shape in shapes)
    return Geometry.conv_transpose(input.shape, weight.shape, stride, padding, 0, groups), input, weight, bias


@pytest.fixture(params=[False, True], ids=["rows of positions", "columns"])
def _gathered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to fill vectors, whatever pays."""
    monkeypatch.setattr(
        template, "fills_few_lanes", lambda geometry, itemsize: request.param and is_small(geometry, 64 // itemsize)
    )


@pytest.mark.usefixtures("_gathered")
def test_an_unpacked_convolution_equals_the_definition() -> None:
    _check(_conv_unpacked, op="conv", dtypes=_DTYPES)


@pytest.mark.long
@pytest.mark.usefixtures("_gathered")
def test_an_unpacked_convolution_equals_the_definition_with_many_channels() -> None:
    limits = {"max_channels": 150, "max_kernel": 3, "max_elements": 3000}
    _check(_conv_unpacked, op="conv", dtypes=_DTYPES, ranks=(1, 2), **limits)


@pytest.fixture
def _small_columns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Divide samples, channels and rows of the weight, as large layers do."""
    for name, value in (("IM2COL_COLUMNS", 2048), ("IM2COL_SUMS", 1024), ("IM2COL_POSITIONS", 40)):
        monkeypatch.setattr(isa, name, value)
    template.im2col_gemm.cache_clear()
    im2col_plan.im2col_plan.cache_clear()
    yield
    template.im2col_gemm.cache_clear()
    im2col_plan.im2col_plan.cache_clear()


@pytest.mark.usefixtures("_small_boxes", "_small_columns", "several_threads", "_gathered")
def test_an_unpacked_convolution_equals_the_definition_in_small_parts() -> None:
    _check(_conv_unpacked, op="conv", dtypes=_DTYPES, max_elements=2000)


# (samples, channels, out_channels, groups, size, kernel, stride, padding)
_UNPACKED = [
    (3, 70, 300, 1, 9, 5, 2, 2),
    (16, 7, 45, 1, 4, 4, 2, 1),
    (5, 6, 40, 2, 21, 3, 2, 0),
    (2, 60, 3, 1, 20, 5, 1, 2),
]


@pytest.mark.long(but=lambda dtype: dtype == "float32")
@pytest.mark.usefixtures("_gathered")
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("case", _UNPACKED)
def test_deep_sums_of_an_unpacked_convolution_equal_the_definition(case: tuple[int, ...], dtype: str) -> None:
    input, weight, bias, options = _drawn_unpacked(case, dtype)
    expected = reference.conv(input, weight, bias, **options)
    np.testing.assert_array_equal(_conv_unpacked(input, weight, bias, **options), expected)


@pytest.mark.usefixtures("several_threads", "_gathered")
@pytest.mark.parametrize("case", _UNPACKED)
def test_an_unpacked_convolution_has_the_same_bits_from_any_number_of_threads(
    case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    input, weight, bias, options = _drawn_unpacked(case)
    input, weight = (each * np.float32(np.pi) for each in (input, weight))
    several = [_conv_unpacked(input, weight, bias, **options) for _ in range(5)]
    monkeypatch.setenv("CUPY_KST_THREADS", "1")
    alone = _conv_unpacked(input, weight, bias, **options)
    assert all(np.array_equal(each, alone) for each in several)


@pytest.mark.usefixtures("_gathered")
def test_a_weight_that_is_not_finite_reaches_all_outputs_of_its_channel() -> None:
    """By this `cpu.run` knows it."""
    input, weight, bias, options = _drawn_unpacked((2, 6, 9, 1, 5, 3, 2, 1))
    weight[4, 2, 0, 1] = np.inf
    found = _conv_unpacked(input, weight, bias, **options)
    assert not np.isfinite(found[:, 4]).any()
    weight[4, 2, 0, 1] = 0
    expected = reference.conv(input, weight, bias, **options)
    np.testing.assert_array_equal(np.delete(found, 4, 1), np.delete(expected, 4, 1))


def _drawn_unpacked(case: tuple[int, ...], dtype: str = "float32") -> tuple[Any, Any, Any, dict[str, int]]:
    samples, channels, out_channels, groups, size, kernel, stride, padding = case
    generator = np.random.default_rng(0)
    shapes = (samples, channels, size, size), (out_channels, channels // groups, kernel, kernel), (out_channels,)
    input, weight, bias = (generator.integers(-3, 4, shape).astype(dtype) for shape in shapes)
    return input, weight, bias, {"stride": stride, "padding": padding, "dilation": 1, "groups": groups}


# (samples, channels, out_channels, groups, size, kernel, stride, padding)
_FORMS = {
    isa.WIDE: (1, 150, 70, 1, 19, 4, 2, 1),
    isa.FEW: (2, 300, 2, 1, 20, 5, 2, 2),
    isa.ONE: (2, 6, 6, 6, 21, 3, 2, 1),
    isa.CHANNELS: (5, 200, 130, 1, 4, 4, 2, 1),
}


_IDS = ("wide", "few", "one", "channels")


def _force(filling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "choose_filling", lambda geometry, itemsize: filling)


@pytest.mark.long(but=lambda filling, dtype: filling in (isa.FEW, isa.ONE) and dtype == "float32")
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("filling", _FORMS, ids=_IDS)
def test_deep_sums_of_each_form_equal_the_definition(filling: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _force(filling, monkeypatch)
    geometry, input, weight, bias = _drawn(_FORMS[filling], dtype)
    _, _, _, groups, _, _, stride, padding = _FORMS[filling]
    expected = reference.conv_transpose(input, weight, bias, stride, padding, groups=groups)
    np.testing.assert_array_equal(_run(geometry, input, weight, bias), expected)


@pytest.mark.long(but=lambda filling, op: filling in (isa.FEW, isa.ONE) and (filling == isa.ONE) == (op == "conv"))
@pytest.mark.parametrize("op", ["conv_transpose", "conv"])
@pytest.mark.parametrize("filling", _FORMS, ids=_IDS)
def test_each_form_equals_the_definition(filling: int, op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _force(filling, monkeypatch)
    _check(_FUNCTIONS[op], op=op, max_channels=20, max_elements=1000)


def test_forms_are_chosen_by_channels_and_width() -> None:
    lanes = isa.lanes_of(4)
    many = isa.blocking().tiles[isa.CHANNELS][1] * lanes

    def chosen(out_channels: int, width: int) -> int:
        return template.choose_filling(Geometry.conv((1, 4, 9, width), (out_channels, 4, 1, 1)), 4)

    assert chosen(many, lanes) == isa.WIDE
    assert chosen(many, lanes - 1) == isa.CHANNELS
    assert chosen(many - 1, lanes - 1) == isa.WIDE
    assert chosen(2, lanes) == isa.FEW
    assert chosen(1, lanes) == isa.ONE


def test_one_input_meets_one_tap_of_each_output() -> None:
    geometry, input, weight, bias = _drawn((3, 100, 64, 1, 1, 4, 1, 0))
    expected = reference.conv_transpose(input, weight, bias)
    np.testing.assert_array_equal(_run(geometry, input, weight, bias), expected)
    assert _packed(geometry, weight).call(geometry).template.plan.macs == 3 * 100 * 64 * 16


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("filling", _FORMS, ids=_IDS)
def test_same_bits_from_any_number_of_threads(filling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _force(filling, monkeypatch)
    geometry, input, weight, bias = _drawn(_FORMS[filling])
    input, weight = (each * np.float32(np.pi) for each in (input, weight))
    several = [_run(geometry, input, weight, bias) for _ in range(5)]
    monkeypatch.setenv("CUPY_KST_THREADS", "1")
    alone = _run(geometry, input, weight, bias)
    assert all(np.array_equal(each, alone) for each in several)


@pytest.mark.usefixtures("several_threads")
def test_calls_at_one_time() -> None:
    geometry, input, weight, bias = _drawn(_FORMS[isa.WIDE])
    expected = _run(geometry, input, weight, bias)
    packed = _packed(geometry, weight)

    def call(number: int) -> Any:
        out = np.full_like(expected, np.nan)
        engine.conv_transpose(geometry, input * np.float32(number), packed, bias * np.float32(number), out)
        return out

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(call, range(1, 33)))
    for number, result in enumerate(results, 1):
        np.testing.assert_array_equal(result, number * expected)


def test_inputs_may_be_read_only() -> None:
    geometry, input, weight, bias = _drawn(_FORMS[isa.FEW])
    expected = _run(geometry, input, weight, bias)
    for each in (input, weight, bias):
        each.flags.writeable = False
    np.testing.assert_array_equal(_run(geometry, input, weight, bias), expected)


def test_helpers_that_sleep_are_woken() -> None:
    """As often as a call finds them so, in a child process too, whose helpers are its own."""
    program = """
import os, time
import numpy as np
from cupy_kst import conv_transpose2d
from cupy_kst.cpu.jit import pool

x, w = np.ones((1, 64, 32, 32), "f4"), np.ones((64, 16, 4, 4), "f4")
served, serve = [], pool.serve

def counted(mail, row):
    serve(mail, row)
    served.append(row)  # it sleeps from here on

def call():
    y = conv_transpose2d(x, w, stride=2, padding=1, method="ks_deconv")
    assert (y[..., 1:-1, 1:-1] == 256).all()

def wait_until(reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)

pool.serve = counted
for times in range(1, 5):
    call()
    wait_until(lambda: sorted(served) == sorted([0, 1, 2] * times))
child = os.fork()
served.clear()
call()
wait_until(lambda: sorted(served) == [0, 1, 2])
if child == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"CUPY_KST_THREADS": "4"}, check=True, timeout=300)


def test_says_that_numba_is_missing() -> None:
    program = (
        "import sys; sys.modules['numba'] = None; import numpy as np; from cupy_kst.cpu import jit; "
        "assert not jit.available(np.float32)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert engine.available(np.float32) and not engine.available(np.complex64)


def test_packed_weights_keep_a_bounded_number_of_calls() -> None:
    geometry, _, weight, _ = _drawn(_FORMS[isa.ONE])
    packed = _packed(geometry, weight)
    for size in range(1, 3 * packed_weights._MOST_CALLS):
        packed.call(Geometry.conv_transpose((1, 6, size, 9), weight.shape, 2, 1, 0, 6))
    assert len(packed._calls) <= packed_weights._MOST_CALLS


@pytest.mark.parametrize("samples", [1, 40])
def test_weight_gradient_in_stacks_of_blocks(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_grad_plan, "_LEAST_TASKS", 1)
    weight_grad_plan.division.cache_clear()
    weight_grad._template.cache_clear()
    generator = np.random.default_rng(0)
    small, large = (
        generator.integers(-3, 4, (samples, *shape)).astype("float32") for shape in ((300, 5, 6), (40, 9, 11))
    )
    options = (2, 1, 1, 2)
    geometry = Geometry.conv_transpose_to(small.shape, (300, 20, 3, 3), large.shape, *options)
    expected = reference.conv_transpose_weight(small, (300, 20, 3, 3), large, *options)
    np.testing.assert_array_equal(_correlate(geometry, small, large), expected)


# Small maps whose positions are taken in parts that begin and end within a row, a slice or a sample.
@pytest.mark.parametrize("shape", [(3, 20, 700), (5, 20, 6, 7, 9), (40, 20, 5, 5), (2, 20, 3, 300)], ids=str)
def test_weight_gradient_in_parts_of_the_positions(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    rank = len(shape) - 2
    large_shape = (shape[0], 7, *(2 * size for size in shape[2:]))
    small, large = (generator.integers(-3, 4, each).astype("float32") for each in (shape, large_shape))
    weight, options = (shape[1], 7, *(4,) * rank), (2, 1, 1, 1)
    geometry = Geometry.conv_transpose_to(shape, weight, large_shape, *options)
    expected = reference.conv_transpose_weight(small, weight, large, *options)
    np.testing.assert_array_equal(_correlate(geometry, small, large), expected)


# (channels of the small map, of the large one, groups): blocks, narrow ones, and few in parts of the maps.
_CHANNELS = [(130, 60, 1), (40, 6, 2), (3, 12, 1), (8, 8, 8)]


@pytest.mark.parametrize("channels", _CHANNELS)
def test_weight_gradient_of_large_maps_equals_the_definition(channels: tuple[int, int, int]) -> None:
    rows, columns, groups = channels
    generator = np.random.default_rng(0)
    shapes = (2, rows, 19, 37), (2, columns, 38, 74)
    small, large = (generator.integers(-3, 4, shape).astype("float32") for shape in shapes)
    weight = rows, columns // groups, 4, 4
    geometry = Geometry.conv_transpose_to(small.shape, weight, large.shape, 2, 1, 1, groups)
    expected = reference.conv_transpose_weight(small, weight, large, 2, 1, 1, groups)
    np.testing.assert_array_equal(_correlate(geometry, small, large), expected)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("channels", _CHANNELS)
def test_weight_gradient_has_the_same_bits_from_any_number_of_threads(
    channels: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns, groups = channels
    generator = np.random.default_rng(0)
    small, large = generator.normal(size=(4, rows, 27, 27)), generator.normal(size=(4, columns, 54, 54))
    weight = rows, columns // groups, 4, 4
    geometry = Geometry.conv_transpose_to(small.shape, weight, large.shape, 2, 1, 1, groups)
    several = [_correlate(geometry, small, large) for _ in range(5)]
    monkeypatch.setenv("CUPY_KST_THREADS", "1")
    alone = _correlate(geometry, small, large)
    assert all(np.array_equal(each, alone) for each in several)
    shares = weight_grad_plan.division(geometry, 8).shares
    assert (shares > 1) == (channels in _CHANNELS[1:3]), "parts of the maps make up for channels that are too few"


def test_inputs_of_many_sizes_share_a_packed_weight() -> None:
    weight = np.ones((1, 8, 8, 1, 4, 4), "f4")
    packed = packed_weights.pack(weight)
    calls = [packed.call(Geometry.conv_transpose((1, 8, n, n), (8, 8, 4, 4), 2, 1)) for n in range(5, 30)]
    assert len({id(call.weights) for call in calls}) == 1


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (RuntimeError("cannot cache function 'f': no locator available"), "; set NUMBA_CACHE_DIR to a folder that can"),
        (ImportError("Numba needs another NumPy"), ""),
    ],
)
def test_numba_that_does_not_work_says_why(error: Exception, way_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise error

    monkeypatch.setattr(engine, "import_module", fails)
    with pytest.warns(RuntimeWarning, match="^Numba is installed, but does not work here: "):
        problem = engine.problem.__wrapped__()
    assert problem.startswith(f"Numba does not work here: {error}{way_out}")
    assert ("NUMBA_CACHE_DIR" in problem) == bool(way_out)


@pytest.mark.parametrize(
    ("ours", "openmp", "threads_taken"),
    [("3", "2", 3), (None, "2", 2), (None, "2,1", 2), (" 3 ", None, 3), ("1000", "2", 256)]
    + [(nonsense, "2", 2) for nonsense in ("", "0", "-1", "two", "2.5", "\u00b2")],
)
def test_threads_that_the_environment_names(
    ours: str | None, openmp: str | None, threads_taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CUPY_KST_THREADS", ours), ("OMP_NUM_THREADS", openmp)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert threads.count() == threads_taken
