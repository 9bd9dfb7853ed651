"""Prepared weights: the numbers of an unprepared call, packed once, in memory that the caller may give."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import cupy_kst
from cupy_kst import Geometry, conv2d, conv_transpose2d, cpu, grad, prepare
from cupy_kst.cpu import engine as cpu_engine
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import Engine, form_names
from cupy_kst.methods import methods
from cupy_kst.problem import Choice
from cupy_kst.testing import Case, examples
from cupy_kst.weight_cache import WeightCache
from tests import emulator
from tests.support.engines import RESTRICTIONS, expected, options_of_prepared, public
from tests.support.problems import problem_of
from tests.support.skips import need_compiled

OPS = ("conv_transpose", "conv", "conv_input", "conv_transpose_input")
X, W, B = np.ones((2, 4, 7, 6), "f4"), np.ones((4, 3, 3, 3), "f4"), np.ones(3, "f4")


@pytest.mark.long(but=lambda op: op == "conv_transpose")
@pytest.mark.parametrize(("op", "method"), [(op, method) for op in OPS for method in ("auto", *methods(op))])
def test_gives_the_numbers_of_an_unprepared_call(op: str, method: str) -> None:
    @settings(max_examples=60)
    @given(examples(op=op, dtypes=("float32", "bfloat16", "complex64"), **RESTRICTIONS.get(method, {})))
    def same(example):
        case, arrays = example
        prepared = prepare(arrays.weight, arrays.bias, op=op, method=method, **options_of_prepared(case))
        x = arrays.input if op in ("conv_transpose", "conv") else arrays.grad_output
        result = prepared(x)
        assert result.dtype == case.dtype
        np.testing.assert_array_equal(result, expected(case, arrays))
        assert prepared.workspace_bytes(x.shape) == 0
        assert method == "auto" or method in prepared.costs(x.shape)
        assert prepared.explain(x.shape).startswith(f"{op} in {case.dtype}: input {x.shape}")

    same()


def test_the_weight_is_a_copy_until_it_is_updated() -> None:
    weight, bias = W.copy(), B.copy()
    prepared = prepare(weight, bias, stride=2)
    before = prepared(X)
    weight[...], bias[...] = 7, 7
    np.testing.assert_array_equal(prepared(X), before)
    prepared.update(weight)
    np.testing.assert_array_equal(prepared(X), conv_transpose2d(X, weight, B, stride=2))


def test_complex_weights_are_conjugated_for_gradients_also_after_an_update() -> None:
    weight = (W + 2j).astype("c8")
    x = conv2d((np.ones((1, 3, 7, 6)) * 1j).astype("c8"), weight)
    prepared = prepare(weight, op="conv_input")
    for each in (weight, 3 * weight):
        prepared.update(each)
        np.testing.assert_array_equal(prepared(x), grad.conv2d_input((1, 3, 7, 6), each, x))


def test_out_and_channels_last() -> None:
    prepared = prepare(W, B, stride=2, data_format="channels_last")
    x = np.ascontiguousarray(np.moveaxis(X, 1, -1))
    y = prepared(x)
    out = np.full_like(y, np.nan)
    assert prepared(x, out) is out
    np.testing.assert_array_equal(out, np.moveaxis(conv_transpose2d(X, W, B, stride=2), 1, -1))


def test_dtype_converts_the_weight() -> None:
    prepared = prepare(W.astype("f8"), B.astype("f8"), dtype="float32")
    assert prepared(X).dtype == "float32"
    with pytest.raises(TypeError, match="x has dtype float64 and the prepared weight has dtype float32"):
        prepared(X.astype("f8"))


def test_compile_takes_several_shapes() -> None:
    prepared = prepare(W, stride=2)
    prepared.compile([X.shape, (4, 9, 9)])
    with pytest.raises(ValueError, match="has 5 channels"):
        prepared.compile([(5, 9, 9)])
    with pytest.raises(TypeError, match=r"^each of shapes=2: expected a sequence of ints$"):
        prepared.compile(X.shape)


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize(
    ("op", "method", "form"),
    [
        (op, method, form)
        for op, method in (("conv", "conv_v2"), ("conv_transpose", "ks_deconv"), ("conv_transpose_input", "conv_v2"))
        for form in cpu.FORMS[method]
    ],
)
def test_one_weight_serves_inputs_whose_padding_differs(op: Any, method: str, form: str, padding: str) -> None:
    """What is packed must not be taken for sizes that read the filter in another order: so do pads by their size."""
    if cpu.is_compiled(method, form):
        need_compiled()
    draw = np.random.default_rng(0).integers
    exact, calls = ("unified" if op == "conv_transpose" else "direct"), 0
    for stride, dilation, kernel in product((1, 2, 3), (1, 2), (3, 4, 5, 7)):
        weight = draw(-2, 3, (8, 6, kernel)).astype("f4")
        how: Any = {"op": op, "stride": stride, "dilation": dilation, "padding": padding}
        pinned, right = prepare(weight, **how, method=method, form=form), prepare(weight, **how, method=exact)
        channels = 6 if op == "conv" else 8
        for size in (20, 21, 22, 23):
            x = draw(-2, 3, (2, channels, size)).astype("f4")
            if op == "conv_transpose_input":
                x = draw(-2, 3, (2, 6, size * stride)).astype("f4")
            try:
                found = pinned(x)
            except ValueError as error:
                # Minimal filtering does not suit a filter of classes of few taps.
                assert "for these shapes" in str(error)
                continue
            np.testing.assert_array_equal(found, right(x))
            calls += 1
    assert calls >= 16


def test_what_it_is_can_be_read() -> None:
    shown = repr(prepare(W, op="conv", stride=(2, 1), data_format="channels_last"))
    assert shown == (
        f"<Prepared conv in float32: weight of shape {W.shape}, stride=(2, 1), padding=0, output_padding=0, groups=1, "
        "dilation=1, method='auto', data_format='channels_last'>"
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prepare(W, op="conv_weight"), ValueError, "op='conv_weight': a weight's gradient has no weight to p"),
        (lambda: prepare(W, B, op="conv_input"), ValueError, "op='conv_input': a gradient of the input has no bias"),
        (lambda: prepare(W, op="conv", output_padding=1), ValueError, "op='conv': a convolution takes no output_padd"),
        (lambda: prepare(W, data_format="NCHW"), ValueError, "data_format='NCHW': there is 'channels_first'"),
        (lambda: prepare(W, precision="half"), ValueError, "precision='half': there is 'ieee'"),
        (lambda: prepare(W.tolist()), TypeError, "weight is a list: expected a NumPy or CuPy array"),
        (lambda: prepare(W, B.astype("f8")), TypeError, "weight has dtype float32 and bias has dtype float64"),
        (lambda: prepare(W[0, 0]), ValueError, "weight has shape (3, 3): expected 3, 4 or 5 dimensions"),
        (lambda: prepare(W, B[:2]), ValueError, "bias has shape (2,): the output has 3 channels"),
        (lambda: prepare(W, stride=0), ValueError, "stride=0: must be at least 1"),
        (lambda: prepare(W, groups=3), ValueError, "groups=3 does not divide the 4"),
        (lambda: prepare(W, method="fast"), ValueError, "method='fast': conv_transpose has 'auto', 'zero_insertion'"),
        (lambda: prepare(W, method="direct"), ValueError, "method='direct': conv_transpose has 'auto'"),
        (
            lambda: prepare(W, form="numpy_im2col"),
            ValueError,
            "form='numpy_im2col': forms are of one method; name it, too: me",
        ),
        (lambda: prepare(W, method="split", form="fast"), ValueError, "form='fast': in NumPy split has 'numpy_im2col'"),
        (
            lambda: prepare(W, op="conv_input", output_padding=1, stride=2)(X[0, 0]),
            ValueError,
            "x has shape (7, 6)",
        ),
        (
            lambda: prepare(W, op="conv_transpose_input", output_padding=1, stride=2)(X[0, 0]),
            ValueError,
            "x has shape (7, 6)",
        ),
        (lambda: prepare(W).update(W[:2]), ValueError, "weight is a numpy array of shape (2, 3, 3, 3): prepared was a"),
        (lambda: prepare(W).update(W.astype("f8")), TypeError, "weight has dtype float64 and the prepared weight has "),
        (lambda: prepare(W)([1]), TypeError, "x is a list: expected a NumPy or CuPy array"),
        (lambda: prepare(W)(X[:, :3]), ValueError, "has 3 channels, but weight of shape (4, 3, 3, 3) takes 4"),
        (lambda: prepare(W)(X, workspace=X.reshape(-1).view("u1")), ValueError, "workspace overlaps x in memory: pass"),
        (lambda: prepare(W)(X, workspace=np.frombuffer(b"12", "u1")), ValueError, "workspace is read-only"),
        (lambda: prepare(W)(X, workspace=X), ValueError, "workspace has shape (2, 4, 7, 6) and dtype float32: expecte"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_rule(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert message in str(found.value)


def test_a_form_is_pinned_and_explained() -> None:
    for form in cpu.FORMS["ks_deconv"]:
        prepared = prepare(W, method="ks_deconv", form=form)
        assert f"NumPy: ks_deconv/{form}, as asked for" in prepared.explain(X.shape)
        np.testing.assert_array_equal(prepared(X), conv_transpose2d(X, W))
        # A weight of NumPy has no device, though what a GPU would do is shown beside.
        assert prepared.explain(X.shape).endswith("\non CUDA: as NVIDIA H200 would take it")


@pytest.mark.gpu
@pytest.mark.parametrize(("op", "method"), [("conv_transpose", "ks_deconv"), ("conv", "conv_v2"), ("conv", "direct")])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_every_form_on_a_device(op: Any, method: str, data_format: Any) -> None:
    import cupy

    weight, map_ = np.arange(66 * 35 * 12).reshape(66, 35, 4, 3) % 5 - 2, np.arange(2 * 66 * 35).reshape(2, -1, 7, 5)
    channels = 66 if op == "conv_transpose" else 35
    x = (np.resize(map_, (3, channels, 6, 7)) % 7 - 3).astype("f4")
    right = {"conv_transpose": conv_transpose2d, "conv": conv2d}[op](x, weight.astype("f4"), stride=(1, 2), padding=1)
    last = data_format == "channels_last"
    given_ = cupy.asarray(np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x)
    for name in form_names(method, DTYPES["float32"], channels_last=last):
        form = name.replace("splitN", "split2")
        prepared = prepare(
            cupy.asarray(weight.astype("f4")),
            op=op,
            stride=(1, 2),
            padding=1,
            method=method,
            form=form,
            data_format=data_format,
        )
        result = cupy.asnumpy(prepared(given_))
        assert f"): {method}/{form}, as asked for" in prepared.explain(given_.shape)
        np.testing.assert_array_equal(np.moveaxis(result, -1, 1) if last else result, right)


@pytest.mark.long(but=lambda method, channels_last: method == "split" and channels_last)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("method", ["ks_deconv", "split", "unified", "segregated"])
def test_the_weight_is_packed_once_and_the_workspace_is_the_callers(method: str, channels_last: bool) -> None:
    emulator.require()
    geometry = Geometry.conv_transpose(X.shape, W.shape, 2, 1)
    launched: Counter[str] = Counter()
    allocated: list[int] = []

    class Counting(emulator.Emulator):
        def launch(self, kernel: Any, *rest: Any) -> None:
            launched[kernel.name] += 1
            super().launch(kernel, *rest)

        def empty(self, shape: Any, dtype: Any) -> Any:
            allocated.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
            return super().empty(shape, dtype)

    engine, cache = Engine(Counting("asan")), WeightCache()
    problem = problem_of(method, geometry, channels_last=channels_last)
    x = np.arange(X.size, dtype="f4").reshape(X.shape) % 5
    workspace = np.zeros(engine.workspace_bytes(problem, Choice(method)), np.uint8)
    right = conv_transpose2d(x, W, stride=2, padding=1)
    for number in range(3):
        small, large = x.reshape(geometry.full_small_shape), np.full(geometry.full_large_shape, np.nan, "f4")
        if channels_last:
            small, large = (np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in (small, large))
        arrays = {"small": small, "weight": W[:, :, None], "large": large}
        engine.run(problem, Choice(method), arrays, cache, workspace if workspace.size else None)
        out = np.moveaxis(large, -1, 1) if channels_last else large
        np.testing.assert_array_equal(out.reshape(right.shape), right)
        if number == 0:
            of_weight = len(allocated)
    assert len(allocated) == of_weight == (1 if method in ("ks_deconv", "split") else 0)
    assert launched.get("split_filter", launched.get("split_and_rotate", 1)) == 1
    assert workspace.size == 0 or method == "split"


def test_public_names() -> None:
    assert isinstance(prepare(W), cupy_kst.Prepared)
    assert public(Case("conv_input", (), (0,) * 4, False, "", (), (), (), 1, (), ())) is grad.conv2d_input


def test_copies_and_pickles_compute_the_same() -> None:
    prepared = prepare(W, B, stride=2)
    right = prepared(X)
    for other in (copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
        np.testing.assert_array_equal(other(X), right)


def test_nobody_has_what_the_device_is_still_making() -> None:
    """A call on another stream waits until what was packed is there."""
    settling, settled = Event(), Event()

    def settle() -> None:
        settling.set()
        assert settled.wait(10)

    cache = WeightCache(settle)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "key", lambda: "made")
        assert settling.wait(10)
        second = pool.submit(cache.get, "key", lambda: "made again")
        with pytest.raises(TimeoutError):
            second.result(0.2)
        settled.set()
        assert (first.result(10), second.result(10)) == ("made", "made")


def test_a_store_has_a_size() -> None:
    cache = WeightCache()
    for number in range(1000):
        assert cache.get(number, lambda number=number: [number]) == [number]
    assert len(cache._made) < 100


def test_float16_weights_whose_sum_overflows_are_finite() -> None:
    weight = np.full((256, 256, 1, 1), 2, "f2")
    with np.errstate(over="ignore"):
        assert not np.isfinite(weight.sum())
    assert cpu_engine._is_finite(weight)
    weight[3, 4] = np.inf
    assert not cpu_engine._is_finite(weight)
