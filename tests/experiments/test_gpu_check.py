"""What compute-sanitizer is given, how its reports are read, and how processes are started again and ended."""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.methods import REGISTRY
from cupy_kst.methods import METHODS
from experiments.checks import gpu_cases, gpu_check, sanitizer
from experiments.checks.gpu_cases import GpuCase
from experiments.checks.sanitizer import Findings
from experiments.harness import gpu_compile, processes, results

from .fake_gpu import Emulated, Noting, installed
from .running import Runner, spawn

# Cases


def test_every_method_type_and_layout_has_a_case() -> None:
    with installed(Noting()) as cupy:
        every = gpu_cases.cases(cupy)
    assert len(set(map(str, every))) == len(every)
    found = {(case.method, case.dtype, case.data_format) for case in every}
    layouts = ("channels_first", "channels_last")
    assert found == {(method, dtype, layout) for method in METHODS for dtype in DTYPES for layout in layouts}
    assert {case.precision for case in every if case.dtype == "float32"} == {"ieee", "tf32", "tf32x3"}
    # What is most likely to be wrong comes first, forms that are asked for by name after it.
    forms = [bool(case.form) for case in every]
    assert forms == sorted(forms)


def test_every_kernel_of_the_roster_is_launched() -> None:
    """In every element type and layout, in the generic build and in one of its own."""
    launched: dict[tuple[str, str], set[str]] = {}
    with installed(kernels := Noting()) as cupy:
        for case in gpu_cases.cases(cupy):
            kernels.launched.clear()
            call = case.call(cupy)
            call()
            call()
            launched.setdefault((case.dtype, case.data_format), set()).update(name for _, name in kernels.launched)
    every = {name for method in REGISTRY.values() for name in method.kernels}
    assert len(every) > len(REGISTRY)
    for names in launched.values():
        assert every - names == set()


def test_forms_that_have_a_name_are_all_there() -> None:
    with installed(Noting()) as cupy:
        forms = {case.form for case in gpu_cases.cases(cupy) if (case.method, case.dtype) == ("ks_deconv", "float32")}
    assert {"f32/128x64", "f32/128x64/trimmed", "f32/32x32", "f32/128x16", "f32/32x32/interleaved"} <= forms


@pytest.mark.long(but=lambda method, layout: layout == "channels_last" and method == "ks_deconv")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_cases_equal_the_definition(method: str, layout: Any) -> None:
    with installed(Emulated()) as cupy:
        for shape in gpu_cases.SHAPES:
            assert gpu_cases.run(GpuCase(method, "bfloat16", layout, "ieee", shape), cupy) == ""


@pytest.mark.long(but=lambda dtype: dtype in ("float32", "bfloat16"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_cases_are_exact(dtype: str) -> None:
    for method in METHODS:
        for shape in gpu_cases.SHAPES:
            expected = GpuCase(method, dtype, "channels_first", "ieee", shape).expected()
            assert np.array_equal(expected, expected.astype(dtype))
            assert np.abs(expected).max() > 1


def test_a_kernel_that_writes_nothing_is_found() -> None:
    case = GpuCase("unified", "float32", "channels_last", "ieee", "odd")
    with installed(Noting()) as cupy:
        said = gpu_cases.run(case, cupy)
    assert (
        said == f"{case.expected().size} of {case.expected().size} outputs of the first call differ from the definition"
    )


def test_the_script_names_each_case_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [GpuCase(method, "float32", "channels_first", "ieee", "odd") for method in ("unified", "direct", "split")]
    events: list[str] = []

    def run(case: GpuCase, cupy: Any) -> str:
        print(f"running {case.method}")
        events.append(case.method)
        if case.method == "unified":
            raise RuntimeError("launch\nfailed")
        return "3 of 4 outputs differ" if case.method == "direct" else ""

    monkeypatch.setattr(gpu_cases, "cases", lambda cupy: chosen)
    monkeypatch.setattr(gpu_cases, "run", run)
    with installed(Noting()):
        done = CliRunner().invoke(gpu_cases.main, [])
        later = CliRunner().invoke(gpu_cases.main, ["--start", "2"])
        late = CliRunner().invoke(gpu_cases.main, ["--seconds", "-1"])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"case 1 of 3: {chosen[0]}",
        "running unified",
        "wrong: RuntimeError: launch failed",
        f"case 2 of 3: {chosen[1]}",
        "running direct",
        "wrong: 3 of 4 outputs differ",
        f"case 3 of 3: {chosen[2]}",
        "running split",
        "all cases have run",
    ]
    assert (later.exit_code, later.output.splitlines()[0]) == (0, f"case 3 of 3: {chosen[2]}")
    assert (late.exit_code, late.output) == (0, "out of time\n")


def test_kernels_of_cases_are_compiled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_compile, "processes", partial(ThreadPoolExecutor, 1))
    with installed(kernels := Noting()) as cupy:
        chosen = [GpuCase("split", "float32", "channels_first", "ieee", shape) for shape in gpu_cases.SHAPES]
        gpu_cases.compile_cases(cupy, chosen)
        before = list(kernels.compiled)
        assert kernels.launched == []
        for case in chosen:
            gpu_cases.run(case, cupy)
        assert kernels.compiled == before
        assert len(before) == len(set(before)) == 6


