"""The ways in which the GPU benchmark carries out an operation: ours, and PyTorch's (cuDNN) in both layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cupy_kst
from cupy_kst import grad
from cupy_kst.labels import DataFormat, shape_in_format
from experiments.gpu_arrays import READS, WRITES, Arrays, as_torch
from experiments.gpu_machine import Graph, Machine
from experiments.gpu_parts import FORMATS, Kind, Task
from experiments.peers.backends import PREPARED, UNPREPARED
from experiments.peers.pytorch import symmetric
from experiments.workloads.operations import BASELINES, OP

# How a side is told from others of its name in another layout.
SHORT: dict[DataFormat, str] = {"channels_first": "first", "channels_last": "last"}
TORCH = "torch"


@dataclass(frozen=True)
class Side:
    """One way to carry out an operation.

    Attributes
    ----------
    role : str
        "auto", "prepared", the name of our baseline method, or "torch".
    data_format : str
        Layout of the maps.
    call : callable
        Call with a number: reads that copy of the arrays and writes into memory that its graph may keep.
    eager : callable
        The same as users call it, which allocates what it returns.
    result : callable
        Returns what the last ``call(0)`` wrote, as PyTorch orders it.
    capture : callable
        Makes a graph of calls with the numbers that a function gives.
    poison : callable
        Makes what ``call(0)`` writes NaN.
    explained : str
        Of ours, method and form.
    note : str
        What differs from the operation.
    """

    role: str
    data_format: DataFormat
    call: Callable[[int], object]
    eager: Callable[[int], object]
    result: Callable[[], Any]
    capture: Callable[[Callable[[int], int], int], Graph]
    poison: Callable[[], object] = lambda: None
    explained: str = ""
    note: str = ""


def sides(
    machine: Machine, task: Task, arrays: Arrays, method: str = "auto"
) -> Iterator[tuple[str, Callable[[], Side]]]:
    """Yield the names of a row's sides and what makes each; `method` is that of ours where the operation has it."""
    yield from own(machine, task, arrays, method)
    for data_format in FORMATS:
        yield _name(TORCH, data_format), partial(_torch, machine, task, arrays, data_format)


def own(machine: Machine, task: Task, arrays: Arrays, method: str) -> Iterator[tuple[str, Callable[[], Side]]]:
    """Yield those of ours."""
    if method not in cupy_kst.methods(OP[task.operation]):
        method = "auto"
    for data_format in task.formats:
        where = (machine, task, arrays, data_format)
        yield _name(UNPREPARED, data_format), partial(_unprepared, *where, method, UNPREPARED)
        if task.operation != "weight":
            yield _name(PREPARED, data_format), partial(_prepared, *where, method, PREPARED)
    if task.has_baseline:
        yield _name(BASELINES[task.operation], task.kind.natural), partial(_baseline, machine, task, arrays)


def _name(role: str, data_format: DataFormat) -> str:
    return f"{role} {SHORT[data_format]}"


def _baseline(machine: Machine, task: Task, arrays: Arrays) -> Side:
    """Return the side that multiplies by zeros, where it can in the tiles and by the micro-kernel of KS-deconv."""
    baseline, natural = BASELINES[task.operation], task.kind.natural
    if baseline != "zero_insertion":
        return _unprepared(machine, task, arrays, natural, baseline, baseline)
    explained = cupy_kst.explain(
        shape_in_format(task.layer.input_shape(task.batch), task.layer.rank, natural),
        task.layer.weight_shape,
        method="ks_deconv",
        dtype=task.kind.dtype,
        data_format=natural,
        precision=task.kind.precision,
        **task.layer.options,
    )
    # A map with zeros is not trimmed, and has no classes to interleave.
    form = _taken(explained).partition("/")[2].replace("/trimmed", "").removesuffix("/interleaved")
    return _prepared(machine, task, arrays, natural, baseline, baseline, form)


def _options(task: Task) -> dict[str, Any]:
    options = task.layer.options
    if task.operation != "forward":
        # The sizes of a gradient's arrays say what the output padding was.
        del options["output_padding"]
    return options


