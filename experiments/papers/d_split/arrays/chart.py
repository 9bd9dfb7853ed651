"""The chart of d_arrays: cycles of inserted zeros over those of split deconvolution, by network."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.results import Result
from experiments.papers.d_split.arrays.numbers import KINDS, PAPER_SPEED, SHOWN, cycles_on
from experiments.papers.d_split.bars import grouped_bars, legend_below
from experiments.render import charts


def draw(result: Result, path: Path) -> None:
    """Write the chart: speed-up over NZP by network on an array of each kind, with the paper's range."""
    with charts.styled():
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        for axes, kind in zip(figure.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
            _draw_kind(axes, result, kind)
        figure.suptitle(
            "Cycles with inserted zeros (NZP) over those of split deconvolution, by our models", weight="bold"
        )
        figure.supxlabel(
            "Counted from the layers' shapes by models, not measured. Grey: the range in the paper's abstract, of its "
            f"own arrays and over prior schemes.\n{charts.caption(result)}",
            fontsize=8,
            x=0.01,
            ha="left",
        )
        charts.save(figure, path)


def _draw_kind(axes: Axes, result: Result, kind: str) -> None:
    rows = cycles_on(result, kind, SHOWN)
    axes.axhspan(*PAPER_SPEED, color="0.85", zorder=0, label=f"paper: {PAPER_SPEED[0]}x to {PAPER_SPEED[1]}x")
    bars = {f"split, {way}": [row["nzp_cycles"] / row[f"{way}_cycles"] for row in rows] for way in ("stacked", "apart")}
    grouped_bars(axes, [row["network"] for row in rows], bars)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel("cycles of NZP over those of split")
    axes.set_title(KINDS[kind](SHOWN, SHOWN).name)
    legend_below(axes)
