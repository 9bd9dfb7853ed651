"""The chart of b_datasets: for each set of images the speed-ups, and what reading sizes from an array takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.papers.b_unified.datasets.numbers import METHODS, PAPER_SPEEDUP, by_case, table_ratio
from experiments.papers.b_unified.measurements import geometric_mean, of_method
from experiments.render import charts, grouped_bars

# Panels side by side; inches.
_COLUMNS, _PANEL, _HEAD, _CAPTION = 3, 3.4, 0.6, 0.4


def draw(result: Result, path: Path) -> None:
    """Write the chart of `result` as PNG."""
    cases = list(by_case(result.rows))
    sets = list(dict.fromkeys(rows[0]["case"] for rows in cases))
    lines = -(-(len(sets) + 1) // _COLUMNS)
    body = lines * _PANEL
    with charts.styled():
        figure = Figure(figsize=(11, _HEAD + body + _CAPTION), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.05))
        head, below = np.asarray(figure.subfigures(2, 1, height_ratios=(_HEAD, body)))
        panels = list(below.subplots(lines, _COLUMNS, squeeze=False).flat)
        for axes, name in zip(panels, sets, strict=False):
            _speedups(axes, result, [rows for rows in cases if rows[0]["case"] == name])
        _table(panels[len(sets)], cases)
        for axes in panels[len(sets) + 1 :]:
            axes.set_visible(False)
        head.suptitle("Unified kernel segregation on sets of images", weight="bold")
        head.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
        figure.supxlabel(_caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _speedups(axes: Axes, result: Result, cases: Sequence[list[Row]]) -> None:
    first = cases[0][0]
    series = {method: [of_method(rows, method)[0]["speedup"] for rows in cases] for method in METHODS[1:]}
    name, paper = PAPER_SPEEDUP[result.environment["device"]["kind"]]
    most = max(row["speedup"] for method in METHODS for row in of_method(result.rows, method))
    grouped_bars.draw(axes, _names(cases), series, lambda value: f"{value:.2f}", reach=max(most, paper))
    axes.axhline(1, color="black", linewidth=1.0)
    label = f"paper: {paper}x on average, unified, {name}"
    axes.axhline(paper, color="black", linewidth=1.2, linestyle="--", label=label, zorder=0.5)
    axes.set_title(f"{first['case']}, input {'x'.join(map(str, first['input_shape'][1:]))}")
    axes.set_ylabel("speed-up over zero_insertion (x)")
    axes.set_xlabel("filter and output (pixels)")


def _table(axes: Axes, cases: Sequence[list[Row]]) -> None:
    names = list(dict.fromkeys(_filter(rows) for rows in cases))
    ratios = [geometric_mean(table_ratio(rows)[2] for rows in cases if _filter(rows) == name) for name in names]
    grouped_bars.draw(axes, names, {"array": ratios}, lambda value: f"{value:.3f}")
    axes.axhline(1, color="black", linewidth=1.0)
    axes.set_title("Sizes of sub-kernels from an array")
    axes.set_ylabel("time over that of computed sizes (x)")
    axes.set_xlabel("filter and output, mean of the sets")


def _names(cases: Sequence[list[Row]]) -> list[str]:
    return [f"{rows[0]['kernel'][0]}x{rows[0]['kernel'][1]}\n{rows[0]['output_shape'][-1]}" for rows in cases]


def _filter(rows: Sequence[Row]) -> str:
    row = rows[0]
    return f"{row['kernel'][0]}x{row['kernel'][1]}\n{'odd' if row['output_shape'][-1] % 2 else 'even'}"


def _caption(result: Result) -> str:
    return (
        f"Medians of {samples(result.rows)}, the methods in turn; {result.rows[0]['dtype']}.\n{charts.caption(result)}"
    )
