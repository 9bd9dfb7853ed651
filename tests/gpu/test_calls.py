"""Calls on a GPU from the public functions down to launches: CuPy is a fake, kernels run on the emulator or nowhere."""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from cupy_kst import Prepared, conv_transpose2d, grad, prepare
from cupy_kst.gpu.executable import ALIGNMENT
from cupy_kst.methods import methods
from cupy_kst.testing import examples
from tests import emulator
from tests.support.engines import RESTRICTIONS, expected, last, options_of_prepared
from tests.support.fake_cupy import Array, Device, Fake, FakeCuPy, NoKernels

OPS = ("conv_transpose", "conv", "conv_input", "conv_transpose_input")
DRAW = np.random.default_rng(0)
X, W = DRAW.integers(-3, 4, (2, 4, 7, 6)).astype("f4"), DRAW.integers(-3, 4, (4, 3, 3, 3)).astype("f4")
B = np.arange(3, dtype="f4")


def workspace_of(cupy: FakeCuPy, prepared: Prepared, shape: Any) -> Array | None:
    size = prepared.workspace_bytes(shape)
    return cupy.asarray(np.empty(size, np.uint8)) if size else None


@pytest.mark.long(but=lambda op, method: op == "conv" and method != "auto")
@pytest.mark.parametrize(("op", "method"), [(op, method) for op in OPS for method in ("auto", *methods(op))])
def test_prepared_gives_the_numbers_of_the_definition(op: str, method: str, emulated: FakeCuPy) -> None:
    # Every case has kernels of its own to compile.
    @settings(max_examples=5)
    @given(examples(op=op, dtypes=("float32", "bfloat16", "complex64"), **RESTRICTIONS.get(method, {})))
    def same(example: Any) -> None:
        case, arrays = example
        weight, bias = (None if each is None else emulated.asarray(each) for each in (arrays.weight, arrays.bias))
        prepared: Any = prepare(weight, bias, op=op, method=method, **options_of_prepared(case))
        x = emulated.asarray(arrays.input if op in ("conv_transpose", "conv") else arrays.grad_output)
        result = prepared(x)
        np.testing.assert_array_equal(result.host, expected(case, arrays))
        workspace = workspace_of(emulated, prepared, x.shape)
        assert prepared(x, result, workspace) is result
        np.testing.assert_array_equal(result.host, expected(case, arrays))

    same()


@pytest.mark.long(but=lambda beforehand, data_format: beforehand == "call" and data_format == "channels_last")
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("beforehand", ["call", "compile"])
@pytest.mark.parametrize("method", methods("conv_transpose"))
def test_calls_only_launch(method: str, beforehand: str, data_format: Any, emulated: FakeCuPy) -> None:
    """Anything else could not be captured in a CUDA graph."""
    right = conv_transpose2d(X, W, B, stride=2, padding=1)
    prepared = prepare(*map(emulated.asarray, (W, B)), stride=2, padding=1, method=method, data_format=data_format)
    x, out = X, np.full_like(right, np.nan)
    if data_format == "channels_last":
        x, out = (np.ascontiguousarray(last(each, 2)) for each in (x, out))
    arrays = emulated.asarray(x), emulated.asarray(out)
    workspace = workspace_of(emulated, prepared, x.shape)
    if beforehand == "call":
        prepared(arrays[0])
    else:
        prepared.compile([x.shape])
        assert len([each for each in emulated.log if each.startswith("launch")]) == (method in ("ks_deconv", "split"))
    out[...] = np.nan
    emulated.log.clear()
    assert prepared(*arrays, workspace) is arrays[1]
    assert {each.split()[0] for each in emulated.log} == {"launch"}
    np.testing.assert_array_equal(last(right, 2) if data_format == "channels_last" else right, out)


def test_a_prepared_weight_takes_kernels_of_its_own_build_at_once(fake: Fake) -> None:
    texts = []

    class Noting(NoKernels):
        def compile(self, text: str, *rest: Any, **more: Any) -> Any:
            texts.append(text)
            return super().compile(text, *rest, **more)

    cupy = fake(Noting())
    prepare(cupy.asarray(W), stride=2)(cupy.asarray(X))
    assert all("#define KW 3\n" in text for text in texts)
    conv_transpose2d(cupy.asarray(X), cupy.asarray(W), stride=2)
    assert "#define KW (p.kernel_w)" in texts[-1]


