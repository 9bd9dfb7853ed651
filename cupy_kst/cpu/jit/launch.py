"""Doing the work of a record: by how many threads, in what memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import memory, threads
from .task import ARGUMENTS, OVERFLOWED, SCRATCH, SCRATCH_BYTES
from .template import Frame

Array = NDArray[Any]

# Products that take less time than waking a thread.
ALONE_MACS = 1 << 19


def do(record: Array, scratch: int, tasks: int, macs: float) -> None:
    """Do the work of a record, whose function takes so many tasks and so much scratch memory in each thread."""
    several = _several(threads.count(), tasks, macs)
    # Memory that no thread keeps lives until the work is done.
    held = memory.scratch(scratch * several)
    record[SCRATCH], record[SCRATCH_BYTES] = held[1], scratch
    threads.together(record, several)


def held_bytes(scratch: int, tasks: int, macs: float, count: int) -> int:
    """Return the bytes that `do` holds with up to `count` threads."""
    return scratch * _several(count, tasks, macs) + memory.LINES_BYTES


def _several(count: int, tasks: int, macs: float) -> int:
    return min(count, tasks) if macs > ALONE_MACS else 1


def convolve(frame: Frame, input: Array, weight: int, bias: Array | None, out: Array) -> bool:
    """Write what a frame computes to `out`, and return whether sums were found that are not finite."""
    record = frame.record.copy()
    record[ARGUMENTS] = memory.address(input)
    record[ARGUMENTS + 1] = weight
    if bias is not None:
        record[ARGUMENTS + 2] = memory.address(bias)
    record[ARGUMENTS + 3] = memory.address(out)
    do(record, frame.scratch, frame.plan.tasks, frame.plan.macs)
    return bool(record[OVERFLOWED])
