"""CPU benchmark: layers of published networks, forward and both gradients, against PyTorch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from experiments.bench.cpu import blas, chart, tables
from experiments.bench.cpu.measure import SECONDS, bytes_needed, measure
from experiments.errors import ExperimentError
from experiments.harness import devices, environment, results
from experiments.harness.rows import Row
from experiments.harness.timing import LEAD, Clock, CpuClock
from experiments.harness.word_choice import WordChoice
from experiments.peers.libraries import Peers, load
from experiments.render import console
from experiments.workloads import layers
from experiments.workloads.operations import OPERATIONS, LayerOperation, Operation

NAME = "cpu_bench"
BATCHES = (1, 16)

# Small enough that a test can wait for them; PyTorch cannot say the padding of the second.
QUICK = ("DiscoGAN 4", "SD-DCGAN 3")


@click.command(NAME)
@click.option("--batch", type=click.IntRange(1, 1024), multiple=True, help="Samples; by default both 1 and 16.")
@click.option(
    "--threads",
    type=click.IntRange(1, devices.logical_cores()),
    default=devices.logical_cores(),
    show_default="all cores",
    help="Threads of every side.",
)
@click.option("--layers", "names", multiple=True, metavar="NAME", help=layers.NAMES_HELP)
@click.option(
    "--operation",
    type=WordChoice(OPERATIONS),
    multiple=True,
    help="Only this one: the transposed convolution, or the gradient of its input or weight.",
)
@click.option("--quick", is_flag=True, help="Two small layers at batch 1 with few samples: proves that it runs.")
@click.option(
    "--resume",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the rows of this earlier result of the same machine, versions and commit, and measure what it lacks.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(NAME),
    show_default=True,
    help=f"Folder for {NAME}.json and {NAME}.png.",
)
@click.option(
    "--save",
    is_flag=True,
    help="Also keep the JSON in experiments/results, one file per device; `report` writes the README from those.",
)
def command(
    batch: tuple[int, ...],
    threads: int,
    names: tuple[str, ...],
    operation: tuple[Operation, ...],
    quick: bool,
    resume: Path | None,
    out: Path,
    save: bool,
) -> None:
    """Time the layers of published networks on the CPU against PyTorch and ONNX Runtime.

    For each layer, batch and operation all sides take turns with the same number of threads: this library as it comes
    and with a prepared weight, its baseline method, PyTorch, and ONNX Runtime where it has the operation. Every row is
    in the JSON file as soon as it is measured; after Ctrl-C, --resume goes on from there.
    """
    if quick and (batch or names or save):
        raise ExperimentError("--quick proves that it runs: it takes no --batch, --layers or --save")
    batches = (1,) if quick else tuple(dict.fromkeys(batch)) or BATCHES
    chosen = [layer for layer in layers.named(names) if not quick or layer.label in QUICK]
    operations = tuple(each for each in OPERATIONS if not operation or each in operation)
    for folder in [out, results.RESULTS] if save else [out]:
        results.writable_folder(folder)
    say, others = console.output(), load()
    with devices.limited(threads):
        others.use(threads)
        where = environment.record(devices.Device(), others.versions) | {"builds": others.builds}
        say.print(*_introduction(where, others), sep="\n", soft_wrap=True)
        clock = CpuClock() if quick else CpuClock(LEAD)
        where["product_flops_per_s"] = blas.rates(where, clock)
        say.print(tables.products_note(where["product_flops_per_s"]), soft_wrap=True)
        asked = {
            "batches": batches,
            "operations": operations,
            "layers": names,
            "quick": quick,
            "threads": threads,
            "seconds_per_side": SECONDS,
            "left_out": [],
        }
        result = results.Result(experiment=NAME, environment=where, parameters=asked, rows=[], complete=False)
        if resume:
            result = _resumed(result, resume)
        todo = [(layer, size, each) for each in operations for size in batches for layer in chosen]
        _measure_all(todo, result, others, clock, out / f"{NAME}.json")
    result = replace(result, complete=True)
    result.write(out / f"{NAME}.json")
    say.print(*tables.terminal(result.rows, say.width), sep="\n")
    say.print(tables.LEGEND, tables.spread_note(result.rows), sep="\n", soft_wrap=True)
    chart.draw(out / f"{NAME}.png", result)
    written = [out / f"{NAME}.json", out / f"{NAME}.png"]
    if save:
        written.append(results.RESULTS / result.file_name)
        result.write(written[-1])
    for path in written:
        say.print(f"written: {path}", soft_wrap=True)


def _measure_all(
    todo: Sequence[tuple[layers.LayerSpec, int, Operation]],
    result: results.Result,
    others: Peers,
    clock: Clock,
    path: Path,
) -> None:
    """Add the rows that `result` lacks, and write it to `path` after each."""
    todo = [each for each in todo if not any(_is(row, *each) for row in result.rows)]
    threads, quick = result.parameters["threads"], result.parameters["quick"]
    with console.progress() as bar:
        task = bar.add_task("", total=len(todo))
        for layer, batch, operation in todo:
            title = f"{layer.label}, batch {batch}, {operation}"
            bar.update(task, description=title)
            needed, free = bytes_needed(layer, batch, operation), devices.free_bytes()
            if needed > free:
                line = f"{title} takes {console.quantity(needed, 'B')}, {console.quantity(free, 'B')} are free"
                result.parameters["left_out"].append(line)
                console.output().print(f"left out: {line}", soft_wrap=True)
                continue
            result.rows.append(measure(LayerOperation.drawn(layer, batch, operation), others, threads, clock, quick))
            result.write(path)
            bar.advance(task)
    if not result.rows:
        raise ExperimentError("no layer was measured: none of them fits into memory")


def _is(row: Row, layer: layers.LayerSpec, batch: int, operation: Operation) -> bool:
    return (row["layer"], row["batch"], row["operation"]) == (layer.label, batch, operation)


def _resumed(fresh: results.Result, path: Path) -> results.Result:
    """Return the result with the rows of an earlier one, which must have been measured under the same conditions."""
    before = results.read(path)
    conditions: Sequence[tuple[str, Any, Any]] = [
        ("experiment", before.experiment, fresh.experiment),
        ("commit", before.commit, fresh.commit),
        ("--quick", before.parameters.get("quick"), fresh.parameters["quick"]),
        *(
            (name, before.environment.get(name), fresh.environment[name])
            for name in ("device", "threads", "versions", "blas", "settings")
        ),
    ]
    results.require_same(path, conditions)
    return replace(fresh, rows=before.rows)


def _introduction(where: dict[str, Any], others: Peers) -> list[str]:
    return [
        f"Device: {environment.device_label(where)} ({environment.versions_label(where)})",
        *others.missing,
        *environment.warnings(where),
    ]
