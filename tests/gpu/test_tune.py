"""The search for forms and what it keeps: kernels run on the emulator, times are planned, files are real."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry, conv_transpose2d, explain, prepare, tune
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build.runtime import load_cupy
from cupy_kst.gpu.engine import Engine, form_names, tuned_form
from cupy_kst.gpu.select.device import REFERENCE
from cupy_kst.gpu.tuning import search, timer, tuned_forms
from cupy_kst.methods import METHODS, methods
from cupy_kst.problem import Choice, Problem
from tests import emulator
from tests.support.fake_cupy import Fake, FakeCuPy, NoKernels

F32 = DTYPES["float32"]
GEOMETRY = Geometry.conv_transpose((2, 5, 4, 3), (5, 4, 3, 3), 2, 1)
PROBLEM = Problem("conv_transpose", GEOMETRY, F32)
FORMS = [name for name in form_names("ks_deconv", F32) if "N" not in name]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CUPY_KST_TUNED", "1")


class Timer:
    """Arrays of the emulator, and times as they are planned: by default the later a form is tried the shorter."""

    def __init__(self, seconds: Callable[[int], float] = lambda turn: 1 / (1 + turn)) -> None:
        self.timed: list[list[Callable[[], None]]] = []
        self._seconds = seconds

    def put(self, array: Any) -> Any:
        return array.copy()

    def get(self, array: Any) -> Any:
        return array

    def seconds(self, calls: Sequence[Callable[[], None]]) -> float:
        self.timed.append(list(calls))
        return self._seconds(len(self.timed) - 1)


class Nothing(NoKernels):
    """A runtime on which all kernels make zeros."""

    def limits(self) -> Any:
        return REFERENCE

    def launch(self, kernel: Any, grid: Any, block: Any, args: Any) -> None:
        args[-2][...] = 0


def run(
    times: Timer,
    engine: Engine | None = None,
    store: tuned_forms.Store | None = None,
    problem: Problem = PROBLEM,
    method: str = "ks_deconv",
) -> search.Tuning:
    return search.search(engine or Engine(Nothing()), times, store or tuned_forms.store(), problem, method)


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "dtype"), [("ks_deconv", "float32"), ("conv_v2", "complex64"), ("sk_dilated", "float16")]
)
def test_every_form_is_right_and_the_fastest_is_taken(method: str, dtype: str) -> None:
    emulator.require()
    element, engine, times = DTYPES[dtype], Engine(emulator.Emulator()), Timer()
    problem = Problem(METHODS[method].operation, GEOMETRY, element)
    found = run(times, engine, problem=problem, method=method)
    names = {name for each in form_names(method, element) for name in (each.replace("N", "8"), each.replace("N", "2"))}
    assert names | {found.estimated} <= set(found.seconds)
    assert list(found.seconds.values()) == sorted(found.seconds.values())
    assert found.form == next(iter(found.seconds))
    assert found.form != found.estimated == str(engine.estimated(problem, method).form)
    for calls in times.timed:
        calls[0]()
    assert str(engine.plan(problem, Choice(method)).form) == found.form


def test_calls_that_were_bound_before_take_the_tuned_form_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Nothing(), "specialised")
    choice = Choice("ks_deconv")
    before = engine.bind(PROBLEM, choice)
    assert engine.bind(PROBLEM, choice) is before
    run(Timer(), engine)
    assert engine.bind(PROBLEM, choice) is not before
    monkeypatch.setenv("CUPY_KST_TUNED", "0")
    assert engine.plan(PROBLEM, choice) is engine.estimated(PROBLEM, "ks_deconv")


def test_forms_that_cannot_be_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Limited(Engine):
        def plan(self, problem: Problem, choice: Choice) -> Any:
            if choice.form is not None and choice.form.startswith("f32/128"):
                raise ValueError("this device has no such tensor cores")
            return super().plan(problem, choice)

    # Sums in more parts take more memory than this.
    monkeypatch.setattr(search, "_WORKSPACE", 8 * 4 * 192)
    monkeypatch.setattr(search, "_TIMES", 0)
    found = run(Timer(), Limited(Nothing()), problem=replace(PROBLEM, operation="conv_weight"), method="sk_dilated")
    assert set(found.seconds) == {
        f"f32/{tile}{parts}" for tile in ("64x64", "32x32") for parts in ("", "/split2", "/split4", "/split8")
    }


@pytest.mark.long
def test_a_form_with_wrong_results_is_left_out() -> None:
    emulator.require()

    class Wrong(emulator.Emulator):
        def compile(self, text: str, *rest: Any, **more: Any) -> Any:
            kernel = super().compile(text, *rest, **more)
            if kernel.name == "multiply_classes" and "TILE_M 32" in text and "TRIMMED 1" in text:
                self.wrong = kernel
            return kernel

        def launch(self, kernel: Any, grid: Any, block: Any, args: Any, *rest: Any) -> None:
            super().launch(kernel, grid, block, args, *rest)
            if kernel == self.wrong:
                args[-2].reshape(-1)[7] += 1

    with pytest.warns(UserWarning, match="^ks_deconv/f32/32x32/trimmed gives wrong results here and is left out"):
        found = run(Timer(), Engine(Wrong()))
    assert set(FORMS) - set(found.seconds) == {"f32/32x32/trimmed"}


def test_a_form_that_leaves_zeros_unwritten_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of a device often holds zeros, which would pass for results that are 0."""
    emulator.require()

    class Skipping(emulator.Emulator):
        skipped, wrong = 0, None

        def compile(self, text: str, *rest: Any, **more: Any) -> Any:
            kernel = super().compile(text, *rest, **more)
            if kernel.name == "multiply_classes" and "TILE_M 64" in text:
                self.wrong = kernel
            return kernel

        def launch(self, kernel: Any, grid: Any, block: Any, args: Any, *rest: Any) -> None:
            out = args[-2]
            before = out.copy()
            super().launch(kernel, grid, block, args, *rest)
            if kernel == self.wrong:
                self.skipped += np.count_nonzero(out == 0)
                np.copyto(out, before, where=out == 0)

    forms = "f32/32x32", "f32/64x64"
    monkeypatch.setattr(search, "_candidates", lambda problem, method: iter(forms))
    runtime = Skipping()
    with pytest.warns(UserWarning, match="^ks_deconv/f32/64x64 gives wrong results here and is left out"):
        found = run(Timer(), Engine(runtime))
    assert runtime.skipped
    assert set(forms) - set(found.seconds) == {"f32/64x64"}


