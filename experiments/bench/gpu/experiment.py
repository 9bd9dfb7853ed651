"""GPU benchmark: layers of published networks against PyTorch (cuDNN), in parts that end within minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from experiments.bench.gpu import tables
from experiments.bench.gpu.arrays import bytes_needed
from experiments.bench.gpu.ceilings import Ceilings, measure_ceilings
from experiments.bench.gpu.compile_requests import compile_requests
from experiments.bench.gpu.count import useful_flops
from experiments.bench.gpu.judge import wrong_backends
from experiments.bench.gpu.machine import Machine, check_device, find_machine
from experiments.bench.gpu.measure import measure
from experiments.bench.gpu.parts import PARTS, RowSpec
from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness import devices, environment, gpu_compile, results
from experiments.harness.rows import Row
from experiments.harness.word_choice import WordChoice
from experiments.render import console
from experiments.workloads import layers

NAME = "gpu_bench"

# A row is begun only if it is likely to end this long before the part must.
MARGIN = 15.0
# Rows of more operations take as long as these do, others as long as what is done for every row.
_LARGE_FLOPS = 1e11
_SHOWN = 20


@click.command(NAME)
@click.option(
    "--part",
    type=WordChoice(tuple(PARTS)),
    default="core",
    show_default=True,
    help="; ".join(f"{name}: {part.summary}" for name, part in PARTS.items()) + ".",
)
@click.option("--minutes", type=click.FloatRange(0.5), default=8.0, show_default=True, help="What the part may take.")
@click.option("--layers", "names", multiple=True, metavar="NAME", help=layers.NAMES_HELP)
@click.option("--batch", type=click.IntRange(1, 1024), multiple=True, help="Only this batch of the part.")
@click.option("--method", default="auto", show_default=True, help="Ours, where the operation has it.")
@click.option(
    "--resume",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the rows of this earlier result of the same part, device, versions and commit, and measure the others.",
)
@click.option("--commit", metavar="HASH", help="Commit to record where this is no git checkout.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(NAME),
    show_default=True,
    help=f"Folder for {NAME}_PART.json.",
)
@click.option(
    "--save",
    is_flag=True,
    help="Also keep the JSON in experiments/results, one file per part and device; `report` writes README and docs.",
)
def command(
    part: str,
    minutes: float,
    names: tuple[str, ...],
    batch: tuple[int, ...],
    method: str,
    resume: Path | None,
    commit: str | None,
    out: Path,
    save: bool,
) -> None:
    """Time the layers of published networks on a GPU against PyTorch's cuDNN in both layouts.

    Every row is in the JSON file as soon as it is measured. When its minutes are over, a part says which rows are left;
    --resume goes on with them, also on another machine with the same device and versions.
    """
    budget = Budget(60 * minutes)
    for folder in [out, results.RESULTS] if save else [out]:
        results.writable_folder(folder)
    machine = find_machine(NAME)
    asked = {"part": part, "method": method, "layers": list(names), "batches": list(batch)}
    specs = chosen(part, names, batch)
    say = console.output()
    where = environment.record(devices.Device(machine.cupy), machine.versions)
    say.print(f"Device: {environment.device_label(where)} ({environment.versions_label(where)})", soft_wrap=True)
    result = results.Result(
        experiment=f"{NAME}_{part}", environment=where, parameters=asked | {"left": [], "notes": []}, rows=[]
    )
    if commit and result.commit is None:
        result = replace(result, commit=commit)
    if resume:
        result = resumed(result, resume)
    specs = [spec for spec in specs if spec.key not in {_key(row) for row in result.rows}]
    notes = result.parameters["notes"]
    notes += _compile(machine, specs, method, budget)
    ceilings = measure_ceilings(machine)
    where["ceilings"] = ceilings.record
    path = out / f"{result.experiment}.json"
    run(machine, specs, result, ceilings, method, budget, path)
    if save:
        result.write(results.RESULTS / result.file_name)
    _summary(result, ceilings, path)
    if wrong := wrong_backends(result.rows):
        raise ExperimentError(f"{len(wrong)} sides are wrong or failed, such as: {wrong[0]}", EXIT_CHECK)


class Budget:
    """Seconds that are left, from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def allows(self, row: float) -> bool:
        """Return whether a row that takes so many seconds, and what follows the last row, still fit."""
        return self.left > row + MARGIN


class Pace:
    """How long rows took, and so how long others may take."""

    def __init__(self) -> None:
        self._longest = self._per_flop = 0.0

    def add(self, spec: RowSpec, seconds: float) -> None:
        """Remember a row."""
        flops = useful_flops(spec)
        if flops < _LARGE_FLOPS:
            self._longest = max(self._longest, seconds)
        else:
            self._per_flop = max(self._per_flop, seconds / flops)

    def seconds(self, spec: RowSpec) -> float:
        """Return a bound of what a row takes: as long as the longest, or in proportion to the largest."""
        flops = useful_flops(spec)
        return max(self._longest, self._per_flop * flops if flops >= _LARGE_FLOPS else 0.0)


