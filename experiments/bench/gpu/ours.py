"""This library's backends on a GPU: unprepared, prepared, and the baseline method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cupy_kst
from cupy_kst import grad
from cupy_kst.labels import DataFormat, shape_in_format
from experiments.bench.gpu.arrays import READS, WRITES, Arrays, as_torch
from experiments.bench.gpu.backend import Backend, name_of
from experiments.bench.gpu.machine import Machine
from experiments.bench.gpu.parts import RowSpec
from experiments.peers.backends import PREPARED, UNPREPARED
from experiments.workloads.operations import BASELINES, OP


def own(machine: Machine, spec: RowSpec, arrays: Arrays, method: str) -> Iterator[tuple[str, Callable[[], Backend]]]:
    """Yield those of ours."""
    if method not in cupy_kst.methods(OP[spec.operation]):
        method = "auto"
    for data_format in spec.formats:
        where = (machine, spec, arrays, data_format)
        yield name_of(UNPREPARED, data_format), partial(_unprepared, *where, method, UNPREPARED)
        if spec.operation != "weight":
            yield name_of(PREPARED, data_format), partial(_prepared, *where, method, PREPARED)
    if spec.has_baseline:
        yield name_of(BASELINES[spec.operation], spec.kind.natural), partial(_baseline, machine, spec, arrays)


def _baseline(machine: Machine, spec: RowSpec, arrays: Arrays) -> Backend:
    """Return the backend that multiplies by zeros, where it can in the tiles and by the micro-kernel of KS-deconv."""
    baseline, natural = BASELINES[spec.operation], spec.kind.natural
    if baseline != "zero_insertion":
        return _unprepared(machine, spec, arrays, natural, baseline, baseline)
    explained = cupy_kst.explain(
        shape_in_format(spec.layer.input_shape(spec.batch), spec.layer.rank, natural),
        spec.layer.weight_shape,
        method="ks_deconv",
        dtype=spec.kind.dtype,
        data_format=natural,
        precision=spec.kind.precision,
        **spec.layer.options,
    )
    # A map with zeros is not trimmed, and has no classes to interleave.
    form = _taken(explained).partition("/")[2].replace("/trimmed", "").removesuffix("/interleaved")
    return _prepared(machine, spec, arrays, natural, baseline, baseline, form)


def _options(spec: RowSpec) -> dict[str, Any]:
    options = spec.layer.options
    if spec.operation != "forward":
        # The sizes of a gradient's arrays say what the output padding was.
        del options["output_padding"]
    return options


def _unprepared(
    machine: Machine, spec: RowSpec, arrays: Arrays, data_format: DataFormat, method: str, role: str
) -> Backend:
    reads = [list(map(machine.view, arrays.read(name, data_format))) for name in READS[spec.operation]]
    written = arrays.written(data_format)
    outs = list(map(machine.view, written))
    how = {"method": method, "data_format": data_format, "precision": spec.kind.precision, **_options(spec)}
    function = f"conv_transpose{spec.layer.rank}d"
    if spec.operation == "forward":
        compute = getattr(cupy_kst, function)
    elif spec.operation == "input":
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
        shape_in_format(spec.layer.input_shape(spec.batch), spec.layer.rank, data_format),
        spec.layer.weight_shape,
        op=OP[spec.operation],
        dtype=spec.kind.dtype,
        **{**spec.layer.options, **how},
    )
    return _ours(machine, spec, role, data_format, call, eager, written, explained)


def _prepared(
    machine: Machine,
    spec: RowSpec,
    arrays: Arrays,
    data_format: DataFormat,
    method: str,
    role: str,
    form: str | None = None,
) -> Backend:
    first, _ = READS[spec.operation]
    maps = list(map(machine.view, arrays.read(first, data_format)))
    written = arrays.written(data_format)
    outs = list(map(machine.view, written))
    # One for each copy, so that packed weights rotate too.
    ready = [
        cupy_kst.prepare(
            machine.view(weight),
            op=OP[spec.operation],
            method=method,
            form=form,
            data_format=data_format,
            precision=spec.kind.precision,
            **spec.layer.options,
        )
        for weight in arrays.read("weight", data_format)
    ]

    def call(number: int) -> Any:
        return ready[number](maps[number], out=outs[number])

    def eager(number: int) -> Any:
        return ready[number](maps[number])

    explained = ready[0].explain(maps[0].shape)
    return _ours(machine, spec, role, data_format, call, eager, written, explained)


def _ours(
    machine: Machine,
    spec: RowSpec,
    role: str,
    data_format: DataFormat,
    call: Callable[[int], Any],
    eager: Callable[[int], Any],
    written: list[Any],
    explained: str,
) -> Backend:
    layout = "channels_first" if WRITES[spec.operation] == "weight" else data_format
    return Backend(
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
