"""PyTorch's transposed convolutions (cuDNN) as a backend, in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupy_kst.labels import DataFormat
from experiments.bench.gpu.arrays import READS, Arrays
from experiments.bench.gpu.backend import Backend
from experiments.bench.gpu.machine import Graph, Machine
from experiments.bench.gpu.parts import RowSpec
from experiments.peers.pytorch import symmetric

TORCH = "torch"


def torch_backend(machine: Machine, spec: RowSpec, arrays: Arrays, data_format: DataFormat) -> Backend:
    """Return PyTorch's backend; see `experiments.peers.pytorch` on what it crops."""
    reads = [arrays.read_by_torch(name, data_format) for name in READS[spec.operation]]
    operation = TorchOperation(machine.torch, spec, data_format)

    def eager(number: int) -> Any:
        return operation(reads[0][number], reads[1][number])

    # PyTorch's functions allocate what they return: kept until a graph comes to that copy again, outputs rotate too.
    outputs: list[Any] = [None] * arrays.copies

    def call(number: int) -> None:
        outputs[number] = None
        outputs[number] = eager(number)

    def capture(of: Callable[[int], int], calls: int) -> Graph:
        # What was kept before is of another pool; what is kept meanwhile stays the graph's.
        outputs[:] = [None] * arrays.copies
        graph = machine.capture_torch(lambda number: call(of(number)), calls)
        outputs[:] = [None] * arrays.copies
        return graph

    return Backend(TORCH, data_format, call, eager, lambda: outputs[0], capture, note=operation.note)


class TorchOperation:
    """An operation of a layer by PyTorch, on arrays in the order in which `READS` names them.

    Parameters
    ----------
    torch : module
        PyTorch.
    task : Task
        The operation.
    data_format : str
        Layout of the arrays.
    """

    def __init__(self, torch: Any, spec: RowSpec, data_format: DataFormat) -> None:
        layer = spec.layer
        pads, extras, crops = zip(*map(symmetric, layer.padding, layer.output_padding, layer.stride), strict=True)
        self._torch, self._operation, self._groups = torch, spec.operation, layer.groups
        self._rank = max(2, layer.rank)
        self._cropped = any(map(any, crops))
        self.note = (
            f"computed with padding {pads} and cropped, as one padding holds for both ends" if self._cropped else ""
        )
        # One spatial axis is computed as two, the first of them one element long.
        unit = self._rank - layer.rank
        self._pads, self._extras = (0,) * unit + pads, (0,) * unit + extras
        self._strides = (1,) * unit + layer.stride
        crops = ((0, 0),) * unit + crops
        self._inside = (..., *(slice(lo, -hi or None) for lo, hi in crops))
        # The last axis comes first in what `pad` takes.
        self._outside = [amount for crop in reversed(crops) for amount in crop]
        unread = layer.input_shape(spec.batch) if spec.operation == "input" else layer.weight_shape
        self._unread_shape = (*unread[:2], *(1,) * unit, *unread[2:])
        last = torch.channels_last if self._rank == 2 else torch.channels_last_3d
        self._memory_format = torch.contiguous_format if data_format == "channels_first" else last
        self._unread: dict[Any, Any] = {}

    def __call__(self, first: Any, second: Any) -> Any:
        if self._operation == "forward":
            function = getattr(self._torch.nn.functional, f"conv_transpose{self._rank}d")
            return function(first, second, None, self._strides, self._pads, self._extras, self._groups)[self._inside]
        g = first if self._operation == "input" else second
        beside = self._shaped(g)
        x, w = (beside, second) if self._operation == "input" else (first, beside)
        # What autograd calls, told to make the one gradient alone.
        found = self._torch.ops.aten.convolution_backward(
            self._torch.nn.functional.pad(g, self._outside) if self._cropped else g,
            x,
            w,
            None,
            self._strides,
            self._pads,
            [1] * self._rank,
            True,
            self._extras,
            self._groups,
            [self._operation == "input", self._operation == "weight", False],
        )
        return found[0 if self._operation == "input" else 1]

    def _shaped(self, g: Any) -> Any:
        """Return an array like what the gradient is of: its numbers are not read, its shape and layout are."""
        samples = g.shape[0] if self._operation == "input" else self._unread_shape[0]
        key = samples, g.dtype
        if key not in self._unread:
            shape = (samples, *self._unread_shape[1:])
            self._unread[key] = self._torch.empty(
                shape, dtype=g.dtype, device=g.device, memory_format=self._memory_format
            )
        return self._unread[key]
