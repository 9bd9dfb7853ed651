"""The three operators of C-K-S, one by one: how much work they skip, what time that saves, where trimming pays.

The paper (arXiv 2306.15951) makes a convolution and its two gradients without products by zeros: ConvV2 trims the
filter of the forward pass to what stands on the map, KS-deconv splits the filter of the input's gradient, which is a
transposed convolution, into dense sub-filters and trims those, and Sk-dilated sums the filter's gradient without the
zeros of a dilated gradient. Its first abstract says that this gains over PyTorch "in certain cases", transposed
convolution on small maps above all; a later one compares with cuDNN, too. Neither gives a figure, the paper's tables
were not at hand, and so no number here is the paper's own.

What can be repeated exactly is the share of work skipped. It is computed twice: by the index rules of the author's
public code (Dragon-Alpha), restated in experiments/papers/c_cks/operators/author_rules.py, and as cupy_kst counts the
products that its kernels make. The same code has a figure above which it trims, which the tables show beside what is
measured here. Comments in it tell times on the author's GPU: for 3 taps, 128 samples, 256 channels and a map that grows
from 16 to 32, KS-deconv takes 3.403 ms without and 3.189 ms with trimming. These are comments in code, not results of
the paper.

Different here: every layer has 64 samples and 64 channels, the least for which the author's code trims; channels come
first; and the device is a CPU, unless there is a GPU. Each operator takes turns with its baseline and, on a CPU, with
PyTorch. Trimming alone is seen from two forms of the operator that differ in nothing else. On a CPU these are NumPy's,
where trimming makes many small matrix products of one, a product for each part of the map whose outputs lose the same
taps; so it pays on the smallest maps alone, if at all. The author's GPU code has a block of threads for every output
position anyhow. What a user calls takes, where Numba is installed, a compiled form, which does not trim.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import cupy_kst
from experiments.errors import EXIT_CHECK, ExperimentError
from experiments.harness.frame import Paper, Settings, Unit, command
from experiments.harness.rows import Row, time_fields
from experiments.harness.timing import LEAD, CpuClock, Rounds, time_in_turn
from experiments.papers.c_cks.operators import author_rules, chart, tables
from experiments.papers.c_cks.operators.backends import (
    BASELINE,
    OPERATORS,
    PADDING,
    Backend,
    SquareLayerSpec,
    backends,
    expected,
)

NAME = "c_operators"
SIDES, QUICK_SIDES = (2, 4, 8, 16, 32, 64), (2, 8)

# Samples whose results are compared with the definition, which is slow; the filter's gradient sums over all of them.
CHECKED = slice(None, None, 16)

# In place of the frame's, as there are many units: seconds for each backend, for all that are slow, and for a turn.
SECONDS, LIMIT, TURN = 0.2, 3.0, 0.01

LEFT = {"conv": author_rules.conv_v2, "conv_input": author_rules.ks_deconv, "conv_weight": author_rules.sk_dilated}


def layers(quick: bool) -> list[SquareLayerSpec]:
    """Return what is measured, operator by operator."""
    taps, sides = ((3,), QUICK_SIDES) if quick else (tuple(PADDING), SIDES)
    return [SquareLayerSpec(operator, each, side) for operator in OPERATORS for each in taps for side in sides]


def units(settings: Settings) -> list[Unit]:
    """Return one unit for each layer."""
    return [
        Unit(
            f"{layer.operator.op}-s{layer.operator.stride}-k{layer.taps}-{layer.side}",
            f"{layer.operator.title}: {layer.taps}x{layer.taps}, map {layer.side}",
            partial(measure, layer, settings),
        )
        for layer in layers(settings.quick)
    ]


def measure(layer: SquareLayerSpec, settings: Settings) -> list[Row]:
    """Return a row for each backend that carries out the operator on `layer`.

    A row has the layer, its work and whether it is trimmed where, the backend's role, method and form, its timing, the
    baseline's time over its own, and its largest error on the samples that were checked.
    """
    peer = settings.peers.modules.get("torch") if settings.device.kind == "cpu" else None
    found = backends(layer, settings.device, peer)
    rounds = settings.rounds if settings.quick else Rounds(200, 3, SECONDS * len(found), LIMIT, TURN)
    # PyTorch's threads and those of NumPy's BLAS keep spinning for a while after a call, in each other's way.
    clock = CpuClock(LEAD) if peer and not settings.quick else settings.clock
    timings, outputs = time_in_turn({backend.role: backend.call for backend in found}, clock, rounds)
    baseline = timings[BASELINE].median
    errors = _errors(layer, found, outputs)
    given = {
        "operator": layer.operator.name,
        "kernel": [layer.taps, layer.taps],
        **layer.options,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.geometry.output_shape),
        "dtype": "float32",
        **work(layer),
    }
    return [
        {
            **given,
            "role": backend.role,
            "method": backend.method,
            "form": backend.form,
            **time_fields(timings[backend.role], clock.calls_per_sample),
            "speedup": baseline / timings[backend.role].median,
            "max_abs_error": errors[backend.role],
            "tolerance": _tolerance(layer),
        }
        for backend in found
    ]


def work(layer: SquareLayerSpec) -> Row:
    """Return the layer's products and the shares of them that are skipped, by rule and as they are counted.

    `skipped` is of the baseline's products, `trimmed` of those that the operator makes without trimming; `scale_up` is
    the figure by which the author's code decides to trim, `code_1.0_trims` what its version 1.0 decides.
    """
    operator, axis = layer.operator, layer.axis
    costs = cupy_kst.costs(layer.input_shape, layer.weight_shape, op=operator.op, **layer.options)
    cost, baseline = costs[operator.method], costs[operator.baseline].nominal_macs
    # What the baseline multiplies of an axis: every tap at each output, the inserted zeros among them.
    positions = {"conv": axis.small, "conv_input": axis.large, "conv_weight": (axis.small - 1) * axis.stride + 1}
    left, all_taps = LEFT[operator.op](axis) ** 2, (positions[operator.op] * axis.taps) ** 2
    scale_up = (author_rules.phase_scale_up if operator.op == "conv_input" else author_rules.padding_scale_up)(axis)
    return {
        "baseline_macs": baseline,
        "untrimmed_macs": cost.nominal_macs,
        "trimmed_macs": cost.useful_macs,
        "skipped_by_rule": (all_taps - left) / all_taps,
        "skipped_counted": (baseline - cost.useful_macs) / baseline,
        "trimmed_counted": (cost.nominal_macs - cost.useful_macs) / cost.nominal_macs,
        "scale_up": scale_up,
        **{
            f"code_{rule.version}_trims": rule.trims(scale_up, axis.stride)
            for rule in author_rules.RULES[operator.name]
        },
        "library_trims": cost.macs == cost.useful_macs,
    }


def _errors(layer: SquareLayerSpec, found: Sequence[Backend], outputs: dict[str, Any]) -> dict[str, float]:
    exact = expected(layer, CHECKED)
    checked = slice(None) if layer.operator.op == "conv_weight" else CHECKED
    fetched = {backend.role: backend.fetch(outputs[backend.role])[checked] for backend in found}
    for role, output in fetched.items():
        if output.shape != exact.shape:
            raise ExperimentError(
                f"{layer.operator.title}, {role}: shape {output.shape}, not {exact.shape}", EXIT_CHECK
            )
    return {role: float(np.abs(output - exact).max()) for role, output in fetched.items()}


def _tolerance(layer: SquareLayerSpec) -> float:
    """Bound on rounding alone: terms per element x epsilon x the largest term, which is 1."""
    per_output = layer.channels * layer.taps**2
    terms = layer.samples * layer.axis.small**2 if layer.operator.op == "conv_weight" else per_output
    return terms * float(np.finfo(np.float32).eps)


PAPER = Paper(
    name=NAME,
    source="C, arXiv 2306.15951",
    about=__doc__ or "",
    units=units,
    sheets=tables.sheets,
    draw=chart.draw,
    peers=True,
)
command = command(PAPER)
