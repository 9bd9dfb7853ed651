"""What all experiments share: clocks and turns, the choice of a device, the record of where a figure was measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from cupy_kst.gpu.build.runtime import load_cupy
from experiments.harness import comparison, devices, environment, results, timing

from .running import Runner


class Simulation:
    """A host that takes time to submit and a device that works through its queue, both on one clock of seconds."""

    HOST = 50e-6
    KERNEL: ClassVar = {"add": 300e-6, "slow": 200e-6, "fast": 10e-6}

    def __init__(self) -> None:
        self.host = self.free = 0.0
        self.array = np.zeros(1, np.float32)

    def submit(self, name: str) -> str:
        self.host += self.HOST
        self.free = max(self.host, self.free) + self.KERNEL[name]
        return name

    def cupy(self) -> Any:
        simulation = self

        class Event:
            def record(self) -> None:
                self.time = max(simulation.host, simulation.free)

            def synchronize(self) -> None:
                simulation.host = max(simulation.host, self.time)

        def elapsed(start: Event, stop: Event) -> float:
            return (stop.time - start.time) * 1e3

        return SimpleNamespace(
            zeros=lambda *_, **__: self.array,
            add=lambda *_, **__: self.submit("add"),
            cuda=SimpleNamespace(Event=Event, get_elapsed_time=elapsed),
        )


def test_gpu_clock_measures_the_device_and_not_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    monkeypatch.setattr("time.perf_counter", lambda: simulation.host)
    calls = {name: lambda name=name: simulation.submit(name) for name in ("fast", "slow")}
    timings, last = timing.time_in_turn(calls, timing.GpuClock(simulation.cupy()), timing.Rounds.exactly(4))
    for name in calls:
        assert timings[name].samples == pytest.approx([simulation.KERNEL[name]] * 4)
        assert last[name] == name


def test_calls_take_turns() -> None:
    taken: list[str] = []

    class Clock:
        calls_per_sample = 1

        def sample(self, call: timing.Call) -> tuple[float, Any]:
            taken.append(call())
            return float(len(taken)), len(taken)

    calls = {name: lambda name=name: name for name in "ab"}
    timings, last = timing.time_in_turn(calls, Clock(), timing.Rounds.exactly(3))
    assert "".join(taken) == "aaabbb" + "ab" + "ba" + "ab"
    assert timings["a"].samples == (7, 10, 11)
    assert (timings["a"].median, timings["a"].quartiles) == (10, (8.5, 10.5))
    assert last == {"a": 11, "b": 12}


@pytest.mark.parametrize(("rounds", "number"), [(timing.Rounds(50, 2, 0.0), 2), (timing.Rounds(5, 2, 60.0), 5)])
def test_rounds_end_with_the_time(rounds: timing.Rounds, number: int) -> None:
    timings, _ = timing.time_in_turn({"a": lambda: None}, timing.CpuClock(), rounds)
    assert len(timings["a"].samples) == number


@pytest.fixture(autouse=True)
def no_remembered_cupy() -> Iterator[None]:
    load_cupy.cache_clear()
    yield
    load_cupy.cache_clear()


def fake_cupy(monkeypatch: pytest.MonkeyPatch, count: int = 1, is_hip: bool = False) -> Any:
    runtime = SimpleNamespace(
        is_hip=is_hip,
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: count,
        getDeviceProperties=lambda _: {
            "name": b"GPU X",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 132,
            "l2CacheSize": 50_000_000,
        },
        runtimeGetVersion=lambda: 13020,
        driverGetVersion=lambda: 13000,
    )
    cuda = SimpleNamespace(
        runtime=runtime, nvrtc=SimpleNamespace(getVersion=lambda: (13, 2)), Device=lambda: SimpleNamespace(id=0)
    )
    cupy = SimpleNamespace(__version__="14.0", cuda=cuda)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_device_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = fake_cupy(monkeypatch)
    assert devices.select("auto").cupy is cupy
    assert devices.select("gpu").kind == "gpu"
    assert devices.select("cpu").kind == "cpu"


@pytest.mark.parametrize(
    ("cupy", "words"),
    [
        (None, "CuPy is not installed"),
        ({"count": 0}, "no NVIDIA GPU"),
        ({"is_hip": True}, "ROCm"),
    ],
)
def test_no_gpu(monkeypatch: pytest.MonkeyPatch, run: Runner, cupy: dict[str, Any] | None, words: str) -> None:
    if cupy is None:
        monkeypatch.setitem(sys.modules, "cupy", None)
    else:
        fake_cupy(monkeypatch, **cupy)
    assert devices.select("auto").kind == "cpu"
    assert words in devices.select("auto").no_gpu
    code, out, err = run("quickstart", "--device", "gpu")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_what_sets_results_of_one_cpu_apart() -> None:
    where = {"device": {"kind": "cpu", "name": "CPU X"}, "threads": 2, "versions": {"numba": "0.68"}, "settings": {}}
    assert environment.device_label(where) == "CPU X, 2 threads"
    assert environment.device_label(where | {"threads": 1, "versions": {}}) == "CPU X, 1 thread, NumPy alone"
    told = where | {"settings": {"OPENBLAS_CORETYPE": "Haswell"}}
    assert environment.device_label(told) == "CPU X, 2 threads, OPENBLAS_CORETYPE=Haswell"


def test_settings_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert environment.record(devices.Device())["settings"] == {}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert environment.record(devices.Device())["settings"] == {"OPENBLAS_CORETYPE": "Haswell"}


def test_environment_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    where = environment.record(devices.Device(fake_cupy(monkeypatch)))
    assert where["device"]["name"] == environment.device_label(where) == "GPU X"
    assert where["device"]["capability"] == "9.0"
    versions = where["versions"]
    assert (versions["cupy"], versions["cuda_runtime"], versions["cuda_driver"], versions["nvrtc"]) == (
        "14.0",
        "13.2",
        "13.0",
        "13.2",
    )
    assert "CuPy 14.0, CUDA 13.2" in environment.versions_label(where)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
def test_quickstart_on_the_gpu(tmp_path: Path, run: Runner) -> None:
    if devices.select("auto").kind != "gpu":
        pytest.skip("no CUDA device")
    assert run("quickstart", "--device", "gpu", "--repeat", 3, "--out", tmp_path).code == 0
    result = results.read(tmp_path / "quickstart.json")
    assert result.environment["device"]["kind"] == "gpu"
    assert all(0 < row["median_s"] < 1 for row in result.rows)


def test_commit_tells_changed_code_from_new_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    monkeypatch.setattr(environment, "ROOT", tmp_path.resolve())
    assert environment.commit() is None
    git("init")
    assert environment.commit() is None
    (tmp_path / "experiments" / "results").mkdir(parents=True)
    for name in ("README.md", "code.py", "experiments/results/a.json"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "a")
    clean = environment.commit()
    assert clean is not None
    assert len(clean) == 40
    for name in ("README.md", "experiments/results/a.json", "experiments/results/b.json"):
        (tmp_path / name).write_text("2")
    assert environment.commit() == clean
    (tmp_path / "new.py").write_text("1")
    assert environment.commit() == f"{clean}-dirty"
    # Unpacked below someone else's checkout, whose commit says nothing of this code.
    monkeypatch.setattr(environment, "ROOT", tmp_path.resolve() / "experiments")
    assert environment.commit() is None


def test_tolerance_grows_with_terms_and_size() -> None:
    case = comparison.Case("a", np.full((1, 2, 4, 4), 3, np.float32), np.full((2, 5, 3, 3), -2, np.float32), {})
    assert case.tolerance == pytest.approx(18 * 2**-23 * 6)


def test_cpu_clock_keeps_page_faults_out_of_the_times() -> None:
    """In a fresh process, as the allocator of this one has seen larger blocks already."""
    script = """
import resource, numpy as np
from experiments.harness.timing import CpuClock, Rounds, time_in_turn
calls = {"a": lambda: [np.full(2 << 20, 1, np.uint8) for _ in range(6)]}
clock = CpuClock()
time_in_turn(calls, clock, Rounds.exactly(5))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
time_in_turn(calls, clock, Rounds.exactly(50))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=environment.ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 50 * 100