def chosen(part: str, names: Sequence[str], batches: Sequence[int]) -> list[RowSpec]:
    """Return the rows of a part, of these layers and batches only if any are named."""
    every = PARTS[part].specs()
    wanted, known = layers.named(names, [spec.layer for spec in every]), dict.fromkeys(spec.batch for spec in every)
    for batch in batches:
        if batch not in known:
            raise ExperimentError(f"--batch {batch}: part {part} has {', '.join(map(str, known))}")
    return [spec for spec in every if spec.layer in wanted and (not batches or spec.batch in batches)]


def run(
    machine: Machine,
    specs: Sequence[RowSpec],
    result: results.Result,
    ceilings: Ceilings,
    method: str,
    budget: Budget,
    path: Path,
) -> None:
    """Add the rows of `tasks` to `result` until the budget is spent, and write it to `path` after each."""
    left, notes, pace = result.parameters["left"], result.parameters["notes"], Pace()
    left[:] = [spec.title for spec in specs]
    result.write(path)
    for spec in specs:
        # Smaller ones may still fit.
        if not budget.allows(pace.seconds(spec)):
            continue
        started = time.monotonic()
        needed, free = bytes_needed(spec, machine.l2_bytes), machine.free_bytes()
        try:
            if needed > free:
                notes.append(
                    f"{spec.title} left out: it takes about {console.quantity(needed, 'B')}, "
                    f"{console.quantity(free, 'B')} are free"
                )
            else:
                row = measure(machine, spec, ceilings, method)
                result.rows.append(row)
                print(tables.line(row), flush=True)
        except ExperimentError:
            raise
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            notes.append(f"{spec.title} failed: {why[:300]}")
            check_device(machine, notes[-1])
        left.remove(spec.title)
        _keep(result, path)
        pace.add(spec, time.monotonic() - started)
    result.write(path)
    if not result.rows:
        raise ExperimentError("no row was measured: " + (notes[-1] if notes else "there was no time for any"))


def _keep(result: results.Result, path: Path) -> None:
    """Write the result quickly, on one line: a run that is ended leaves all of its rows."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(vars(result), ensure_ascii=False, allow_nan=False), encoding="utf-8")
    partial.replace(path)


def resumed(fresh: results.Result, path: Path) -> results.Result:
    """Return the result with the rows of an earlier one, which must have been measured under the same conditions."""
    before = results.read(path)
    conditions: list[tuple[str, Any, Any]] = [
        ("experiment", before.experiment, fresh.experiment),
        ("commit", before.commit, fresh.commit),
        ("--method", before.parameters.get("method"), fresh.parameters["method"]),
        *((name, before.environment.get(name), fresh.environment[name]) for name in ("device", "versions")),
    ]
    for name, then, now in conditions:
        if then != now:
            raise ExperimentError(f"--resume {path}: its {name} is {then}, here it is {now}: rows would not compare")
    return replace(fresh, rows=before.rows)


def _compile(machine: Machine, specs: Sequence[RowSpec], method: str, budget: Budget) -> list[str]:
    """Compile the kernels of all tasks and return notes on what failed."""
    say, before = console.output(), budget.left
    try:
        found = compile_requests(machine, specs, method)
        with console.progress() as bar, gpu_compile.processes() as pool:
            compiling = bar.add_task("compiling", total=len(found))
            failed = gpu_compile.compile_all(found, pool, machine.cupy.cuda.Device().id, lambda: bar.advance(compiling))
    except Exception as error:
        check_device(machine, f"looking for kernels to compile failed: {error}")
        # Rows compile what they need themselves, one after the other.
        note = f"kernels are not compiled beforehand: {type(error).__name__}: {' '.join(str(error).split())}"
        say.print(note, soft_wrap=True)
        return [note]
    say.print(f"{len(found)} kernels compiled in {before - budget.left:.0f} s, {len(failed)} failed", soft_wrap=True)
    return [f"does not compile: {line[:300]}" for line in failed]


def _key(row: Row) -> tuple[str, int, str, str]:
    return row["layer"], row["batch"], row["operation"], row["kind"]


def _summary(result: results.Result, ceilings: Ceilings, path: Path) -> None:
    say = console.output()
    left, notes = result.parameters["left"], result.parameters["notes"]
    for lines, title in ((wrong_backends(result.rows), "wrong or failed"), (notes, "notes")):
        if lines:
            say.print(f"{title}:", *lines[:_SHOWN], sep="\n", soft_wrap=True)
            say.print(f"... and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")
    say.print(tables.ceilings_line(ceilings.record), soft_wrap=True)
    say.print(tables.summary_table(result.rows))
    say.print(tables.LEGEND, soft_wrap=True)
    if left:
        say.print(f"{len(left)} rows are left, the next is {left[0]}; go on with: --resume {path}", soft_wrap=True)
    say.print(f"written: {path} ({len(result.rows)} rows)", soft_wrap=True)
