"""Quickstart: a photograph upsampled by every method, with triangle kernels of three sizes, timed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness import devices, environment, results
from experiments.harness.comparison import compare
from experiments.harness.rows import wrong_rows
from experiments.harness.timing import Rounds
from experiments.harness.word_choice import WordChoice
from experiments.quickstart import chart
from experiments.quickstart.filters import cases
from experiments.render import console
from experiments.render.comparison_tables import comparison_tables, legend
from experiments.workloads import images

SIDE = 224

DEFAULT_ROUNDS = Rounds(most=200, least=10, seconds=5.0)


@click.command("quickstart")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photograph of your own; by default a flower that scikit-learn brings along.",
)
@click.option("--device", type=WordChoice(devices.CHOICES), default="auto", show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(1, devices.logical_cores()),
    default=1,
    show_default=True,
    help="Threads of the CPU's BLAS. One compares algorithms; more compare, on a busy machine, how long threads wait.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 10_000),
    help="Samples per method and kernel; by default 200, or as many as a few seconds allow.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("quickstart"),
    show_default=True,
    help="Folder for quickstart.json and quickstart.png.",
)
@click.option(
    "--save",
    is_flag=True,
    help="Also keep the JSON in experiments/results, one file per device; `report` writes the README from those.",
)
def command(image: Path | None, device: str, threads: int, repeat: int | None, out: Path, save: bool) -> None:
    """Upsample a photograph by every method; compare time, work and memory.

    A 224 x 224 crop of the photograph is upsampled to twice its size with triangle kernels of 3, 4 and 5 taps by each
    method in turn. A table, a chart with the pictures and a JSON file tell what that took.
    """
    target = devices.select(device)
    photo = images.load(image, SIDE)
    for folder in [out, results.RESULTS] if save else [out]:
        results.writable_folder(folder)
    say = console.output()
    with devices.limited(threads):
        where = environment.record(target)
        say.print(_introduction(photo, target, where), soft_wrap=True)
        rows, pictures = _measure(photo, target, Rounds.exactly(repeat) if repeat else DEFAULT_ROUNDS)
    say.print(*comparison_tables(rows, say.width), sep="\n")
    say.print(legend(target.kind, rows), soft_wrap=True)
    if wrong := wrong_rows(rows):
        listed = ", ".join(f"{row['method']} {row['case']} by {row['max_abs_error']:.1e}" for row in wrong)
        raise ExperimentError(f"rounding does not explain these differences from the reference: {listed}", EXIT_CHECK)
    parameters = {"image": photo.name, "enlarged": photo.enlarged, "repeat": repeat}
    result = results.Result(experiment="quickstart", environment=where, parameters=parameters, rows=rows)
    written = [out / "quickstart.json", out / "quickstart.png"]
    result.write(written[0])
    chart.draw(written[1], photo, pictures, result)
    if save:
        written.append(results.RESULTS / result.file_name)
        result.write(written[-1])
    for path in written:
        say.print(f"written: {path}", soft_wrap=True)


def _measure(
    photo: images.Photo, target: devices.Device, rounds: Rounds
) -> tuple[list[dict[str, Any]], list[NDArray[np.float32]]]:
    """Return the rows of all cases, and for each the picture that its fastest method made."""
    todo, clock = cases(photo.pixels), target.clock()
    rows: list[dict[str, Any]] = []
    pictures: list[NDArray[np.float32]] = []
    with console.progress() as bar:
        task = bar.add_task("", total=len(todo) * rounds.most)
        for done, case in enumerate(todo):
            bar.update(task, description=f"{case.label} kernel", completed=done * rounds.most)
            comparison = compare(case, target, clock, rounds, lambda: bar.advance(task))
            rows += comparison.rows
            fastest = min(comparison.rows, key=lambda row: row["median_s"])
            pictures.append(comparison.outputs[fastest["method"]][0].transpose(1, 2, 0))
    return rows, pictures


def _introduction(photo: images.Photo, target: devices.Device, where: dict[str, Any]) -> str:
    width, height = photo.original_size
    edge = min(width, height)
    cropped = f"central {edge} x {edge} enlarged, as it is small," if photo.enlarged else "cropped"
    lines = [
        f"Photograph: {photo.name}, {width} x {height}, {cropped} to {SIDE} x {SIDE}",
        f"Device: {environment.device_label(where)} ({environment.versions_label(where)})",
    ]
    return "\n".join([*lines, f"No GPU: {target.no_gpu}"] if target.no_gpu else lines)