@pytest.mark.long(but=lambda method: method == "ks_deconv")
@pytest.mark.parametrize("method", ["ks_deconv", "split"])
def test_one_packed_weight_serves_inputs_of_all_sizes(method: str, emulated: FakeCuPy) -> None:
    shapes = [X.shape, (3, 4, 5, 9), (4, 2, 2)]
    prepared = prepare(emulated.asarray(W), stride=2, padding=1, method=method)
    for shape in shapes:
        x = DRAW.integers(-3, 4, shape).astype("f4")
        np.testing.assert_array_equal(prepared(emulated.asarray(x)).host, conv_transpose2d(x, W, stride=2, padding=1))
    assert len([each for each in emulated.log if each in ("launch split_and_rotate", "launch split_filter")]) == 1


def test_compiling_shapes_makes_their_kernels_in_threads(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(2)

    class Meeting(NoKernels):
        def compile(self, text: str, name: str, *rest: Any, **more: Any) -> Any:
            # The two shapes take different tiles.
            if name == "multiply_classes":
                together.wait(30)
            return super().compile(text, name, *rest, **more)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    cupy = fake(Meeting())
    weight = cupy.asarray(np.ones((64, 64, 4, 4), "f4"))
    prepared = prepare(weight, stride=2, padding=1, method="ks_deconv")
    prepared.compile([(64, 4, 4), (32, 64, 64, 64)])
    assert not together.broken
    assert cupy.log.count("compile multiply_classes") == 2


def test_compiling_raises_what_a_call_would(fake: Fake) -> None:
    cupy = fake(NoKernels())
    prepared = prepare(cupy.asarray(W), stride=2)
    prepared.compile([])
    for shape in [(5, 9, 9), (4, 9), (4, 0, 3)]:
        with pytest.raises(ValueError) as of_call:
            prepared(cupy.asarray(np.ones(shape, "f4")))
        with pytest.raises(ValueError) as found:
            prepared.compile([X.shape, shape])
        assert str(found.value) == str(of_call.value)


def test_weights_are_there_before_calls_on_other_streams_may_read_them(fake: Fake) -> None:
    cupy = fake(NoKernels())
    weight, bias = cupy.asarray(W.astype("c8")), cupy.asarray(np.ones(3, "c8"))
    prepared = prepare(weight, op="conv_transpose_input")
    assert cupy.log == ["empty", "flip bits", "synchronize"]
    prepare(weight.transpose(1, 0, 2, 3), bias, op="conv")
    assert cupy.log[3:] == ["empty", "empty", "synchronize"]
    prepared.update(weight)
    assert cupy.log[6:] == ["empty", "flip bits", "synchronize"]


def test_an_updated_weight_is_packed_again(emulated: FakeCuPy) -> None:
    prepared = prepare(emulated.asarray(W), stride=2, method="ks_deconv")
    x = emulated.asarray(X)
    prepared(x)
    prepared.update(emulated.asarray(2 * W))
    np.testing.assert_array_equal(prepared(x).host, conv_transpose2d(X, 2 * W, stride=2))


def test_threads_share_a_prepared_weight_while_it_is_updated(fake: Fake) -> None:
    emulator.require()
    cupy = fake(emulator.Emulator())
    weights, inputs = (W, 2 * W), [X, X[:1], X[:, :, 2:], X[:, :, :, :3]]
    right = [[conv_transpose2d(x, weight, stride=2) for weight in weights] for x in inputs]
    prepared = prepare(cupy.asarray(W), stride=2, method="ks_deconv")

    def call(number: int) -> None:
        for turn in range(6):
            if number == 0:
                prepared.update(cupy.asarray(weights[turn % 2]))
            found = prepared(cupy.asarray(inputs[(number + turn) % 4])).host
            assert any(np.array_equal(found, each) for each in right[(number + turn) % 4])

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(call, number) for number in range(8)]:
            each.result()
    packed = cupy.log.count("launch split_and_rotate")
    # At most once for every weight and shape.
    assert 1 <= packed <= 7 * len(inputs)


def test_calls_run_on_the_device_of_the_weight(emulated: FakeCuPy) -> None:
    with Device(1):
        weight, x = emulated.asarray(W), emulated.asarray(X.transpose(0, 1, 3, 2))
    prepared = prepare(weight, stride=2)
    right = conv_transpose2d(X.transpose(0, 1, 3, 2), W, stride=2)
    result = prepared(x)
    assert result.device.id == 1
    np.testing.assert_array_equal(result.host, right)
    np.testing.assert_array_equal(conv_transpose2d(x, weight, stride=2).host, right)
    other = emulated.asarray(X)
    with pytest.raises(ValueError, match=r"x is on <CUDA Device 0> and weight on <CUDA Device 1>: move one of them"):
        prepared(other)
    with pytest.raises(ValueError, match=r"x is on <CUDA Device 1> and out on <CUDA Device 0>: move one of them"):
        prepared(x, emulated.asarray(result.host))
    with pytest.raises(ValueError, match=r"weight is on <CUDA Device 1> and bias on <CUDA Device 0>: move one of them"):
        prepare(weight, emulated.asarray(B))


