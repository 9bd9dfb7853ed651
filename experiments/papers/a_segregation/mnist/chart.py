"""The chart of a_mnist: the time of an epoch on the left, the losses of both sides on the right."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from experiments.harness.results import Result
from experiments.papers.a_segregation.mnist.tables import METHODS, PAPER_SPEEDUP, epoch_time, epochs
from experiments.render import charts
from experiments.render.console import milliseconds

LINES = ("-", "--", ":")


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG."""
    with charts.styled():
        figure = Figure(figsize=(11, 4.4), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        left, right = figure.subplots(1, 2)
        _times(left, result)
        _losses(right, result)
        one = epochs(result.rows, METHODS[0])[0]
        caption = (
            f"Autoencoder with one transposed convolution, {one['images']} images of {one['side']} x {one['side']} "
            f"pixels, batches of {one['batch']}, float32; bars: median of {len(epochs(result.rows, METHODS[0]))} "
            f"epochs, whiskers: quartiles.\n{charts.caption(result)}"
        )
        figure.supxlabel(caption, fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _times(axes: Axes, result: Result) -> None:
    times = [epoch_time(result.rows, method) for method in METHODS]
    medians = [1e3 * timing.median for timing in times]
    quartiles = [[1e3 * each for each in timing.quartiles] for timing in times]
    spread = [[abs(ends[side] - median) for ends, median in zip(quartiles, medians, strict=True)] for side in (0, 1)]
    axes.bar(
        METHODS,
        medians,
        0.5,
        color=[charts.BASELINE_COLOUR, charts.METHOD_COLOUR],
        hatch=["///", ""],
        edgecolor="black",
        linewidth=0.6,
        yerr=spread,
        error_kw={"elinewidth": 1.0, "capsize": 3},
    )
    for place, (timing, (_, top)) in enumerate(zip(times, quartiles, strict=True)):
        words = f"{milliseconds(timing.median)} ms"
        if place:
            words += f" ({medians[0] / medians[1]:.2f}x)"
        axes.annotate(words, (place, top), xytext=(0, 4), textcoords="offset points", ha="center")
    axes.set_ylabel("time of an epoch (ms)")
    axes.set_ylim(0, 1.15 * max(top for _, top in quartiles))
    paper = f"; the paper: {PAPER_SPEEDUP}x, another model" if result.environment["device"]["kind"] == "cpu" else ""
    axes.set_title(f"Training{paper}")


def _losses(axes: Axes, result: Result) -> None:
    conventional, segregated = (epochs(result.rows, method) for method in METHODS)
    for number, seed in enumerate(dict.fromkeys(row["seed"] for row in segregated)):
        own = [row for row in segregated if row["seed"] == seed]
        axes.plot(
            [row["epoch"] for row in own],
            [row["loss"] for row in own],
            linestyle=LINES[number % len(LINES)],
            color=charts.METHOD_COLOUR,
            label=f"segregated, seed {seed}",
        )
    axes.plot(
        [row["epoch"] for row in conventional],
        [row["loss"] for row in conventional],
        "o",
        color="black",
        markerfacecolor="none",
        label="conventional, all seeds",
    )
    axes.set_title("Losses of both sides")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
