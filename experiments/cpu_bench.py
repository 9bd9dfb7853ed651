"""CPU benchmark: layers of published networks, forward and both gradients, against PyTorch and ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import numpy as np

import cupy_kst
from experiments import blas, cpu_bench_chart, cpu_bench_tables
from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness import devices, environment, results
from experiments.harness.rows import time_fields, wrong_rows
from experiments.harness.timing import LEAD, Clock, CpuClock, Rounds, time_in_turn
from experiments.harness.word_choice import WordChoice
from experiments.peers.backends import OURS, own
from experiments.peers.libraries import Peers, load
from experiments.render import console
from experiments.workloads import layers
from experiments.workloads.operations import BASELINES, OP, OPERATIONS, LayerOperation, Operation

NAME = "cpu_bench"
BATCHES = (1, 16)

# Small enough that a test can wait for them; PyTorch cannot say the padding of the second.
QUICK = ("DiscoGAN 4", "SD-DCGAN 3")

# Seconds for each side of a row, for a whole row whose calls are slow, and for each turn of a side.
SECONDS, LIMIT, TURN = 0.35, 5.0, 0.01

_MOST_SIDES = 6

Row = dict[str, Any]


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
        say.print(cpu_bench_tables.products_note(where["product_flops_per_s"]), soft_wrap=True)
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
    say.print(*cpu_bench_tables.terminal(result.rows, say.width), sep="\n")
    say.print(cpu_bench_tables.LEGEND, cpu_bench_tables.spread_note(result.rows), sep="\n", soft_wrap=True)
    cpu_bench_chart.draw(out / f"{NAME}.png", result)
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
            needed, free = _bytes_needed(layer, batch, operation), devices.free_bytes()
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


def measure(work: LayerOperation, others: Peers, threads: int, clock: Clock, quick: bool = False) -> Row:
    """Return the row of one operation of one layer.

    It has the layer, what `cupy_kst.explain` says of the call, `sides`: the timing of each in seconds per call, what
    that is in products and bytes, and its largest error, absolute and relative to the largest element; and `ratios`:
    the time of each other side over that of each of ours.
    """
    backends = {backend.name: backend for backend in [*own(work), *others.backends(work, threads)]}
    rounds = Rounds.exactly(3) if quick else Rounds(200, 5, SECONDS * len(backends), LIMIT, TURN)
    timings, outputs = time_in_turn({name: backend.call for name, backend in backends.items()}, clock, rounds)
    errors, scale = _errors(work, {name: backends[name].fetch(output) for name, output in outputs.items()})
    layer, op = work.layer, OP[work.operation]
    input_shape = layer.input_shape(work.batch)
    costs = cupy_kst.costs(input_shape, layer.weight_shape, op=op, **layer.options)
    explained = cupy_kst.explain(input_shape, layer.weight_shape, op=op, **layer.options).splitlines()
    flops = 2 * next(iter(costs.values())).useful_macs
    moved = sum(array.nbytes for array in (work.input, work.weight, work.grad_output))
    medians = {name: timing.median for name, timing in timings.items()}
    row: Row = {
        "layer": layer.label,
        "same_layers": list(layer.names[1:]),
        "batch": work.batch,
        "operation": work.operation,
        "kernel": layer.kernel,
        **layer.options,
        "input_shape": input_shape,
        "output_shape": layer.output_shape(work.batch),
        "dtype": work.input.dtype.name,
        "explained": [line for line in explained if line.startswith("NumPy: ")],
        "useful_flops": flops,
        "array_bytes": moved,
        "sides": {
            name: {
                **time_fields(timing, clock.calls_per_sample),
                "flops_per_s": flops / timing.median,
                "bytes_per_s": moved / timing.median,
                "max_abs_error": errors[name],
                "max_relative_error": errors[name] / scale,
                "tolerance": work.tolerance,
                **({"note": backends[name].note} if backends[name].note else {}),
            }
            for name, timing in timings.items()
        },
        "ratios": {
            ours: {name: median / medians[ours] for name, median in medians.items() if name not in OURS}
            for ours in OURS
            if ours in medians
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    _check(row)
    return row


def _errors(work: LayerOperation, outputs: dict[str, Any]) -> tuple[dict[str, float], float]:
    """Return the largest error of each output, and the largest element of the float64 result."""
    for name, output in outputs.items():
        if output.shape != work.written_shape:
            words = f"{name}, {work.layer.label}: shape {output.shape}, not {work.written_shape}"
            raise ExperimentError(words, EXIT_CHECK)
    errors, scale = dict.fromkeys(outputs, 0.0), 0.0
    for place, exact in work.exact():
        scale = max(scale, float(np.abs(exact).max()))
        for name, output in outputs.items():
            # Not max(): it would pass over NaN.
            errors[name] = float(np.maximum(errors[name], np.abs(output[place] - exact).max()))
    return errors, scale


def _bytes_needed(layer: layers.LayerSpec, batch: int, operation: Operation) -> int:
    """Return about what a row takes: its arrays, what every side writes, and the map with zeros of the baseline."""
    elements = {
        "forward": math.prod(layer.output_shape(batch)),
        "input": math.prod(layer.input_shape(batch)),
        "weight": math.prod(layer.weight_shape),
    }
    costs = cupy_kst.costs(layer.input_shape(batch), layer.weight_shape, op=OP[operation], **layer.options)
    workspace = costs[BASELINES[operation]].workspace_bytes
    return 4 * (sum(elements.values()) + _MOST_SIDES * elements[operation]) + 2 * workspace


def _check(row: Row) -> None:
    wrong = wrong_rows([backend | {"name": name} for name, backend in row["sides"].items()])
    if wrong:
        listed = ", ".join(f"{backend['name']} by {backend['max_abs_error']:.1e}" for backend in wrong)
        raise ExperimentError(
            f"rounding does not explain these differences from float64, {row['layer']}, batch {row['batch']}, "
            f"{row['operation']}: {listed}",
            EXIT_CHECK,
        )


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
