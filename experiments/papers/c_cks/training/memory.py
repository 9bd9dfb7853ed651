"""The memory that training takes: a fresh process for each side, whose resident set Linux tells.

``python -m experiments.papers.c_cks.training.memory`` reads what to train from standard input and prints what it took,
both as JSON. How far the resident set (RSS) grows from before the network is built to its peak is the same measure for
every library, however it allocates. Before, a step with two samples loads what a library loads or compiles at its first
call.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import ExperimentError
from experiments.harness import devices
from experiments.harness.places import ROOT
from experiments.papers.c_cks.training import patches
from experiments.papers.c_cks.training.learners import PEER, SEED, Design, learner
from experiments.workloads.training.steps import batches

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

# What written to _CLEAR makes the peak the present size.
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Job:
    """What a fresh process trains."""

    side: str
    design: Design
    device: str
    threads: int
    data: str | None
    batch: int
    steps: int


def can_measure() -> bool:
    """Whether this system tells the peak of the resident set and lets it be reset."""
    return os.access(_CLEAR, os.W_OK)


def measure(job: Job) -> dict[str, Any]:
    """Train in a fresh process and return its memory in bytes: at rest, at its peak, and of the device if it is one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "experiments.papers.c_cks.training.memory"]
    done = subprocess.run(
        command, input=json.dumps(asdict(job)), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ExperimentError(f"memory of {job.side}: the process that trains failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(job: Job) -> dict[str, Any]:
    """Train in this process."""
    torch = import_module("torch") if job.side == PEER else None
    if torch:
        torch.set_num_threads(job.threads)
    device = devices.select(job.device)
    sets = patches.load(Path(job.data) if job.data else None)
    images, labels = sets.train.images, sets.train.labels
    with devices.limited(job.threads):
        learner(job.side, job.design, device, torch).step(images[:2], labels[:2])
        _give_back()
        rest = _resident("VmRSS")
        _CLEAR.write_text(_RESET_PEAK)
        trained = learner(job.side, job.design, device, torch)
        order = np.concatenate(list(batches(len(images), job.batch, SEED)))
        for number in range(job.steps):
            places = np.take(order, np.arange(number * job.batch, (number + 1) * job.batch), mode="wrap")
            loss = trained.number(trained.step(images[places], labels[places]))
        peak = _resident("VmHWM")
    pool = device.cupy.get_default_memory_pool().total_bytes() if device.cupy else None
    return {"rest_bytes": rest, "peak_bytes": peak, "grown_bytes": peak - rest, "device_bytes": pool, "loss": loss}


def _give_back() -> None:
    """Return freed memory to the system, which later arrays would otherwise take without growth."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _resident(field: str) -> int:
    """Return a figure of this process that Linux gives in kB."""
    (line,) = (line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Do the job of standard input."""
    given = json.load(sys.stdin)
    design = given.pop("design")
    stages = tuple(map(tuple, design["stages"]))
    job = Job(design=Design(tuple(design["image"]), stages, design["classes"]), **given)
    json.dump(run(job), sys.stdout)


if __name__ == "__main__":
    main()