@pytest.mark.parametrize(("gain", "taken"), [(0.99, False), (0.97, True)])
def test_the_estimate_is_kept_unless_another_is_clearly_faster(gain: float, taken: bool) -> None:
    # The estimate is the first that is tried.
    found = run(Timer(lambda turn: gain if turn == 3 else 1.0 + turn))
    assert (found.form != found.estimated) is taken
    assert tuned_forms.store().get(_key()) == found.form


@pytest.mark.long
def test_calls_are_timed_on_more_arrays_than_a_cache_holds() -> None:
    problem = replace(PROBLEM, geometry=Geometry.conv_transpose((1, 256, 32, 32), (256, 128, 4, 4), 2, 1))
    times = Timer()
    touched: set[int] = set()

    class Noting(Nothing):
        def launch(self, kernel: Any, grid: Any, block: Any, args: Any) -> None:
            super().launch(kernel, grid, block, args)
            touched.update(each.ctypes.data for each in args[:-1] if isinstance(each, np.ndarray))

    run(times, Engine(Noting()), problem=problem)
    sizes = 4 * (256 * 32 * 32 + 256 * 128 * 16 + 128 * 64 * 64)
    for calls in times.timed:
        assert 4 * REFERENCE.l2_bytes <= len(calls) * sizes < 4 * REFERENCE.l2_bytes + sizes
        seen: set[int] = set()
        for call in calls:
            touched.clear()
            call()
            # The maps and the packed weight; a workspace may be that of all.
            assert len(touched - seen) >= 3
            seen |= touched


def _key(problem: Problem = PROBLEM, device: Any = REFERENCE, method: str = "ks_deconv") -> str:
    return tuned_forms.key(device, method, problem)


def test_what_may_have_another_fastest_form_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*shapes: Any) -> Problem:
        return replace(PROBLEM, geometry=Geometry.conv_transpose(*shapes))

    base = ((2, 5, 4, 3), (5, 4, 3, 3))
    keys = [
        _key(),
        _key(device=replace(REFERENCE, name="another")),
        _key(device=replace(REFERENCE, capability=(10, 0))),
        _key(method="segregated"),
        _key(replace(PROBLEM, dtype=DTYPES["float16"])),
        _key(replace(PROBLEM, channels_last=True)),
        _key(replace(PROBLEM, precision="tf32")),
        *(_key(of(*base, *options)) for options in [(1, 1), (2, 0), (2, 1, 1), (2, 1, 0, 1, 2), (2, ((1, 0), (0, 1)))]),
        _key(of((3, 5, 4, 3), (5, 4, 3, 3), 2, 1)),
        _key(of((2, 5, 4, 3), (5, 2, 3, 3), 2, 1)),
        _key(of((2, 4, 4, 3), (4, 2, 3, 3), 2, 1)),
        _key(of((2, 4, 4, 3), (4, 1, 3, 3), 2, 1, 0, 2)),
        _key(of((2, 5, 3, 4), (5, 4, 3, 3), 2, 1)),
    ]
    monkeypatch.setattr(tuned_forms, "_kernels", lambda: "another text")
    keys.append(_key())
    assert len(set(keys)) == len(keys)