# Reports

MEMCHECK = """\
========= COMPUTE-SANITIZER
before
case 1 of 3: one
case 2 of 3: two
========= Invalid __global__ write of size 4 bytes
=========     at unified+0x1b0
=========     by thread (3,0,0) in block (0,0,0)
=========     Address 0x7f is out of bounds
=========     and is 13 bytes after the nearest allocation at 0x7e of size 60 bytes
=========
========= Invalid __global__ read of size 4 bytes
=========     at unified+0x1c0
wrong: 2 of 4 outputs differ
case 3 of 3: three
all cases have run
========= Target application returned an error
========= ERROR SUMMARY: 2 errors
"""
RACECHECK = """\
========= COMPUTE-SANITIZER
case 1 of 2: one
========= Error: Race reported between Write access at ks_deconv+0x40
=========     and Read access at ks_deconv+0x80 [128 hazards]
=========
case 2 of 2: two
all cases have run
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
CLEAN = """\
========= COMPUTE-SANITIZER
case 1 of 1: one
all cases have run
========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)
========= ERROR SUMMARY: 0 errors
"""


def read(text: str, code: int | None = 0) -> Findings:
    found = Findings("memcheck")
    found.read(text.splitlines())
    found.end_of_process(code)
    return found


def test_reports_are_of_the_case_before_them() -> None:
    found = read(MEMCHECK, 66)
    assert found.by_case == {
        "two": [
            "Invalid __global__ write of size 4 bytes",
            "Invalid __global__ read of size 4 bytes",
            "wrong: 2 of 4 outputs differ",
        ]
    }
    assert (found.ran, found.all_cases, found.ended, found.passed) == (3, 3, True, False)
    found = read(RACECHECK, 66)
    assert found.by_case == {"one": ["Error: Race reported between Write access at ks_deconv+0x40"]}
    assert read(CLEAN).passed


def test_a_process_that_ends_early_is_its_cases_fault() -> None:
    found = read("case 1 of 3: one\ncase 2 of 3: two\nSegmentation fault\n", 139)
    assert found.by_case == {"two": ["the process ended with exit code 139"]}
    assert not found.passed
    assert read("Device not supported\n", 1).by_case == {
        "before the first case": ["the process ended with exit code 1"]
    }
    for late in (read("case 1 of 3: one\nout of time\n", 66), read("case 1 of 3: one\n", None)):
        assert late.by_case == {}
        assert (late.passed, late.out_of_time) == (False, True)
    # All cases have run: an exit code then tells of reports, which are known.
    assert read(CLEAN, 66).by_case == {}


# Processes

FAKE = """\
#!{python}
import sys, time
start = int(sys.argv[sys.argv.index("--start") + 1])
print("========= COMPUTE-SANITIZER", *sys.argv[1:3])
for number in range(start, 4):
    print(f"case {{number + 1}} of 4: case{{number}}", flush=True)
    if number == 1:
        print("========= Invalid __shared__ read of size 4 bytes")
        sys.exit(66)
    if number == {sleeps}:
        time.sleep(60)
