"""Options that speak of axes or shapes, in both layouts and every rank, against the channels-first call."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupy_kst import Cost, Geometry, conv_transpose1d, conv_transpose2d, conv_transpose3d, costs, explain, grad, prepare
from cupy_kst.testing import Case, arguments, cases, integer_arrays
from tests.support.engines import first, last, options_of_prepared, public
from tests.support.fake_cupy import FakeCuPy

FORMATS = ("channels_first", "channels_last")
OPS = ("conv_transpose", "conv", "conv_input", "conv_weight", "conv_transpose_input", "conv_transpose_weight")
TRANSPOSED = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}
X, W = np.arange(2 * 4 * 5 * 4, dtype="f4").reshape(2, 4, 5, 4) % 7, np.arange(432, dtype="f4").reshape(4, 12, 3, 3) % 5


def laid_out(shape: tuple[int, ...], rank: int, data_format: str) -> tuple[int, ...]:
    return shape if data_format == "channels_first" else last(np.empty(shape), rank).shape


def with_wishable_size(case: Case) -> Case:
    """Return a case whose output padding is less than a stride, as much as a wished size may add."""
    extra = tuple(min(each, step - 1) for each, step in zip(case.output_padding, case.stride, strict=True))
    case = dataclasses.replace(case, output_padding=extra)
    sizes = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options).output_shape[-case.rank :]
    return dataclasses.replace(case, output_sizes=sizes)


def on_cuda(found: dict[str, Cost]) -> dict[str, Cost]:
    """Return costs without what the CPU takes, which depends on the layout and on what is prepared."""
    return {name: dataclasses.replace(cost, cpu_form="", cpu_workspace_bytes=0) for name, cost in found.items()}


def wishable() -> st.SearchStrategy[Case]:
    """Draw transposed convolutions whose output padding a wished size may stand for."""
    # A pad takes no more than what is there without output padding.
    return cases("conv_transpose", output_padding=False).flatmap(
        lambda case: st.tuples(*(st.integers(0, step - 1) for step in case.stride)).map(
            lambda extra: with_wishable_size(dataclasses.replace(case, output_padding=extra))
        )
    )


@pytest.mark.parametrize("data_format", FORMATS)
def test_output_size_is_spatial_or_a_whole_shape_in_the_layout(data_format: Any) -> None:
    @settings(max_examples=30)
    @given(wishable(), st.data())
    def same(case: Case, data: st.DataObject) -> None:
        arrays = data.draw(integer_arrays(case))
        function, rank = TRANSPOSED[case.rank], case.rank
        right = function(arrays.input, arrays.weight, arrays.bias, **case.options)
        options = {name: value for name, value in case.options.items() if name != "output_padding"}
        x = last(arrays.input, rank) if data_format == "channels_last" else arrays.input
        whole = laid_out(right.shape, rank, data_format)
        for size in (right.shape[-rank:], whole, list(whole), np.array(whole)):
            how = {**options, "output_size": size, "data_format": data_format}
            found = function(x, arrays.weight, arrays.bias, **how)
            assert found.shape == whole
            np.testing.assert_array_equal(first(found, rank) if data_format == "channels_last" else found, right)
        prepared = prepare(arrays.weight, arrays.bias, **how)
        prepared.compile([x.shape])
        np.testing.assert_array_equal(prepared(x), found)
        right = costs(case.input_shape, case.weight_shape, **case.options)
        assert on_cuda(prepared.costs(x.shape)) == on_cuda(right)
        assert prepared.explain(x).startswith(f"conv_transpose in float32: input {x.shape}, weight ")
        assert f"output {whole}" in prepared.explain(x)
        assert explain(x, case.weight_shape, **how).splitlines()[0] == prepared.explain(x).splitlines()[0]

    same()


@pytest.mark.parametrize("op", ["conv_input", "conv_transpose_input"])
@pytest.mark.parametrize("data_format", FORMATS)
def test_output_size_of_prepared_gradients_is_that_of_the_larger_map(op: Any, data_format: Any) -> None:
    @settings(max_examples=20)
    @given(cases(op, output_padding=False), st.data())
    def same(case: Case, data: st.DataObject) -> None:
        arrays = data.draw(integer_arrays(case))
        right = public(case)(**arguments(case, arrays), **case.options)
        options = options_of_prepared(case)
        del options["output_padding"]
        large = laid_out(case.output_shape if case.transposed else case.input_shape, case.rank, data_format)
        g = last(arrays.grad_output, case.rank) if data_format == "channels_last" else arrays.grad_output
        spatial = (case.output_shape if case.transposed else case.input_shape)[-case.rank :]
        for size in (spatial, large):
            found = prepare(arrays.weight, op=op, output_size=size, data_format=data_format, **options)(g)
            np.testing.assert_array_equal(first(found, case.rank) if data_format == "channels_last" else found, right)

    same()


@pytest.mark.parametrize("op", OPS)
def test_shapes_of_costs_and_explain_are_in_the_layout(op: Any) -> None:
    @settings(max_examples=15)
    @given(cases(op))
    def same(case: Case) -> None:
        options = case.options if op in ("conv", "conv_transpose") else {**case.options}
        if op.startswith("conv_transpose"):
            options["output_padding"] = case.output_padding
        shapes, in_last = case.input_shape, laid_out(case.input_shape, case.rank, "channels_last")
        right = costs(shapes, case.weight_shape, op=op, **options)
        found = costs(in_last, case.weight_shape, op=op, data_format="channels_last", **options)
        assert on_cuda(found) == on_cuda(right)
        text = explain(in_last, case.weight_shape, op=op, data_format="channels_last", **options)
        output = laid_out(case.output_shape, case.rank, "channels_last")
        # A long line is wrapped.
        forward = "" if op in ("conv", "conv_transpose") else ", of the forward call"
        shown = f"{op} in float32{forward}: input {in_last}, weight {case.weight_shape}, output {output} "
        assert " ".join(text.split()).startswith(shown)

    same()


def test_arrays_stand_for_their_shapes_and_element_type() -> None:
    in_last = last(X, 2)
    assert costs(X, W, stride=2) == costs(X.shape, W.shape, stride=2)
    found = costs(in_last, W, stride=2, data_format="channels_last")
    assert on_cuda(found) == on_cuda(costs(X.shape, W.shape, stride=2))
    assert costs(X, W.shape, dtype="float64") == costs(X.shape, W.shape, dtype="float64")
    double = X.astype("f8"), W.astype("f8")
    assert costs(*double) == costs(X.shape, W.shape, dtype="float64") != costs(X, W)
    assert explain(*double) == explain(X.shape, W.shape, dtype="float64")
    assert explain(*double, dtype="float32") == explain(X, W) == explain(X.shape, W.shape)
    with pytest.raises(TypeError, match=r"^input_shape has dtype float64 and weight_shape has dtype float32: "):
        explain(double[0], W)
    prepared = prepare(W, stride=2)
    assert prepared.explain(X) == prepared.explain(X.shape)
    assert prepared.costs(X) == prepared.costs(X.shape)
    assert prepared.workspace_bytes(X) == 0
    prepared.compile([X, X[0]])
    with pytest.raises(TypeError, match=r"^shapes is an array: expected a sequence of shapes$"):
        prepared.compile(X)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_batch_or_channels_that_contradict_the_call_are_refused(rank: int, unbatched: bool, data_format: Any) -> None:
    sizes = (5, 4, 3)[:rank]
    shape = (4, *sizes) if unbatched else (2, 4, *sizes)
    x, w = np.ones(laid_out(shape, rank, data_format), "f4"), np.ones((4, 3, *(3,) * rank), "f4")
    made = TRANSPOSED[rank](x, w, stride=2, groups=2, data_format=data_format).shape
    channel = -1 if data_format == "channels_last" else len(made) - rank - 1
    wrong = {"channels": [*made]}
    wrong["channels"][channel] = 7
    rules = {
        "channels": f"it has 7 channels, but weight of shape {w.shape} with groups=2 makes 6",
    }
    if not unbatched:
        wrong["batch"] = [7, *made[1:]]
        rules["batch"] = f"its batch is 7, but that of {{}} of shape {x.shape} is 2"
    for which, size in wrong.items():
        how: Any = {"stride": 2, "groups": 2, "data_format": data_format, "output_size": size}
        rule = f"output_size={tuple(size)}: {rules[which]}"
        with pytest.raises(ValueError, match=re.escape(rule.format("input"))):
            TRANSPOSED[rank](x, w, **how)
        with pytest.raises(ValueError, match=re.escape(rule.format("x"))):
            prepare(w, **how)(x)
        # What no call could make is refused when the weight is prepared.
        if which == "channels":
            with pytest.raises(ValueError, match=re.escape(rule)):
                prepare(w, **how)


def test_a_whole_shape_with_its_channels_last() -> None:
    x = np.ones((1, 5, 5, 4), "f4")
    for channels in (12, 3):
        w = np.ones((4, channels, 3, 3), "f4")
        shape = (1, 11, 12, channels)
        y = conv_transpose2d(x, w, stride=2, output_size=shape, data_format="channels_last")
        assert y.shape == shape
    # A first axis that would be the channels in front: the layout is told.
    with pytest.raises(ValueError, match=r"; with data_format='channels_first' the channels are first$"):
        conv_transpose2d(np.ones((1, 4, 5, 5), "f4"), w, stride=2, output_size=shape)
    for word in ("it has 11 channels", "possible are"):
        with pytest.raises(ValueError, match=word):
            size = (1, 3, 12, 11) if word.startswith("it") else (13, 13)
            conv_transpose2d(x, w, stride=2, output_size=size, data_format="channels_last")


@pytest.mark.long(but=lambda data_format: data_format == "channels_last")
@pytest.mark.parametrize("data_format", FORMATS)
def test_output_size_of_prepared_weights_on_a_gpu(data_format: Any, emulated: FakeCuPy) -> None:
    right = conv_transpose2d(X, W, stride=2, output_size=(12, 9))
    x = np.ascontiguousarray(last(X, 2)) if data_format == "channels_last" else X
    size = laid_out(right.shape, 2, data_format)
    prepared = prepare(emulated.asarray(W), stride=2, output_size=size, data_format=data_format)
    found = prepared(emulated.asarray(x))
    np.testing.assert_array_equal(first(found.host, 2) if data_format == "channels_last" else found.host, right)
    shown = prepared.explain(x.shape)
    assert f"input {x.shape}, weight {W.shape}, output {size}\n" in shown
    assert prepared.workspace_bytes(x.shape) == prepared.workspace_bytes(emulated.asarray(x))
    assert on_cuda(prepared.costs(x.shape)) == on_cuda(costs(X.shape, W.shape, stride=2, output_size=(12, 9)))
    with pytest.raises(ValueError, match=re.escape(f"output_size={size}: its batch is 2, but that of x of shape")):
        prepared(emulated.asarray(x[:1]))
    of_input = prepare(
        emulated.asarray(W), op="conv_transpose_input", stride=2, output_size=size, data_format=data_format
    )
    found = of_input(
        emulated.asarray(np.ascontiguousarray(last(right, 2)) if data_format == "channels_last" else right)
    )
    wanted = grad.conv_transpose2d_input(X.shape, W, right, stride=2)
    np.testing.assert_array_equal(first(found.host, 2) if data_format == "channels_last" else found.host, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_size": (11, 12), "output_padding": 1}, "output_size=(11, 12) and output_padding=(1, 1) both settle"),
        (
            {"output_size": (11, 12), "output_padding": 1, "op": "conv_input"},
            "output_size=(11, 12) and output_padding=(1, 1) both settle the output: give one of them",
        ),
        (
            {"output_size": (11, 12), "output_padding": 1, "op": "conv_transpose_input"},
            "output_size=(11, 12) and output_padding=(1, 1) both settle the output: give one of them",
        ),
        ({"output_size": 11, "op": "conv"}, "op='conv': a convolution takes no output_size"),
        ({"output_size": (2, 2)}, "output_size=(2, 2): the smallest output, that of one input, has size (3, 3)"),
        ({"output_size": (11,)}, "output_size=(11,): expected 2 spatial sizes, or a shape of 4 dimensions, or of 3"),
        ({"output_size": 11, "padding": "same"}, "padding='same' makes the output input * stride: give no output_pad"),
        ({"output_size": 0}, "output_size=0: must be at least 1"),
    ],
)
def test_output_sizes_that_no_call_could_have_are_refused_when_prepared(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        prepare(W, stride=2, **options)


def test_calls_whose_size_a_prepared_weight_cannot_make_are_refused() -> None:
    prepared = prepare(W, stride=2, output_size=(12, 9))
    message = "output_size=(12, 9): possible are (13, 9) to (14, 10) for x of shape (2, 4, 6, 4) and weight of shape"
    with pytest.raises(ValueError, match=re.escape(message)):
        prepared(np.ones((2, 4, 6, 4), "f4"))
    of_input = prepare(W, stride=2, output_size=(12, 9), op="conv_transpose_input")
    message = "x has shape (2, 12, 12, 10), but was prepared for output_size=(12, 9)"
    with pytest.raises(ValueError, match=re.escape(message)):
        of_input(np.ones((2, 12, 12, 10), "f4"))
