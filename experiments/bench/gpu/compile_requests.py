"""Lists what the rows of the GPU benchmark compile, so that it can be compiled before any of them is timed."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.bench.gpu.arrays import Arrays, bytes_needed
from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.ours import own
from experiments.bench.gpu.parts import RowSpec
from experiments.harness import gpu_compile


def compile_requests(machine: Machine, specs: Sequence[RowSpec], method: str) -> list[gpu_compile.Request]:
    """Return what these rows compile."""
    free = machine.free_bytes()
    with gpu_compile.recorded() as found, machine.current():
        for spec in specs:
            if bytes_needed(spec, 0) > free:
                continue
            # Nothing is read or written: one copy is enough.
            arrays = Arrays(machine, spec, copies=1)
            for _, make in own(machine, spec, arrays, method):
                backend = make()
                # The second call takes a build of its own.
                for _ in range(2):
                    backend.call(0)
            machine.free()
    return list(found)
