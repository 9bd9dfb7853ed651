"""The arrays of one row: enough copies that calls which rotate over them find none in the L2 cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from cupy_kst.labels import DataFormat
from experiments.bench.gpu.count import array_bytes
from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.parts import FORMATS, RowSpec
from experiments.workloads.operations import Operation

# What a cold graph goes through before it comes back to the same arrays.
TIMES_L2 = 4
_MOST_COPIES = 4096
# What allocators align to.
_ALIGNMENT = 256
_SEED = 0

Name = str
READS: dict[Operation, tuple[Name, Name]] = {
    "forward": ("input", "weight"),
    "input": ("grad_output", "weight"),
    "weight": ("input", "grad_output"),
}
WRITES: dict[Operation, Name] = {"forward": "grad_output", "input": "input", "weight": "weight"}


class Arrays:
    """Copies of what an operation reads, in both layouts, and of what ours write; all numbers are drawn from [-1, 1).

    Copy `i` has the same numbers in both layouts. Tensors are as they lie in memory: with channels last, the last
    dimension is that of the channels. `as_torch` turns them to PyTorch's order.
    """

    def __init__(self, machine: Machine, spec: RowSpec, copies: int = 0) -> None:
        self._machine, self._task = machine, spec
        self._layer = spec.layer
        self._dtype = getattr(machine.torch, spec.kind.dtype)
        self._generator = machine.torch.Generator(machine.device).manual_seed(_SEED)
        self._written: dict[DataFormat, list[Any]] = {}
        self.copies = copies or cold_copies(spec, machine.l2_bytes)

    def shape(self, name: Name, data_format: DataFormat) -> tuple[int, ...]:
        """Return the shape of an array as ours take it."""
        layer, batch = self._layer, self._task.batch
        if name == "weight":
            return layer.weight_shape
        n, c, *sizes = layer.input_shape(batch) if name == "input" else layer.output_shape(batch)
        return (n, c, *sizes) if data_format == "channels_first" else (n, *sizes, c)

    @cached_property
    def _first(self) -> dict[Name, list[Any]]:
        def drawn(name: Name) -> list[Any]:
            flat, each = self._slab(self.shape(name, "channels_first"))
            flat.uniform_(-1, 1, generator=self._generator)
            return each

        return {name: drawn(name) for name in READS[self._task.operation]}

    @cached_property
    def _last(self) -> dict[Name, list[Any]]:
        """What is read with its channels last; of the weight, as PyTorch takes it."""

        def in_format(originals: list[Any]) -> list[Any]:
            _, each = self._slab((originals[0].shape[0], *originals[0].shape[2:], originals[0].shape[1]))
            for copy, original in zip(each, originals, strict=True):
                copy.copy_(original.movedim(1, -1))
            return each

        return {name: in_format(found) for name, found in self._first.items()}

    def read(self, name: Name, data_format: DataFormat) -> list[Any]:
        """Return the copies of an array that ours read: weights have one layout."""
        by_name = self._first if data_format == "channels_first" or name == "weight" else self._last
        return by_name[name]

    def read_by_torch(self, name: Name, data_format: DataFormat) -> list[Any]:
        """Return the same as PyTorch takes them, with two spatial axes or three, weights in the layout of the maps."""
        found = self._first[name] if data_format == "channels_first" else self._last[name]
        return [as_torch(each, data_format) for each in found]

    def written(self, data_format: DataFormat) -> list[Any]:
        """Return the copies of what ours write, never the memory of what is read."""
        if data_format not in self._written:
            name = WRITES[self._task.operation]
            self._written[data_format] = self._slab(self.shape(name, data_format))[1]
        return self._written[data_format]

    def _slab(self, shape: tuple[int, ...]) -> tuple[Any, list[Any]]:
        """Return memory for all copies of an array, and the copies."""
        size = math.prod(shape)
        step = _ALIGNMENT // self._task.kind.itemsize
        flat = self._machine.torch.empty(
            (self.copies, -(-size // step) * step), dtype=self._dtype, device=self._machine.device
        )
        return flat, [row[:size].view(shape) for row in flat]


def as_torch(tensor: Any, data_format: DataFormat) -> Any:
    """Return a view with PyTorch's order of dimensions; one spatial axis becomes two, which PyTorch does itself."""
    first = tensor if data_format == "channels_first" else tensor.movedim(-1, 1)
    return first.unsqueeze(2) if first.ndim == 3 else first


def cold_copies(spec: RowSpec, l2_bytes: int) -> int:
    """Return how many copies there are of each array."""
    return min(_MOST_COPIES, -(-TIMES_L2 * l2_bytes // array_bytes(spec)))


def bytes_needed(spec: RowSpec, l2_bytes: int) -> int:
    """Return about what a row takes: its arrays in both layouts, what every graph writes, and workspaces."""
    outputs = 2 * len(FORMATS) + len(spec.formats)
    workspaces = 3 if spec.has_baseline else 1
    inserted = 2 * math.prod(spec.layer.stride) * array_bytes(spec) if spec.has_baseline else 0
    return (2 + outputs + workspaces) * max(1, cold_copies(spec, l2_bytes)) * array_bytes(spec) + inserted


def sampled(batch: int) -> Iterator[int]:
    """Return the samples by which errors are measured: the first and the last."""
    yield from dict.fromkeys((0, batch - 1))
