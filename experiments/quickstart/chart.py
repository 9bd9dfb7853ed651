"""The quickstart's picture: bars of the measured times above, the photograph and what became of it below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from experiments.harness import environment
from experiments.harness.results import Result
from experiments.harness.rows import samples
from experiments.render import charts
from experiments.workloads.images import Photo

DETAIL = 28
PICTURES, CAPTION = 5.75, 0.4

Pixels = NDArray[np.float32]


def draw(path: Path, photo: Photo, upsampled: Sequence[Pixels], result: Result) -> None:
    """Write the chart of `result` and its pictures, one of `upsampled` per case, as PNG."""
    labels = list(dict.fromkeys(row["case"] for row in result.rows))
    groups = [[row for row in result.rows if row["case"] == label] for label in labels]
    # Inches: a bar takes 0.3, and square panels of a quarter of the width need PICTURES with their labels.
    times = 1.05 + 0.3 * max(map(len, groups))
    with charts.styled():
        figure = Figure(figsize=(11, times + PICTURES + CAPTION), layout=ConstrainedLayoutEngine(w_pad=0.1))
        top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=(times, PICTURES)))
        _times(top, groups)
        _pictures(bottom, photo, upsampled, groups)
        figure.supxlabel(_caption(photo, result), fontsize=8, x=0.01, ha="left")
        charts.save(figure, path)


def _times(figure: Any, groups: list[list[dict[str, Any]]]) -> None:
    stride = groups[0][0]["stride"]
    figure.suptitle(f"A photograph upsampled by transposed convolution, stride {stride}: time by method", weight="bold")
    panels = figure.subplots(1, len(groups), sharex=True, sharey=True)
    for axes, rows in zip(panels, groups, strict=True):
        charts.time_bars(axes, rows)
        axes.set_title(f"{rows[0]['case']} kernel, output {_size(rows[0]['output_shape'])}")
    # Room for the words at the end of the longest bar.
    panels[0].set_xlim(0, 1.45 * max(row["q3_s"] for rows in groups for row in rows) * 1e3)


def _pictures(figure: Any, photo: Photo, upsampled: Sequence[Pixels], groups: list[list[dict[str, Any]]]) -> None:
    side = photo.pixels.shape[0]
    left, top = _liveliest(photo.pixels)
    panels = figure.subplots(2, 1 + len(upsampled))
    titles = [f"input, {side} x {side}"]
    titles += [f"{rows[0]['case']}, {_size(rows[0]['output_shape'])}" for rows in groups]
    for column, (pixels, title) in enumerate(zip([photo.pixels, *upsampled], titles, strict=True)):
        scale = pixels.shape[0] / side
        x, y, width = left * scale, top * scale, DETAIL * scale
        whole, detail = panels[:, column]
        _show(whole, pixels, title)
        whole.add_patch(Rectangle((x, y), width, width, fill=False, edgecolor="white", linewidth=2.4))
        whole.add_patch(Rectangle((x, y), width, width, fill=False, edgecolor="black", linewidth=1.0))
        _show(detail, pixels, "detail in the frame")
        detail.set_xlim(x, x + width)
        detail.set_ylim(y + width, y)
        whole.set_xticks(ticks := [0, (pixels.shape[0] + 1) // 2, pixels.shape[0]])
        whole.set_yticks(ticks)
    for row in panels:
        row[0].set_ylabel("y (pixels)")


def _show(axes: Axes, pixels: Pixels, title: str) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(np.clip(pixels, 0, 1), extent=(0, width, height, 0), interpolation="none")
    axes.set_title(title)
    axes.set_xlabel("x (pixels)")


def _liveliest(pixels: Pixels) -> tuple[int, int]:
    """Return left and top of the square of DETAIL pixels with the steepest changes: there upsampling is seen best."""
    down, across = np.gradient(pixels.mean(axis=2))
    blocks = len(pixels) // DETAIL
    steepness = np.hypot(down, across)[: blocks * DETAIL, : blocks * DETAIL]
    means = steepness.reshape(blocks, DETAIL, blocks, DETAIL).mean(axis=(1, 3))
    row, column = np.unravel_index(means.argmax(), means.shape)
    return int(column) * DETAIL, int(row) * DETAIL


def _size(shape: Sequence[int]) -> str:
    return f"{shape[-2]} x {shape[-1]}"


def _caption(photo: Photo, result: Result) -> str:
    where = environment.device_label(result.environment)
    row = result.rows[0]
    return (
        f"Bars: median of {samples(result.rows)}, the methods in turn; whiskers: quartiles; factors: speed-up over "
        f"zero_insertion. {row['dtype']}, {row['input_shape'][1]} channels. Photograph: {photo.name}.\n"
        f"{where}; {environment.versions_label(result.environment)}; {result.date[:10]}"
    )
