"""The comparison every experiment makes: all methods on one transposed convolution, timed in turn and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst.cpu import reference
from experiments.harness.devices import Device
from experiments.harness.rows import cost_fields, time_fields
from experiments.harness.timing import Clock, Rounds, time_in_turn

BASELINE = "zero_insertion"


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
