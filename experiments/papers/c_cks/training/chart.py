"""The chart of c_training: losses that coincide, how far they are apart, and what a step takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.harness.results import Result
from experiments.papers.c_cks.training.learners import OURS, PEER
from experiments.papers.c_cks.training.tables import Trained, apart, trained
from experiments.render import charts
from experiments.render.console import milliseconds, quantity

CKS, ZEROS = OURS

# Okabe and Ito's blue, orange and black; told apart by the line and the hatching as well. The widest line lies below.
STYLES: dict[str, dict[str, Any]] = {
    CKS: {"color": "#0072B2", "linewidth": 4.5, "alpha": 0.55},
    ZEROS: {"color": "#E69F00", "linewidth": 2.0, "linestyle": (0, (5, 3))},
    PEER: {"color": "#000000", "linewidth": 1.2, "linestyle": (0, (1, 2))},
}
FILLS = {CKS: ("#0072B2", ""), ZEROS: ("#E69F00", "///"), PEER: ("#FFFFFF", "...")}


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG."""
    sides = trained(result.rows)
    has_memory = all(each.memory for each in sides)
    with charts.styled():
        figure = Figure(figsize=(11, 7), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        grid = figure.subplots(2, 2, height_ratios=(3, 2))
        _losses(grid[0, 0], sides)
        _apart(grid[0, 1], sides)
        _times(grid[1, 0], sides)
        if has_memory:
            _memories(grid[1, 1], sides)
        else:
            grid[1, 1].set_visible(False)
        figure.suptitle("A classifier trained with the C-K-S operators, with zeros and by PyTorch", weight="bold")
        figure.supxlabel(_caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _losses(axes: Axes, sides: Sequence[Trained]) -> None:
    for each in sides:
        axes.plot(range(1, len(each.losses) + 1), each.losses, label=each.side, **STYLES[each.side])
    axes.set_title("Losses, one line on the other")
    axes.set_xlabel("step")
    axes.set_ylabel("cross-entropy of the batch (nats)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _apart(axes: Axes, sides: Sequence[Trained]) -> None:
    ours, *others = sides
    for each in others:
        for dtype, pair, shape in (
            ("float32", (each.losses, ours.losses), {"linestyle": "-"}),
            ("float64", (each.wide_losses, ours.wide_losses), {"linestyle": ":", "marker": "."}),
        ):
            # A difference of nothing has no place on a logarithmic axis.
            values = [value or math.nan for value in apart(*pair)]
            style = {**STYLES[each.side], **shape, "linewidth": 1.2}
            axes.plot(range(1, len(values) + 1), values, label=f"{each.side}, {dtype}", **style)
    axes.set_yscale("log")
    axes.set_title(f"How far the losses are from those of {CKS}: rounding")
    axes.set_xlabel("step")
    axes.set_ylabel("difference of the losses (nats)")
    axes.legend(frameon=False)


def _times(axes: Axes, sides: Sequence[Trained]) -> None:
    medians = [each.median * 1e3 for each in sides]
    below = [(each.median - each.quartiles[0]) * 1e3 for each in sides]
    above = [(each.quartiles[1] - each.median) * 1e3 for each in sides]
    _bars(axes, sides, medians, xerr=[below, above], error_kw={"elinewidth": 1.0, "capsize": 3})
    for place, each in enumerate(sides):
        words = f"{milliseconds(each.median)} ms ({each.median / sides[0].median:.2f}x)"
        _annotate(axes, words, each.quartiles[1] * 1e3, place)
    axes.set_xlim(0, 1.45 * max(each.quartiles[1] for each in sides) * 1e3)
    axes.set_xlabel("time per step (ms)")


def _memories(axes: Axes, sides: Sequence[Trained]) -> None:
    field = (
        "grown_bytes" if all(each.memory and each.memory["device_bytes"] is None for each in sides) else "device_bytes"
    )
    grown = [each.memory[field] for each in sides if each.memory]
    _bars(axes, sides, [value / 1e6 for value in grown])
    for place, value in enumerate(grown):
        _annotate(axes, f"{quantity(value, 'B')} ({value / grown[0]:.2f}x)", value / 1e6, place)
    axes.set_xlim(0, 1.45 * max(grown) / 1e6)
    axes.set_xlabel("memory that training takes (MB)")


def _bars(axes: Axes, sides: Sequence[Trained], widths: Sequence[float], **style: Any) -> None:
    colours, hatches = zip(*(FILLS[each.side] for each in sides), strict=True)
    bars = axes.barh(range(len(sides)), widths, height=0.6, color=colours, edgecolor="black", linewidth=0.6, **style)
    for bar, hatch in zip(bars, hatches, strict=True):
        bar.set_hatch(hatch)
    axes.set_yticks(range(len(sides)), [each.side for each in sides])
    axes.invert_yaxis()


def _annotate(axes: Axes, words: str, x: float, place: int) -> None:
    axes.annotate(words, (x, place), xytext=(6, 0), textcoords="offset points", va="center")


def _caption(result: Result) -> str:
    row = next(row for row in result.rows if "epoch" in row)
    return (
        f"{row['images']} {row['data']}; batches of {row['batch']}. Bars: medians over epochs, whiskers: quartiles; "
        f"factors: over {CKS}.\n{charts.caption(result)}"
    )