print("all cases have run")
"""


def fake(folder: Path, sleeps: int = -1) -> str:
    """A program that takes compute-sanitizer's options and is ended by its second case."""
    path = folder / "compute-sanitizer"
    path.write_text(FAKE.format(python=sys.executable, sleeps=sleeps))
    path.chmod(0o755)
    return str(path)


def test_the_rest_of_the_cases_runs_after_one_that_ends_the_process(tmp_path: Path) -> None:
    found = sanitizer.watch("memcheck", fake(tmp_path), time.monotonic() + 60, tmp_path)
    assert found.by_case == {
        "case1": ["Invalid __shared__ read of size 4 bytes", "the process ended with exit code 66"]
    }
    assert (found.ran, found.all_cases, found.ended) == (4, 4, True)
    log = (tmp_path / "memcheck.log").read_text()
    assert log.count("========= COMPUTE-SANITIZER --tool memcheck") == 2
    assert [line for line in log.splitlines() if line.startswith("case")] == [
        f"case {number + 1} of 4: case{number}" for number in range(4)
    ]


def test_a_case_that_hangs_ends_with_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizer, "_CASE_SECONDS", 1.0)
    begun = time.monotonic()
    found = sanitizer.watch("racecheck", fake(tmp_path, sleeps=2), begun + 4, tmp_path)
    assert time.monotonic() - begun < 20
    assert (found.ran, found.ended, found.out_of_time, found.passed) == (3, False, True, False)


def test_a_program_that_cannot_start_is_tried_once(tmp_path: Path) -> None:
    path = tmp_path / "compute-sanitizer"
    path.write_text(f"#!{sys.executable}\nprint('Device not supported')\nraise SystemExit(3)\n")
    path.chmod(0o755)
    found = sanitizer.watch("synccheck", str(path), time.monotonic() + 60, tmp_path)
    assert found.by_case == {"before the first case": ["the process ended with exit code 3"]}
    assert found.said == ["Device not supported"]


def test_a_program_that_is_killed_is_not_started_again(tmp_path: Path) -> None:
    program = fake(tmp_path, sleeps=0)
    with ThreadPoolExecutor() as pool:
        watched = pool.submit(sanitizer.watch, "synccheck", program, time.monotonic() + 60, tmp_path)
        log = tmp_path / "synccheck.log"
        while not log.exists() or "case 1 of 4" not in log.read_text():
            time.sleep(0.01)
        processes.kill_all()
        found = watched.result(timeout=30)
    assert (found.ran, found.ended, found.passed) == (1, False, False)


def test_command_lines() -> None:
    line = sanitizer.command("memcheck", "/bin/compute-sanitizer", 7, 99.6)
    assert line[:3] == ["/bin/compute-sanitizer", "--tool", "memcheck"]
    assert "--error-exitcode" in line
    ports = {(line := sanitizer.command(tool, "x", 0, 1))[line.index("--port") + 1] for tool in sanitizer.TOOLS}
    assert len(ports) == len(sanitizer.TOOLS)
    line = sanitizer.command("memcheck", "/bin/compute-sanitizer", 7, 99.6)
    assert line[-7:] == [sys.executable, "-m", "experiments.checks.gpu_cases", "--start", "7", "--seconds", "100"]
    assert sanitizer.command("", "", 0, 9)[:3] == [sys.executable, "-m", "experiments.checks.gpu_cases"]
    assert sanitizer.command("", "", 0, 9)[-1] == "--compile"


def started(code: str, output: Path) -> processes.Process:
    """A process that has said that it is ready."""
    with output.open("w") as file:
        process = processes.start([sys.executable, "-c", code], file)
    while "ready" not in output.read_text():
        time.sleep(0.01)
    return process


# What the shell starts in the background ignores interrupts, and so do its children.
SLEEP = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('ready'); time.sleep(60)"
DEAF = SLEEP.replace("SIG_DFL", "SIG_IGN")


