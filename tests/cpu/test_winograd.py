"""Minimal filtering as it is compiled, against the definition: in boxes, in parts, by one thread and by several."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.cpu import reference
from cupy_kst.cpu.jit import engine, template
from cupy_kst.cpu.jit.pack.weight import pack as pack_plain
from cupy_kst.cpu.jit.pack.weight import pack_winograd
from cupy_kst.cpu.jit.winograd.transform import filters
from cupy_kst.testing import check
from tests.support.bounds import assert_within

from .jit_calls import boxes_of_few_tiles, integers, poisoned, several_threads

# What compiled code is given is laid out already.
_check = partial(check, layouts="contiguous")
__all__ = ["poisoned", "several_threads"]

_DTYPES = ("float32", "float64")
_BESIDE = 1000
_LIMITS = {"max_channels": 150, "max_kernel": 5, "max_elements": 3000}


def _run(geometry: Geometry, input: Any, weight: Any, bias: Any, pack: Any = pack_winograd) -> Any:
    shape = geometry.full_small_shape if geometry.transposed else geometry.full_large_shape
    size = prod(geometry.output_shape)
    # What is written beside the outputs would be seen.
    room = np.full(size + 2 * _BESIDE, np.nan, input.dtype)
    out = room[_BESIDE : _BESIDE + size].reshape(geometry.output_shape)
    packed = pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:]))
    operation = engine.conv_transpose if geometry.transposed else engine.conv
    overflowed = operation(geometry, input.reshape(shape), packed, bias, out)
    # What memory holds beside the outputs is not asked.
    assert overflowed == (pack is pack_winograd and not np.isfinite(out).all())
    assert np.isnan(room[:_BESIDE]).all()
    assert np.isnan(room[_BESIDE + size :]).all()
    return out


def _run_plain(geometry: Geometry, input: Any, weight: Any, bias: Any) -> Any:
    """Return the same by all products."""
    return _run(geometry, input, weight, bias, pack_plain)


class _Calls:
    """Operations by minimal filtering, or where it saves nothing by their definition, and how many of each."""

    def __init__(self) -> None:
        self.filtered = self.others = 0

    def conv_transpose(
        self,
        input: Any,
        weight: Any,
        bias: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        dilation: Any,
    ) -> Any:
        options = (stride, padding, output_padding, groups, dilation)
        geometry = Geometry.conv_transpose(input.shape, weight.shape, *options)
        return self._call(
            geometry,
            input,
            weight,
            bias,
            lambda: reference.conv_transpose(input, weight, bias, *options).astype(input.dtype),
        )

    def conv(self, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        options = (stride, padding, dilation, groups)
        geometry = Geometry.conv(input.shape, weight.shape, *options)
        return self._call(
            geometry, input, weight, bias, lambda: reference.conv(input, weight, bias, *options).astype(input.dtype)
        )

    def _call(self, geometry: Geometry, input: Any, weight: Any, bias: Any, define: Any) -> Any:
        if filters(geometry):
            self.filtered += 1
            return _run(geometry, input, weight, bias)
        self.others += 1
        return define().astype(input.dtype)


@pytest.fixture
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with boxes_of_few_tiles(monkeypatch, 60 << 10):
        yield


@pytest.mark.long(but=lambda limits, op: not limits and op == "conv_transpose")
@pytest.mark.parametrize("op", ["conv_transpose", "conv"])
@pytest.mark.parametrize("limits", [{}, {"ranks": (1, 2), **_LIMITS}], ids=["all ranks", "many channels"])
def test_equals_the_definition(op: Any, limits: dict[str, Any]) -> None:
    calls = _Calls()
    _check(getattr(calls, op), op=op, dtypes=_DTYPES, **limits)
    assert calls.filtered > calls.others / 4


@pytest.mark.long(but=lambda op: op == "conv")
@pytest.mark.usefixtures("_small_boxes", "several_threads")
@pytest.mark.parametrize("op", ["conv_transpose", "conv"])
def test_equals_the_definition_in_small_boxes(op: Any) -> None:
    calls = _Calls()
    _check(getattr(calls, op), op=op, dtypes=_DTYPES, max_kernel=6, max_elements=3000)
    assert calls.filtered > calls.others / 4


# Input, weight, stride, padding, groups: layers of networks, with more channels than are added up at once, more outputs
# than a block has, groups, several samples in a box, other filters along rows than along columns, a volume, and rows
# whose last vector ends behind what is gathered of several times as many channels as a vector has lanes.
_LAYERS = [
    ((3, 64, 8, 8), (64, 70, 4, 4), 2, 1, 1),
    ((1, 600, 6, 5), (600, 9, 4, 4), 2, 1, 1),
    ((2, 40, 19, 33), (40, 5, 5, 5), 2, 2, 2),
    ((2, 6, 70), (6, 20, 16), 8, 4, 1),
    ((2, 7, 9, 9), (7, 8, 3, 3), 1, 1, 1),
    ((1, 6, 9, 10), (6, 8, 4, 2), 2, 0, 1),
    ((1, 6, 9, 10), (6, 8, 1, 4), 2, 0, 1),
    ((1, 5, 3, 6, 7), (5, 8, 4, 4, 4), 2, 1, 1),
    ((1, 5, 3, 6, 7), (5, 8, 3, 3, 3), 2, 1, 1),
    ((1, 48, 3, 4), (48, 4, 4, 4), 2, 2, 1),
]


def _geometry(layer: Any) -> Geometry:
    input, weight, stride, padding, groups = layer
    return Geometry.conv_transpose(input, weight, stride, padding, groups=groups)


def _drawn(layer: Any, transposed: bool, dtype: str = "float32") -> tuple[Geometry, Any, Any, Any]:
    input, weight, stride, padding, groups = layer
    geometry = _geometry(layer)
    w = integers(*weight, dtype=dtype)
    if transposed:
        return geometry, integers(*input, dtype=dtype), w, integers(geometry.large_channels, dtype=dtype)
    large = geometry.large_shape
    x = integers(*large, dtype=dtype)
    return Geometry.conv(large, weight, stride, padding, 1, groups), x, w, integers(input[1], dtype=dtype)


@pytest.mark.long(but=lambda transposed, dtype: transposed == (dtype == "float32"))
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "forward"])
@pytest.mark.parametrize("layer", _LAYERS)
def test_layers_equal_the_definition(layer: Any, transposed: bool, dtype: str) -> None:
    geometry, input, weight, bias = _drawn(layer, transposed, dtype)
    _, _, stride, padding, groups = layer
    define = reference.conv_transpose if transposed else reference.conv
    expected = define(input, weight, bias, stride, padding, groups=groups)
    np.testing.assert_array_equal(_run(geometry, input, weight, bias), expected)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "forward"])
@pytest.mark.parametrize("layer", _LAYERS)
def test_same_bits_from_any_number_of_threads(layer: Any, transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry, input, weight, bias = _drawn(layer, transposed)
    input, weight = (each * np.float32(np.pi) for each in (input, weight))
    several = [_run(geometry, input, weight, bias) for _ in range(3)]
    monkeypatch.setenv("CUPY_KST_THREADS", "1")
    alone = _run(geometry, input, weight, bias)
    assert all(np.array_equal(each, alone) for each in several)


def test_a_4x4_filter_of_stride_2_takes_36_products_in_place_of_64() -> None:
    geometry = _geometry(((2, 16, 8, 8), (16, 64, 4, 4), 2, 1, 1))
    for each in (geometry, Geometry.conv(geometry.large_shape, geometry.weight_shape, 2, 1)):
        assert template.winograd(each, "f", 2).plan.macs == 2 * 4 * 4 * 36 * 16 * 64


@pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "forward"])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_errors_are_bounded_by_those_of_three_times_the_sums_along_each_axis(kernel: int, transposed: bool) -> None:
    """The products of a pair, ``(|d0| + |d1|)*|g0| + |d1|*(|g0| + |g1|)``, are at most ``3*max|d|*(|g0| + |g1|)``."""
    layer = (4, 1, 9, 9), (1, 1, kernel, kernel), 2, kernel // 2, 1
    geometry, input, weight, _ = _drawn(layer, transposed)
    draw = np.random.default_rng(kernel)
    # Numbers of one magnitude lose little in the bound.
    x, w = (draw.uniform(0.9, 1, a.shape) * draw.choice([-1, 1], a.shape) for a in (input, weight))
    x, w = x.astype("f4"), w.astype("f4")
    define = reference.conv_transpose if transposed else reference.conv
    expected, sizes = (
        define(*map(np.float64, pair), None, 2, kernel // 2) for pair in ((x, w), (np.ones_like(x), abs(w)))
    )
    # Half a place of each sum, and of the combinations: one along each axis of inputs, of weights and of outputs.
    taps = (-(-kernel // 2)) ** 2 if transposed else kernel**2
    bound = (taps + 6) * np.finfo("f4").eps / 2 * sizes
    # Inputs beyond the border are zeros, whose neighbours are not.
    inner = np.s_[:, :, 2:-2, 2:-2]
    minimal, plain = (run(geometry, x, w, None)[inner] for run in (_run, _run_plain))
    assert_within(plain, expected[inner], bound[inner])
    assert_within(minimal, expected[inner], 9 * bound[inner])
    assert np.max(np.abs(minimal - expected[inner]) / bound[inner]) > 0.01


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("transposed", [True, False], ids=["transposed", "forward"])
def test_what_touches_a_value_that_is_not_finite_is_not_finite(transposed: bool, value: float) -> None:
    layer = (2, 5, 7, 6), (5, 4, 5, 5), 2, 2, 1
    geometry, input, weight, bias = _drawn(layer, transposed)
    define = reference.conv_transpose if transposed else reference.conv
    for array, at in ((input, (1, 2, 3, 3)), (weight, (2, 1, 1, 3))):
        before = array[at]
        array[at] = value
        with np.errstate(all="ignore"):
            expected = define(input, weight, bias, 2, 2)
            found, plain = (run(geometry, input, weight, bias) for run in (_run, _run_plain))
        touched = ~np.isfinite(expected)
        assert touched.any()
        assert not np.isfinite(found[touched]).any()
        # What it reaches beside that, it reaches by products with zeros beyond the border, as without.
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(plain))
        array[at] = before


def test_no_samples() -> None:
    geometry = _geometry(((0, 8, 6, 6), (8, 8, 4, 4), 2, 1, 1))
    assert _run(geometry, np.empty((0, 8, 6, 6), "f4"), integers(8, 8, 4, 4), None).shape == (0, 8, 12, 12)


@pytest.mark.parametrize("layer", _LAYERS)
def test_tables_lead_to_numbers_of_a_box(layer: Any) -> None:
    """Also where whole squares are read of fewer outputs, and products of more positions than there are."""
    geometry = _geometry(layer)
    for each in (geometry, Geometry.conv(geometry.large_shape, geometry.weight_shape, *layer[2:4], 1, layer[4])):
        space, plan = template.space(each, 4), template.winograd(each, "f", 2).plan
        lanes, planes, sums = space.tile.lanes, space.box.samples * space.sample, space.sums * space.point
        terms, apart, pairs_apart = space.strides
        last = plan.tables["outputs"].max() + apart + (pairs_apart if terms == 4 else 0) + space.tile.block
        assert (
            last + (space.box.depth * space.box.samples - 1) * space.box.height * space.box.width * space.tile.block
            <= sums
        )
        assert plan.tables["places"].max() + plan.inputs.max() + space.channels <= planes
        for box in plan.tables["boxes"]:
            assert box["first_place"] + box["places"] <= len(plan.tables["places"])
            # The last square of a run of outputs side by side.
            run = box["contiguous"]
            last = box["first_output"] + box["outputs"] - run
            assert last + -(-run // lanes) * lanes <= len(plan.tables["outputs"])