def _unprepared(machine: Machine, task: Task, arrays: Arrays, data_format: DataFormat, method: str, role: str) -> Side:
    reads = [list(map(machine.view, arrays.read(name, data_format))) for name in READS[task.operation]]
    written = arrays.written(data_format)
    outs = list(map(machine.view, written))
    how = {"method": method, "data_format": data_format, "precision": task.kind.precision, **_options(task)}
    function = f"conv_transpose{task.layer.rank}d"
    if task.operation == "forward":
        compute = getattr(cupy_kst, function)
    elif task.operation == "input":
        of_input, size = getattr(grad, f"{function}_input"), arrays.shape("input", data_format)

        def compute(g: Any, w: Any, **more: Any) -> Any:
            return of_input(size, w, g, **more)
    else:
        of_weight, size = getattr(grad, f"{function}_weight"), arrays.shape("weight", data_format)

        def compute(x: Any, g: Any, **more: Any) -> Any:
            return of_weight(x, size, g, **more)

    def call(number: int) -> Any:
        return compute(reads[0][number], reads[1][number], out=outs[number], **how)

    def eager(number: int) -> Any:
        return compute(reads[0][number], reads[1][number], **how)

    explained = cupy_kst.explain(
        shape_in_format(task.layer.input_shape(task.batch), task.layer.rank, data_format),
        task.layer.weight_shape,
        op=OP[task.operation],
        dtype=task.kind.dtype,
        **{**task.layer.options, **how},
    )
    return _ours(machine, task, role, data_format, call, eager, written, explained)


def _prepared(
    machine: Machine,
    task: Task,
    arrays: Arrays,
    data_format: DataFormat,
    method: str,
    role: str,
    form: str | None = None,
) -> Side:
    first, _ = READS[task.operation]
    maps = list(map(machine.view, arrays.read(first, data_format)))
    written = arrays.written(data_format)
    outs = list(map(machine.view, written))
    # One for each copy, so that packed weights rotate too.
    ready = [
        cupy_kst.prepare(
            machine.view(weight),
            op=OP[task.operation],
            method=method,
            form=form,
            data_format=data_format,
            precision=task.kind.precision,
            **task.layer.options,
        )
        for weight in arrays.read("weight", data_format)
    ]

    def call(number: int) -> Any:
        return ready[number](maps[number], out=outs[number])

    def eager(number: int) -> Any:
        return ready[number](maps[number])

    explained = ready[0].explain(maps[0].shape)
    return _ours(machine, task, role, data_format, call, eager, written, explained)


def _ours(
    machine: Machine,
    task: Task,
    role: str,
    data_format: DataFormat,
    call: Callable[[int], Any],
    eager: Callable[[int], Any],
    written: list[Any],
    explained: str,
) -> Side:
    layout = "channels_first" if WRITES[task.operation] == "weight" else data_format
    return Side(
        role,
        data_format,
        call,
        eager,
        lambda: as_torch(written[0], layout),
        lambda of, calls: machine.capture(lambda number: call(of(number)), calls),
        lambda: written[0].fill_(float("nan")),
        _taken(explained),
    )


def _taken(explained: str) -> str:
    """Return method and form out of what `explain` says of the GPU."""
    for line in explained.splitlines():
        if line.startswith("CUDA"):
            return line.partition(": ")[2].partition(",")[0]
    return ""


def _torch(machine: Machine, task: Task, arrays: Arrays, data_format: DataFormat) -> Side:
    """Return PyTorch's side; see `experiments.peers.pytorch` on what it crops."""
    reads = [arrays.read_by_torch(name, data_format) for name in READS[task.operation]]
    operation = TorchOperation(machine.torch, task, data_format)

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

    return Side(TORCH, data_format, call, eager, lambda: outputs[0], capture, note=operation.note)


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

    def __init__(self, torch: Any, task: Task, data_format: DataFormat) -> None:
        layer = task.layer
        pads, extras, crops = zip(*map(symmetric, layer.padding, layer.output_padding, layer.stride), strict=True)
        self._torch, self._operation, self._groups = torch, task.operation, layer.groups
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
        unread = layer.input_shape(task.batch) if task.operation == "input" else layer.weight_shape
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


def reference(machine: Machine, task: Task, arrays: Arrays, samples: list[int]) -> Iterator[tuple[slice, Any]]:
    """Yield the result in float64 by PyTorch's own products, a sample at a time: where it belongs, and the part.

    The gradient of a weight is a sum over all samples, so that all of them are computed.
    """
    operation = TorchOperation(machine.torch, task, "channels_first")
    first, second = (arrays.read_by_torch(name, "channels_first")[0] for name in READS[task.operation])
    with machine.without_cudnn():
        if task.operation == "weight":
            total: Any = 0
            for sample in range(task.batch):
                one = slice(sample, sample + 1)
                total = total + operation(first[one].double(), second[one].double())
            yield slice(None), total
            return
        for sample in samples:
            one = slice(sample, sample + 1)
            yield one, operation(first[one].double(), second.double())


def tolerance(kind: Kind, terms: int, scale: float) -> float:
    """Return a bound of what rounding alone explains: that of every term, all as large as can be, and of storing."""
    eps32 = 2.0**-23
    return terms * (eps32 + kind.rounding) + kind.storage_rounding * scale
