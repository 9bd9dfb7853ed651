"""Finite values that overflow in minimal filtering: calls that name no form compute them again without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import cupy_kst
from cupy_kst import cpu, grad, prepare
from cupy_kst.cpu import engine
from cupy_kst.cpu.form import Form
from cupy_kst.dtypes import DTYPES
from cupy_kst.prepared import PreparedOp
from tests.support.engines import first, last
from tests.support.problems import problem_of

from .jit_calls import boxes_of_few_tiles, poisoned, several_threads

__all__ = ["poisoned", "several_threads"]

# Each operation with its method that has a form by minimal filtering, and the one that it is compared with.
_METHODS: dict[PreparedOp, tuple[str, str]] = {
    "conv_transpose": ("ks_deconv", "unified"),
    "conv": ("conv_v2", "direct"),
    "conv_input": ("ks_deconv", "unified"),
    "conv_transpose_input": ("conv_v2", "direct"),
}
every_op = pytest.mark.parametrize("op", _METHODS)
# The same code in another type takes as long to compile.
pytestmark = pytest.mark.long(but=lambda dtype="float32": dtype != "float64")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let calls take minimal filtering wherever it can compute them, and list the forms that compute."""
    found: list[str] = []
    ranked = engine.ranked

    def minimal_first(forms: tuple[Form, ...], *shapes: Any) -> tuple[Form, ...]:
        return tuple(sorted(ranked(forms, *shapes), key=lambda form: form.name != "jit_winograd"))

    def seen(form: str, run: Callable[..., Any], *arguments: Any) -> Any:
        found.append(form)
        return run(*arguments)

    monkeypatch.setattr(engine, "ranked", minimal_first)
    for forms in cpu.FORMS.values():
        for name, form in list(forms.items()):
            monkeypatch.setitem(forms, name, replace(form, run=partial(seen, name, form.run)))
    cpu.form_names.cache_clear()
    yield found
    cpu.form_names.cache_clear()


@pytest.fixture
def small_boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with boxes_of_few_tiles(monkeypatch, 8 << 10):
        yield


