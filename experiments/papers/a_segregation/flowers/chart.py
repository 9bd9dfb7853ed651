"""The chart of a_flowers: times of both methods on the left, speed-ups beside the paper's on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.papers.a_segregation.flowers.tables import PAPER_SPEEDUP, classes, pairs
from experiments.render import charts

MARKS = "osD^vP*X"

_WIDTH = 0.38


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG."""
    both = pairs(result.rows)
    places = list(dict.fromkeys((base["kernel"], base["factor"]) for base, _ in both))
    with charts.styled():
        figure = Figure(figsize=(11, 4.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        left, right = figure.subplots(1, 2)
        _times(left, both, places)
        _speedups(right, both, places, result)
        for axes in (left, right):
            axes.set_xticks(range(len(places)), [f"{kernel}x{kernel}\nP = {factor}" for kernel, factor in places])
            axes.set_xlabel("kernel and the paper's padding factor")
        side = result.rows[0]["input_shape"][-1]
        caption = (
            f"One picture of {side} x {side} pixels, 3 channels to 3, stride 2, float32; median of "
            f"{samples(result.rows)}; bars: mean over the classes.\n{charts.caption(result)}"
        )
        figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _times(axes: Axes, both: list[tuple[Row, Row]], places: list[tuple[int, int]]) -> None:
    for side, (label, colour, hatch) in enumerate(
        (("zero insertion", charts.BASELINE_COLOUR, "///"), ("segregated", charts.METHOD_COLOUR, ""))
    ):
        means = [
            1e3 * np.mean([pair[side]["median_s"] for pair in both if (pair[0]["kernel"], pair[0]["factor"]) == place])
            for place in places
        ]
        shift = (side - 0.5) * _WIDTH
        axes.bar(
            [place + shift for place in range(len(places))],
            means,
            _WIDTH,
            label=label,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
        )
    axes.set_ylabel("time for one picture (ms)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _speedups(axes: Axes, both: list[tuple[Row, Row]], places: list[tuple[int, int]], result: Result) -> None:
    names = classes(result.rows)
    for number, name in enumerate(names):
        shift = 0.5 * ((number + 0.5) / len(names) - 0.5)
        chosen = [ours for _, ours in both if ours["class"] == name]
        axes.plot(
            [places.index((row["kernel"], row["factor"])) + shift for row in chosen],
            [row["speedup"] for row in chosen],
            MARKS[number % len(MARKS)],
            color="black",
            markerfacecolor=charts.METHOD_COLOUR,
            label=name,
        )
    figure, where = PAPER_SPEEDUP[result.environment["device"]["kind"]]
    paper = axes.axhline(figure, linestyle="--", color="black", linewidth=1, label=f"the paper: {figure}x on {where}")
    axes.set_ylim(0, None)
    axes.set_ylabel("time of zero insertion / time of segregated")
    # More classes than marks could not be told apart.
    handles = None if len(names) <= len(MARKS) else [paper]
    axes.legend(handles=handles, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
