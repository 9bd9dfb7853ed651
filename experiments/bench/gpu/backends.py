"""All backends of a row of the GPU benchmark: ours, and PyTorch's (cuDNN) in both layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from experiments.bench.gpu.arrays import Arrays
from experiments.bench.gpu.backend import Backend, name_of
from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.ours import own
from experiments.bench.gpu.parts import FORMATS, RowSpec
from experiments.bench.gpu.pytorch import TORCH, torch_backend


def backends(
    machine: Machine, spec: RowSpec, arrays: Arrays, method: str = "auto"
) -> Iterator[tuple[str, Callable[[], Backend]]]:
    """Yield the names of a row's backends and what makes each; `method` is that of ours where the operation has it."""
    yield from own(machine, spec, arrays, method)
    for data_format in FORMATS:
        yield name_of(TORCH, data_format), partial(torch_backend, machine, spec, arrays, data_format)