def test_what_breaks_a_rule_of_workspaces_is_refused_with_the_rule(fake: Fake) -> None:
    cupy = fake(NoKernels())
    prepared = prepare(cupy.asarray(W), method="split")
    memory = np.empty(2**16, np.uint8)
    x = cupy.asarray(memory[2**15 :].view("f4")[: X.size].reshape(X.shape))
    out = cupy.asarray(memory.view("f4")[2**11 :][: 2 * 3 * 9 * 8].reshape(2, 3, 9, 8))
    needed = prepared.workspace_bytes(X.shape)
    assert 0 < needed < 2**13

    def refused(workspace: Any, message: str) -> None:
        with pytest.raises(ValueError) as found:
            prepared(x, out, workspace)
        assert str(found.value) == message

    fits = cupy.asarray(memory[:needed])
    assert prepared(x, out, fits) is out
    refused(fits.view("i1"), f"workspace has shape ({needed},) and dtype int8: expected one contiguous axis of uint8")
    refused(fits[1:], f"workspace has {needed - 1} bytes: this call takes {needed}")
    refused(cupy.asarray(memory[8 : 8 + needed]), "workspace begins 8 bytes behind a multiple of 256")
    refused(cupy.asarray(memory[: 2**13 + 1]), "workspace overlaps out in memory: pass an array of its own")
    start = 2**15 + 4 * X.size - 1 & -256
    refused(cupy.asarray(memory[start : start + needed]), "workspace overlaps x in memory: pass an array of its own")
    with Device(1):
        elsewhere = cupy.asarray(memory[:needed])
    refused(elsewhere, "workspace is on <CUDA Device 1> and x on <CUDA Device 0>: move one of them")
    with pytest.raises(TypeError, match="x is a CuPy array and workspace a NumPy array"):
        prepared(x, out, memory[:needed])


@pytest.mark.parametrize("op", OPS)
def test_out_apart_from_the_input(op: str, fake: Fake) -> None:
    """A kernel that wrote its own input would read sums where it expects inputs."""
    cupy = fake(NoKernels())
    weight, memory = np.zeros((4, 4, 3, 3), "f4"), np.zeros(2 * X.size, "f4")
    x, *outs = (cupy.asarray(memory[start : start + X.size].reshape(X.shape)) for start in (0, 1, X.size - 1, X.size))
    for method in methods(op):
        prepared: Any = prepare(cupy.asarray(weight), op=op, padding=1, method=method)
        prepared.compile([x.shape])
        cupy.log.clear()
        for out in (x, *outs[:2]):
            with pytest.raises(ValueError, match=r"^out overlaps \w+ in memory: pass an array of its own$"):
                prepared(x, out)
        assert not cupy.log
        assert prepared(x, outs[2]) is outs[2]


SPLIT = {"f4": "f32/32x32/split3", "f2": "f16/32x64/split3", "c8": "c64/32x32/split3"}


@pytest.mark.parametrize(
    ("method", "split", "parts"), [("zero_insertion", True, 2), ("ks_deconv", True, 1), ("split", False, 1)]
)
def test_parts_of_a_workspace_begin_where_arrays_do(method: str, split: bool, parts: int, fake: Fake) -> None:
    """No power of two divides the sizes of these maps."""
    cupy = fake(NoKernels())
    for dtype, form in SPLIT.items():
        weight = cupy.asarray(W.astype(dtype))
        prepared = prepare(weight, stride=2, padding=1, method=method, form=form if split else None)
        shape = (*X.shape[:3], 5)
        call: Any = prepared._bind(prepared._weight, shape)
        found = call._executable._parts
        assert len(found) == parts
        for part, end in zip(found, (0, *(each.stop for each in found[:-1])), strict=True):
            assert part.start % ALIGNMENT == 0 <= part.start - end
            assert part.stop - part.start == part.dtype.itemsize * int(np.prod(part.shape))
        assert found[-1].stop <= prepared.workspace_bytes(shape)


def test_a_workspace_of_two_parts(emulated: FakeCuPy) -> None:
    x, weight = X[..., :5].astype("f2"), W.astype("f2")
    how: Any = {"stride": 2, "padding": 1, "method": "zero_insertion"}
    prepared = prepare(emulated.asarray(weight), **how, form=SPLIT["f2"])
    result = prepared(emulated.asarray(x), None, workspace_of(emulated, prepared, x.shape))
    np.testing.assert_array_equal(result.host, conv_transpose2d(x, weight, **how))


