"""The one claim about time that every machine can check: without products by zero it is faster than with them."""

from __future__ import annotations

import pytest

from experiments.harness import devices
from experiments.harness.timing import CpuClock, Rounds, time_in_turn
from experiments.peers.backends import UNPREPARED, own
from experiments.workloads import layers
from experiments.workloads.operations import BASELINES, LayerOperation, Operation

# Far below the four times as many products that the baselines make. That of the input's gradient inserts no zeros.
LEAST = 1.5
ATTEMPTS = 6


@pytest.mark.parametrize("operation", ["forward", "weight"])
def test_auto_is_faster_than_the_method_with_zeros(operation: Operation) -> None:
    """Medians of calls in turn, on one thread; another attempt if other programs had a share in them."""
    (layer,) = (layer for layer in layers.unique() if layer.label == "DiscoGAN 3")
    work = LayerOperation.drawn(layer, 1, operation)
    calls = {backend.name: backend.call for backend in own(work)}
    found = []
    with devices.limited(1):
        for _ in range(ATTEMPTS):
            timings, _ = time_in_turn(calls, CpuClock(), Rounds.exactly(9))
            found.append(timings[BASELINES[operation]].median / timings[UNPREPARED].median)
            if found[-1] >= LEAST:
                return
    pytest.fail(f"times with zeros over those of auto: {', '.join(f'{ratio:.2f}' for ratio in found)}")
