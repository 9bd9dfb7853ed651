"""The chart of d_quality: details of two pictures above, the largest errors of all below."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.d_split.network_layers import METHODS
from experiments.papers.d_split.quality.numbers import MOVED, VISIBLE, detail_rows, picture_rows
from experiments.render import charts


def draw(result: Result, path: Path) -> None:
    """Write the chart: details of two pictures above, the largest errors of all below."""
    cases = list(dict.fromkeys(row["case"] for row in picture_rows(result)))
    with charts.styled():
        figure = Figure(figsize=(11, 7.2), layout="constrained")
        top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=(2.3, 4.4)))
        for axes, row in zip(top.subplots(1, 6), detail_rows(result), strict=True):
            _draw_detail(axes, row)
        _draw_errors(bottom.subplots(), result, cases)
        figure.suptitle("Split deconvolution against the definition: the same pictures up to rounding", weight="bold")
        figure.supxlabel(charts.caption(result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _draw_detail(axes: Axes, row: Row) -> None:
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(row["png"]))))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    words = f"error, white = {row['largest']:.0e}\ngrey levels" if row["what"] == "error" else row["what"]
    axes.set_title(f"{row['case'].partition(',')[0]}:\n{words}" if row["what"] != "error" else words, fontsize=8)


def _draw_errors(axes: Axes, result: Result, cases: Sequence[str]) -> None:
    methods = (*METHODS, MOVED)
    looks = dict(zip(methods, (("s", "#E69F00"), ("o", "#0072B2"), ("^", "#009E73"), ("x", "#000000")), strict=True))
    for method, (marker, colour) in looks.items():
        rows = [row for row in picture_rows(result) if row["method"] == method]
        places = [cases.index(row["case"]) + 0.15 * (methods.index(method) - 1.5) for row in rows]
        axes.plot([row["max_abs_error"] for row in rows], places, marker, color=colour, label=method, markersize=7)
    axes.axvline(VISIBLE, color="black", linestyle="--", linewidth=1)
    axes.annotate("8 bits cannot show less ", (VISIBLE, -0.45), ha="right", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(cases)), cases)
    axes.set_ylim(len(cases) - 0.5, -0.6)
    axes.set_xlabel("largest error (grey levels of 0 to 255)")
    axes.grid(axis="x", color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=4, frameon=False)
