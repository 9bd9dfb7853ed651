"""Measures a row of the CPU benchmark: times every backend in turn and checks it against float64."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import numpy as np

import cupy_kst
from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness.rows import Row, time_fields, wrong_rows
from experiments.harness.timing import Clock, Rounds, time_in_turn
from experiments.peers.backends import OURS, own
from experiments.peers.libraries import Peers
from experiments.workloads import layers
from experiments.workloads.operations import BASELINES, OP, LayerOperation, Operation

# Seconds for each backend of a row, for a whole row whose calls are slow, and for each turn of a backend.
SECONDS, LIMIT, TURN = 0.35, 5.0, 0.01

_MOST_BACKENDS = 6


def measure(work: LayerOperation, others: Peers, threads: int, clock: Clock, quick: bool = False) -> Row:
    """Return the row of one operation of one layer.

    It has the layer, what `cupy_kst.explain` says of the call, `sides`: the timing of each in seconds per call, what
    that is in products and bytes, and its largest error, absolute and relative to the largest element; and `ratios`:
    the time of each other backend over that of each of ours.
    """
    backends = {backend.name: backend for backend in [*own(work), *others.backends(work, threads)]}
    rounds = Rounds.exactly(3) if quick else Rounds(200, 5, SECONDS * len(backends), LIMIT, TURN)
    timings, outputs = time_in_turn({name: backend.call for name, backend in backends.items()}, clock, rounds)
    errors, scale = _errors(work, {name: backends[name].fetch(output) for name, output in outputs.items()})
    layer, op = work.layer, OP[work.operation]
    input_shape = layer.input_shape(work.batch)
    costs = cupy_kst.costs(input_shape, layer.weight_shape, op=op, **layer.options)
    explained = cupy_kst.explain(input_shape, layer.weight_shape, op=op, **layer.options).splitlines()
    flops = 2 * next(iter(costs.values())).useful_macs
    moved = sum(array.nbytes for array in (work.input, work.weight, work.grad_output))
    medians = {name: timing.median for name, timing in timings.items()}
    row: Row = {
        "layer": layer.label,
        "same_layers": list(layer.names[1:]),
        "batch": work.batch,
        "operation": work.operation,
        "kernel": layer.kernel,
        **layer.options,
        "input_shape": input_shape,
        "output_shape": layer.output_shape(work.batch),
        "dtype": work.input.dtype.name,
        "explained": [line for line in explained if line.startswith("NumPy: ")],
        "useful_flops": flops,
        "array_bytes": moved,
        "sides": {
            name: {
                **time_fields(timing, clock.calls_per_sample),
                "flops_per_s": flops / timing.median,
                "bytes_per_s": moved / timing.median,
                "max_abs_error": errors[name],
                "max_relative_error": errors[name] / scale,
                "tolerance": work.tolerance,
                **({"note": backends[name].note} if backends[name].note else {}),
            }
            for name, timing in timings.items()
        },
        "ratios": {
            ours: {name: median / medians[ours] for name, median in medians.items() if name not in OURS}
            for ours in OURS
            if ours in medians
        },
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    _check(row)
    return row


def _errors(work: LayerOperation, outputs: dict[str, Any]) -> tuple[dict[str, float], float]:
    """Return the largest error of each output, and the largest element of the float64 result."""
    for name, output in outputs.items():
        if output.shape != work.written_shape:
            words = f"{name}, {work.layer.label}: shape {output.shape}, not {work.written_shape}"
            raise ExperimentError(words, EXIT_CHECK)
    errors, scale = dict.fromkeys(outputs, 0.0), 0.0
    for place, exact in work.exact():
        scale = max(scale, float(np.abs(exact).max()))
        for name, output in outputs.items():
            # Not max(): it would pass over NaN.
            errors[name] = float(np.maximum(errors[name], np.abs(output[place] - exact).max()))
    return errors, scale


def bytes_needed(layer: layers.LayerSpec, batch: int, operation: Operation) -> int:
    """Return about what a row takes: its arrays, what every backend writes, and the map with zeros of the baseline."""
    elements = {
        "forward": math.prod(layer.output_shape(batch)),
        "input": math.prod(layer.input_shape(batch)),
        "weight": math.prod(layer.weight_shape),
    }
    costs = cupy_kst.costs(layer.input_shape(batch), layer.weight_shape, op=OP[operation], **layer.options)
    workspace = costs[BASELINES[operation]].workspace_bytes
    return 4 * (sum(elements.values()) + _MOST_BACKENDS * elements[operation]) + 2 * workspace


def _check(row: Row) -> None:
    wrong = wrong_rows([backend | {"name": name} for name, backend in row["sides"].items()])
    if wrong:
        listed = ", ".join(f"{backend['name']} by {backend['max_abs_error']:.1e}" for backend in wrong)
        raise ExperimentError(
            f"rounding does not explain these differences from float64, {row['layer']}, batch {row['batch']}, "
            f"{row['operation']}: {listed}",
            EXIT_CHECK,
        )
