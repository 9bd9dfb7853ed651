"""Charts that read well in print and without colour: style, bars of measured times, saving."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import environment
from experiments.harness.comparison import BASELINE
from experiments.harness.files import write
from experiments.harness.results import Result
from experiments.render.console import milliseconds

DPI = 150

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "hatch.linewidth": 0.5,
}

# Okabe and Ito's orange and blue: told apart by every eye and, by lightness and hatching, in black and white.
BASELINE_COLOUR, METHOD_COLOUR = "#E69F00", "#0072B2"


def time_bars(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """Draw one horizontal bar per row: median time, whiskers at the quartiles, the speed-up in words."""
    places = range(len(rows))
    medians = [row["median_s"] * 1e3 for row in rows]
    below = [(row["median_s"] - row["q1_s"]) * 1e3 for row in rows]
    above = [(row["q3_s"] - row["median_s"]) * 1e3 for row in rows]
    is_baseline = [row["method"] == BASELINE for row in rows]
    axes.barh(
        places,
        medians,
        height=0.62,
        color=[BASELINE_COLOUR if base else METHOD_COLOUR for base in is_baseline],
        hatch=["///" if base else "" for base in is_baseline],
        edgecolor="black",
        linewidth=0.6,
        xerr=[below, above],
        error_kw={"elinewidth": 1.0, "capsize": 3},
    )
    for place, row in zip(places, rows, strict=True):
        words = f"{milliseconds(row['median_s'])} ms" + ("" if is_baseline[place] else f" ({row['speedup']:.2f}x)")
        axes.annotate(words, (row["q3_s"] * 1e3, place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [row["method"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("time per call (ms)")


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG."""
    data = BytesIO()
    # Without the drawing program's version the same chart is the same file.
    figure.savefig(data, dpi=DPI, format="png", metadata={"Software": None})
    write(path, data.getvalue())


def caption(result: Result) -> str:
    """Return what stands below every chart: device, versions and date."""
    return f"{result.device}; {environment.versions_label(result.environment)}; {result.date[:10]}"


def styled() -> Any:
    """Return the context in which every chart is drawn and saved."""
    return rc_context(STYLE)
