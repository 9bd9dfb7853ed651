"""Running the tasks of a record: by how many threads, in what memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import memory, threads
from .task import OVERFLOWED, SCRATCH, SCRATCH_BYTES
from .template import Template

Array = NDArray[Any]

# Products that take less time than waking a thread.
ALONE_MACS = 1 << 19


def run_tasks(record: Array, scratch: int, tasks: int, macs: float) -> None:
    """Do the tasks of a record, whose function needs `scratch` bytes of memory in each thread."""
    several = _several(threads.count(), tasks, macs)
    # Memory that no thread keeps lives until the work is done.
    held = memory.scratch(scratch * several)
    record[SCRATCH], record[SCRATCH_BYTES] = held[1], scratch
    threads.parallel_for(record, several)


def held_bytes(scratch: int, tasks: int, macs: float, count: int) -> int:
    """Return the bytes that `run_tasks` holds with up to `count` threads."""
    return scratch * _several(count, tasks, macs) + memory.LINES_BYTES


def _several(count: int, tasks: int, macs: float) -> int:
    return min(count, tasks) if macs > ALONE_MACS else 1


def convolve(template: Template, input: Array, weight: int, bias: Array | None, out: Array) -> bool:
    """Write what a template computes to `out`, and return whether sums were found that are not finite.

    `weight` is the address of the weight, packed or as it lies.
    """
    record = template.record.copy()
    of_source, of_weight, of_bias, of_out = template.slots
    record[of_source] = memory.address(input)
    record[of_weight] = weight
    if bias is not None:
        record[of_bias] = memory.address(bias)
    record[of_out] = memory.address(out)
    run_tasks(record, template.scratch, template.plan.tasks, template.plan.macs)
    return bool(record[OVERFLOWED])
