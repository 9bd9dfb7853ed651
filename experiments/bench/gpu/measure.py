"""Measures a row of the GPU benchmark: captures every backend, times them in turn, puts them beside the ceilings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from experiments.bench.gpu.arrays import Arrays
from experiments.bench.gpu.backend import Backend
from experiments.bench.gpu.backends import backends
from experiments.bench.gpu.ceilings import Ceilings
from experiments.bench.gpu.count import array_bytes, useful_flops
from experiments.bench.gpu.judge import errors_of
from experiments.bench.gpu.machine import Machine, check_device
from experiments.bench.gpu.parts import RowSpec
from experiments.bench.gpu.ratios import ratios_of
from experiments.harness.rows import Row, time_fields
from experiments.harness.timing import Rounds, Timing, time_in_turn

FIGURES = ("cold", "warm", "eager")

# Calls of a graph, fewer where they take so long that what lies between them no longer matters.
CALLS = 20
_GRAPH_SECONDS = 0.25
# A graph that is shorter is launched twice and timed the second time, so that no wait for the host is timed.
_LEAD_SECONDS = 0.01
# Seconds for every figure of a backend, and for a whole row of slow ones.
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


def measure(machine: Machine, spec: RowSpec, ceilings: Ceilings, method: str = "auto") -> Row:
    """Return the row of a specification.

    It has the layer, the kind, what the operation takes, the least time that the ceilings leave it (`floor_s`) and, as
    `sides`, the backends. Each has its three figures in seconds per call: `cold`, in a graph that rotates over copies
    of all arrays; `warm`, in a graph on one copy; `eager`, the wall time of calls one after the other. A backend that
    failed has only `failed`: why. `ratios` are times of PyTorch over ours, as `ratios_of` makes them.
    """
    with machine.current():
        machine.allow(spec.kind.rival)
        arrays = Arrays(machine, spec)
        found: dict[str, Row] = {}
        ready: dict[str, tuple[Backend, float]] = {}
        for name, make in backends(machine, spec, arrays, method):
            with _failing(machine, name, found):
                backend = make()
                ready[name] = backend, _warmed(machine, backend, arrays.copies)
        errors = errors_of(machine, spec, arrays, {name: backend for name, (backend, _) in ready.items()})
        # Captured when all that backends keep is allocated: what is free now, a graph may write to.
        figures: dict[str, Figure] = {}
        for name, (backend, seconds) in ready.items():
            with _failing(machine, name, found):
                each = _figures(machine, backend, arrays.copies, seconds)
                figures |= {f"{name}/{figure}": each[figure] for figure in FIGURES}
        timings = _timed(figures)
    flops, moved = useful_flops(spec), array_bytes(spec)
    floor = ceilings.floor(spec.kind.name, flops, moved)
    for name, (backend, _) in ready.items():
        if name in found:
            continue
        cold = timings[f"{name}/cold"].median
        found[name] = {
            "role": backend.role,
            "data_format": backend.data_format,
            **({"explained": backend.explained} if backend.explained else {}),
            **({"note": backend.note} if backend.note else {}),
            **{each: time_fields(timings[f"{name}/{each}"], figures[f"{name}/{each}"].calls) for each in FIGURES},
            "flops_per_s": flops / cold,
            "bytes_per_s": moved / cold,
            "floor_share": floor / cold,
            **errors[name],
        }
    layer, copies = spec.layer, arrays.copies
    return {
        "layer": layer.label,
        "same_layers": list(layer.names[1:]),
        "batch": spec.batch,
        "operation": spec.operation,
        "kind": spec.kind.name,
        "dtype": spec.kind.dtype,
        "precision": spec.kind.precision,
        "data_format": spec.kind.natural,
        "kernel": layer.kernel,
        **layer.options,
        "input_shape": layer.input_shape(spec.batch),
        "output_shape": layer.output_shape(spec.batch),
        "useful_flops": flops,
        "array_bytes": moved,
        "copies": copies,
        "floor_s": floor,
        "sides": found,
        "ratios": {figure: ratios_of(found, spec.kind.natural, figure) for figure in FIGURES},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


@contextmanager
def _failing(machine: Machine, name: str, found: dict[str, Row]) -> Iterator[None]:
    """Note what fails for the backend of this name, and go on if the device still works."""
    try:
        yield
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        found[name] = {"failed": why[:_LONGEST]}
        check_device(machine, f"{name} failed: {why}")


def _warmed(machine: Machine, backend: Backend, copies: int) -> float:
    """Run a backend until all that it keeps is compiled, found and allocated; return the seconds of one call."""
    # Prepared weights are packed on the first call of each.
    for number in range(copies):
        backend.call(number)
    for _ in range(_WARM_UP):
        backend.call(0)
    backend.eager(0)
    return machine.wall_seconds(lambda: backend.call(0))


def _figures(machine: Machine, backend: Backend, copies: int, seconds: float) -> dict[str, Figure]:
    """Return what is sampled of a backend whose call takes about so many seconds."""
    most = max(1, int(_GRAPH_SECONDS / seconds))

    def graph(of: Callable[[int], int], calls: int) -> Figure:
        captured = backend.capture(of, min(calls, most))
        leads = captured.calls * seconds < _LEAD_SECONDS

        def sample() -> float:
            if leads:
                captured.replay()
            return machine.device_seconds(captured.replay) / captured.calls

        return Figure(captured.calls, sample)

    eager = min(max(1, int(_SECONDS / seconds)), 2 * CALLS)

    def calls() -> None:
        for number in range(eager):
            backend.eager(number % copies)

    return {
        "cold": graph(lambda number: number % copies, max(CALLS, copies)),
        "warm": graph(lambda number: 0, CALLS),
        "eager": Figure(eager, lambda: machine.wall_seconds(calls) / eager),
    }


def _timed(figures: dict[str, Figure]) -> dict[str, Timing]:
    rounds = Rounds(_MOST_SAMPLES, _LEAST_SAMPLES, _SECONDS * len(figures), _LIMIT)
    timings, _ = time_in_turn({name: figure.seconds for name, figure in figures.items()}, FigureClock(), rounds)
    return timings