@pytest.mark.parametrize(("start", "overlaps"), [(32, False), (52, False), (28, True), (56, True)])
def test_what_lies_between_the_rows_of_an_input_does_not_overlap_it(start: int, overlaps: bool, fake: Fake) -> None:
    """Rows of 30 elements begin 96 apart, and the output has 42: the bounds touch, and bytes are reckoned with.

    Outputs begin at multiples of 16 bytes, so that kernels write them as they are.
    """
    cupy = fake(NoKernels())
    memory = np.ones(8 * 48, "f4")
    x = cupy.asarray(memory.reshape(8, 48)[::2, :30].reshape(1, 4, 5, 6))
    out = cupy.asarray(memory[start : start + 42].reshape(1, 1, 6, 7))
    weight = cupy.asarray(np.ones((4, 1, 2, 2), "f4"))
    calls = {"input": lambda: conv_transpose2d(x, weight, out=out), "x": lambda: prepare(weight)(x, out)}
    for name, call in calls.items():
        if overlaps:
            with pytest.raises(ValueError, match=f"^out overlaps {name} in memory: pass an array of its own$"):
                call()
        else:
            assert call() is out
    with pytest.raises(ValueError, match=r"^workspace overlaps x in memory: pass an array of its own$"):
        prepare(weight, method="unified")(x, None, cupy.asarray(memory[:42].view("u1")))


def test_gradients_of_weights_reach_the_device(emulated: FakeCuPy) -> None:
    y = conv_transpose2d(X, W, stride=2)
    found = grad.conv_transpose2d_weight(emulated.asarray(X), W.shape, emulated.asarray(y), stride=2)
    np.testing.assert_array_equal(found.host, grad.conv_transpose2d_weight(X, W.shape, y, stride=2))


@pytest.mark.long(but=lambda dtype: dtype == "c8")
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_gradients_are_computed_on_the_device_of_their_arrays(emulated: FakeCuPy, dtype: Any) -> None:
    x, w = ((array + 1j * np.flip(array)).astype(dtype) for array in (X, W))
    y = conv_transpose2d(x, w, stride=2) * np.array(1 - 2j, dtype)
    arguments = {"input": (x.shape, w, y), "weight": (x, w.shape, y), "bias": (y,)}
    options = {"input": {"stride": 2}, "weight": {"stride": 2}, "bias": {}}
    for name, handed in arguments.items():
        of = getattr(grad, f"conv_transpose2d_{name}")
        with Device(1):
            moved = [emulated.asarray(each.copy()) if isinstance(each, np.ndarray) else each for each in handed]
        found = of(*moved, **options[name])
        assert found.device.id == 1
        np.testing.assert_array_equal(found.host, of(*handed, **options[name]))
    with Device(1):
        none = emulated.asarray(x[:0]), w.shape, emulated.asarray(y[:0])
    assert not grad.conv_transpose2d_weight(*none, stride=2).host.any()


@pytest.mark.parametrize("method", ["unified", "ks_deconv"])
def test_a_prepared_call_takes_little_python(method: str, fake: Fake) -> None:
    """A launch by CuPy takes about 6 us of it; everything around must take less. Measured without launching."""
    cupy = fake(NoKernels())
    prepared = prepare(cupy.asarray(W), stride=2, method=method)
    x = cupy.asarray(X)
    out = prepared(x)
    cupy.RawKernel.__call__ = lambda self, grid, block, args, *, shared_mem: None

    def yardstick() -> None:
        for number in range(100):
            str(number)

    def shortest(call: Callable[[], Any]) -> float:
        return min(timeit.repeat(call, number=100, repeat=50))

    # Half as long as the yardstick of 4 us where this was written.
    assert min(shortest(lambda: prepared(x, out)) / shortest(yardstick) for _ in range(3)) < 1.5


@pytest.mark.gpu
@pytest.mark.parametrize("method", methods("conv_transpose"))
def test_a_graph_captures_calls(method: str) -> None:
    import cupy

    prepared = prepare(cupy.asarray(W), cupy.asarray(B), stride=2, method=method)
    prepared.compile([X.shape])
    x, right = cupy.zeros_like(cupy.asarray(X)), conv_transpose2d(X, W, B, stride=2)
    out, size = cupy.empty(right.shape, right.dtype), prepared.workspace_bytes(X.shape)
    workspace = cupy.empty(size, np.uint8) if size else None
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        stream.begin_capture()
        prepared(x, out, workspace)
        graph = stream.end_capture()
        x[...] = cupy.asarray(X)
        graph.launch()
    stream.synchronize()
    np.testing.assert_array_equal(cupy.asnumpy(out), right)
