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

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from experiments.harness import frame
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row, time_fields
from experiments.harness.timing import Timing, time_in_turn
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.network_layers import METHODS, NETWORKS
from experiments.papers.d_split.networks.chart import draw
from experiments.papers.d_split.networks.models import MODELS, on_onnxruntime
from experiments.papers.d_split.networks.numbers import ONNX, OURS
from experiments.papers.d_split.networks.tables import sheets
from experiments.workloads.operations import LayerOperation

# For each library and network.
SECONDS = 6.0


def units(settings: Settings) -> list[Unit]:
    """Return a unit for each network: its multiply-adds, and its times."""
    chosen = list(NETWORKS)[:2] if settings.quick else NETWORKS

    def unit(network: str) -> Unit:
        return Unit(network, network, lambda: [_work_row(network), *_time_rows(network, settings)])

    return [unit(network) for network in chosen]


def _work_row(network: str) -> Row:
    counted = network_layers.macs(network)
    return {
        "kind": "work",
        "network": network,
        "layers": len(network_layers.of(network)),
        **{f"{name}_macs": value for name, value in asdict(counted).items()},
    }


def _time_rows(network: str, settings: Settings) -> list[Row]:
    works = network_layers.works(network)
    backends = {(OURS, method): network_layers.prepared(works, method, settings.device) for method in METHODS}
    # ONNX Runtime is measured as a processor of its own, which a GPU's clock cannot time.
    runtime = settings.peers.modules.get(ONNX) if settings.device.kind == "cpu" else None
    if runtime is not None:
        backends |= {(ONNX, name): on_onnxruntime(works, name, runtime, settings.threads) for name in MODELS}

    rounds = settings.rounds if settings.quick else replace(settings.rounds, seconds=SECONDS)
    timings: dict[tuple[str, str], Timing] = {}
    outputs: dict[tuple[str, str], list[Any]] = {}
    # The threads of one library spin for a while after a call, so the libraries do not take turns with each other.
    for library in (OURS, ONNX):
        calls = {name: network_layers.in_turn(layers) for (of, name), layers in backends.items() if of == library}
        taken, results = time_in_turn(calls, settings.clock, rounds)
        timings |= {(library, name): timing for name, timing in taken.items()}
        outputs |= {(library, name): result for name, result in results.items()}
    exact = [network_layers.definition(work.input, work.weight, work.layer.options) for work in works]
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


def _worst(works: Sequence[LayerOperation], made: Sequence[Any], exact: Sequence[Any]) -> Row:
    """Return the error of the layer that comes nearest to its bound on rounding."""
    errors = [
        (float(np.abs(output - right).max()), work.tolerance)
        for work, output, right in zip(works, made, exact, strict=True)
    ]
    # Not max(): it would pass over NaN.
    error, tolerance = errors[int(np.argmax([error / bound for error, bound in errors]))]
    return {"max_abs_error": error, "tolerance": tolerance}


PAPER = Paper(
    name="d_networks",
    source="D, arXiv 1907.01773",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=draw,
    peers=True,
)
command = frame.command(PAPER)
