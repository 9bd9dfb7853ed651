"""``gpu_check``: the tests on a GPU, and compute-sanitizer on one small case for each kernel, type and layout."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from cupy_kst.gpu.build.runtime import load_cupy
from experiments.checks import sanitizer
from experiments.checks.sanitizer import TOOLS, Findings
from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness import devices, environment, processes, results
from experiments.harness.rows import Row
from experiments.harness.word_choice import WordChoice
from experiments.render import console

NAME = "gpu_check"

# What each process of the tests may take: its context, its kernels, and what the largest tests allocate.
_TEST_BYTES = 4 * 2**30
# To write what is known.
_MARGIN = 5.0
_SHOWN, _TAIL = 30, 25
_PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin", "/usr/local/cuda/compute-sanitizer")


@click.command(NAME)
@click.option("--minutes", type=click.FloatRange(0.5), default=9.0, show_default=True, help="What all of it may take.")
@click.option(
    "--only",
    type=WordChoice(("tests", "cases", *TOOLS)),
    multiple=True,
    help="Only this; cases: the sanitizer's cases without it, which every tool needs first. By default all.",
)
@click.option("--select", metavar="EXPRESSION", help="Only tests that match, as `pytest -k` takes it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(NAME),
    show_default=True,
    help=f"Folder for {NAME}.json and what the processes print.",
)
def command(minutes: float, only: tuple[str, ...], select: str | None, out: Path) -> None:
    """Run the tests marked `gpu`, then memcheck, racecheck and synccheck of compute-sanitizer.

    The sanitizer's cases are every method in every element type, precision, layout and form. Exits with 1 if anything
    was found or did not end in time.
    """
    begun = time.monotonic()
    end = begun + 60 * minutes - _MARGIN
    wanted = only or ("tests", "cases", *TOOLS)
    try:
        cupy = load_cupy()
    except RuntimeError as error:
        raise ExperimentError(f"{NAME} needs a GPU: {error}") from None
    if "tests" in wanted and (missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]):
        others = " ".join(f"--only {name}" for name in ("cases", *TOOLS))
        raise ExperimentError(
            f"the tests need {' and '.join(missing)}: install them, or leave the tests out by {others}"
        )
    program = _sanitizer() if set(wanted) & set(TOOLS) else ""
    results.writable_folder(out)
    where = environment.record(devices.Device(cupy))
    say = console.output()
    say.print(f"Device: {environment.device_label(where)} ({environment.versions_label(where)})", soft_wrap=True)
    # One process for each tool and for pytest itself; the rest of the cores test.
    workers = max(1, min(devices.logical_cores() - len(TOOLS) - 1, _free_bytes(cupy) // _TEST_BYTES // 2))
    with ThreadPoolExecutor() as pool:
        try:
            tests = pool.submit(run_tests, end, out / "tests.log", workers, select) if "tests" in wanted else None
            # Compiles every kernel, so that the tools, which begin after it, find all of them in CuPy's cache.
            rows = [sanitizer.watch("", "", end, out)] if wanted != ("tests",) else []
            tools = [pool.submit(sanitizer.watch, tool, program, end, out) for tool in TOOLS if tool in wanted]
            found = [*rows, *(tool.result() for tool in tools)]
            tested = [tests.result()] if tests else []
        except BaseException:
            processes.kill_all()
            raise
    rows_of = [*tested, *(_row(each) for each in found)]
    result = results.Result(
        experiment=NAME,
        environment=where,
        parameters={"minutes": minutes, "only": list(wanted), "select": select},
        rows=rows_of,
    )
    result.write(out / f"{NAME}.json")
    _show(rows_of, out)
    say.print(f"written: {out / NAME}.json, after {time.monotonic() - begun:.0f} s", soft_wrap=True)
    if bad := [row["check"] for row in rows_of if not row["passed"]]:
        raise ExperimentError(f"not passed: {', '.join(bad)}", EXIT_CHECK)


def run_tests(end: float, log: Path, workers: int, select: str | None) -> Row:
    """Run pytest on the tests marked `gpu` until they are done or `end` has come."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "--durations=10"]
    command += ["-n", str(workers)] if find_spec("xdist") else []
    command += ["-k", select] if select else []
    begun = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        code = processes.wait(processes.start(command, file), end - processes.STOP_SECONDS, asks=True)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return {
        "check": "tests",
        "passed": code == 0,
        "ended": code is not None,
        "exit_code": code,
        "seconds": time.monotonic() - begun,
        "said": lines[-_TAIL:],
    }


def _row(found: Findings) -> Row:
    return {
        "check": found.name,
        "passed": found.passed,
        "ended": found.ended,
        "cases": found.ran,
        "all_cases": found.all_cases,
        "findings": found.by_case,
        "seconds": found.seconds,
        "said": found.said[-_TAIL:],
    }


def _show(rows: Sequence[Row], out: Path) -> None:
    say = console.output()
    for row in rows:
        if row["check"] == "tests" or not (row["ended"] or row["cases"]):
            say.print(f"{row['check']}, the end of what it said:", *row["said"], sep="\n", soft_wrap=True)
        findings = [f"  {case}: {line}" for case, lines in row.get("findings", {}).items() for line in lines[:2]]
        if findings:
            say.print(f"{row['check']} found:", *findings[:_SHOWN], sep="\n", soft_wrap=True)
            if len(findings) > _SHOWN:
                say.print(f"  and {len(findings) - _SHOWN} lines more in {out}", soft_wrap=True)
    for row in rows:
        words = "passed" if row["passed"] else "failed" if row["ended"] else "did not end"
        counted = f", {row['cases']} of {row['all_cases'] or '?'} cases" if "cases" in row else ""
        wrong = f", {len(row['findings'])} with findings" if row.get("findings") else ""
        say.print(f"{row['check']}: {words}{counted}{wrong}, {row['seconds']:.0f} s", soft_wrap=True)


def _sanitizer() -> str:
    """Return where compute-sanitizer is."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    folders = [os.environ.get("PATH", ""), *(str(home / "bin") for home in homes), *_PLACES]
    found = shutil.which("compute-sanitizer", path=os.pathsep.join(folders))
    if found is None:
        raise ExperimentError(
            "compute-sanitizer, which comes with the CUDA toolkit, was not found on PATH or in CUDA_HOME; "
            "--only tests runs the tests without it"
        )
    return found


def _free_bytes(cupy: Any) -> int:
    return int(cupy.cuda.runtime.memGetInfo()[0])
