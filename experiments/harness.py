"""The comparison every experiment makes: all methods on one transposed convolution, timed in turn and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst.cpu import reference
from experiments.devices import Device
from experiments.timing import Clock, Rounds, Timing, time_in_turn

BASELINE = "zero_insertion"

# Said wherever costs stand beside times measured on a CPU.
COSTS_NOTE = (
    "MACs, workspace, launches and extra threads are those of the CUDA kernels for the same call, "
    "as cupy_kst.costs counts them."
)


@dataclass(frozen=True)
class Case:
    """One transposed convolution: arrays on the host, and the options they are called with."""

    label: str
    input: NDArray[Any]
    weight: NDArray[Any]
    options: dict[str, Any]

    @property
    def tolerance(self) -> float:
        """Bound on rounding alone: terms per output x epsilon x the largest term; more than that is a wrong result."""
        terms = self.weight[:, 0].size
        largest = float(np.abs(self.input).max() * np.abs(self.weight).max())
        return terms * float(np.finfo(self.input.dtype).eps) * largest


@dataclass(frozen=True)
class Comparison:
    """The rows of one case, ready for JSON, and the outputs that were timed, by method."""

    rows: list[dict[str, Any]]
    outputs: dict[str, NDArray[Any]]


def compare(
    case: Case, device: Device, clock: Clock, rounds: Rounds, tick: Callable[[], object] = lambda: None
) -> Comparison:
    """Run every method that supports `case` and measure it.

    A row has the case (label, kernel, stride, padding, input_shape, output_shape, dtype), the method, its form, its
    timing in seconds per call (median, quartiles and extremes of `repeats` samples), its speed-up over zero_insertion,
    its costs as `cupy_kst.costs` counts them, and max_abs_error: of the output timed last, against the float64
    definition.
    """
    costs = cupy_kst.costs(case.input.shape, case.weight.shape, dtype=case.input.dtype.name, **case.options)
    geometry = cupy_kst.Geometry.conv_transpose(case.input.shape, case.weight.shape, **case.options)
    x, w = device.put(case.input), device.put(case.weight)

    def call(method: str) -> Callable[[], Any]:
        return lambda: cupy_kst.conv_transpose2d(x, w, method=method, **case.options)

    timings, results = time_in_turn({method: call(method) for method in costs}, clock, rounds, tick)
    outputs = {method: device.get(result) for method, result in results.items()}
    expected = reference.conv_transpose(case.input, case.weight, **case.options)
    rows = [
        {
            "case": case.label,
            "method": method,
            "form": device.form(method, geometry, case.input.dtype.name),
            "kernel": list(case.weight.shape[2:]),
            **case.options,
            "input_shape": list(case.input.shape),
            "output_shape": list(outputs[method].shape),
            "dtype": case.input.dtype.name,
            **time_fields(timings[method], clock.calls_per_sample),
            "speedup": timings[BASELINE].median / timings[method].median,
            **cost_fields(cost),
            "max_abs_error": float(np.abs(outputs[method] - expected).max()),
            "tolerance": case.tolerance,
        }
        for method, cost in costs.items()
    ]
    return Comparison(rows, outputs)


def wrong_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows whose error rounding cannot explain; NaN counts as wrong."""
    return [row for row in rows if not row["max_abs_error"] <= row["tolerance"]]


def samples(rows: list[dict[str, Any]]) -> str:
    """Say how many samples the medians are of, and of how many calls each where it is more than one."""
    least, most = min(row["repeats"] for row in rows), max(row["repeats"] for row in rows)
    calls = rows[0]["calls_per_sample"]
    return (f"{most}" if least == most else f"{least} to {most}") + (
        f" samples of {calls} calls" if calls > 1 else " samples"
    )


def time_fields(timing: Timing, calls_per_sample: int) -> dict[str, Any]:
    """Return what a row tells of a timing."""
    first, third = timing.quartiles
    return {
        "median_s": timing.median,
        "q1_s": first,
        "q3_s": third,
        "min_s": min(timing.samples),
        "max_s": max(timing.samples),
        "repeats": len(timing.samples),
        "calls_per_sample": calls_per_sample,
    }


def cost_fields(cost: cupy_kst.Cost) -> dict[str, int | None]:
    """Return what a row tells of a cost."""
    return {
        "nominal_macs": cost.nominal_macs,
        "useful_macs": cost.useful_macs,
        "macs": cost.macs,
        "workspace_bytes": cost.workspace_bytes,
        "launches": cost.launches,
        "extra_threads": cost.extra_threads,
    }
