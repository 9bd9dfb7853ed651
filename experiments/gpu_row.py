"""One row of the GPU benchmark: every side captured, timed in turn, checked, and put beside the device's ceilings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import cupy_kst
from experiments.errors import ExperimentError
from experiments.gpu_arrays import Arrays, array_bytes, bytes_needed, sampled
from experiments.gpu_ceilings import Ceilings
from experiments.gpu_machine import Machine
from experiments.gpu_parts import Task
from experiments.gpu_sides import TORCH, Side, own, reference, sides, tolerance
from experiments.harness import gpu_compile
from experiments.harness.rows import time_fields
from experiments.harness.timing import Rounds, Timing, time_in_turn
from experiments.peers.backends import OURS
from experiments.workloads.operations import OP

Row = dict[str, Any]
FIGURES = ("cold", "warm", "eager")

# Calls of a graph, fewer where they take so long that what lies between them no longer matters.
CALLS = 20
_GRAPH_SECONDS = 0.25
# A graph that is shorter is launched twice and timed the second time, so that no wait for the host is timed.
_LEAD_SECONDS = 0.01
# Seconds for every figure of a side, and for a whole row of slow ones.
_SECONDS, _LIMIT = 0.02, 6.0
# Generic kernels on the first call, specialised ones on the second; cuDNN's search.
_WARM_UP = 3
_LEAST_SAMPLES, _MOST_SAMPLES = 3, 30
_LONGEST = 300


@dataclass(frozen=True)
class Figure:
    """What is sampled: returns seconds per call."""

    calls: int
    seconds: Callable[[], float]


class FigureClock:
    """Takes samples of figures, which measure themselves."""

    calls_per_sample = 1

    def sample(self, call: Callable[[], float]) -> tuple[float, None]:
        return call(), None


def measure(machine: Machine, task: Task, ceilings: Ceilings, method: str = "auto") -> Row:
    """Return the row of a task.

    It has the layer, the kind, what the operation takes, the least time that the ceilings leave it (`floor_s`) and
    `sides`. A side has its three figures, each in seconds per call: `cold`, in a graph that rotates over copies of all
    arrays; `warm`, in a graph on one copy; `eager`, the wall time of calls one after the other. A side that failed has
    only `failed`: why. `ratios` are times of PyTorch over ours, as `ratios_of` makes them.
    """
    with machine.current():
        machine.allow(task.kind.rival)
        arrays = Arrays(machine, task)
        found: dict[str, Row] = {}
        ready: dict[str, tuple[Side, float]] = {}
        for name, make in sides(machine, task, arrays, method):
            with _failing(machine, name, found):
                side = make()
                ready[name] = side, _warmed(machine, side, arrays.copies)
        errors = _errors(machine, task, arrays, {name: side for name, (side, _) in ready.items()})
        # Captured when all that sides keep is allocated: what is free now, a graph may write to.
        figures: dict[str, Figure] = {}
        for name, (side, seconds) in ready.items():
            with _failing(machine, name, found):
                each = _figures(machine, side, arrays.copies, seconds)
                figures |= {f"{name}/{figure}": each[figure] for figure in FIGURES}
        timings = _timed(figures)
    flops, moved = useful_flops(task), array_bytes(task)
    floor = ceilings.floor(task.kind.name, flops, moved)
    for name, (side, _) in ready.items():
        if name in found:
            continue
        cold = timings[f"{name}/cold"].median
        found[name] = {
            "role": side.role,
            "data_format": side.data_format,
            **({"explained": side.explained} if side.explained else {}),
            **({"note": side.note} if side.note else {}),
            **{each: time_fields(timings[f"{name}/{each}"], figures[f"{name}/{each}"].calls) for each in FIGURES},
            "flops_per_s": flops / cold,
            "bytes_per_s": moved / cold,
            "floor_share": floor / cold,
            **errors[name],
        }
    layer, copies = task.layer, arrays.copies
    return {
        "layer": layer.label,
        "same_layers": list(layer.names[1:]),
        "batch": task.batch,
        "operation": task.operation,
        "kind": task.kind.name,
        "dtype": task.kind.dtype,
        "precision": task.kind.precision,
        "data_format": task.kind.natural,
        "kernel": layer.kernel,
        **layer.options,
        "input_shape": layer.input_shape(task.batch),
        "output_shape": layer.output_shape(task.batch),
        "useful_flops": flops,
        "array_bytes": moved,
        "copies": copies,
        "floor_s": floor,
        "sides": found,
        "ratios": {figure: ratios_of(found, task.kind.natural, figure) for figure in FIGURES},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def ratios_of(found: dict[str, Row], natural: str, figure: str) -> dict[str, dict[str, float]]:
    """Return the time of PyTorch over that of each of ours, by role.

    `same` is in the natural layout of the kind, `best` that of the faster layout of either. The baseline's is its own
    time over that of the others.
    """
    times: dict[str, dict[str, float]] = {}
    for side in found.values():
        if "failed" not in side:
            times.setdefault(side["role"], {})[side["data_format"]] = side[figure]["median_s"]
    ratios: dict[str, dict[str, float]] = {}
    for role in times:
        if role not in OURS:
            continue
        ours, of = times[role], ratios.setdefault(role, {})
        for other, theirs in times.items():
            if other == TORCH:
                of |= {"same": theirs[natural] / ours[natural]} if natural in theirs and natural in ours else {}
                of["best"] = min(theirs.values()) / min(ours.values())
            elif other not in OURS and natural in ours:
                of[other] = theirs[natural] / ours[natural]
    return ratios


def wrong_sides(rows: Sequence[Row]) -> list[str]:
    """Return a line for each side of ours whose error rounding cannot explain, and for each that failed."""
    lines = []
    for row in rows:
        title = f"{row['layer']}, batch {row['batch']}, {row['operation']}, {row['kind']}"
        for name, side in row["sides"].items():
            if "failed" in side:
                lines.append(f"{title}: {name} failed: {side['failed']}")
            elif side["role"] != TORCH and side["max_abs_error"] is None:
                lines.append(f"{title}: {name} leaves outputs that are not finite")
            elif side["role"] != TORCH and side["max_abs_error"] > side["tolerance"]:
                lines.append(f"{title}: {name} is wrong by {side['max_abs_error']:.1e}")
    return lines


@contextmanager
def _failing(machine: Machine, name: str, found: dict[str, Row]) -> Iterator[None]:
    """Note what fails for the side of this name, and go on if the device still works."""
    try:
        yield
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        found[name] = {"failed": why[:_LONGEST]}
        check_device(machine, f"{name} failed: {why}")


def check_device(machine: Machine, what: str) -> None:
    """Raise one line that begins with `what` if the device has failed: nothing else can be measured then."""
    try:
        machine.synchronize()
    except Exception as error:
        raise ExperimentError(f"the GPU no longer answers ({type(error).__name__}) after this: {what}") from None


def _warmed(machine: Machine, side: Side, copies: int) -> float:
    """Run a side until all that it keeps is compiled, found and allocated; return the seconds of one call."""
    # Prepared weights are packed on the first call of each.
    for number in range(copies):
        side.call(number)
    for _ in range(_WARM_UP):
        side.call(0)
    side.eager(0)
    return machine.wall_seconds(lambda: side.call(0))


def _figures(machine: Machine, side: Side, copies: int, seconds: float) -> dict[str, Figure]:
    """Return what is sampled of a side whose call takes about so many seconds."""
    most = max(1, int(_GRAPH_SECONDS / seconds))

    def graph(of: Callable[[int], int], calls: int) -> Figure:
        captured = side.capture(of, min(calls, most))
        leads = captured.calls * seconds < _LEAD_SECONDS

        def sample() -> float:
            if leads:
                captured.replay()
            return machine.device_seconds(captured.replay) / captured.calls

        return Figure(captured.calls, sample)

    eager = min(max(1, int(_SECONDS / seconds)), 2 * CALLS)

    def calls() -> None:
        for number in range(eager):
            side.eager(number % copies)

    return {
        "cold": graph(lambda number: number % copies, max(CALLS, copies)),
        "warm": graph(lambda number: 0, CALLS),
        "eager": Figure(eager, lambda: machine.wall_seconds(calls) / eager),
    }


def _timed(figures: dict[str, Figure]) -> dict[str, Timing]:
    rounds = Rounds(_MOST_SAMPLES, _LEAST_SAMPLES, _SECONDS * len(figures), _LIMIT)
    timings, _ = time_in_turn({name: figure.seconds for name, figure in figures.items()}, FigureClock(), rounds)
    return timings


def _errors(machine: Machine, task: Task, arrays: Arrays, ready: dict[str, Side]) -> dict[str, Row]:
    """Return the largest error of each side, that over the largest element, and that of all over the norm."""
    exact = list(reference(machine, task, arrays, list(sampled(task.batch))))
    scale = max(float(part.abs().max()) for _, part in exact)
    norm = math.sqrt(sum(float(part.square().sum()) for _, part in exact))
    errors = {}
    for name, side in ready.items():
        side.poison()
        side.call(0)
        result = side.result()
        largest = squares = 0.0
        for place, part in exact:
            # The result has two spatial axes, as the reference does, where ours have one.
            difference = result[place].double() - part
            largest = max(largest, float(difference.abs().max()))
            squares += float(difference.square().sum())
        finite = bool(machine.torch.isfinite(result).all())
        errors[name] = {
            "max_abs_error": largest if finite else None,
            "max_relative_error": largest / scale if finite else None,
            "relative_l2_error": math.sqrt(squares) / norm if finite else None,
            "tolerance": tolerance(task.kind, _terms(task), scale),
        }
    return errors


def _terms(task: Task) -> int:
    """Return how many products an element of the result sums at most."""
    layer = task.layer
    taps = math.prod(layer.kernel)
    return {
        "forward": taps * layer.in_channels // layer.groups,
        "input": taps * layer.out_channels // layer.groups,
        "weight": task.batch * math.prod(layer.in_size),
    }[task.operation]


def useful_flops(task: Task) -> int:
    layer = task.layer
    costs = cupy_kst.costs(
        layer.input_shape(task.batch), layer.weight_shape, op=OP[task.operation], dtype=task.kind.dtype, **layer.options
    )
    return 2 * next(iter(costs.values())).useful_macs


def requests(machine: Machine, tasks: Sequence[Task], method: str) -> list[gpu_compile.Request]:
    """Return what the rows of these tasks compile."""
    free = machine.free_bytes()
    with gpu_compile.recorded() as found, machine.current():
        for task in tasks:
            if bytes_needed(task, 0) > free:
                continue
            # Nothing is read or written: one copy is enough.
            arrays = Arrays(machine, task, copies=1)
            for _, make in own(machine, task, arrays, method):
                side = make()
                # The second call takes a build of its own.
                for _ in range(2):
                    side.call(0)
            machine.free()
    return list(found)