def test_keys_are_of_what_is_computed_however_it_is_called() -> None:
    same = Geometry.conv((4, 7, 5), (5, 4, 3, 3), 2, 1)
    batched = Geometry.conv_transpose((1, 5, 4, 3), (5, 4, 3, 3), 2, 1)
    assert _key(replace(PROBLEM, geometry=same)) == _key(replace(PROBLEM, geometry=batched))
    half = replace(PROBLEM, dtype=DTYPES["float16"])
    assert _key(half) == _key(replace(half, precision="tf32"))


def test_explain_says_what_was_tuned_and_for_which_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def line() -> str:
        text = explain((2, 5, 4, 3), (5, 4, 3, 3), stride=2, padding=1, method="ks_deconv")
        return next(each for each in text.splitlines() if each.startswith("CUDA"))

    before = line()
    tuned_forms.store().put(_key(), FORMS[-1], 1e-6)
    assert line() == f"CUDA (NVIDIA H200): ks_deconv/{FORMS[-1]}, tuned, as asked for"
    monkeypatch.setenv("CUPY_KST_TUNED", "0")
    assert line() == before
    assert "tuned" not in before


def test_a_form_that_there_is_none_of_is_passed_over() -> None:
    tuned_forms.store().put(_key(), "f32/1x1", 1e-6)
    assert tuned_form("ks_deconv", PROBLEM, REFERENCE) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"version": 1}',
        b'{"version": 2, "forms": {}}',
        b'{"version": 1, "forms": {"a": 1}}',
        b'{"version": 1, "forms": {"a": {"form": null}}}',
        b'{"version": 1, "forms": {"a": {"form": "f32/12',
    ],
)
def test_a_file_that_was_spoilt_is_ignored_with_one_warning_and_rewritten(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_bytes(content)
    store = tuned_forms.Store(path)
    with pytest.warns(UserWarning, match=f"^tuned forms are ignored: {path} is not readable: ") as found:
        assert store.get("a") is None
        assert store.get("a") is None
        store.put("b", "form", 1.0)
    assert len(found) == 1
    assert (store.get("b"), tuned_forms.Store(path).get("b")) == ("form", "form")
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["tuned.json", "tuned.json.lock"]


def test_a_directory_that_cannot_be_written_costs_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = tuned_forms.Store(tmp_path / "file" / "tuned.json")
    with pytest.warns(UserWarning, match="what was tuned is lost with this process"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tuned forms are ignored")
        found = run(Timer(), store=store)
    assert store.get(_key()) == found.form


def _put_some(path: Path, writer: int) -> None:
    store = tuned_forms.Store(path)
    for number in range(20):
        store.put(f"{writer} {number}", "form", 1.0)


def test_writers_at_one_time_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    with ProcessPoolExecutor(4) as pool:
        for writer in [pool.submit(_put_some, path, writer) for writer in range(4)]:
            writer.result()
    store = tuned_forms.Store(path)
    assert all(store.get(f"{writer} {number}") for writer in range(4) for number in range(20))


def test_the_oldest_go_from_a_full_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned_forms, "_MOST", 2)
    path = tmp_path / "tuned.json"
    for name in "abac":
        tuned_forms.Store(path).put(name, "form", 1.0)
    assert list(json.loads(path.read_text())["forms"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("variable", "directory"), [("/a/b", "/a/b"), ("", "/home/me/.cache"), ("b", "/home/me/.cache")]
)
def test_the_file_is_in_the_users_cache(variable: str, directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert tuned_forms.path() == Path(directory, "cupy_kst", "tuned-1.json")


@pytest.fixture(name="quick")
def _quick(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], FakeCuPy]:
    """A CuPy without a device, whose launches take a millisecond each, and a search of few samples."""
    monkeypatch.setattr(search, "_MOST_COPIES", 3)
    monkeypatch.setattr(search, "_PARTS", (2,))
    monkeypatch.setattr(timer, "_CALLS", 4)
    monkeypatch.setattr(timer, "_SAMPLES", 2)
    return fake


@pytest.mark.parametrize("method", ["unified", "segregated", "split", "zero_insertion"])
def test_methods_with_one_form_are_timed_but_not_kept(method: str, quick: Callable[[Any], FakeCuPy]) -> None:
    quick(Nothing())
    found = tune((2, 5, 4, 3), (5, 4, 3, 3), stride=2, method=method)
    assert found[:3] == (method, "f32/threads", "f32/threads")
    assert list(found.seconds) == ["f32/threads"]
    assert found.seconds["f32/threads"] > 0
    assert not tuned_forms.path().exists()


def test_auto_is_the_method_that_calls_take(quick: Callable[[Any], FakeCuPy]) -> None:
    """Groups of few channels have a thread per output, which is timed as well."""
    quick(Nothing())
    found = tune((1, 1, 4, 4), (1, 1, 3, 3))
    assert found.method == "unified"
    assert found.seconds == pytest.approx({"f32/threads": 0.001})


def test_shapes_are_in_the_layout_and_arrays_stand_for_theirs(quick: Callable[[Any], FakeCuPy]) -> None:
    quick(Nothing())
    x, weight = np.ones((2, 4, 3, 5)), np.ones((5, 4, 3, 3))
    found = tune(x, weight, stride=2, padding=1, method="ks_deconv", data_format="channels_last")
    key = tuned_forms.key(cupy_limits(), "ks_deconv", replace(PROBLEM, dtype=DTYPES["float64"], channels_last=True))
    assert tuned_forms.store().get(key) == found.form


@pytest.mark.parametrize("method", ["auto", *methods("conv_transpose")])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 1, 1, 1)])
def test_without_a_gpu_there_is_nothing_to_time(method: str, shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    load_cupy.cache_clear()
    with pytest.raises(RuntimeError, match=r"^CuPy is not installed: .*; explain shows the estimate without one$"):
        tune(shape, (shape[1], 1, 1, 1), method=method)
    load_cupy.cache_clear()


def test_what_cannot_be_tuned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"input_shape=\(0, 5, 4, 3\): a call on an empty batch launches nothing"):
        tune((0, 5, 4, 3), (5, 4, 3, 3))
    with pytest.raises(ValueError, match="method='direct': conv_transpose has 'auto'"):
        tune((2, 5, 4, 3), (5, 4, 3, 3), method="direct")
    monkeypatch.setattr(import_module("cupy_kst.tune"), "find_spec", lambda name: None)
    with pytest.raises(
        RuntimeError, match=r"^tune needs filelock: pip install '\.\[tune\]' in a checkout of cupy_kst, or"
    ):
        tune((2, 5, 4, 3), (5, 4, 3, 3), method="ks_deconv")


