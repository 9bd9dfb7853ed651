"""The GPU benchmark without a GPU: kernels run on the emulator, PyTorch on the CPU, and graphs are calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import cupy_kst
from experiments import report
from experiments.bench.gpu import arrays, count, measure, parts, tables
from experiments.bench.gpu import experiment as gpu_bench
from experiments.bench.gpu.backend import Backend
from experiments.bench.gpu.ceilings import Ceilings, measure_ceilings
from experiments.bench.gpu.compile_requests import compile_requests
from experiments.bench.gpu.judge import wrong_backends
from experiments.bench.gpu.machine import Graph, Machine
from experiments.bench.gpu.parts import KINDS, PARTS, RowSpec
from experiments.bench.gpu.pytorch import TorchOperation
from experiments.bench.gpu.ratios import ratios_of
from experiments.errors import ExperimentError
from experiments.harness import gpu_compile, results
from experiments.workloads import layers
from experiments.workloads.layers import LayerSpec

from .fake_gpu import NAME, Emulated, FakeMachine, Noting, installed
from .running import Runner, spawn
from .test_report import empty_tables

SMALL = [
    LayerSpec(("a 1",), 4, 6, 2, (3, 4), (4, 4), (2, 2), ((1, 1), (1, 1)), (0, 0), (6, 8)),
    # PyTorch cannot say these pads: more cropped in front than its output padding makes up for, and less.
    LayerSpec(("b 1",), 3, 2, 1, (4, 5), (5, 4), (2, 1), ((1, 2), (3, 0)), (0, 0), (8, 5)),
    LayerSpec(("c 1",), 3, 2, 1, (4,), (5,), (3,), ((2, 1),), (0,), (11,)),
    LayerSpec(("d 1",), 2, 3, 1, (2, 3, 2), (3, 2, 3), (2, 2, 2), ((1, 0), (0, 1), (1, 1)), (1, 0, 0), (5, 5, 3)),
]
CEILINGS = Ceilings(1e12, dict.fromkeys(KINDS, 1e14))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(measure, "_MOST_SAMPLES", 3)
    with installed(Emulated()) as cupy:
        yield FakeMachine(cupy, torch)


@pytest.fixture
def bench(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """The command finds this machine, two layers, and ceilings that take no time."""
    monkeypatch.setattr(gpu_bench, "find_machine", lambda experiment: machine)
    monkeypatch.setattr(parts, "unique", lambda: tuple(SMALL[:2]))
    monkeypatch.setattr(gpu_bench, "measure_ceilings", lambda machine: CEILINGS)
    monkeypatch.setattr(gpu_compile, "processes", partial(ThreadPoolExecutor, 1))
    return machine


def spec(layer: LayerSpec = SMALL[0], kind: str = "ieee", operation: Any = "forward", batch: int = 2) -> RowSpec:
    return RowSpec(layer, batch, operation, KINDS[kind], (KINDS[kind].natural,))


# Parts


@pytest.mark.parametrize("name", PARTS)
def test_rows_of_a_part(name: str) -> None:
    part, specs = PARTS[name], PARTS[name].specs()
    number = len(part.labels or layers.unique())
    assert len(specs) == number * len(part.kinds) * len(part.batches) * len(part.operations)
    assert len({each.key for each in specs}) == len(specs)
    # The first batch is whole before the next begins, all kinds of a layer together.
    assert [each.batch for each in specs] == sorted((each.batch for each in specs), key=part.batches.index)
    assert [each.kind.name for each in specs[: len(part.kinds)]] == list(part.kinds)
    for each in specs:
        natural = "channels_first" if each.kind.dtype == "float32" else "channels_last"
        assert each.formats == (parts.FORMATS if name == "layouts" else (natural,))


def test_where_the_baseline_runs() -> None:
    found = {(each.kind.name, each.batch) for part in PARTS.values() for each in part.specs() if each.has_baseline}
    assert found == {("ieee", 16), ("bfloat16", 16)}


def test_the_eight_layers_exist() -> None:
    assert len(set(parts.EIGHT)) == 8
    assert set(parts.EIGHT) <= {layer.label for layer in layers.unique()}


# Arrays


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", layers.unique()[::5], ids=lambda layer: layer.label)
def test_copies_exceed_the_cache(layer: LayerSpec, kind: str) -> None:
    l2 = 60 * 10**6
    for batch in (1, 64):
        each = spec(layer, kind, batch=batch)
        copies, size = arrays.cold_copies(each, l2), count.array_bytes(each)
        assert copies * size >= 4 * l2 > (copies - 1) * size


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.label)
def test_copies_have_the_same_numbers_in_both_layouts(machine: FakeMachine, layer: LayerSpec, operation: Any) -> None:
    drawn = arrays.Arrays(machine, spec(layer, "bfloat16", operation), copies=3)
    for name in arrays.READS[operation]:
        first, last = (drawn.read_by_torch(name, each) for each in parts.FORMATS)
        assert len(first) == 3
        for one, other in zip(first, last, strict=True):
            assert machine.torch.equal(one, other)
            assert one.is_contiguous()
            assert other.movedim(1, -1).is_contiguous()
            assert one.data_ptr() % 2 == 0
            assert one.float().abs().max() > 0.1
        assert not machine.torch.equal(first[0], first[1])
        starts = {each.data_ptr() - first[0].data_ptr() for each in first}
        assert {start % 256 for start in starts} == {0}
        assert len(starts) == 3


# Sides and rows


@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.label)
@pytest.mark.parametrize("kind", ["ieee", "bfloat16"])
def test_all_sides_compute_the_same(machine: FakeMachine, layer: LayerSpec, operation: Any, kind: str) -> None:
    row = measure.measure(machine, spec(layer, kind, operation), CEILINGS)
    short = "first" if kind == "ieee" else "last"
    ours = {f"auto {short}"} | ({f"prepared {short}"} if operation != "weight" else set())
    assert set(row["sides"]) == ours | {"torch first", "torch last"}
    assert wrong_backends([row]) == []
    for backend in row["sides"].values():
        # With a processor's own instructions of bfloat16 PyTorch rounds more than once.
        allowed = backend["tolerance"] * (2 if backend["role"] == "torch" else 1)
        assert 0 < backend["max_abs_error"] <= allowed < (1e-4 if kind == "ieee" else 1)
        assert backend["max_relative_error"] < (1e-5 if kind == "ieee" else 1e-2)
        assert 0 < backend["relative_l2_error"] < (1e-6 if kind == "ieee" else 5e-3)
        assert bool(backend.get("note")) == (backend["role"] == "torch" and layer.label in ("b 1", "d 1"))
        for figure in measure.FIGURES:
            each = backend[figure]
            assert 0 < each["min_s"] <= each["q1_s"] <= each["median_s"] <= each["q3_s"] <= each["max_s"]
        assert backend["flops_per_s"] * backend["cold"]["median_s"] == pytest.approx(row["useful_flops"])
        assert backend["bytes_per_s"] * backend["cold"]["median_s"] == pytest.approx(row["array_bytes"])
        assert backend["floor_share"] * backend["cold"]["median_s"] == pytest.approx(row["floor_s"])
    method = {"forward": "unified", "input": "direct", "weight": "sk_dilated"}[operation]
    assert row["sides"][f"auto {short}"]["explained"].startswith(f"{method}/{'f32' if kind == 'ieee' else 'bf16'}/")
    json.dumps(row, allow_nan=False)


def test_both_layouts_and_the_baseline(machine: FakeMachine) -> None:
    both = replace(spec(batch=16), formats=parts.FORMATS)
    row = measure.measure(machine, both, CEILINGS, "ks_deconv")
    assert set(row["sides"]) == {
        f"{role} {where}" for role in ("auto", "prepared", "torch") for where in ("first", "last")
    }
    assert row["sides"]["prepared last"]["explained"].startswith("ks_deconv/f32/")
    form = row["sides"]["auto first"]["explained"].removeprefix("ks_deconv/")
    row = measure.measure(machine, spec(batch=16), CEILINGS, "conv_v2")
    assert row["sides"]["zero_insertion first"]["explained"] == f"zero_insertion/{form}"
    # Another operation's method.
    assert row["sides"]["auto first"]["explained"] == "unified/f32/threads"


class Counting(FakeMachine):
    """Notes which copies graphs go through, and never waits."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.graphs: list[list[int]] = []

    def note(self, of: Any, calls: int) -> Graph:
        self.graphs.append([of(number) for number in range(calls)])
        return Graph(calls, lambda: None)


