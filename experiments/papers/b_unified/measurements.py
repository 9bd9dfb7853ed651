"""What the experiments on arXiv 2502.20493 measure of one transposed convolution: time, work, memory, correctness."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst.cpu import reference
from experiments.harness.comparison import BASELINE, Case
from experiments.harness.devices import Device
from experiments.harness.rows import Row, cost_fields, time_fields
from experiments.harness.timing import Call, Clock, Rounds, time_in_turn


@dataclass(frozen=True)
class Saved:
    """Bytes of the zero-inserted, padded map that only `zero_insertion` builds, and what is left of them by two counts.

    The kernel that replaces it may read an input with a padding of its own, half as wide, or the input as it is. The
    paper does not say which of the three its figure is, so each goes by its name.

    Attributes
    ----------
    gross : int
        The whole zero-inserted, padded map.
    net_of_padded : int
        Less the input, padded by half as much.
    net_of_input : int
        Less the input.
    """

    gross: int
    net_of_padded: int
    net_of_input: int


def saved_bytes(geometry: cupy_kst.Geometry, itemsize: int) -> Saved:
    """Return what `geometry`, a transposed convolution without dilation, saves."""
    planes = geometry.samples * geometry.small_channels * itemsize
    gross = planes * prod(axis.large + axis.kernel - 1 for axis in geometry.axes)
    padded = planes
    for axis in geometry.axes:
        before = axis.kernel - 1 - axis.pad_lo
        behind = axis.large + axis.kernel - 1 - before - ((axis.small - 1) * axis.stride + 1)
        padded *= axis.small + before // axis.stride + behind // axis.stride
    return Saved(gross, gross - padded, gross - planes * prod(axis.small for axis in geometry.axes))


@dataclass(frozen=True)
class Extra:
    """A way to compute a case that the library does not have, and the bytes of the array of sizes that it reads."""

    call: Call
    table_bytes: int


# What makes them of a geometry, an input and a weight, both on the device.
Extras = Callable[[cupy_kst.Geometry, Any, Any], Mapping[str, Extra]]


def rows_of(
    case: Case,
    methods: Sequence[str],
    device: Device,
    clock: Clock,
    rounds: Rounds,
    extras_of: Extras = lambda geometry, x, weight: {},
) -> list[Row]:
    """Time `methods`, and what the library does not have, on `case` in turn; return a row for each.

    A row has the case, the method, its form, its timing, its speed-up over zero_insertion, its cost as
    `cupy_kst.costs` counts it, `peak_bytes` as `allocated` measures them, and the largest error of the output that was
    timed last, against the definition in float64.
    """
    x, w = device.put(case.input), device.put(case.weight)
    geometry = cupy_kst.Geometry.conv_transpose(case.input.shape, case.weight.shape, **case.options)
    extras = extras_of(geometry, x, w)

    def call(method: str) -> Call:
        return lambda: cupy_kst.conv_transpose2d(x, w, method=method, **case.options)

    calls = {method: call(method) for method in methods} | {name: extra.call for name, extra in extras.items()}
    timings, results = time_in_turn(calls, clock, rounds)
    expected = definition(case, geometry)
    costs = cupy_kst.costs(case.input.shape, case.weight.shape, dtype=case.input.dtype.name, **case.options)
    rows = []
    for name, timing in timings.items():
        library = name not in extras
        rows.append(
            {
                "case": case.label,
                "method": name,
                "form": device.form(name, geometry, case.input.dtype.name) if library else None,
                "kernel": list(geometry.weight_shape[2:]),
                **{option: _plain(value) for option, value in case.options.items()},
                "input_shape": list(geometry.input_shape),
                "output_shape": list(geometry.output_shape),
                "dtype": case.input.dtype.name,
                **time_fields(timing, clock.calls_per_sample),
                "speedup": timings[BASELINE].median / timing.median,
                **(cost_fields(costs[name]) if library else {"table_bytes": extras[name].table_bytes}),
                "peak_bytes": allocated(device, calls[name]),
                "max_abs_error": float(np.abs(device.get(results[name]) - expected).max()),
                "tolerance": case.tolerance,
            }
        )
    return rows


def definition(case: Case, geometry: cupy_kst.Geometry) -> NDArray[Any]:
    """Return the float64 result: a transposed convolution is the gradient of a convolution's input.

    That part of the definition multiplies matrices, so that layers of a thousand channels need no hours.
    """
    names = ("stride", "padding", "dilation", "groups")
    options = {name: case.options[name] for name in names if name in case.options}
    return reference.conv_input(geometry.output_shape, case.weight, case.input, **options)


def allocated(device: Device, call: Callable[[], Any]) -> int:
    """Return the bytes that a call takes beside its output: on a CPU NumPy's peak, on a GPU what it allocates anew."""
    if device.cupy is not None:
        pool = device.cupy.cuda.MemoryPool()
        with device.cupy.cuda.using_allocator(pool.malloc):
            size = int(call().nbytes)
        # The pool rounds the output up as well.
        return max(0, int(pool.total_bytes()) - -(-size // 512) * 512)
    tracemalloc.start()
    try:
        size = int(call().nbytes)
        return max(0, tracemalloc.get_traced_memory()[1] - size)
    finally:
        tracemalloc.stop()


def _plain(value: Any) -> Any:
    """Return an option as JSON gives it back, so that fresh rows and those of a file are alike."""
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def of_method(rows: Sequence[Row], method: str) -> list[Row]:
    """Return the rows of one method."""
    return [row for row in rows if row["method"] == method]


def geometric_mean(values: Iterable[float]) -> float:
    """Return the mean that treats twice as fast and half as fast as opposites."""
    return float(np.exp(np.mean(np.log(list(values)))))
