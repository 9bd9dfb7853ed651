"""Split deconvolution on arrays of multipliers: cycles by two simple models, and energy where the machine tells.

The paper simulates two kinds of processors, arrays of dot products and regular 2-D arrays of processing elements, and
finds 2.41x to 4.34x the speed of prior schemes and 27.7 % to 54.5 % less energy (abstract). Its simulators, its arrays
and its layer tables were not at hand.

Here cycles are counted by two models of ours (experiments/pe_arrays.py) that fit into a sentence each. Dot products: a
cycle is one output position and one tap, for a block of input channels times a block of output channels. 2-D grid: each
element sums one output, a cycle is one tap of one input channel; small maps of several output channels stand side by
side. Memory never makes them wait, and what does not fill a block or a tile idles. So they show what the shape of an
array makes of the paper's ratio of multiply-adds, and nothing else; they compare with inserted zeros (NZP) alone.

Split deconvolution is counted in two ways. Stacked: all sub-filters are the output channels of one convolution, as in
the models that the paper's authors put on an Edge TPU; all of them are then computed at every position, also those
cropped afterwards. Apart: a convolution for each sub-filter, at the positions that it needs, which is what the program
in the authors' repository counts.

A model of energy would need the energy of each access to memory, of which we know nothing. Energy is measured instead:
of this machine, for the same layers, by the counters of the CPU (RAPL) or the GPU (NVML); where there is none, the
page says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cupy_kst import Geometry
from experiments import d_layers
from experiments.d_charts import grouped_bars, legend_below
from experiments.d_layers import METHODS, NETWORKS
from experiments.harness import energy
from experiments.harness.devices import Device
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.frame import command as frame_command
from experiments.harness.results import Result
from experiments.pe_arrays import Array, Convolution, DotProducts, Grid
from experiments.render import charts
from experiments.render.sheets import Sheet
from experiments.workloads.layers import LayerSpec

Row = dict[str, Any]

SIDES = (8, 16, 32)
KINDS: dict[str, Callable[[int, int], Array]] = {"dot products": DotProducts, "2-D grid": Grid}

# The size that tables and chart show in full.
SHOWN = 16

# The paper's abstract: speed over prior schemes, and energy saved, percent.
PAPER_SPEED, PAPER_SAVING = (2.41, 4.34), (27.7, 54.5)

# Counters move on every millisecond (RAPL) to every hundred (NVML).
SECONDS, TURNS = 1.5, 3
QUICK_SECONDS = 0.2


def units(settings: Settings) -> list[Unit]:
    """Return the unit of all cycles, and one for each network's energy."""
    measured = list(NETWORKS)[:1] if settings.quick else NETWORKS

    def unit(network: str) -> Unit:
        return Unit(f"energy {network}", f"energy, {network}", lambda: energy_rows(network, settings))

    return [Unit("cycles", "cycles", cycle_rows), *map(unit, measured)]


def cycle_rows() -> list[Row]:
    """Return the cycles of every network on every array."""
    return [_cycle_row(network, kind, side) for kind in KINDS for side in SIDES for network in NETWORKS]


def _cycle_row(network: str, kind: str, side: int) -> Row:
    layers, array = d_layers.of(network), KINDS[kind](side, side)

    def cycles(parts: Callable[[LayerSpec], Sequence[Convolution]]) -> int:
        return sum(array.cycles(part) for layer in layers for part in parts(layer))

    return {
        "kind": "cycles",
        "network": network,
        "array": kind,
        "side": side,
        "multipliers": array.multipliers,
        "original_macs": d_layers.macs(network).original,
        "nzp_cycles": cycles(nzp),
        "stacked_cycles": cycles(stacked),
        "apart_cycles": cycles(apart),
    }


def nzp(layer: LayerSpec) -> list[Convolution]:
    """Return what inserted zeros make of a layer: one convolution of the whole filter at every output."""
    rows, columns = layer.out_size
    return [Convolution(rows, columns, prod(layer.kernel), layer.in_channels, layer.out_channels)]


def stacked(layer: LayerSpec) -> list[Convolution]:
    """Return what split deconvolution makes of it: one convolution whose output channels are all sub-filters'."""
    _, channels, _, rows, columns = _geometry(layer).split_output_shape
    return [Convolution(rows, columns, _sub_taps(layer), layer.in_channels, channels)]


