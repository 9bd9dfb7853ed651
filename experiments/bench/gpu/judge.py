"""Judges what backends compute: their errors from float64, and what rounding explains of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.bench.gpu.arrays import READS, Arrays, sampled
from experiments.bench.gpu.backend import Backend
from experiments.bench.gpu.count import terms_of
from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.parts import Kind, RowSpec
from experiments.bench.gpu.pytorch import TORCH, TorchOperation
from experiments.harness.rows import Row


def reference(machine: Machine, spec: RowSpec, arrays: Arrays, samples: list[int]) -> Iterator[tuple[slice, Any]]:
    """Yield the result in float64 by PyTorch's own products, a sample at a time: where it belongs, and the part.

    The gradient of a weight is a sum over all samples, so that all of them are computed.
    """
    operation = TorchOperation(machine.torch, spec, "channels_first")
    first, second = (arrays.read_by_torch(name, "channels_first")[0] for name in READS[spec.operation])
    with machine.without_cudnn():
        if spec.operation == "weight":
            total: Any = 0
            for sample in range(spec.batch):
                one = slice(sample, sample + 1)
                total = total + operation(first[one].double(), second[one].double())
            yield slice(None), total
            return
        for sample in samples:
            one = slice(sample, sample + 1)
            yield one, operation(first[one].double(), second.double())


def tolerance(kind: Kind, terms: int, scale: float) -> float:
    """Return a bound of what rounding alone explains: that of every term, all as large as can be, and of storing."""
    eps32 = 2.0**-23
    return terms * (eps32 + kind.rounding) + kind.storage_rounding * scale


def wrong_backends(rows: Sequence[Row]) -> list[str]:
    """Return a line for each backend of ours whose error rounding cannot explain, and for each that failed."""
    lines = []
    for row in rows:
        title = f"{row['layer']}, batch {row['batch']}, {row['operation']}, {row['kind']}"
        for name, backend in row["sides"].items():
            if "failed" in backend:
                lines.append(f"{title}: {name} failed: {backend['failed']}")
            elif backend["role"] != TORCH and backend["max_abs_error"] is None:
                lines.append(f"{title}: {name} leaves outputs that are not finite")
            elif backend["role"] != TORCH and backend["max_abs_error"] > backend["tolerance"]:
                lines.append(f"{title}: {name} is wrong by {backend['max_abs_error']:.1e}")
    return lines


def errors_of(machine: Machine, spec: RowSpec, arrays: Arrays, ready: dict[str, Backend]) -> dict[str, Row]:
    """Return the largest error of each backend, that over the largest element, and that of all over the norm."""
    exact = list(reference(machine, spec, arrays, list(sampled(spec.batch))))
    scale = max(float(part.abs().max()) for _, part in exact)
    norm = math.sqrt(sum(float(part.square().sum()) for _, part in exact))
    errors = {}
    for name, backend in ready.items():
        backend.poison()
        backend.call(0)
        result = backend.result()
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
            "tolerance": tolerance(spec.kind, terms_of(spec), scale),
        }
    return errors
