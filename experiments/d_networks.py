"""Six generative networks by split deconvolution: work, and time against inserted zeros.

The paper takes the deconvolution layers of DCGAN, SNGAN, GP-GAN, FST, MDE and ArtGAN to processors that only have
ordinary convolutions. What it compares with (NZP) inserts zeros first; split deconvolution (SD) needs none, as it makes
of each filter stride x stride equal sub-filters and interleaves what they give. The paper simulates two kinds of
processor arrays, which d_arrays is about, and measures commodity chips.

Here multiply-adds are counted from the layers' shapes: nominally, as the program of the paper's authors does, and as
our methods really do them, with the outputs that split deconvolution computes and crops. Then the deconvolution layers
of a network run one after another on this machine, each on an input of its own: by this library's `zero_insertion`,
`split` and "auto", all with weights prepared beforehand, as the authors split theirs offline.

ONNX Runtime stands in for the commodity chips. Its native ConvTranspose runs beside models made of ordinary
convolutions alone, one with inserted zeros and one split. Interleaving and cropping are in the time, as in theirs.

The paper's layer tables and its own figures for single networks were not at hand: shapes are those of public code. The
figures of the Edge TPU and the NCS2 are from the README of the authors' repository, not from the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import d_layers
from experiments.d_charts import grouped_bars, legend_below, marks, speedup_bars
from experiments.d_layers import METHODS, NETWORKS
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.frame import command as frame_command
from experiments.harness.results import Result
from experiments.harness.rows import samples, time_fields
from experiments.harness.timing import Timing, time_in_turn
from experiments.peers import onnx_models
from experiments.peers.backends import Backend
from experiments.peers.onnx_runtime import bound_session, fetch_bound
from experiments.render import charts
from experiments.render.console import milliseconds
from experiments.render.sheets import Sheet
from experiments.workloads.operations import LayerOperation

Row = dict[str, Any]

MODELS: dict[str, Callable[[LayerOperation], bytes]] = {
    "zero_insertion": onnx_models.zero_inserted,
    "split": onnx_models.split,
    "native": onnx_models.native,
}
OURS, ONNX = "cupy_kst", "onnxruntime"

# For each library and network.
SECONDS = 6.0

# As printed in the README of warmthless/split-deconvolution: NZP over SD on an Edge TPU, by the `.tflite` model and by
# the compiled one; native transposed convolution over SD on an Intel NCS2.
EDGE_TPU = {"DCGAN": 2.87, "SNGAN": 3.55, "FST": 2.06, "ArtGAN": 3.46, "GP-GAN": 3.60, "MDE": 2.12}
EDGE_TPU_COMPILED = {"DCGAN": 1.50, "SNGAN": 1.50, "FST": 1.65, "ArtGAN": 1.31, "GP-GAN": 1.63, "MDE": 1.38}
NCS2 = {"DCGAN": 1.05, "SNGAN": 1.16, "FST": 1.08, "ArtGAN": 1.10, "GP-GAN": 1.13, "MDE": 1.12}


def units(settings: Settings) -> list[Unit]:
    """Return a unit for each network: its multiply-adds, and its times."""
    chosen = list(NETWORKS)[:2] if settings.quick else NETWORKS

    def unit(network: str) -> Unit:
        return Unit(network, network, lambda: [_work_row(network), *_time_rows(network, settings)])

    return [unit(network) for network in chosen]


def _work_row(network: str) -> Row:
    counted = d_layers.macs(network)
    return {
        "kind": "work",
        "network": network,
        "layers": len(d_layers.of(network)),
        **{f"{name}_macs": value for name, value in asdict(counted).items()},
    }


def _time_rows(network: str, settings: Settings) -> list[Row]:
    works = d_layers.works(network)
    backends = {(OURS, method): d_layers.prepared(works, method, settings.device) for method in METHODS}
    # ONNX Runtime is measured as a processor of its own, which a GPU's clock cannot time.
    runtime = settings.peers.modules.get(ONNX) if settings.device.kind == "cpu" else None
    if runtime is not None:
        backends |= {(ONNX, name): on_onnxruntime(works, name, runtime, settings.threads) for name in MODELS}

    rounds = settings.rounds if settings.quick else replace(settings.rounds, seconds=SECONDS)
    timings: dict[tuple[str, str], Timing] = {}
    outputs: dict[tuple[str, str], list[Any]] = {}
    # The threads of one library spin for a while after a call, so the libraries do not take turns with each other.
    for library in (OURS, ONNX):
        calls = {name: d_layers.in_turn(layers) for (of, name), layers in backends.items() if of == library}
        taken, results = time_in_turn(calls, settings.clock, rounds)
        timings |= {(library, name): timing for name, timing in taken.items()}
        outputs |= {(library, name): result for name, result in results.items()}
    exact = [d_layers.definition(work.input, work.weight, work.layer.options) for work in works]
    rows = []
    for (runtime, name), layers in backends.items():
        made = [backend.fetch(output) for backend, output in zip(layers, outputs[runtime, name], strict=True)]
        rows.append(
            {
                "kind": "time",
                "network": network,
                "runtime": runtime,
                "method": name,
                "batch": 1,
                "dtype": "float32",
                **time_fields(timings[runtime, name], settings.clock.calls_per_sample),
                **_worst(works, made, exact),
            }
        )
    return rows


def on_onnxruntime(works: Sequence[LayerOperation], name: str, runtime: Any, threads: int) -> list[Backend]:
    """Return a backend of ONNX Runtime for each layer, by the model of this name."""
    return [
        Backend(name, bound_session(runtime, MODELS[name](work), work.input, threads), fetch_bound) for work in works
    ]


def _worst(works: Sequence[LayerOperation], made: Sequence[Any], exact: Sequence[Any]) -> Row:
    """Return the error of the layer that comes nearest to its bound on rounding."""
    errors = [
        (float(np.abs(output - right).max()), work.tolerance)
        for work, output, right in zip(works, made, exact, strict=True)
    ]
    # Not max(): it would pass over NaN.
    error, tolerance = errors[int(np.argmax([error / bound for error, bound in errors]))]
    return {"max_abs_error": error, "tolerance": tolerance}


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: work, times of this library, times of ONNX Runtime, and ratios beside others'."""
    made = [_work_sheet(result), _own_sheet(result)]
    return [*made, _onnx_sheet(result), _ratio_sheet(result)] if _has_onnx(result) else [*made, _ratio_sheet(result)]


