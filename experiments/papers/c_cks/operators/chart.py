"""The operators' chart: by map side the work that is skipped, what that gains, and what trimming alone does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.c_cks.operators.backends import BASELINE, CALLED, CHANNELS, PEER, SAMPLES, TRIMMED, WHOLE
from experiments.papers.c_cks.operators.tables import by_operator, of_role, ratio
from experiments.render import charts

# By the filter's taps: Okabe and Ito's blue, vermilion and black, told apart by shape as well.
MARKS = {3: ("o", "#0072B2"), 4: ("^", "#D55E00"), 5: ("s", "#000000")}

# Height of the legend, in parts of that of the panels.
HEAD = 0.035

Layers = Sequence[Sequence[Row]]


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG: a column of panels for each operator."""
    operators = by_operator(result.rows)
    taps = sorted({row["kernel"][0] for row in result.rows})
    has_peer = any(row["role"] == PEER for row in result.rows)
    with charts.styled():
        figure = Figure(figsize=(11.5, 8.8), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
        head, body = np.asarray(figure.subfigures(2, 1, height_ratios=(HEAD, 1)))
        grid = body.subplots(3, len(operators), sharex=True, sharey="row", squeeze=False)
        for column, (title, layers) in enumerate(operators):
            _skipped(grid[0, column], layers)
            _gained(grid[1, column], layers)
            _trimming(grid[2, column], layers)
            grid[0, column].set_title(title)
            grid[2, column].set_xlabel("side of map X (pixels)")
        grid[0, 0].set_ylabel("products skipped (%)")
        grid[1, 0].set_ylabel("time over that of the operator")
        grid[2, 0].set_ylabel("time not trimmed / trimmed")
        figure.suptitle("C-K-S: convolution and its gradients without products by zeros", weight="bold")
        head.legend(handles=_legend(taps, has_peer), loc="center", ncols=7, frameon=False)
        figure.supxlabel(_caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _skipped(axes: Axes, layers: Layers) -> None:
    _lines(axes, layers, lambda rows: 100 * rows[0]["skipped_counted"])
    _scaled(axes)
    axes.set_ylim(0, 103)


def _gained(axes: Axes, layers: Layers) -> None:
    _lines(axes, layers, lambda rows: ratio(rows, BASELINE, CALLED))
    _lines(axes, layers, lambda rows: ratio(rows, PEER, CALLED), linestyle=":", markerfacecolor="white")
    _ratios(axes)


def _trimming(axes: Axes, layers: Layers) -> None:
    if of_role(layers[0], WHOLE) is None:
        words = "trimmed in all forms"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.35")
    _lines(axes, layers, lambda rows: ratio(rows, WHOLE, TRIMMED))
    _ratios(axes)


def _lines(axes: Axes, layers: Layers, figure_of: Callable[[Sequence[Row]], float | None], **style: Any) -> None:
    """Draw a line for each filter, where there are figures."""
    for taps, (shape, colour) in MARKS.items():
        chosen = [rows for rows in layers if rows[0]["kernel"][0] == taps]
        points = [(rows[0]["input_shape"][-1], value) for rows in chosen if (value := figure_of(rows)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker=shape, color=colour, markersize=5, linewidth=1.1, **style)


def _ratios(axes: Axes) -> None:
    _scaled(axes)
    axes.axhline(1, color="black", linewidth=1.0)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _scaled(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params("x", labelbottom=True)
    axes.grid(color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)


def _legend(taps: Sequence[int], has_peer: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], marker=MARKS[each][0], color=MARKS[each][1], label=f"{each}x{each} filter") for each in taps
    ]
    handles.append(Line2D([], [], color="0.3", label="solid: the baseline with zeros"))
    if has_peer:
        handles.append(Line2D([], [], color="0.3", linestyle=":", label="dotted, hollow: PyTorch"))
    return handles


def _caption(result: Result) -> str:
    return (
        f"Above 1 the operator, or trimming, is faster. {SAMPLES} samples, {CHANNELS} channels in and out, "
        f"{result.rows[0]['dtype']}; medians, all sides in turn.\n{charts.caption(result)}"
    )
