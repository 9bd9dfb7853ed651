"""How fast NumPy's BLAS multiplies: with the kernels that it takes here, and with those that it might have taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.harness.environment import CORETYPE, WIDE_KERNELS, blas, slow_blas
from experiments.harness.places import ROOT
from experiments.harness.timing import Clock, CpuClock, Rounds, time_in_turn

_SIDE = 1536
_SECONDS = 60


def rates(where: dict[str, Any], clock: Clock) -> dict[str, float]:
    """Return twice the multiply-adds of large products per second, by the names of the kernels that make them.

    The first are those of this process. Others follow where OpenBLAS was told which to take, those that it takes by
    itself, and where these leave vector registers of the processor unused, its widest ones.
    """
    found = {_name(where["blas"]): rate(clock)}
    if CORETYPE in where["settings"]:
        found |= _elsewhere(where["threads"], "")
    elif slow_blas(where):
        found |= _elsewhere(where["threads"], WIDE_KERNELS)
    return found


def rate(clock: Clock) -> float:
    """Return the rate of this process."""
    a = np.ones((_SIDE, _SIDE), np.float32)
    timings, _ = time_in_turn({"product": lambda: a @ a}, clock, Rounds.exactly(5))
    return float(2 * _SIDE**3 / timings["product"].median)


def _name(library: dict[str, Any] | None) -> str:
    return str((library and library["architecture"]) or "its choice")


def _elsewhere(threads: int, kernels: str) -> dict[str, float]:
    """Return the rate of a process whose OpenBLAS is told to take `kernels`, or nothing; no entry where it fails."""
    command = [sys.executable, "-m", "experiments.bench.cpu.blas", str(threads)]
    # OpenBLAS takes an empty name for none.
    told = {**os.environ, CORETYPE: kernels}
    try:
        done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=True, timeout=_SECONDS)
        return {str(name): float(each) for name, each in json.loads(done.stdout).items()}
    except (subprocess.SubprocessError, ValueError):
        return {}


if __name__ == "__main__":
    with threadpool_limits(int(sys.argv[1])):
        print(json.dumps({_name(blas()): rate(CpuClock())}))