@pytest.mark.long(but=lambda op: op == "conv_weight")
@pytest.mark.parametrize("op", ["conv_transpose", "conv", "conv_weight"])
def test_public(op: Any, quick: Callable[[Any], FakeCuPy]) -> None:
    emulator.require()
    cupy = quick(emulator.Emulator())
    method = list(methods(op))[-2 if op == "conv_transpose" else -1]
    shapes = {"conv_transpose": (2, 5, 4, 3)}.get(op, (2, 4, 7, 5)), (5, 4, 3, 3)
    found = tune(*shapes, op=op, stride=2, padding=1, method=method)
    assert found.method == method
    # Split sums take a second launch.
    for form, seconds in found.seconds.items():
        assert seconds == pytest.approx(0.002 if "split" in form else 0.001)
    assert "synchronize" in cupy.log
    assert tuned_forms.store().get(_key(Problem(op, GEOMETRY, F32), cupy_limits(), method)) == found.form


def cupy_limits() -> Any:
    from cupy_kst import gpu

    return gpu.engine(0).runtime.limits()


def test_prepared_weights_take_the_tuned_form(fake: Fake) -> None:
    emulator.require()
    cupy = fake(emulator.Emulator())
    x = np.arange(120, dtype="f4").reshape(2, 5, 4, 3) % 5
    weight = np.arange(180, dtype="f4").reshape(5, 4, 3, 3) % 7
    tuned_forms.store().put(tuned_forms.key(cupy_limits(), "ks_deconv", PROBLEM), FORMS[-1], 1e-6)
    prepared: Any = prepare(cupy.asarray(weight), stride=2, padding=1, method="ks_deconv")
    assert f"ks_deconv/{FORMS[-1]}, tuned, as asked for" in prepared.explain(x.shape)
    right = conv_transpose2d(x, weight, stride=2, padding=1)
    np.testing.assert_array_equal(prepared(cupy.asarray(x)).host, right)


@pytest.mark.gpu
def test_on_a_device() -> None:
    found = tune((4, 64, 16, 16), (64, 64, 4, 4), stride=2, padding=1, method="ks_deconv")
    assert set(FORMS) <= set(found.seconds)
    assert all(1e-7 < seconds < 1 for seconds in found.seconds.values())
