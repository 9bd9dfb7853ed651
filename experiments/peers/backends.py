"""The ways to carry out an operation of one layer, and those of this library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import cupy_kst
from experiments.workloads.operations import BASELINES, OP, Array, LayerOperation

# Ours, by the names that results give them.
UNPREPARED, PREPARED = "auto", "prepared"
OURS = (UNPREPARED, PREPARED)


@dataclass(frozen=True)
class Backend:
    """One way to carry out an operation: the call that is timed, and what makes a NumPy array of its result."""

    name: str
    call: Callable[[], Any]
    fetch: Callable[[Any], Array] = np.asarray
    note: str = ""


def own(work: LayerOperation) -> list[Backend]:
    """Return our backends: unprepared, prepared where a weight can be, and the baseline method."""
    backends = [Backend(UNPREPARED, lambda: work.run("auto"))]
    if work.operation != "weight":
        prepared = cupy_kst.prepare(work.weight, op=OP[work.operation], **work.layer.options)
        x = work.input if work.operation == "forward" else work.grad_output
        backends.append(Backend(PREPARED, lambda: prepared(x)))
    baseline = BASELINES[work.operation]
    return [*backends, Backend(baseline, lambda: work.run(baseline))]
