"""The chart of d_networks: multiply-adds on the left, speed-ups on the right."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.results import Result
from experiments.papers.d_split.bars import grouped_bars, legend_below, marks, speedup_bars
from experiments.papers.d_split.networks.numbers import (
    EDGE_TPU,
    EDGE_TPU_COMPILED,
    NCS2,
    ONNX,
    OURS,
    has_onnx,
    networks_of,
    ratios,
    timed_note,
    work_rows,
)
from experiments.render import charts


def draw(result: Result, path: Path) -> None:
    """Write the chart: multiply-adds over the original's on the left, speed-ups on the right."""
    with_onnx = has_onnx(result)
    with charts.styled():
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        work, nzp, *native = figure.subplots(1, 3 if with_onnx else 2)
        _draw_work(work, result)
        _draw_nzp(nzp, result, with_onnx)
        for axes in native:
            _draw_native(axes, result)
        figure.suptitle("Split deconvolution: work and speed-up by network", weight="bold")
        figure.supxlabel(
            "README: of warmthless/split-deconvolution, not the paper's. "
            f"{timed_note(result)}\n{charts.caption(result)}",
            fontsize=8,
            x=0.01,
            ha="left",
        )
        charts.save(figure, path)


def _draw_work(axes: Axes, result: Result) -> None:
    rows = work_rows(result)
    bars = {
        "NZP": [row["nzp_macs"] / row["original_macs"] for row in rows],
        "split, nominal": [row["split_macs"] / row["original_macs"] for row in rows],
        "split, done": [row["split_done_macs"] / row["original_macs"] for row in rows],
        "ours, done": [row["ours_done_macs"] / row["original_macs"] for row in rows],
    }
    grouped_bars(axes, [row["network"] for row in rows], bars)
    axes.set_ylabel("multiply-adds over the original layer's")
    axes.set_title("work")
    legend_below(axes)


def _draw_nzp(axes: Axes, result: Result, with_onnx: bool) -> None:
    networks = networks_of(result)
    bars = {
        "ours: split": ratios(result, OURS, "zero_insertion", "split"),
        "ours: auto": ratios(result, OURS, "zero_insertion", "auto"),
    }
    if with_onnx:
        bars["ONNX Runtime: split"] = ratios(result, ONNX, "zero_insertion", "split")
    speedup_bars(axes, networks, bars)
    marks(axes, "README: Edge TPU .tflite", "D", [EDGE_TPU[network] for network in networks])
    marks(axes, "README: Edge TPU compiled", "v", [EDGE_TPU_COMPILED[network] for network in networks])
    axes.set_ylabel("time of NZP over that of each")
    axes.set_title("speed-up over inserted zeros")
    legend_below(axes)


def _draw_native(axes: Axes, result: Result) -> None:
    networks = networks_of(result)
    speedup_bars(axes, networks, {"ONNX Runtime: split": ratios(result, ONNX, "native", "split")})
    marks(axes, "README: NCS2", "o", [NCS2[network] for network in networks])
    axes.set_ylabel("time of the native operator over that of split")
    axes.set_title("speed-up over the native operator")
    legend_below(axes)
