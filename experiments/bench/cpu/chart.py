"""The CPU benchmark's chart: a panel for each operation and batch, a line for each layer, a mark for each rival."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from experiments.bench.cpu.ratios import RIVALS, groups, ratio, rivals
from experiments.bench.cpu.tables import WORDS
from experiments.harness import environment
from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.peers.backends import OURS, UNPREPARED
from experiments.render import charts
from experiments.workloads.operations import BASELINES, Operation

# Told apart by shape alone, and by Okabe and Ito's colours: blue, vermilion, black.
MARKS = {"torch": ("o", "#0072B2"), "onnxruntime": ("^", "#D55E00"), None: ("s", "#000000")}

# Inches.
LINE, PANEL_EDGES, HEAD, CAPTION = 0.19, 1.0, 0.3, 0.8


def draw(path: Path, result: Result) -> None:
    """Write the chart of `result` as PNG."""
    panels = list(groups(result.rows))
    batches = sorted({batch for _, batch, _ in panels})
    operations = list(dict.fromkeys(operation for operation, _, _ in panels))
    lines = {batch: max(len(group) for _, size, group in panels if size == batch) for batch in batches}
    heights = [PANEL_EDGES + LINE * lines[batch] for batch in batches]
    with charts.styled():
        figure = Figure(figsize=(11, HEAD + sum(heights) + CAPTION), layout=ConstrainedLayoutEngine(w_pad=0.08))
        head, body = np.asarray(figure.subfigures(2, 1, height_ratios=(HEAD, sum(heights))))
        head.legend(handles=_legend(result.rows), loc="center", ncols=4, frameon=False)
        grid = body.subplots(len(batches), len(operations), sharex=True, squeeze=False, height_ratios=heights)
        for axes in grid.flat:
            axes.set_visible(False)
        for operation, batch, group in panels:
            axes = grid[batches.index(batch), operations.index(operation)]
            axes.set_visible(True)
            _panel(axes, operation, batch, group)
        figure.suptitle(
            "Times of others over this library's, by layer: right of the line ours is faster", weight="bold"
        )
        figure.supxlabel(_caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _panel(axes: Axes, operation: Operation, batch: int, rows: Sequence[Row]) -> None:
    for name in rivals(operation, rows):
        shape, colour = MARKS[name if name in MARKS else None]
        for ours in OURS:
            found = [(value, place) for place, row in enumerate(rows) if (value := ratio(row, ours, name)) is not None]
            if found:
                values, places = zip(*found, strict=True)
                face = colour if ours == UNPREPARED else "none"
                axes.scatter(values, places, s=22, marker=shape, facecolor=face, edgecolor=colour, linewidth=0.9)
    axes.axvline(1, color="black", linewidth=1.0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(LogLocator(subs=()))
    axes.tick_params("x", labelbottom=True, labelsize=7)
    axes.set_yticks(np.arange(len(rows)), [row["layer"] for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="both", color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_title(f"{WORDS[operation]}, batch {batch}", fontsize=9)
    axes.set_xlabel(f"time over ours; baseline: {BASELINES[operation]}", fontsize=8)


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    handles = []
    present = {name for operation, _, group in groups(rows) for name in rivals(operation, group)}
    for name in RIVALS:
        if name is None or name in present:
            shape, colour = MARKS[name]
            title = environment.PEERS[name] if name else "baseline method"
            handles.append(Line2D([], [], linestyle="", marker=shape, color=colour, label=title))
    hollow = Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor="none")
    hollow.set_label("hollow: our weight prepared")
    return [*handles, hollow]


def _caption(result: Result) -> str:
    backends = [backend for row in result.rows for backend in row["sides"].values()]
    return (
        f"Medians of {samples(backends)}, the sides in turn; {result.rows[0]['dtype']}. {result.device}; "
        f"{result.date[:10]}\n{environment.versions_label(result.environment)}"
    )
