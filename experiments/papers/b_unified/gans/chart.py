"""The chart of b_gans: the speed-up of each network by method, and the bytes that its layers save."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.harness.results import Result
from experiments.harness.rows import samples
from experiments.papers.b_unified.gans.numbers import (
    COUNTS,
    METHODS,
    NETWORKS,
    PAPER_BYTES,
    PAPER_SPEEDUP,
    of_network,
    saved,
    speedup,
)
from experiments.papers.b_unified.measurements import geometric_mean, of_method
from experiments.render import charts, grouped_bars


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG."""
    with charts.styled():
        figure = Figure(figsize=(11, 5), layout=ConstrainedLayoutEngine(w_pad=0.1))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _speedups(left, result)
        _bytes(right, result)
        figure.suptitle("Transposed-convolution layers of GANs without multiplying by zeros", weight="bold")
        figure.supxlabel(_caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _speedups(axes: Axes, result: Result) -> None:
    series = {
        method: [
            *(speedup(of_network(result.rows, network), method) for network in NETWORKS),
            geometric_mean(row["speedup"] for row in of_method(result.rows, method)),
        ]
        for method in METHODS[1:]
    }
    groups = (*NETWORKS, "geometric mean\nof the layers")
    grouped_bars.draw(axes, groups, series, lambda value: f"{value:.2f}", reach=PAPER_SPEEDUP)
    axes.axhline(1, color="black", linewidth=1.0)
    label = f"paper: {PAPER_SPEEDUP}x on average, unified"
    axes.axhline(PAPER_SPEEDUP, color="black", linewidth=1.2, linestyle="--", label=label, zorder=0.5)
    axes.set_title("Time of all layers")
    axes.set_ylabel("speed-up over zero_insertion (x)")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)


def _bytes(axes: Axes, result: Result) -> None:
    found = [saved(of_network(result.rows, network)) for network in NETWORKS]
    series = {title: [each[count] / 1e6 for each in found] for count, title in COUNTS.items()}
    grouped_bars.draw(axes, NETWORKS, series, lambda value: f"{value:.1f}", reach=PAPER_BYTES / 1e6)
    place = NETWORKS.index("EB-GAN")
    label = f"paper: up to {PAPER_BYTES / 1e6:.0f} MB"
    axes.hlines(PAPER_BYTES / 1e6, place - 0.5, place + 0.5, color="black", linestyle="--", linewidth=1.2, label=label)
    axes.set_title("Memory that inserted zeros take")
    axes.set_ylabel("saved (MB), sum over layers")
    axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)


def _caption(result: Result) -> str:
    return (
        f"Medians of {samples(result.rows)}, the methods in turn; {result.rows[0]['dtype']}, one sample. EB-GAN's "
        f"channels are an assumption.\n{charts.caption(result)}"
    )
