"""The CPU benchmark: what a run writes, how it goes on, what it says of missing peers, and its tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from threadpoolctl import threadpool_info

import cupy_kst
from cupy_kst.cpu import reference
from cupy_kst.cpu.jit import threads
from experiments import report
from experiments.bench.cpu import blas, measure, ratios, tables
from experiments.bench.cpu import experiment as cpu_bench
from experiments.harness import devices, environment, results, timing
from experiments.peers import backends
from experiments.peers.libraries import Peers, load
from experiments.peers.pytorch import symmetric
from experiments.workloads import layers
from experiments.workloads.layers import LayerSpec
from experiments.workloads.operations import OPERATIONS, LayerOperation, Operation

from .running import THREADS, Run, Runner, spawn
from .test_report import empty_tables

HERE = load()
OWN = {
    "forward": {"auto", "prepared", "zero_insertion"},
    "input": {"auto", "prepared", "direct"},
    "weight": {"auto", "zero_dilation"},
}
QUICK = ("cpu_bench", "--quick", "--threads", THREADS)


class Bench(NamedTuple):
    folder: Path
    run: Run
    result: results.Result


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One real run, piped."""
    folder = tmp_path_factory.mktemp("run") / "out"
    process = spawn(*QUICK, "--out", folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Bench(folder, Run(0, out, err), results.read(folder / "cpu_bench.json"))


def key(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["layer"], row["batch"], row["operation"]


# What a run writes


def test_a_row_for_every_layer_and_operation(done: Bench) -> None:
    expected = [(layer, 1, each) for each in OPERATIONS for layer in cpu_bench.QUICK]
    assert [key(row) for row in done.result.rows] == expected


def test_sides_of_every_row(done: Bench) -> None:
    for row in done.result.rows:
        operation = row["operation"]
        others = {name for name in HERE.modules if name == "torch" or operation == "forward"}
        assert set(row["sides"]) == OWN[operation] | others
        assert set(row["ratios"]) == {"auto", "prepared"} & OWN[operation]
        for ours, found in row["ratios"].items():
            assert set(found) == set(row["sides"]) - {"auto", "prepared"}
            for name, ratio in found.items():
                medians = (row["sides"][each]["median_s"] for each in (name, ours))
                assert ratio == pytest.approx(next(medians) / next(medians))


def test_figures_of_every_backend(done: Bench) -> None:
    for row in done.result.rows:
        for backend in row["sides"].values():
            times = [backend[name] for name in ("min_s", "q1_s", "median_s", "q3_s", "max_s")]
            assert times[0] > 0 and times == sorted(times) and times[-1] < 10
            assert backend["repeats"] == 3
            # float32 rounds these sums; an error of exactly nothing would mean that nothing was compared.
            assert 0 < backend["max_relative_error"] < 1e-5
            assert 0 < backend["max_abs_error"] < backend["tolerance"] < 0.1
            assert backend["flops_per_s"] * backend["median_s"] == pytest.approx(row["useful_flops"])
            assert backend["bytes_per_s"] * backend["median_s"] == pytest.approx(row["array_bytes"])
        assert row["explained"][0].startswith("NumPy: ")


def test_the_work_of_a_row(done: Bench) -> None:
    """DiscoGAN 4: 32 x 32 positions of 64 channels, whose 4 x 4 taps are cropped at the border, to 3 channels."""
    taps = 4 * 32 - 2
    for row in done.result.rows:
        if row["layer"] == "DiscoGAN 4":
            assert row["useful_flops"] == 2 * 64 * 3 * taps**2
            assert row["array_bytes"] == 4 * (64 * 32 * 32 + 64 * 3 * 4 * 4 + 3 * 64 * 64)
            assert row["same_layers"] == ["GP-GAN 4"]


def test_a_row_says_that_pytorch_cannot_say_its_padding(done: Bench) -> None:
    if "torch" not in HERE.modules:
        pytest.skip("PyTorch is not installed")
    for row in done.result.rows:
        noted = [name for name, backend in row["sides"].items() if "note" in backend]
        assert noted == (["torch"] if row["layer"] == "SD-DCGAN 3" else [])
    assert "SD-DCGAN 3*" in done.run.out
    assert "DiscoGAN 4*" not in done.run.out


def test_where_it_was_measured(done: Bench) -> None:
    where = done.result.environment
    numba = {"numba"} if find_spec("numba") else set()
    assert set(where["versions"]) == {"cupy_kst", "python", "numpy", "scipy", *HERE.versions} | numba
    assert where["threads"] == where["blas"]["num_threads"] == THREADS
    assert where["blas"]["architecture"]
    rates = where["product_flops_per_s"]
    assert next(iter(rates)) == where["blas"]["architecture"]
    assert min(rates.values()) > 1e8
    if "torch" in HERE.modules:
        assert where["builds"]["torch"]["threads"] == THREADS
        assert where["builds"]["torch"]["onednn"]
    asked = done.result.parameters
    assert (asked["quick"], asked["batches"], asked["operations"]) == (True, [1], list(OPERATIONS))
    assert asked["left_out"] == []


def test_output_is_plain_and_complete(done: Bench) -> None:
    assert done.run.err == ""
    assert "\x1b" not in done.run.out
    assert "…" not in done.run.out
    for words in tables.WORDS.values():
        assert f"{words}, batch 1" in done.run.out
    for name in ("cpu_bench.json", "cpu_bench.png"):
        assert f"written: {done.folder / name}" in done.run.out.splitlines()


@pytest.mark.parametrize("width", [80, 110, 120])
def test_tables_fit_their_width(done: Bench, width: int) -> None:
    stream = StringIO()
    Console(file=stream, width=width).print(*tables.terminal(done.result.rows, width), sep="\n")
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert "…" not in stream.getvalue()
    assert sum(line.startswith("DiscoGAN 4 ") for line in lines) == (3 if width >= 120 else 6)


def test_chart_is_a_picture(done: Bench) -> None:
    with Image.open(done.folder / "cpu_bench.png") as image:
        assert image.format == "PNG"
        assert image.width == 1650
        assert 300 < image.height < 1000
        assert np.asarray(image.convert("L")).std() > 20


# Layers and backends


def test_layers_stand_once() -> None:
    found = layers.unique()
    entries = json.loads(layers.LAYERS.read_text(encoding="utf-8"))
    assert sorted(name for layer in found for name in layer.names) == sorted(
        f"{entry['network']} {entry['layer']}" for entry in entries
    )
    assert len({tuple(vars(layer).values())[1:] for layer in found}) == len(found) < len(entries)
    assert found[0].names == ("DCGAN 1", "ArtGAN 1")


@pytest.mark.parametrize("layer", layers.unique(), ids=lambda layer: layer.label)
def test_output_sizes_are_those_of_the_geometry(layer: LayerSpec) -> None:
    geometry = cupy_kst.Geometry.conv_transpose(layer.input_shape(2), layer.weight_shape, **layer.options)
    assert geometry.output_shape == layer.output_shape(2)


def test_layers_of_a_network() -> None:
    assert [layer.label for layer in layers.named(["ArtGAN"])] == ["DCGAN 1", "DCGAN 2", "DCGAN 3", "DCGAN 4"]
    assert [layer.label for layer in layers.named(["DCGAN 2", "GP-GAN 4"])] == ["DCGAN 2", "DiscoGAN 4"]
    assert layers.named([]) == list(layers.unique())


SMALL = [
    LayerSpec(("a 1",), 4, 6, 2, (3, 4), (4, 4), (2, 2), ((1, 1), (1, 1)), (0, 0), (6, 8)),
    # More cropped in front than PyTorch's output padding makes up for, less, and just so.
    LayerSpec(("b 1",), 3, 2, 1, (4, 5), (5, 4), (2, 1), ((1, 2), (3, 0)), (0, 0), (8, 5)),
    LayerSpec(("c 1",), 3, 2, 1, (4,), (5,), (3,), ((2, 1),), (0,), (11,)),
    LayerSpec(("d 1",), 2, 3, 1, (2, 3, 2), (3, 2, 3), (2, 2, 2), ((1, 0), (0, 1), (1, 1)), (1, 0, 0), (5, 5, 3)),
]


def expected(work: LayerOperation) -> Any:
    """What the definition says."""
    options = work.layer.options
    if work.operation == "forward":
        return reference.conv_transpose(work.input, work.weight, **options)
    del options["output_padding"]
    if work.operation == "input":
        return reference.conv_transpose_input(work.input.shape, work.weight, work.grad_output, **options)
    return reference.conv_transpose_weight(work.input, work.weight.shape, work.grad_output, **options)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.label)
def test_all_backends_compute_the_same(layer: LayerSpec, operation: Operation) -> None:
    work = LayerOperation.drawn(layer, 3, operation)
    right = expected(work)
    exact = np.full(work.written_shape, np.nan)
    for place, part in work.exact():
        exact[place] = part
    np.testing.assert_allclose(exact, right, rtol=1e-12, atol=1e-12)
    found = [*backends.own(work), *HERE.backends(work, 1)]
    assert {backend.name for backend in found} >= OWN[operation]
    for backend in found:
        output = backend.fetch(backend.call())
        assert output.dtype == np.float32
        assert output.shape == right.shape, backend.name
        assert np.abs(output - right).max() <= work.tolerance, backend.name


@pytest.mark.parametrize(
    ("arguments", "padding"),
    [
        (((2, 2), 1, 2), (2, 1, (0, 0))),
        (((2, 1), 0, 2), (2, 1, (0, 0))),
        (((1, 2), 0, 2), (1, 0, (0, 1))),
        (((1, 2), 1, 2), (1, 0, (0, 0))),
        (((3, 0), 0, 2), (0, 0, (3, 0))),
    ],
)
def test_symmetric_padding(arguments: tuple[Any, ...], padding: tuple[Any, ...]) -> None:
    assert symmetric(*arguments) == padding


# Peers


def test_onnxruntime_gets_as_many_threads_as_the_others() -> None:
    runtime, seen = pytest.importorskip("onnxruntime"), []
    pytest.importorskip("onnx")

    def session(model: bytes, options: Any, providers: list[str]) -> Any:
        seen.append(options.intra_op_num_threads)
        return runtime.InferenceSession(model, options, providers=providers)

    recorder = SimpleNamespace(
        SessionOptions=runtime.SessionOptions, OrtValue=runtime.OrtValue, InferenceSession=session
    )
    Peers({"onnxruntime": recorder}).backends(LayerOperation.drawn(SMALL[0], 1, "forward"), 3)
    assert seen == [3]


@pytest.mark.long(but=lambda module: module == "torch")
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("torch", "PyTorch is left out: torch is not installed (pip install -e '.[bench]')"),
        ("onnxruntime", "ONNX Runtime is left out: onnxruntime is not installed (pip install -e '.[bench]')"),
        ("onnx", "ONNX Runtime is left out: onnx is not installed (pip install -e '.[bench]')"),
    ],
)
def test_missing_peer_is_told(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, module: str, line: str
) -> None:
    if module == "onnx" and "onnxruntime" not in HERE.modules:
        pytest.skip("ONNX Runtime is not installed")
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = run(*QUICK, "--operation", "forward", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert line in out.splitlines()
    absent = "torch" if module == "torch" else "onnxruntime"
    for row in results.read(tmp_path / "cpu_bench.json").rows:
        assert set(row["sides"]) == OWN["forward"] | set(HERE.modules) - {absent}


def test_broken_peer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libx.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = load()
    assert "torch" not in found.modules
    assert "PyTorch is left out: torch cannot be imported: libx.so: cannot open" in found.missing


# Going on with an earlier run


class Stop:
    """Interrupts the benchmark before its measurement of this number, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: float = math.inf) -> None:
        self.measured: list[tuple[str, int, str]] = []
        self.number, self.measure = number, cpu_bench.measure
        monkeypatch.setattr(cpu_bench, "measure", self)

    def __call__(self, work: LayerOperation, *rest: Any) -> Any:
        if len(self.measured) == self.number:
            raise KeyboardInterrupt
        self.measured.append((work.layer.label, work.batch, work.operation))
        return self.measure(work, *rest)


@pytest.mark.long
def test_interrupt_keeps_what_was_measured_and_resume_goes_on(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpu_bench.json"
    with monkeypatch.context() as patch:
        stop = Stop(patch, 3)
        code, _, err = run(*QUICK, "--out", tmp_path)
        assert (code, err.strip()) == (130, "interrupted")
    before = results.read(path).rows
    assert [key(row) for row in before] == stop.measured
    assert len(before) == 3
    goes_on = Stop(monkeypatch)
    assert run(*QUICK, "--resume", path, "--out", tmp_path).code == 0
    after = results.read(path).rows
    assert after[:3] == before
    assert [key(row) for row in after[3:]] == goes_on.measured
    assert len({key(row) for row in after}) == len(after) == 6


@pytest.mark.long(but=lambda changes: "commit" in changes)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experiment": "quickstart"}, "its experiment is quickstart"),
        ({"commit": "abc"}, "its commit is abc"),
        ({"parameters": {"quick": False}}, "its --quick is False"),
        ({"environment": {"threads": 77}}, "its threads is 77"),
        ({"environment": {"versions": {}}}, "its versions is {}"),
    ],
)
def test_resume_refuses_rows_of_other_conditions(
    tmp_path: Path, done: Bench, run: Runner, changes: dict[str, Any], words: str
) -> None:
    document = json.loads((done.folder / "cpu_bench.json").read_text(encoding="utf-8"))
    for name, value in changes.items():
        document[name] = document[name] | value if isinstance(value, dict) else value
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    code, _, err = run(*QUICK, "--resume", path, "--out", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert not (tmp_path / "cpu_bench.json").exists()


def test_save_keeps_the_result_by_device(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "kept")
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    arguments = ("--layers", "SD-DCGAN", "--operation", "input", "--threads", 1)
    assert run("cpu_bench", "--batch", 2, *arguments, "--out", tmp_path, "--save").code == 0
    (kept,) = (tmp_path / "kept").iterdir()
    result = results.read(kept)
    assert kept.name == result.file_name
    assert [key(row) for row in result.rows] == [(f"SD-DCGAN {number}", 2, "input") for number in (1, 2, 3)]
    assert all(backend["repeats"] >= 5 for row in result.rows for backend in row["sides"].values())


@pytest.mark.long
def test_what_does_not_fit_is_left_out(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [measure.bytes_needed(layer, 1, "weight") for layer in layers.unique() if layer.label in cpu_bench.QUICK]
    assert needs[0] < needs[1]
    monkeypatch.setattr(devices, "free_bytes", lambda: needs[0])
    code, out, _ = run(*QUICK, "--operation", "weight", "--out", tmp_path)
    assert code == 0
    result = results.read(tmp_path / "cpu_bench.json")
    assert [row["layer"] for row in result.rows] == ["DiscoGAN 4"]
    (line,) = result.parameters["left_out"]
    assert line.startswith("SD-DCGAN 3, batch 1, weight takes ")
    assert f"left out: {line}" in out.splitlines()


def test_nothing_fits(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda: 0)
    code, _, err = run(*QUICK, "--out", tmp_path)
    assert (code, err) == (2, "error: no layer was measured: none of them fits into memory\n")


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--layers None", "--layers None: there is no such network or layer; networks are DCGAN, ArtGAN, "),
        ("--layers dcgan", "Grouped, Bottleneck; is 'DCGAN' meant?"),
        ("--quick --batch 1", "--quick proves that it runs"),
        ("--quick --layers DCGAN", "--quick proves that it runs"),
        ("--quick --save", "--quick proves that it runs"),
        ("--batch 0", "not in the range"),
        ("--threads 0", "not in the range"),
        ("--operation backward", "'backward' is not one of"),
        ("--resume none.json", "does not exist"),
    ],
)
def test_errors_are_one_line(run: Runner, arguments: str, words: str) -> None:
    code, out, err = run("cpu_bench", *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize("harm", [1e-3, np.nan])
def test_wrong_output_is_an_error_and_no_row(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, harm: float
) -> None:
    right = cupy_kst.conv_transpose2d

    def wrong(*arguments: Any, method: str, **options: Any) -> Any:
        output = right(*arguments, method=method, **options)
        if method == "zero_insertion" and output.shape[2:] == (64, 64):
            output[0, 1, 2, 3] += harm
        return output

    monkeypatch.setattr(cupy_kst, "conv_transpose2d", wrong)
    code, _, err = run(*QUICK, "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "DiscoGAN 4, batch 1, forward: zero_insertion by " in err
    assert not (tmp_path / "cpu_bench.json").exists()


# Clocks, threads and the BLAS


class Time:
    """A clock that stands still but for sleep and calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr("time.sleep", self.pass_by)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_a_sample_follows_calls_that_fill_the_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, taken = Time(monkeypatch), iter((0.5, 0.25, 0.5, 0.25, 0.125, 4.0))
    sampler = timing.CpuClock(lead=1.0)

    def call() -> None:
        clock.pass_by(next(taken))

    def other() -> None:
        pass

    # Nothing is known of the first: it may be slow. After another's, calls fill the lead, and the next is the sample.
    assert (sampler.sample(call)[0], clock.now) == (0.5, 1.5)
    sampler.sample(other)
    assert (sampler.sample(call)[0], clock.now) == (0.125, 1.5 + 1.0 + 1.125)
    # No lead for a second sample in a row.
    assert (sampler.sample(call)[0], clock.now) == (4.0, 1.5 + 1.0 + 1.125 + 4.0)


def test_a_slow_call_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sampler = Time(monkeypatch), timing.CpuClock(lead=1.0)
    calls = [partial(clock.pass_by, 3.0), partial(clock.pass_by, 5.0)]
    for turn in range(1, 4):
        assert [sampler.sample(call)[0] for call in calls] == [3.0, 5.0]
        assert clock.now == (4.0 + 6.0) * turn


def test_quick_calls_are_sampled_more_often_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, taken = Time(monkeypatch), []

    def call(name: str, seconds: float) -> None:
        taken.append(name)
        clock.pass_by(seconds)

    calls = {"a": partial(call, "a", 0.25), "b": partial(call, "b", 2.0)}
    found, _ = timing.time_in_turn(calls, timing.CpuClock(), timing.Rounds(2, 2, 0.0, turn=1.0))
    assert "".join(taken) == "aaabbb" + "aaaab" + "baaaa"
    assert {name: len(timing.samples) for name, timing in found.items()} == {"a": 8, "b": 2}


def test_slow_calls_get_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rounds = Time(monkeypatch), timing.Rounds(50, 5, 1.0, limit=8.0)
    for seconds, number in ((20.0, 1), (3.0, 3), (0.5, 5), (0.125, 9)):
        before = clock.now
        found, _ = timing.time_in_turn({"a": partial(clock.pass_by, seconds)}, timing.CpuClock(), rounds)
        assert len(found["a"].samples) == number
        warm_up = 1 if seconds > 8 else 3
        assert clock.now - before == (number + warm_up) * seconds


def test_threads_of_what_numba_compiled_are_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPY_KST_THREADS", raising=False)
    before = threads.count()
    with devices.limited(1):
        assert threads.count() == 1
    assert threads.count() == before


def test_a_blas_that_lags_behind_the_processor() -> None:
    library = {"internal_api": "openblas", "architecture": "Haswell"}
    wide = {"device": {"vector_extensions": ["avx2", "avx512f"]}, "blas": library}
    assert "Haswell" in environment.slow_blas(wide)
    assert "with OPENBLAS_CORETYPE=SkylakeX it may" in environment.slow_blas(wide)
    told = wide | {"settings": {"OPENBLAS_CORETYPE": "Haswell"}}
    assert "is told to take its Haswell" in environment.slow_blas(told)
    assert "without OPENBLAS_CORETYPE it may" in environment.slow_blas(told)
    for right in (
        wide | {"device": {"vector_extensions": ["avx2"]}},
        wide | {"blas": library | {"architecture": "SkylakeX"}},
        wide | {"blas": library | {"internal_api": "mkl"}},
        wide | {"blas": None},
    ):
        assert environment.slow_blas(right) == ""


def test_kernels_of_blas_that_were_not_taken_are_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own is told nothing where this one was told, and wider kernels where OpenBLAS takes narrow."""
    monkeypatch.setattr(blas, "rate", lambda clock: 1.0)
    asked: list[str] = []
    monkeypatch.setattr(blas, "_elsewhere", lambda threads, kernels: asked.append(kernels) or {"other": 2.0})
    haswell = {"internal_api": "openblas", "architecture": "Haswell"}
    where = {"device": {"vector_extensions": ["avx512f"]}, "blas": haswell, "threads": 1, "settings": {}}
    clock = timing.CpuClock()
    assert blas.rates(where, clock) == {"Haswell": 1.0, "other": 2.0}
    assert blas.rates(where | {"settings": {"OPENBLAS_CORETYPE": "Haswell"}}, clock) == {"Haswell": 1.0, "other": 2.0}
    assert blas.rates(where | {"device": {"vector_extensions": ["avx2"]}}, clock) == {"Haswell": 1.0}
    assert asked == ["SkylakeX", ""]


def test_kernels_of_blas_in_another_process() -> None:
    (name,) = blas._elsewhere(1, "Haswell") or {"": 0.0}
    assert name == "Haswell" or not any(pool["internal_api"] == "openblas" for pool in threadpool_info())


# Ratios and the report


def made_row(layer: str, medians: dict[str, float], operation: str = "forward", batch: int = 1) -> dict[str, Any]:
    """A row that was not measured."""
    return {
        "layer": layer,
        "batch": batch,
        "operation": operation,
        "dtype": "float32",
        "sides": {
            name: {
                "median_s": median,
                "q1_s": 0.9 * median,
                "q3_s": 1.1 * median,
                "repeats": 7,
                "calls_per_sample": 1,
                "max_relative_error": 1e-7,
                **({"note": "cropped"} if name == "torch" and layer == "B 1" else {}),
            }
            for name, median in medians.items()
        },
        "ratios": {
            ours: {name: median / medians[ours] for name, median in medians.items() if name not in backends.OURS}
            for ours in backends.OURS
            if ours in medians
        },
    }


def made_result() -> results.Result:
    where = {
        "device": {"kind": "cpu", "name": "CPU Y"},
        "threads": 2,
        "blas": None,
        "versions": {"cupy_kst": "0", "numpy": "2", "python": "3", "scipy": "1", "torch": "2.9", "numba": "0.6"},
        "builds": {"torch": {"onednn": "3.12"}},
        "product_flops_per_s": {"Haswell": 2.5e11, "SkylakeX": 4.7e11},
    }
    rows = [
        made_row("A 1", {"auto": 1e-3, "prepared": 5e-4, "zero_insertion": 4e-3, "torch": 5e-4}),
        made_row("B 1", {"auto": 1e-3, "prepared": 1e-3, "zero_insertion": 9e-3, "torch": 8e-3}),
        made_row("A 1", {"auto": 2e-3, "zero_dilation": 5e-3}, "weight", 16),
    ]
    return results.Result(experiment="cpu_bench", environment=where, parameters={}, rows=rows, date="2026-01-02")


def test_times_that_scatter_are_counted() -> None:
    rows = made_result().rows
    assert tables.spread_note(rows) == "Of 0 of 10 times the quartiles are more than a factor of 1.5 apart."
    rows[0]["sides"]["torch"]["q3_s"] = 1.6 * rows[0]["sides"]["torch"]["q1_s"]
    assert tables.spread_note(rows).startswith("Of 1 of 10 ")


def test_means_of_ratios() -> None:
    first, second, *_, last = ratios.summaries(made_result().rows)
    assert (first.operation, first.batch, first.ours, first.rival) == ("forward", 1, "auto", "torch")
    assert first.ratios == pytest.approx((0.5, 8))
    assert (first.geometric_mean, first.median) == pytest.approx((2, 4.25))
    assert (second.ours, second.ratios) == ("prepared", pytest.approx((1, 8)))
    assert (last.operation, last.batch, last.rival, last.ratios) == ("weight", 16, "zero_dilation", (2.5,))


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[Path, list[object]]]:
    """A README and a page with markers, one result, and the arguments that name them."""
    (tmp_path / "README.md").write_text("# A\n" + empty_tables(report.README) + "B\n")
    (tmp_path / "measured.md").write_text(empty_tables(report.MEASURED))
    made_result().write(tmp_path / "cpu_bench-a.json")
    files = ("--readme", tmp_path / "README.md", "--measured", tmp_path / "measured.md", "--pages", tmp_path / "pages")
    yield tmp_path, ["report", "--results", tmp_path, *files]


def test_report_renders_the_result(pages: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = pages
    code, _, err = run(*arguments, "--check")
    assert (code, err.count("\n")) == (1, 1)
    assert "README.md and" in err
    assert run(*arguments).code == 0
    readme, measured = (folder / "README.md").read_text(), (folder / "measured.md").read_text()
    assert (
        "**CPU Y, 2 threads**: time of the other over ours, above 1 ours is faster; each time the median of 7" in readme
    )
    assert (
        "Numba 0.6, PyTorch 2.9, NumPy 2, Python 3, oneDNN 3.12; 2026-01-02. Large products by the kernels of NumPy's "
        "BLAS: Haswell 250 GFLOP/s, SkylakeX 470 GFLOP/s. Of 0 of 10 times the quartiles are" in readme
    )
    assert (
        "| transposed convolution | 1 | 2 | PyTorch | 2.00x | 4.25x | 0.50x to 8.00x "
        "| 2.83x | 4.50x | 1.00x to 8.00x |\n"
        "| transposed convolution | 1 | 2 | `zero_insertion` | 6.00x | 6.50x | 4.00x to 9.00x "
        "| 8.49x | 8.50x | 8.00x to 9.00x |\n"
        "| gradient of the weight | 16 | 1 | `zero_dilation` | 2.50x | 2.50x | 2.50x to 2.50x | - | - | - |\n"
    ) in readme
    assert "**CPU Y, 2 threads, transposed convolution, batch 1** (2026-01-02)" in measured
    assert (
        r"| B 1\* | 1.00 (0.900 to 1.10) | 1.00 (0.900 to 1.10) | 8.00 (7.20 to 8.80) | 9.00 (8.10 to 9.90) | 8.00x "
        "| 9.00x | 1e-07 |\n"
    ) in measured
    assert run(*arguments, "--check").code == 0


@pytest.mark.parametrize("page", ["README.md", "measured.md"])
def test_report_finds_a_figure_that_was_changed(pages: tuple[Path, list[object]], run: Runner, page: str) -> None:
    folder, arguments = pages
    assert run(*arguments).code == 0
    written = (folder / page).read_text()
    changed = written.replace("8.00x", "8.01x")
    (folder / page).write_text(changed)
    code, _, err = run(*arguments, "--check")
    assert (folder / page).read_text() == changed
    assert (code, err.count("\n")) == (1, 1)
    assert f"{folder / page} are not" in err
    assert run(*arguments).code == 0
    assert (folder / page).read_text() == written


def test_an_empty_table_may_wait_for_results_but_figures_may_not(pages: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = pages
    assert run(*arguments).code == 0
    (folder / "cpu_bench-a.json").unlink()
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "has no cpu_bench-*.json" in err
