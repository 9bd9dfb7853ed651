"""The frame of the papers' experiments: what one says of itself, and the run that measures, writes and goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness import devices, environment, results
from experiments.harness.devices import Device
from experiments.harness.results import Result
from experiments.harness.rows import Row, wrong_rows
from experiments.harness.timing import Clock, Rounds
from experiments.harness.word_choice import WordChoice
from experiments.peers.libraries import Peers, load
from experiments.render import console
from experiments.render.sheets import Sheet, terminal

FULL, QUICK = Rounds(most=200, least=5, seconds=2.0, limit=20.0), Rounds.exactly(3)

# The budget of a full run, a few minutes, is for two threads.
THREADS = min(2, devices.logical_cores())


@dataclass(frozen=True)
class Settings:
    """What an experiment knows of how it was called.

    Attributes
    ----------
    device : Device
        Where arrays live; `device.xp` is NumPy or CuPy.
    clock : Clock
        What `experiments.harness.timing.time_in_turn` takes.
    rounds : Rounds
        How often to time a call; few with `quick`.
    quick : bool
        Whether the run is only to prove that it works.
    data : Path or None
        The folder of --data.
    threads : int
        Threads of the CPU's libraries; they are already limited to it.
    peers : Peers
        PyTorch and ONNX Runtime where installed; empty unless the experiment asked for them.
    """

    device: Device
    clock: Clock
    rounds: Rounds
    quick: bool
    data: Path | None
    threads: int
    peers: Peers


@dataclass(frozen=True)
class Unit:
    """The smallest part that is measured, written and taken over by --resume as one.

    Attributes
    ----------
    key : str
        Unique and stable within the experiment.
    label : str
        For the progress bar.
    rows : callable
        Measures it and returns rows for JSON, flat; a row that has `tolerance` and `max_abs_error` is checked.
    """

    key: str
    label: str
    rows: Callable[[], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One experiment of a paper.

    Attributes
    ----------
    name : str
        Its name on the command line.
    source : str
        The paper, such as "A, arXiv 2209.03704".
    about : str
        The module's docstring: what the paper did, what differs here and why. Its first line is a title.
    units : callable
        Returns what there is to measure.
    sheets : callable
        Makes the tables of a result, from its JSON alone.
    draw : callable
        Writes the chart of a result as PNG, from its JSON alone.
    data : str
        What --data takes, for its help; empty where there is no such option.
    peers : bool
        Whether it compares with PyTorch or ONNX Runtime.
    """

    name: str
    source: str
    about: str
    units: Callable[[Settings], Sequence[Unit]]
    sheets: Callable[[Result], Sequence[Sheet]]
    draw: Callable[[Result, Path], None]
    data: str = ""
    peers: bool = False

    @property
    def title(self) -> str:
        return self.about.strip().partition("\n")[0].rstrip(".")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of a run."""

    device: str
    threads: int
    quick: bool
    out: Path
    resume: bool
    save: bool
    data: Path | None = None

    def prepare(self) -> Device:
        """Return the device, and prove that results can be written, before minutes are spent."""
        if self.quick and self.save:
            raise ExperimentError("--quick proves that it runs: it takes no --save")
        device = devices.select(self.device)
        for folder in [self.out, results.RESULTS] if self.save else [self.out]:
            results.writable_folder(folder)
        return device


Callback = Callable[..., Any]


def options(out: str) -> Callable[[Callback], Callback]:
    """Return the decorator that adds the options every run has; `out` is the default of --out."""
    added = (
        click.option("--device", type=WordChoice(devices.CHOICES), default="auto", show_default=True),
        click.option(
            "--threads",
            type=click.IntRange(1, devices.logical_cores()),
            default=THREADS,
            show_default=True,
            help="Threads of everything that computes on the CPU.",
        ),
        click.option("--quick", is_flag=True, help="Small sizes and few samples: proves that it runs."),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=Path(out),
            show_default=True,
            help="Folder for the JSON and the chart.",
        ),
        click.option("--resume", is_flag=True, help="Go on with a broken run whose JSON is in that folder."),
        click.option(
            "--save",
            is_flag=True,
            help="Also keep the JSON in experiments/results, one file per device, for `report`.",
        ),
    )

    def decorate(callback: Callback) -> Callback:
        for option in reversed(added):
            callback = option(callback)
        return callback

    return decorate


def command(paper: Paper) -> click.Command:
    """Return the command that runs `paper`."""

    @options(out=paper.name)
    def callback(**chosen: Any) -> None:
        run(paper, Asked(**chosen))

    if paper.data:
        folder = click.Path(exists=True, file_okay=False, path_type=Path)
        callback = click.option("--data", type=folder, help=paper.data)(callback)
    return click.command(paper.name, help=paper.about)(callback)


def run(paper: Paper, asked: Asked) -> None:
    """Measure what `paper` measures; print its tables, write its JSON and its chart."""
    device = asked.prepare()
    say = console.output()
    others = load() if paper.peers else Peers()
    with devices.limited(asked.threads):
        others.use(asked.threads)
        where = environment.record(device, others.versions)
        say.print(*_introduction(paper, device, where, others), sep="\n", soft_wrap=True)
        rounds = QUICK if asked.quick else FULL
        settings = Settings(device, device.clock(), rounds, asked.quick, asked.data, asked.threads, others)
        parameters = {
            "threads": asked.threads,
            "quick": asked.quick,
            "data": asked.data.resolve().name if asked.data else None,
        }
        begun = Result(experiment=paper.name, environment=where, parameters=parameters, rows=[], complete=False)
        result = _measured(begun, paper.units(settings), asked.out / f"{paper.name}.json", asked.resume)
    for sheet in paper.sheets(result):
        say.print()
        say.print(*terminal(sheet), sep="\n", soft_wrap=False)
    if asked.quick:
        say.print("\n--quick proves that it runs: the times above measure nothing.")
    written = [asked.out / f"{paper.name}.json", asked.out / f"{paper.name}.png"]
    paper.draw(result, written[1])
    if asked.save:
        written.append(results.RESULTS / result.file_name)
        result.write(written[-1])
    say.print()
    for path in written:
        say.print(f"written: {path}", soft_wrap=True)


def _measured(begun: Result, units: Sequence[Unit], path: Path, resume: bool) -> Result:
    """Return the result with the rows of all units, after each of which it is written to `path`."""
    result = _resumed(begun, path, [unit.key for unit in units]) if resume and path.exists() else begun
    done = {row["unit"] for row in result.rows}
    with console.progress() as bar:
        task = bar.add_task("", total=len(units))
        try:
            for unit in units:
                bar.update(task, description=unit.label)
                if unit.key not in done:
                    result.rows.extend({"unit": unit.key, **row} for row in _rows(unit))
                    result.write(path)
                bar.advance(task)
        except KeyboardInterrupt:
            kept = f"; what is finished stands in {path}, --resume goes on from there" if result.rows else ""
            raise KeyboardInterrupt(f"interrupted{kept}") from None
    order = {unit.key: place for place, unit in enumerate(units)}
    result = replace(result, rows=sorted(result.rows, key=lambda row: order[row["unit"]]), complete=True)
    result.write(path)
    return result


def _rows(unit: Unit) -> list[Row]:
    """Return the checked rows of `unit`; the failures that are no fault of the program are one line."""
    try:
        rows = unit.rows()
    except MemoryError as error:
        raise ExperimentError(f"{unit.label}: not enough memory: {error}") from None
    if wrong := wrong_rows([row for row in rows if "tolerance" in row]):
        differences = ", ".join(f"{row['max_abs_error']:.1e} ({row.get('method', 'row')})" for row in wrong)
        raise ExperimentError(
            f"rounding does not explain these differences from the reference, {unit.label}: {differences}", EXIT_CHECK
        )
    return rows


def _resumed(begun: Result, path: Path, keys: Sequence[str]) -> Result:
    """Return what the result at `path` has of the units `keys`, if it was measured under the same conditions."""
    before = results.read(path)
    conditions: list[tuple[str, Any, Any]] = [("experiment", before.experiment, begun.experiment)]
    conditions += [
        (name, before.environment.get(name), begun.environment[name]) for name in ("device", "threads", "versions")
    ]
    conditions += [(name, before.parameters.get(name), now) for name, now in begun.parameters.items()]
    results.require_same(path, conditions)
    commits = dict.fromkeys(str(commit) for commit in (before.commit, begun.commit) if commit)
    rows = [row for row in before.rows if row.get("unit") in keys]
    return replace(begun, rows=rows, commit=" and ".join(commits) or None)


def _introduction(paper: Paper, device: Device, where: Row, others: Peers) -> list[str]:
    return [
        f"{paper.name}: {paper.title}",
        f"Paper: {paper.source}",
        f"Device: {environment.device_label(where)} ({environment.versions_label(where)})",
        *([f"No GPU: {device.no_gpu}"] if device.no_gpu else []),
        *others.missing,
        *(environment.warnings(where) if device.kind == "cpu" else []),
    ]