def test_processes_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "log"
    process = started("print('ready'); raise SystemExit(5)", output)
    assert processes.wait(process, time.monotonic() + 30) == 5
    for code, asks, patience, ended in (
        (SLEEP, True, 30, signal.SIGINT),
        (SLEEP, False, 30, signal.SIGKILL),
        (DEAF, True, 0.5, signal.SIGKILL),
    ):
        monkeypatch.setattr(processes, "STOP_SECONDS", patience)
        process = started(code, output)
        assert processes.wait(process, time.monotonic(), asks) is None
        assert process.returncode == -ended


def test_processes_end_with_what_started_them(tmp_path: Path) -> None:
    process = started(SLEEP, tmp_path / "log")
    processes.kill_all()
    assert processes.wait(process, time.monotonic() + 30) == -signal.SIGKILL


# The command


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A GPU, a compute-sanitizer, and what the parts of the check find."""
    outcome: dict[str, Any] = {
        "tests": {"check": "tests", "passed": True, "ended": True, "exit_code": 0, "seconds": 1.0, "said": ["9 passed"]}
    }

    def watch(tool: str, program: str, end: float, folder: Path) -> Findings:
        return outcome.get(tool) or Findings(tool or "cases", ran=4, all_cases=4, ended=True)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpu_check.sanitizer, "watch", watch)
    monkeypatch.setattr(gpu_check, "run_tests", lambda *args: outcome["tests"])
    monkeypatch.setattr(gpu_check, "_free_bytes", lambda cupy: 2**36)
    fake(tmp_path)
    return outcome


def test_all_passed(checked: dict[str, Any], run: Runner, tmp_path: Path) -> None:
    with installed(Noting()):
        done = run("gpu_check", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert "racecheck: passed, 4 of 4 cases, 0 s" in done.out.splitlines()
    assert "9 passed" in done.out.splitlines()
    result = results.read(tmp_path / "out" / "gpu_check.json")
    assert [row["check"] for row in result.rows] == ["tests", "cases", "memcheck", "racecheck", "synccheck"]


def test_what_is_found_fails(checked: dict[str, Any], run: Runner, tmp_path: Path) -> None:
    checked["racecheck"] = Findings("racecheck", 4, 4, True, by_case={"case1": ["Error: Race", "b", "c"]})
    checked["synccheck"] = Findings("synccheck", 2, 4, False, out_of_time=True)
    checked["tests"] |= {"passed": False, "exit_code": 1}
    with installed(Noting()):
        done = run("gpu_check", "--out", tmp_path / "out")
    assert (done.code, done.err) == (1, "error: not passed: tests, racecheck, synccheck\n")
    lines = done.out.splitlines()
    assert "racecheck: failed, 4 of 4 cases, 1 with findings, 0 s" in lines
    assert "  case1: Error: Race" in lines
    assert "synccheck: did not end, 2 of 4 cases, 0 s" in lines
    assert "tests: failed, 1 s" in lines


def test_only_some(checked: dict[str, Any], run: Runner, tmp_path: Path) -> None:
    for only, found in (("tests", ["tests"]), ("memcheck", ["cases", "memcheck"]), ("cases", ["cases"])):
        with installed(Noting()):
            assert run("gpu_check", "--only", only, "--out", tmp_path / "out").code == 0
        assert [row["check"] for row in results.read(tmp_path / "out" / "gpu_check.json").rows] == found


def test_without_compute_sanitizer_it_is_one_line(run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_check, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    with installed(Noting()):
        done = run("gpu_check", "--out", tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: compute-sanitizer, which comes with the CUDA toolkit, was not found")


def test_without_pytest_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Runner) -> None:
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name == "pytest" else object())
    with installed(Noting()):
        done = run("gpu_check", "--out", tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("error: the tests need pytest: install them, or leave the tests out by --only cases ")


def test_without_a_gpu_it_is_one_line(tmp_path: Path) -> None:
    hidden = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = ''"
    out, err = (process := spawn("gpu_check", "--out", tmp_path, code=hidden)).communicate(timeout=120)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: gpu_check needs a GPU: ")


@pytest.mark.gpu
def test_a_case_on_a_gpu() -> None:
    import cupy

    for method in METHODS:
        assert gpu_cases.run(GpuCase(method, "float32", "channels_last", "ieee", "odd"), cupy) == ""