def _work_sheet(result: Result) -> Sheet:
    def cells(row: Row) -> list[str]:
        nominal = [row[f"{name}_macs"] for name in ("original", "nzp", "split")]
        done = [row[f"{name}_macs"] for name in ("nzp_done", "split_done", "ours_done", "useful")]
        ratio = f"{row['nzp_macs'] / row['split_macs']:.2f}x"
        return [row["network"], str(row["layers"]), *map(_millions, nominal), ratio, *map(_millions, done)]

    return Sheet(
        "Multiply-adds of the deconvolution layers, millions",
        (
            "network",
            "layers",
            "original",
            "NZP",
            "split",
            "NZP / split",
            "NZP done",
            "split done",
            "ours done",
            "useful",
        ),
        [cells(row) for row in _work(result)],
        (
            "Original, NZP, split: nominal counts, derived here from the layers' shapes by the paper's rules. Split is "
            "above the original where the stride does not divide the filter's size, which is then filled up with "
            "zeros.",
            "Done: what the methods really multiply. A 4x4 filter with stride 2 and padding 1 makes split compute one "
            "position more per axis than there are inputs, of which half is cropped. Ours: `ks_deconv`. Useful: "
            "products of a filter element and an input that both exist, the least there can be.",
            d_layers.SHAPES_NOTE,
        ),
    )


def _own_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        nzp, split, auto = (_time(result, network, OURS, method) for method in METHODS)
        ratios = [_ratio(nzp, split), _ratio(nzp, auto), _ratio(split, auto)]
        return [network, *map(_spread, (nzp, split, auto)), *ratios]

    compiled = (
        'Numba compiled what "auto" takes here, and NumPy computes the other two: "auto" is how fast these layers can '
        "be, and NZP / split is what the paper's method makes of them by the same code."
    )
    return Sheet(
        f"Time of all deconvolution layers by this library on {result.device}, ms",
        ("network", "NZP", "split", "auto", "NZP / split", "NZP / auto", "split / auto"),
        [cells(network) for network in _networks(result)],
        (
            f"NZP: `zero_insertion`. Auto: the method that the library takes by itself. {_timed(result)}",
            *((compiled,) if _is_compiled(result) else ()),
            "Every output was compared with the definition in float64; what differs is rounding.",
        ),
    )


def _onnx_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        nzp, split, native = (_time(result, network, ONNX, name) for name in MODELS)
        return [network, *map(_spread, (nzp, split, native)), _ratio(nzp, split), _ratio(native, split)]

    version = result.environment["versions"][ONNX]
    return Sheet(
        f"Time of the same layers by ONNX Runtime {version} on {result.device}, ms",
        ("network", "NZP", "split", "native", "NZP / split", "native / split"),
        [cells(network) for network in _networks(result)],
        (
            "NZP: Reshape, Pad, Reshape, Conv. Split: Conv by stacked sub-filters, DepthToSpace, Slice. Native: "
            "ConvTranspose. Each layer is a model of its own.",
        ),
    )


