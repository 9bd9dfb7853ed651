"""The tables of d_networks."""

from __future__ import annotations

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.network_layers import METHODS
from experiments.papers.d_split.networks.models import MODELS
from experiments.papers.d_split.networks.numbers import (
    EDGE_TPU,
    EDGE_TPU_COMPILED,
    NCS2,
    ONNX,
    OURS,
    has_onnx,
    networks_of,
    time_of,
    timed_note,
    work_rows,
)
from experiments.render.console import milliseconds
from experiments.render.sheets import Sheet


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: work, times of this library, times of ONNX Runtime, and ratios beside others'."""
    made = [_work_sheet(result), _own_sheet(result)]
    return [*made, _onnx_sheet(result), _ratio_sheet(result)] if has_onnx(result) else [*made, _ratio_sheet(result)]


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
        [cells(row) for row in work_rows(result)],
        (
            "Original, NZP, split: nominal counts, derived here from the layers' shapes by the paper's rules. Split is "
            "above the original where the stride does not divide the filter's size, which is then filled up with "
            "zeros.",
            "Done: what the methods really multiply. A 4x4 filter with stride 2 and padding 1 makes split compute one "
            "position more per axis than there are inputs, of which half is cropped. Ours: `ks_deconv`. Useful: "
            "products of a filter element and an input that both exist, the least there can be.",
            network_layers.SHAPES_NOTE,
        ),
    )


def _own_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        nzp, split, auto = (time_of(result, network, OURS, method) for method in METHODS)
        ratios = [_ratio(nzp, split), _ratio(nzp, auto), _ratio(split, auto)]
        return [network, *map(_spread, (nzp, split, auto)), *ratios]

    compiled = (
        'Numba compiled what "auto" takes here, and NumPy computes the other two: "auto" is how fast these layers can '
        "be, and NZP / split is what the paper's method makes of them by the same code."
    )
    return Sheet(
        f"Time of all deconvolution layers by this library on {result.device}, ms",
        ("network", "NZP", "split", "auto", "NZP / split", "NZP / auto", "split / auto"),
        [cells(network) for network in networks_of(result)],
        (
            f"NZP: `zero_insertion`. Auto: the method that the library takes by itself. {timed_note(result)}",
            *((compiled,) if _is_compiled(result) else ()),
            "Every output was compared with the definition in float64; what differs is rounding.",
        ),
    )


def _onnx_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        nzp, split, native = (time_of(result, network, ONNX, name) for name in MODELS)
        return [network, *map(_spread, (nzp, split, native)), _ratio(nzp, split), _ratio(native, split)]

    version = result.environment["versions"][ONNX]
    return Sheet(
        f"Time of the same layers by ONNX Runtime {version} on {result.device}, ms",
        ("network", "NZP", "split", "native", "NZP / split", "native / split"),
        [cells(network) for network in networks_of(result)],
        (
            "NZP: Reshape, Pad, Reshape, Conv. Split: Conv by stacked sub-filters, DepthToSpace, Slice. Native: "
            "ConvTranspose. Each layer is a model of its own.",
        ),
    )


def _ratio_sheet(result: Result) -> Sheet:
    with_onnx = has_onnx(result)

    def cells(network: str) -> list[str]:
        over_nzp = [_ratio(time_of(result, network, OURS, "zero_insertion"), time_of(result, network, OURS, "split"))]
        over_native = []
        if with_onnx:
            nzp, split, native = (time_of(result, network, ONNX, name) for name in MODELS)
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
        [cells(network) for network in networks_of(result)],
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


def _is_compiled(result: Result) -> bool:
    return result.environment["device"]["kind"] == "cpu" and "numba" in result.environment["versions"]


def _ratio(over: Row, under: Row) -> str:
    return f"{over['median_s'] / under['median_s']:.2f}x"


def _spread(row: Row) -> str:
    return f"{milliseconds(row['median_s'])} ({milliseconds(row['q1_s'])} to {milliseconds(row['q3_s'])})"


def _millions(value: int) -> str:
    return f"{value / 1e6:,.1f}"