class Layer(NamedTuple):
    """Shapes of a transposed convolution, and its options."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int = 2
    padding: int = 1
    groups: int = 1

    @property
    def rank(self) -> int:
        return len(self.weight) - 2

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    @property
    def output(self) -> tuple[int, ...]:
        return cupy_kst.Geometry.conv_transpose(self.input, self.weight, **self.options).output_shape

    def read(self, op: PreparedOp) -> tuple[int, ...]:
        """Return the shape of the map that an operation reads."""
        return self.input if op in ("conv_transpose", "conv_input") else self.output


PLAIN = Layer((2, 4, 5, 6), (4, 6, 4, 4))
LAYERS = {
    "1-D": Layer((2, 4, 21), (4, 6, 4)),
    "2-D": PLAIN,
    "3-D": Layer((1, 2, 3, 4, 5), (2, 3, 4, 4, 4)),
    "groups": Layer((2, 8, 5, 4), (8, 5, 5, 5), 2, 2, 2),
    "stride 1": Layer((2, 3, 7, 6), (3, 5, 3, 3), 1),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))


def call(op: PreparedOp, layer: Layer, x: Any, w: Any, *, channels_last: bool = False, **more: Any) -> Any:
    """Return what the public function of an operation makes of a map whose channels come first."""
    options: dict[str, Any] = {**layer.options, **more}
    to_format = partial(last, rank=layer.rank) if channels_last else (lambda array: array)
    options["data_format"] = "channels_last" if channels_last else "channels_first"
    if op in ("conv_transpose", "conv"):
        result = getattr(cupy_kst, f"{op}{layer.rank}d")(to_format(x), w, **options)
    else:
        # The sizes of the map that the gradient is of.
        sizes = to_format(np.empty(layer.output if op == "conv_input" else layer.input)).shape
        result = getattr(grad, f"{op[:-6]}{layer.rank}d_input")(sizes, w, to_format(x), **options)
    return first(result, layer.rank) if channels_last else result


def prepared(op: PreparedOp, layer: Layer, x: Any, w: Any, **more: Any) -> Any:
    return prepare(w, op=op, **layer.options, **more)(x)


def apart(op: PreparedOp, layer: Layer) -> int:
    """Return the distance of inputs whose difference minimal filtering makes: they meet neighbouring taps."""
    return 1 if _METHODS[op][0] == "ks_deconv" else layer.stride


def alternating(shape: tuple[int, ...], apart: int) -> Any:
    """Return an array of 1 and -1, of opposite signs where `apart` along a spatial axis."""
    return (-1) ** (np.indices(shape)[2:] // apart).sum(0)


def largest(dtype: str) -> float:
    return float(ml_dtypes.finfo(dtype).max)


def drawn(dtype: str, x: Any, w: Any) -> tuple[Any, Any]:
    """Return the same in an element type, with imaginary parts where it has them."""
    if DTYPES[dtype].compute.kind == "c":
        x, w = x * (1 - 1j), w * (1 + 0.5j)
    return x.astype(dtype), w.astype(dtype)


@every_op
@every_dtype
@pytest.mark.parametrize("operand", ["input", "weight"])
def test_values_up_to_the_largest_float(op: PreparedOp, dtype: str, operand: str, computed: list[str]) -> None:
    """Even the absolute values of the terms add up to less, so that no order of them overflows."""
    layer, generator = PLAIN, np.random.default_rng(0)
    terms, element = prod(layer.weight), DTYPES[dtype]
    # There is no minimal filtering of complex numbers.
    minimal = 4 if element.compute.kind == "f" else 0
    for fraction in (0.25, 0.5, 1.0):
        of_x, of_w = fraction * largest(dtype), 1 / (2 * terms)
        if operand == "weight":
            of_x, of_w = of_w, of_x
        x, w = drawn(
            dtype,
            alternating(layer.read(op), apart(op, layer)) * of_x,
            alternating(layer.weight, 1) * generator.uniform(0.25, 1, layer.weight) * of_w,
        )
        right = call(op, layer, x, w, method=_METHODS[op][1])
        assert np.isfinite(right).all()
        sizes = call(op, layer, abs(x), abs(w), method=_METHODS[op][1])
        # Each of two results is rounded in each sum, and where it is stored.
        bound = 2 * terms * np.finfo(element.compute).eps * sizes + ml_dtypes.finfo(dtype).eps * abs(right)
        computed.clear()
        for way in (call, prepared):
            for method in ("auto", _METHODS[op][0]):
                assert (abs(way(op, layer, x, w, method=method) - right) <= bound).all()
        # Numbers of 16 bits are far from the largest of those that they are computed in, unless they are bfloat16.
        overflows = fraction > 0.25 and dtype in ("bfloat16", "float32", "float64")
        assert (len(computed), computed.count("jit_winograd")) == ((8, 4) if overflows else (4, minimal))


@pytest.mark.usefixtures("small_boxes", "several_threads")
@every_op
@every_layer
@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
def test_one_tile_that_overflows_wherever_it_is(
    op: PreparedOp, layer: Layer, channels_last: bool, computed: list[str]
) -> None:
    generator = np.random.default_rng(0)
    # Powers of two, so that sums of two products are rounded once.
    w = (generator.choice([-1, 1], layer.weight) * 2.0 ** generator.integers(-9, -1, layer.weight)).astype("f4")
    shape, most = layer.read(op), np.finfo("f4").max
    samples, channels, *sizes = shape
    positions, distance, again = samples * prod(sizes), apart(op, layer), 0
    places = range(0, positions, 1 + positions // 80)
    for place in places:
        sample, *at, column = np.unravel_index(place, (samples, *sizes))
        line = (sample, place % channels, *at)
        x = np.zeros(shape, "f4")
        x[(*line, column)] = most
        x[(*line, column + distance if column + distance < shape[-1] else column - distance)] = -most
        computed.clear()
        found = call(op, layer, x, w, channels_last=channels_last)
        assert computed[0] == "jit_winograd"
        again += len(computed) == 2
        np.testing.assert_array_equal(found, call(op, layer, x, w, method=_METHODS[op][1]))
    assert again > 0.9 * len(places)


@pytest.mark.usefixtures("computed")
@every_op
@every_dtype
def test_sums_that_are_infinite_come_out_as_such(op: PreparedOp, dtype: str) -> None:
    layer, most = PLAIN, largest(dtype)
    x = np.zeros(layer.read(op))
    # In the middle of one sample two neighbours, and nothing else: sums of both are infinite, of one are not.
    x[1, 1, 2, [2, 2 + apart(op, layer)]] = 1
    x, w = x * most, np.ones(layer.weight)
    x, w = x.astype(dtype), w.astype(dtype)
    right = call(op, layer, x, w, method=_METHODS[op][1])
    assert np.isinf(right).any() and np.isfinite(right).any()
    for way in (call, prepared):
        np.testing.assert_array_equal(way(op, layer, x, w), right)


@every_op
@pytest.mark.parametrize("method", ["auto", "named"])
def test_what_is_finite_is_computed_once(op: PreparedOp, method: str, computed: list[str], poisoned: None) -> None:
    """Whatever memory holds beside the outputs, and whatever the bias is."""
    layer = PLAIN
    x, w = (np.random.default_rng(0).standard_normal(shape).astype("f4") for shape in (layer.read(op), layer.weight))
    name = _METHODS[op][0] if method == "named" else "auto"
    assert np.isfinite(call(op, layer, x, w, method=name)).all()
    assert computed == ["jit_winograd"]
    if op in ("conv_transpose", "conv"):
        bias = np.full(6 if op == "conv_transpose" else 4, np.inf, "f4")
        assert np.isposinf(call(op, layer, x, w, bias=bias, method=name)).all()
        assert computed == ["jit_winograd"] * 2


@every_op
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_input_that_is_not_finite_is_computed_once(op: PreparedOp, value: float, computed: list[str]) -> None:
    layer = PLAIN
    x, w = (np.random.default_rng(0).standard_normal(shape).astype("f4") for shape in (layer.read(op), layer.weight))
    x[0, 1, 2, 3] = value
    for way in (call, prepared):
        computed.clear()
        found = way(op, layer, x, w)
        assert computed == ["jit_winograd"]
        touched = ~np.isfinite(call(op, layer, x, w, method=_METHODS[op][1]))
        assert not np.isfinite(found[touched]).any()


@every_op
def test_a_weight_that_is_not_finite_is_left_to_a_method_that_is_exact(op: PreparedOp, computed: list[str]) -> None:
    """By "auto": a method that is named multiplies zeros by it at borders."""
    layer = PLAIN
    x, w = (np.random.default_rng(0).standard_normal(shape).astype("f4") for shape in (layer.read(op), layer.weight))
    w[1, 2, 0, 3] = np.inf
    # A tile that overflows beside it.
    x[1, 0, 1:3] = alternating((1, 1, 2, x.shape[-1]), apart(op, layer)) * np.finfo("f4").max
    right = call(op, layer, x, w, method=_METHODS[op][1])
    computed.clear()
    np.testing.assert_array_equal(call(op, layer, x, w), right)
    assert computed[0] == "jit_winograd" and len(computed) == 2
    computed.clear()
    np.testing.assert_array_equal(prepared(op, layer, x, w), right)
    assert len(computed) == 1
    computed.clear()
    call(op, layer, x, w, method=_METHODS[op][0])
    assert computed == ["jit_winograd"]


@pytest.mark.usefixtures("computed")
@every_op
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_form_that_is_pinned_stays(op: PreparedOp, dtype: str) -> None:
    layer = PLAIN
    x = (alternating(layer.read(op), apart(op, layer)) * largest(dtype)).astype(dtype)
    w = np.full(layer.weight, 2**-9, dtype)
    pinned = {"method": _METHODS[op][0], "form": "jit_winograd"}
    assert not np.isfinite(prepared(op, layer, x, w, **pinned)).all()
    assert np.isfinite(prepared(op, layer, x, w)).all()


@pytest.mark.usefixtures("computed")
@every_op
def test_whatever_overflows_nothing_is_said(op: PreparedOp) -> None:
    layer = PLAIN
    w = np.ones(layer.weight, "f4")
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for value in (np.finfo("f4").max, np.inf, np.nan):
            for way in (call, prepared):
                assert not np.isfinite(way(op, layer, np.full(layer.read(op), value, "f4"), w)).all()


def test_a_layer_that_takes_minimal_filtering_by_itself() -> None:
    layer = Layer((2, 128, 16, 16), (128, 64, 4, 4))
    x = np.float32(2e38) * alternating(layer.input, 1).astype("f4")
    w = np.random.default_rng(0).standard_normal(layer.weight).astype("f4") * np.float32(2**-12)
    geometry = cupy_kst.Geometry.conv_transpose(layer.input, layer.weight, **layer.options)
    assert cpu.form_names(problem_of("ks_deconv", geometry), "ks_deconv")[0] == "jit_winograd"
    found, right = (call("conv_transpose", layer, x, w, method=method) for method in ("auto", "unified"))
    assert np.isfinite(right).all()
    bound = 2 * 4 * 128 * np.finfo("f4").eps * call("conv_transpose", layer, abs(x), abs(w), method="unified")
    assert (abs(found - right) <= bound).all()