def _ratio_sheet(result: Result) -> Sheet:
    with_onnx = _has_onnx(result)

    def cells(network: str) -> list[str]:
        over_nzp = [_ratio(_time(result, network, OURS, "zero_insertion"), _time(result, network, OURS, "split"))]
        over_native = []
        if with_onnx:
            nzp, split, native = (_time(result, network, ONNX, name) for name in MODELS)
            over_nzp.append(_ratio(nzp, split))
            over_native.append(_ratio(native, split))
        tpu = [f"{chip[network]:.2f}x" for chip in (EDGE_TPU, EDGE_TPU_COMPILED)]
        return [network, *over_nzp, *tpu, *over_native, f"{NCS2[network]:.2f}x"]

    missing = (
        "ONNX Runtime is left out: it was not installed (pip install -e '.[bench]')."
        if result.environment["device"]["kind"] == "cpu"
        else "ONNX Runtime is left out: it is measured on a CPU, by --device cpu."
    )
    return Sheet(
        "Speed-up by splitting: here, and on the chips of the paper's group",
        (
            "network",
            "over NZP: ours",
            *(("ONNX Runtime",) if with_onnx else ()),
            "Edge TPU .tflite",
            "Edge TPU compiled",
            *(("over native: ONNX Runtime",) if with_onnx else ()),
            "NCS2" if with_onnx else "over native: NCS2",
        ),
        [cells(network) for network in _networks(result)],
        (
            "Edge TPU and NCS2: as printed in the README of the authors' repository, warmthless/split-deconvolution. "
            "They are not the paper's figures. Single layers ran there, whose outputs the host interleaved.",
            "Why ours differ: by that README, larger maps and filters run more efficiently on an Edge TPU, which gives "
            "NZP a part of its multiply-adds back. On a CPU windows are gathered, and outputs interleaved and cropped, "
            "through memory, which multiply-adds do not show; and a native operator may be better or worse than those "
            "chips'.",
            *(() if with_onnx else (missing,)),
        ),
    )


def draw(result: Result, path: Path) -> None:
    """Write the chart: multiply-adds over the original's on the left, speed-ups on the right."""
    with_onnx = _has_onnx(result)
    with charts.styled():
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        work, nzp, *native = figure.subplots(1, 3 if with_onnx else 2)
        _draw_work(work, result)
        _draw_nzp(nzp, result, with_onnx)
        for axes in native:
            _draw_native(axes, result)
        figure.suptitle("Split deconvolution: work and speed-up by network", weight="bold")
        figure.supxlabel(
            f"README: of warmthless/split-deconvolution, not the paper's. {_timed(result)}\n{charts.caption(result)}",
            fontsize=8,
            x=0.01,
            ha="left",
        )
        charts.save(figure, path)


def _draw_work(axes: Axes, result: Result) -> None:
    rows = _work(result)
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
    networks = _networks(result)
    bars = {
        "ours: split": _ratios(result, OURS, "zero_insertion", "split"),
        "ours: auto": _ratios(result, OURS, "zero_insertion", "auto"),
    }
    if with_onnx:
        bars["ONNX Runtime: split"] = _ratios(result, ONNX, "zero_insertion", "split")
    speedup_bars(axes, networks, bars)
    marks(axes, "README: Edge TPU .tflite", "D", [EDGE_TPU[network] for network in networks])
    marks(axes, "README: Edge TPU compiled", "v", [EDGE_TPU_COMPILED[network] for network in networks])
    axes.set_ylabel("time of NZP over that of each")
    axes.set_title("speed-up over inserted zeros")
    legend_below(axes)


def _draw_native(axes: Axes, result: Result) -> None:
    networks = _networks(result)
    speedup_bars(axes, networks, {"ONNX Runtime: split": _ratios(result, ONNX, "native", "split")})
    marks(axes, "README: NCS2", "o", [NCS2[network] for network in networks])
    axes.set_ylabel("time of the native operator over that of split")
    axes.set_title("speed-up over the native operator")
    legend_below(axes)


def _work(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "work"]


def _times(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "time"]


def _networks(result: Result) -> list[str]:
    return [row["network"] for row in _work(result)]


def _has_onnx(result: Result) -> bool:
    return any(row["runtime"] == ONNX for row in _times(result))


def _time(result: Result, network: str, runtime: str, method: str) -> Row:
    asked = (network, runtime, method)
    return next(row for row in _times(result) if (row["network"], row["runtime"], row["method"]) == asked)


def _timed(result: Result) -> str:
    return (
        f"Medians and quartiles of {samples(_times(result))}, those of each library in turn; float32, batch 1, weights "
        "prepared beforehand."
    )


def _is_compiled(result: Result) -> bool:
    return result.environment["device"]["kind"] == "cpu" and "numba" in result.environment["versions"]


def _ratios(result: Result, runtime: str, over: str, under: str) -> list[float]:
    pairs = (
        (_time(result, network, runtime, over), _time(result, network, runtime, under)) for network in _networks(result)
    )
    return [a["median_s"] / b["median_s"] for a, b in pairs]


def _ratio(over: Row, under: Row) -> str:
    return f"{over['median_s'] / under['median_s']:.2f}x"


def _spread(row: Row) -> str:
    return f"{milliseconds(row['median_s'])} ({milliseconds(row['q1_s'])} to {milliseconds(row['q3_s'])})"


def _millions(value: int) -> str:
    return f"{value / 1e6:,.1f}"


PAPER = Paper(
    name="d_networks",
    source="D, arXiv 1907.01773",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=draw,
    peers=True,
)
command = frame_command(PAPER)
