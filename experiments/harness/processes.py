"""Processes that end in time, and with this one: each is a group of its own, which its children end with."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO, Any

from experiments.harness.places import ROOT

# From being asked to stop until being killed.
STOP_SECONDS = 15.0

Process = subprocess.Popen[Any]
_running: set[Process] = set()


def start(command: Sequence[str], output: IO[Any]) -> Process:
    """Start a process in the checkout; all that it prints goes to `output` at once."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    _running.add(process)
    return process


def wait(process: Process, end: float, asks: bool = False) -> int | None:
    """Wait for a process and return its exit code; at `end`, kill its group and return None.

    If it `asks`, it is interrupted first, and may say what it knows.
    """
    try:
        return process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        if asks:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
                return None
            except subprocess.TimeoutExpired:
                pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    finally:
        _running.discard(process)


def kill_all() -> None:
    """Kill what is still running."""
    for process in list(_running):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