def apart(layer: LayerSpec) -> list[Convolution]:
    """Return what it makes as a convolution for each sub-filter, at the positions of the outputs that it gives."""
    return [
        Convolution(rows.positions, columns.positions, _sub_taps(layer), layer.in_channels, layer.out_channels)
        for _, rows, columns in _geometry(layer).classes
    ]


def _geometry(layer: LayerSpec) -> Geometry:
    return Geometry.conv_transpose(layer.input_shape(1), layer.weight_shape, **layer.options)


def _sub_taps(layer: LayerSpec) -> int:
    return prod(-(-taps // stride) for taps, stride in zip(layer.kernel, layer.stride, strict=True))


def energy_rows(network: str, settings: Settings) -> list[Row]:
    """Return the energy of one pass through a network's deconvolution layers by each method, or why there is none."""
    try:
        meter = energy.meter(settings.device)
    except energy.NoMeter as error:
        return [{"kind": "energy", "network": network, "missing": str(error)}]
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    works = d_layers.works(network)
    calls = {method: d_layers.in_turn(d_layers.prepared(works, method, settings.device)) for method in METHODS}
    taken: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for _ in range(1 if settings.quick else TURNS):
        for method, call in calls.items():
            taken[method].append(_per_call(call, meter, seconds, settings.device))
    return [
        {
            "kind": "energy",
            "network": network,
            "method": method,
            "source": meter.source,
            "joules": median(joules for joules, _ in samples),
            "least_joules": min(joules for joules, _ in samples),
            "most_joules": max(joules for joules, _ in samples),
            "watts": median(joules / each for joules, each in samples),
            "turns": len(samples),
            "seconds_per_turn": seconds,
        }
        for method, samples in taken.items()
    ]


def _per_call(call: Callable[[], Any], meter: energy.Meter, seconds: float, device: Device) -> tuple[float, float]:
    """Return joules and seconds per call, of calls for about `seconds`."""
    device.get(call()[-1])
    begun, start, calls = meter.joules(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        last = call()
        calls += 1
    # Results come back when all that a GPU was given is done.
    device.get(last[-1])
    spent, taken = meter.joules() - begun, time.perf_counter() - start
    return spent / calls, taken / calls


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: cycles on an array of each kind, ratios by size, energy."""
    return [*(_cycle_sheet(result, kind) for kind in KINDS), _size_sheet(result), _energy_sheet(result)]


def _cycle_sheet(result: Result, kind: str) -> Sheet:
    rows = _cycles(result, kind, SHOWN)
    array = KINDS[kind](SHOWN, SHOWN)

    def cells(row: Row) -> list[str]:
        counts = [row[f"{way}_cycles"] for way in ("nzp", "stacked", "apart")]
        busy = [row["original_macs"] / (row["multipliers"] * cycles) for cycles in counts]
        ratios = [_over_nzp(row, way) for way in ("stacked", "apart")]
        return [row["network"], *(f"{each / 1e3:,.0f}" for each in counts), *ratios, *(f"{each:.0%}" for each in busy)]

    return Sheet(
        f"Cycles on an array, {array.name}, thousands (a model, the same on every machine)",
        (
            "network",
            "NZP",
            "split, stacked",
            "split, apart",
            "NZP / stacked",
            "NZP / apart",
            "NZP busy",
            "stacked busy",
            "apart busy",
        ),
        [cells(row) for row in rows],
        (
            f"Paper (abstract): {PAPER_SPEED[0]}x to {PAPER_SPEED[1]}x over prior schemes. Ours here, over inserted "
            f"zeros alone: {_range(rows, 'stacked')} stacked, {_range(rows, 'apart')} apart. The paper's range is of "
            "other arrays, schemes and perhaps other layers, so its ends belong to no network of this table.",
            _REASONS[kind],
        ),
    )


_REASONS = {
    "dot products": (
        "Busy: multiply-adds of the original layer over what the array could do in that time. Stacking fills the "
        "blocks of output channels: a layer with 3 of them leaves most lanes idle with NZP and apart, and fewer with "
        "12. But with 4x4 filters (SNGAN, GP-GAN, ArtGAN) stacked sub-filters take one position more per axis than "
        "there are inputs."
    ),
    "2-D grid": (
        "Busy: multiply-adds of the original layer over what the array could do in that time. With 4x4 filters (SNGAN, "
        "GP-GAN, ArtGAN) stacked sub-filters take one position more per axis than there are inputs, and 17 rows need "
        "two tiles of 16. Apart they take as many as there are inputs, and the ratio is that of the multiply-adds."
    ),
}


def _size_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        rows = [row for kind in KINDS for side in SIDES for row in _cycles(result, kind, side)]
        return [network, *(_over_nzp(row, "stacked") for row in rows if row["network"] == network)]

    return Sheet(
        "Cycles of NZP over those of split, stacked, by size of the array",
        ("network", *(f"{kind}, {side}" for kind in KINDS for side in SIDES)),
        [cells(network) for network in NETWORKS],
        (d_layers.SHAPES_NOTE,),
    )


def _energy_sheet(result: Result) -> Sheet:
    rows = [row for row in result.rows if row["kind"] == "energy"]
    columns = ("network", "NZP: zero_insertion", "split", "auto", "split saves", "auto saves", "power with split")
    title = f"Energy of one pass through the deconvolution layers on {result.device}, mJ"
    paper = f"Paper (abstract): {PAPER_SAVING[0]} % to {PAPER_SAVING[1]} % less energy, simulated, over prior schemes."
    networks = dict.fromkeys(row["network"] for row in rows)
    missing = next((row["missing"] for row in rows if "missing" in row), None)
    if missing is not None:
        nothing = [[network, *["not measured"] * len(METHODS)] for network in networks]
        return Sheet(title, columns[: 1 + len(METHODS)], nothing, (paper, f"Not measured: {missing}."))

    def cells(network: str) -> list[str]:
        nzp, split, auto = (
            next(row for row in rows if (row["network"], row["method"]) == (network, method)) for method in METHODS
        )
        saved = [f"{1 - each['joules'] / nzp['joules']:.0%}" for each in (split, auto)]
        return [network, *(_joules(each) for each in (nzp, split, auto)), *saved, f"{split['watts']:.0f} W"]

    first = rows[0]
    return Sheet(
        title,
        columns,
        [cells(network) for network in networks],
        (
            paper,
            f"Measured by {first['source']}, with all that else ran or idled there: median, least and most of "
            f"{first['turns']} turns of {first['seconds_per_turn']} s. A processor that idles draws power, too, so "
            "most of what is saved here is time.",
        ),
    )


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
    rows = _cycles(result, kind, SHOWN)
    axes.axhspan(*PAPER_SPEED, color="0.85", zorder=0, label=f"paper: {PAPER_SPEED[0]}x to {PAPER_SPEED[1]}x")
    bars = {f"split, {way}": [row["nzp_cycles"] / row[f"{way}_cycles"] for row in rows] for way in ("stacked", "apart")}
    grouped_bars(axes, [row["network"] for row in rows], bars)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylabel("cycles of NZP over those of split")
    axes.set_title(KINDS[kind](SHOWN, SHOWN).name)
    legend_below(axes)


def _cycles(result: Result, kind: str, side: int) -> list[Row]:
    rows = (row for row in result.rows if row["kind"] == "cycles")
    return [row for row in rows if (row["array"], row["side"]) == (kind, side)]


def _over_nzp(row: Row, way: str) -> str:
    return f"{row['nzp_cycles'] / row[f'{way}_cycles']:.2f}x"


def _range(rows: Sequence[Row], way: str) -> str:
    ratios = [row["nzp_cycles"] / row[f"{way}_cycles"] for row in rows]
    return f"{min(ratios):.2f}x to {max(ratios):.2f}x"


def _joules(row: Row) -> str:
    middle, least, most = (f"{1e3 * row[name]:.3g}" for name in ("joules", "least_joules", "most_joules"))
    return f"{middle} ({least} to {most})"


PAPER = Paper(
    name="d_arrays",
    source="D, arXiv 1907.01773",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=draw,
)
command = frame_command(PAPER)
