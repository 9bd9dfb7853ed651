"""Split deconvolution on arrays of multipliers: cycles by two simple models, and energy where the machine tells.

The paper simulates two kinds of processors, arrays of dot products and regular 2-D arrays of processing elements, and
finds 2.41x to 4.34x the speed of prior schemes and 27.7 % to 54.5 % less energy (abstract). Its simulators, its arrays
and its layer tables were not at hand.

Here cycles are counted by two models of ours (experiments/papers/d_split/arrays/models.py) that fit into a sentence
each. Dot products: a cycle is one output position and one tap, for a block of input channels times a block of output
channels. 2-D grid: each element sums one output, a cycle is one tap of one input channel; small maps of several output
channels stand side by side. Memory never makes them wait, and what does not fill a block or a tile idles. So they show
what the shape of an array makes of the paper's ratio of multiply-adds, and nothing else; they compare with inserted
zeros (NZP) alone.

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
from statistics import median
from typing import Any

from cupy_kst import Geometry
from experiments.harness import energy, frame
from experiments.harness.devices import Device
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.arrays.chart import draw
from experiments.papers.d_split.arrays.models import Convolution
from experiments.papers.d_split.arrays.numbers import KINDS, SIDES
from experiments.papers.d_split.arrays.tables import sheets
from experiments.papers.d_split.network_layers import METHODS, NETWORKS
from experiments.workloads.layers import LayerSpec

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
    layers, array = network_layers.of(network), KINDS[kind](side, side)

    def cycles(parts: Callable[[LayerSpec], Sequence[Convolution]]) -> int:
        return sum(array.cycles(part) for layer in layers for part in parts(layer))

    return {
        "kind": "cycles",
        "network": network,
        "array": kind,
        "side": side,
        "multipliers": array.multipliers,
        "original_macs": network_layers.macs(network).original,
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
    works = network_layers.works(network)
    calls = {
        method: network_layers.in_turn(network_layers.prepared(works, method, settings.device)) for method in METHODS
    }
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


PAPER = Paper(
    name="d_arrays",
    source="D, arXiv 1907.01773",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=draw,
)
command = frame.command(PAPER)