def test_graphs_rotate_over_the_copies(machine: FakeMachine) -> None:
    counting = Counting(machine.cupy, machine.torch)
    backend = Backend("auto", "channels_first", id, id, lambda: None, counting.note)
    figures = measure._figures(counting, backend, 33, 1e-6)
    assert [sorted(set(graph)) for graph in counting.graphs] == [list(range(33)), [0]]
    assert {name: figure.calls for name, figure in figures.items()} == {"cold": 33, "warm": 20, "eager": 40}
    counting.graphs.clear()
    measure._figures(counting, backend, 3, 1e-6)
    assert [(len(graph), len(set(graph))) for graph in counting.graphs] == [(20, 3), (20, 1)]
    # Calls of a tenth of a second, and of several.
    for seconds, calls in ((0.1, 2), (3.0, 1)):
        figures = measure._figures(counting, backend, 3, seconds)
        assert [figure.calls for figure in figures.values()] == [calls, calls, 1]


def test_short_graphs_are_replayed_before_they_are_timed(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    replay = partial(events.append, "replay")
    counting = Counting(machine.cupy, machine.torch)
    monkeypatch.setattr(counting, "device_seconds", lambda work: (events.append("begin"), work(), 6.0)[-1])
    backend = Backend("auto", "channels_first", id, id, lambda: None, lambda of, calls: Graph(calls, replay))
    assert measure._figures(counting, backend, 2, 1e-6)["cold"].seconds() == 6.0 / 20
    assert events == ["replay", "begin", "replay"]
    events.clear()
    measure._figures(counting, backend, 2, 1.0)["cold"].seconds()
    assert events == ["begin", "replay"]


def test_a_kernel_that_writes_nothing_is_found() -> None:
    torch = pytest.importorskip("torch")
    with installed(Noting()) as cupy:
        row = measure.measure(FakeMachine(cupy, torch), spec(), CEILINGS)
    assert wrong_backends([row]) == [
        f"a 1, batch 2, forward, ieee: {name} first leaves outputs that are not finite" for name in ("auto", "prepared")
    ]


def test_an_error_beyond_rounding_is_found(machine: FakeMachine) -> None:
    row = measure.measure(machine, spec(), CEILINGS)
    row["sides"]["torch first"]["max_abs_error"] = row["sides"]["prepared first"]["max_abs_error"] = 0.125
    assert wrong_backends([row]) == ["a 1, batch 2, forward, ieee: prepared first is wrong by 1.2e-01"]


def test_a_side_that_fails_leaves_the_others(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise MemoryError("out\nof memory")

    monkeypatch.setattr(cupy_kst, "prepare", broken)
    row = measure.measure(machine, spec(), CEILINGS)
    assert row["sides"]["prepared first"] == {"failed": "MemoryError: out of memory"}
    assert set(row["ratios"]["cold"]) == {"auto"}
    assert wrong_backends([row]) == ["a 1, batch 2, forward, ieee: prepared first failed: MemoryError: out of memory"]
    assert "prepared first failed" in tables.line(row)

    def gone() -> None:
        raise RuntimeError("unspecified launch failure")

    monkeypatch.setattr(machine, "synchronize", gone)
    with pytest.raises(ExperimentError, match=r"no longer answers \(RuntimeError\) after this: auto first failed"):
        measure.measure(machine, spec(), CEILINGS)


def test_pytorch_is_told_the_precision(machine: FakeMachine) -> None:
    for kind, allowed in (("ieee", "ieee"), ("tf32", "tf32"), ("tf32x3", "ieee")):
        measure.measure(machine, spec(SMALL[2], kind), CEILINGS)
        assert machine.allowed[-1] == allowed


def test_ratios() -> None:
    def backend(role: str, data_format: str, seconds: float) -> dict[str, Any]:
        return {"role": role, "data_format": data_format, "cold": {"median_s": seconds}}

    found = {
        "auto first": backend("auto", "channels_first", 4.0),
        "auto last": backend("auto", "channels_last", 2.0),
        "prepared first": {"failed": "why"},
        "zero_insertion first": backend("zero_insertion", "channels_first", 12.0),
        "torch first": backend("torch", "channels_first", 8.0),
        "torch last": backend("torch", "channels_last", 5.0),
    }
    assert ratios_of(found, "channels_first", "cold") == {"auto": {"zero_insertion": 3.0, "same": 2.0, "best": 2.5}}


# Kernels are compiled before anything is timed


def test_rows_compile_nothing_that_was_not_compiled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    kernels = Emulated()
    specs = [spec(operation=each) for each in ("forward", "input", "weight")] + [spec(SMALL[3], "bfloat16", batch=16)]
    with installed(kernels) as cupy:
        machine = FakeMachine(cupy, torch)
        with monkeypatch.context() as patch:
            patch.setattr(Emulated, "launch", Noting.launch)
            found = compile_requests(machine, specs, "ks_deconv")
            assert kernels.compiled == kernels.launched == []
        assert gpu_compile.compile_all(found, ThreadPoolExecutor(1)) == []
        before = sorted(kernels.compiled)
        assert len(before) == len(set(before)) == len(found)
        for each in specs:
            assert wrong_backends([measure.measure(machine, each, CEILINGS, "ks_deconv")]) == []
        assert sorted(kernels.compiled) == before


def test_what_does_not_compile_is_named_by_its_process() -> None:
    ticks: list[int] = []
    with gpu_compile.processes() as pool:
        (line,) = gpu_compile.compile_all([(("not CUDA", "kernel"), ())], pool, tick=lambda: ticks.append(1))
    # Without a GPU nothing compiles.
    assert line.startswith("kernel: ")
    assert ticks == [1]


# The command


def test_a_run_and_its_resumption(bench: FakeMachine, run: Runner, tmp_path: Path) -> None:
    arguments = ("gpu_bench", "--batch", 1, "--out", tmp_path)
    done = run(*arguments, "--layers", "a 1")
    assert (done.code, done.err) == (0, "")
    path = tmp_path / "gpu_bench_core.json"
    first = results.read(path)
    assert [(row["layer"], row["kind"]) for row in first.rows] == [("a 1", each) for each in PARTS["core"].kinds]
    assert first.device == NAME
    assert first.environment["ceilings"] == CEILINGS.record
    assert first.environment["versions"]["cudnn"] == "90000"
    assert first.environment["versions"]["torch"] == bench.torch.__version__
    assert first.parameters["left"] == first.parameters["notes"] == []
    assert done.out.count("a 1, batch 1, forward, ") == 3
    assert f"written: {path} (3 rows)" in done.out
    assert max(map(len, done.out.splitlines()[-12:])) <= 120

    again = run(*arguments, "--resume", path)
    assert again.code == 0
    second = results.read(path)
    assert second.rows[:3] == first.rows
    assert [row["layer"] for row in second.rows[3:]] == ["b 1"] * 3
    assert again.out.count("b 1, batch 1, forward, ") == 3
    assert "a 1, batch 1" not in again.out

    other = run("gpu_bench", "--part", "half", "--out", tmp_path, "--resume", path)
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "its experiment is gpu_bench_core, here it is gpu_bench_half" in other.err


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def test_a_part_ends_in_time_and_says_what_is_left(
    bench: FakeMachine, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def measured(machine: Any, each: RowSpec, *more: Any) -> dict[str, Any]:
        clock.now += 20
        return made_row(each.layer.label, each.kind.name, each.batch)

    monkeypatch.setattr(gpu_bench, "measure", measured)
    done = run("gpu_bench", "--out", tmp_path, "--minutes", 2)
    assert done.code == 0
    result = results.read(tmp_path / "gpu_bench_core.json")
    # The sixth would end at 120 s.
    assert len(result.rows) == 5
    assert clock.now == 100
    assert len(result.parameters["left"]) == 3 * 2 * 3 - 5
    assert result.parameters["left"][0] == "b 1, batch 16, forward, bfloat16"
    assert "13 rows are left, the next is b 1, batch 16, forward, bfloat16; go on with: --resume" in done.out
    assert run("gpu_bench", "--out", tmp_path, "--minutes", 2, "--resume", tmp_path / "gpu_bench_core.json").code == 0
    assert len(results.read(tmp_path / "gpu_bench_core.json").rows) == 10


def test_a_run_that_is_ended_leaves_its_rows(
    bench: FakeMachine, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = iter(range(9))

    def measured(machine: Any, each: RowSpec, *more: Any) -> dict[str, Any]:
        if next(number) == 2:
            raise KeyboardInterrupt
        return made_row(each.layer.label, each.kind.name, each.batch)

    monkeypatch.setattr(gpu_bench, "measure", measured)
    done = run("gpu_bench", "--out", tmp_path)
    assert (done.code, done.err.strip()) == (130, "interrupted")
    result = results.read(tmp_path / "gpu_bench_core.json")
    assert len(result.rows) == 2
    assert len(result.parameters["left"]) == 3 * 2 * 3 - 2


def test_large_rows_take_as_long_as_their_products() -> None:
    def of(gigaflops: float) -> RowSpec:
        # 1 x 1 filters: a product for each input channel and output element.
        layer = LayerSpec(
            ("x",), 1, 1, 1, (int(gigaflops * 5e8),), (1,), (1,), ((0, 0),), (0,), (int(gigaflops * 5e8),)
        )
        return spec(layer, batch=1)

    pace = gpu_bench.Pace()
    assert pace.seconds(of(1)) == pace.seconds(of(1000)) == 0
    pace.add(of(1), 2.0)
    pace.add(of(200), 4.0)
    assert pace.seconds(of(1)) == 2.0
    assert pace.seconds(of(400)) == pytest.approx(8.0)


def test_what_fails_is_noted_and_the_rest_measured(
    bench: FakeMachine, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(machine: Any, each: RowSpec, *more: Any) -> dict[str, Any]:
        if each.kind.name == "tf32":
            raise RuntimeError("no such\nengine")
        return made_row(each.layer.label, each.kind.name, each.batch)

    monkeypatch.setattr(gpu_bench, "measure", measured)
    done = run("gpu_bench", "--out", tmp_path, "--layers", "a 1", "--batch", 16)
    assert done.code == 0
    result = results.read(tmp_path / "gpu_bench_core.json")
    assert result.parameters["notes"] == ["a 1, batch 16, forward, tf32 failed: RuntimeError: no such engine"]
    assert len(result.rows) == 2
    bench.free_now = 1000
    done = run("gpu_bench", "--out", tmp_path, "--layers", "a 1", "--batch", 16)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no row was measured: a 1, batch 16, forward, bfloat16 left out: it takes about" in done.err


def test_wrong_results_end_in_an_error(
    bench: FakeMachine, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = made_row("a 1", "ieee", 16)
    wrong["sides"]["auto first"]["max_abs_error"] = 1.0
    monkeypatch.setattr(gpu_bench, "measure", lambda *args: wrong)
    done = run("gpu_bench", "--out", tmp_path, "--layers", "a 1", "--batch", 16)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "3 sides are wrong or failed, such as: a 1, batch 16, forward, ieee: auto first is wrong by 1.0e+00" in (
        done.err
    )
    assert len(results.read(tmp_path / "gpu_bench_core.json").rows) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "z 9"), "--layers z 9: there is no such network or layer; networks are a, b"),
        (("--batch", 5), "--batch 5: part core has 16, 1, 64"),
        (("--part", "none"), "core"),
    ],
)
def test_wrong_options_are_one_line(
    bench: FakeMachine, run: Runner, arguments: Any, words: str, tmp_path: Path
) -> None:
    done = run("gpu_bench", "--out", tmp_path, *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert words in done.err


def test_without_a_gpu_it_is_one_line(tmp_path: Path) -> None:
    hidden = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = ''"
    out, err = (process := spawn("gpu_bench", "--out", tmp_path, code=hidden)).communicate(timeout=120)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: gpu_bench needs a GPU: ")


# The thin layer over CuPy and PyTorch


class Log:
    """Stands for a library: notes what is called, under its dotted name."""

    def __init__(self, calls: list[str], name: str, **values: Any) -> None:
        self.__dict__.update(values, _calls=calls, _name=name)

    def __getattr__(self, name: str) -> Any:
        return Log(self._calls, f"{self._name}.{name}")

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._calls.append(self._name)
        return Log(self._calls, self._name.rpartition(".")[2])

    def __enter__(self) -> Any:
        self._calls.append(f"enter {self._name}")
        return self

    def __exit__(self, *raised: object) -> None:
        self._calls.append(f"exit {self._name}")


def logged() -> tuple[Machine, list[str]]:
    calls: list[str] = []
    cupy = Log(calls, "cupy")
    cupy.__dict__["cuda"] = cuda = Log(calls, "cupy.cuda")
    cuda.__dict__["runtime"] = SimpleNamespace(getDeviceProperties=lambda number: {"l2CacheSize": 7})
    machine = Machine(cupy, Log(calls, "torch"))
    assert machine.l2_bytes == 7
    calls.clear()
    return machine, calls


def test_calls_are_captured_between_begin_and_end() -> None:
    machine, calls = logged()
    graph = machine.capture(lambda number: calls.append(f"call {number}"), 2)
    assert calls == ["Stream.begin_capture", "call 0", "call 1", "Stream.end_capture"]
    graph.replay()
    assert calls[-1] == "end_capture.launch"
    calls.clear()
    graph = machine.capture_torch(lambda number: calls.append(f"call {number}"), 2)
    assert calls == ["torch.cuda.CUDAGraph", "CUDAGraph.capture_begin", "call 0", "call 1", "CUDAGraph.capture_end"]
    graph.replay()
    assert calls[-1] == "CUDAGraph.replay"


def test_a_capture_that_fails_is_ended() -> None:
    machine, calls = logged()

    def broken(number: int) -> None:
        raise RuntimeError("in the middle")

    for capture in (machine.capture, machine.capture_torch):
        with pytest.raises(RuntimeError, match="in the middle"):
            capture(broken, 3)
        assert calls[-1].partition(".")[2] in ("end_capture", "capture_end")


def test_both_libraries_share_the_stream() -> None:
    machine, calls = logged()
    with machine.current():
        calls.append("inside")
    inside = calls.index("inside")
    assert calls[:inside] == ["torch.no_grad", "enter no_grad", "torch.cuda.stream", "enter stream", "enter Stream"]
    assert calls[inside + 1 :] == ["exit Stream", "exit stream", "exit no_grad"]
    assert machine.torch.backends.cudnn.benchmark is not True  # a Log makes a new one for each look


def test_precision_by_the_new_settings_or_the_old() -> None:
    new = SimpleNamespace(cudnn=SimpleNamespace(conv=SimpleNamespace(fp32_precision="none")), cuda=SimpleNamespace())
    new.cuda.matmul = SimpleNamespace(fp32_precision="none")
    old = SimpleNamespace(cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace()))
    machine, _ = logged()
    for precision in ("tf32", "ieee"):
        machine.torch = SimpleNamespace(backends=new)
        machine.allow(precision)
        assert new.cudnn.conv.fp32_precision == new.cuda.matmul.fp32_precision == precision
        assert not hasattr(new.cudnn, "allow_tf32")
        machine.torch = SimpleNamespace(backends=old)
        machine.allow(precision)
        assert old.cudnn.allow_tf32 is old.cuda.matmul.allow_tf32 is (precision == "tf32")


def test_pytorch_convolves_with_its_settings_changed() -> None:
    """It refuses to read some mixtures of old and new ones."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has the old settings alone")
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [each.fp32_precision for each in settings]
    machine = object.__new__(Machine)
    machine.torch = torch
    try:
        for precision in ("ieee", "tf32", "ieee"):
            machine.allow(precision)
            assert [each.fp32_precision for each in settings] == [precision] * 2
            for operation in ("forward", "input", "weight"):
                each = spec(operation=operation)
                shapes = {"input": (2, 4, 3, 4), "weight": SMALL[0].weight_shape, "grad_output": (2, 6, 6, 8)}
                reads = [torch.ones(shapes[name]) for name in arrays.READS[each.operation]]
                with machine.without_cudnn():
                    found = TorchOperation(torch, each, "channels_first")(*reads)
                assert found.shape == shapes[arrays.WRITES[each.operation]]
    finally:
        for each, precision in zip(settings, before, strict=True):
            each.fp32_precision = precision
    assert torch.backends.cudnn.enabled


def test_what_the_machine_calls_exists() -> None:
    """The names are those of the installed versions, which differ from release to release."""
    cupy, torch = pytest.importorskip("cupy"), pytest.importorskip("torch")
    for name in ("begin_capture", "end_capture", "is_capturing"):
        assert callable(getattr(cupy.cuda.Stream, name))
    assert callable(cupy.cuda.Graph.launch)
    for name in ("getDeviceProperties", "memGetInfo", "runtimeGetVersion", "driverGetVersion"):
        assert callable(getattr(cupy.cuda.runtime, name))
    assert callable(cupy.get_default_memory_pool().free_all_blocks)
    for name in ("capture_begin", "capture_end", "replay"):
        assert callable(getattr(torch.cuda.CUDAGraph, name))
    for name in ("ExternalStream", "stream", "synchronize", "mem_get_info", "empty_cache"):
        assert callable(getattr(torch.cuda, name))
    assert isinstance(torch.backends.cudnn.benchmark, bool)
    assert callable(torch.ops.aten.convolution_backward)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_tensor_is_seen_as_a_cupy_array(dtype: str) -> None:
    cupy, torch = pytest.importorskip("cupy"), pytest.importorskip("torch")
    machine = object.__new__(Machine)
    machine.cupy, machine.torch, machine._device = cupy, torch, 0
    tensor = torch.zeros((2, 3), dtype=getattr(torch, dtype))
    array = machine.view(tensor)
    assert (array.dtype.name, array.shape, array.data.ptr) == (dtype, (2, 3), tensor.data_ptr())
    assert array.flags.c_contiguous


def test_ceilings(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_ceilings(machine, 2**20, 32)
    assert set(found.flops_per_s) == set(KINDS)
    assert found.flops_per_s["tf32x3"] == pytest.approx(found.flops_per_s["tf32"] / 3)
    assert machine.allowed == [kind.rival for name, kind in KINDS.items() if name != "tf32x3"]
    monkeypatch.setattr(machine, "device_seconds", lambda work: 2.0)
    found = measure_ceilings(machine, 2**20, 32)
    # Five calls a sample; read and written.
    assert found.bytes_per_s == 2 * 2**20 / (2.0 / 5)
    assert found.flops_per_s["ieee"] == 2 * 32**3 / (2.0 / 5)
    assert CEILINGS.floor("ieee", 1e14, 5e11) == 1.0
    assert CEILINGS.floor("ieee", 1e14, 5e12) == 5.0


# Tables


def made_row(layer: str, kind: str, batch: int, scale: float = 1.0, operation: str = "forward") -> dict[str, Any]:
    """A row that was not measured."""
    short = "first" if KINDS[kind].dtype == "float32" else "last"

    def backend(role: str, where: str, seconds: float) -> dict[str, Any]:
        figure = {"median_s": seconds, "q1_s": seconds, "q3_s": seconds}
        return {
            "role": role,
            "data_format": f"channels_{where}",
            **dict.fromkeys(measure.FIGURES, figure),
            "floor_share": 1e-4 / seconds,
            "max_abs_error": 1e-7,
            "max_relative_error": 1e-7,
            "tolerance": 1e-6,
            **({"explained": "unified/f32/threads"} if role != "torch" else {}),
        }

    backends = {
        f"auto {short}": backend("auto", short, 4e-4),
        f"prepared {short}": backend("prepared", short, 2e-4),
        "torch first": backend("torch", "first", 8e-4 * scale),
        "torch last": backend("torch", "last", 4e-4 * scale),
    }
    if operation == "weight":
        del backends[f"prepared {short}"]
    elif batch == 16:
        backends[f"zero_insertion {short}"] = backend("zero_insertion", short, 16e-4)
    return {
        "layer": layer,
        "batch": batch,
        "operation": operation,
        "kind": kind,
        "data_format": KINDS[kind].natural,
        "floor_s": 1e-4,
        "sides": backends,
        "ratios": {figure: ratios_of(backends, KINDS[kind].natural, figure) for figure in measure.FIGURES},
    }


def made_result(part: str = "core") -> results.Result:
    versions = {"cupy_kst": "0", "numpy": "2", "python": "3", "cupy": "14", "cuda_runtime": "13.0", "driver": "580"}
    where = {
        "device": {"kind": "gpu", "name": "GPU Z"},
        "versions": versions | {"torch": "2.11", "cudnn": "91900"},
        "ceilings": CEILINGS.record,
    }
    rows = [made_row("A 1", "ieee", 16), made_row("B 1", "ieee", 16, 4.0), made_row("A 1", "bfloat16", 1)]
    rows.append(made_row("A 1", "ieee", 16, operation="weight"))
    return results.Result(
        experiment=f"gpu_bench_{part}", environment=where, parameters={}, rows=rows, date="2026-01-02"
    )


def test_summary_for_the_terminal() -> None:
    stream = StringIO()
    Console(file=stream, width=120).print(tables.summary_table(made_result().rows))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "forward 1 bfloat16 1 2.00 (2.00) 2.00 (2.00) 1.00 (1.00) 2.00 (2.00) 1.00 (1.00) - 50%" in lines
    assert "forward 16 ieee 2 8.00 (4.00) 4.00 (2.00) 2.00 (1.00) 4.00 (2.00) 2.00 (1.00) 4.00 (4.00) 50%" in lines
    assert "weight 16 ieee 1 2.00 (2.00) 1.00 (1.00) 1.00 (1.00) 1.00 (1.00) 1.00 (1.00) - 25%" in lines
    assert "…" not in stream.getvalue()


def test_line_of_a_row() -> None:
    assert tables.line(made_row("A 1", "ieee", 1)) == (
        "A 1, batch 1, forward, ieee: 2.00x [unified/f32/threads] "
        "(auto first 0.400, prepared first 0.200, torch first 0.800, torch last 0.400)"
    )


def test_report_renders_the_result(tmp_path: Path, run: Runner) -> None:
    (tmp_path / "README.md").write_text(empty_tables(report.README))
    (tmp_path / "measured.md").write_text(empty_tables(report.MEASURED))
    for part in ("core", "grad"):
        result = made_result(part)
        result.write(tmp_path / result.file_name)
    arguments = ("report", "--results", tmp_path, "--readme", tmp_path / "README.md")
    assert run(*arguments, "--measured", tmp_path / "measured.md").code == 0
    readme, measured = (tmp_path / "README.md").read_text(), (tmp_path / "measured.md").read_text()
    assert "**GPU Z**: time of PyTorch (cuDNN 91900) over ours, above 1 ours is faster" in readme
    assert "Ceilings: 1.00 TB/s copied; matrix products in TFLOP/s: ieee 100, tf32 100" in readme
    assert (
        "| transposed convolution | 16 | ieee | 2 | 2.00x (1.00x to 4.00x) | 2.00x (1.00x to 4.00x) "
        "| 4.00x (2.00x to 8.00x) | 50 % | 4.00x (4.00x to 4.00x) |\n"
    ) in readme
    assert "| gradient of the weight | 16 | ieee | 1 | 1.00x (1.00x to 1.00x) | 1.00x (1.00x to 1.00x) | - |" in readme
    assert measured.count("**GPU Z, transposed convolution, batch 16, ieee** (2026-01-02), cold") == 2
    assert (
        "| B 1 | 0.400 | 0.200 | 3.20 | 1.60 | 1.60 | 4.00x | 8.00x | 0.100 | `unified/f32/threads` | 1e-07 |\n"
    ) in measured


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
def test_on_a_gpu(run: Runner, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch finds no GPU")
    for part, batch in (("core", 16), ("grad", 1)):
        done = run("gpu_bench", "--part", part, "--layers", "DiscoGAN 4", "--batch", batch, "--out", tmp_path)
        assert done.code == 0, done
        result = results.read(tmp_path / f"gpu_bench_{part}.json")
        assert result.parameters["left"] == result.parameters["notes"] == []
        for row in result.rows:
            for backend in row["sides"].values():
                # What PyTorch's sides are checked by is PyTorch too, but by other products.
                assert backend["relative_l2_error"] < 0.02
                # Other processes may use the device, too.
                assert 0 < backend["warm"]["min_s"] <= 2 * backend["cold"]["max_s"]
