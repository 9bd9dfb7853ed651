"""Every compiled form of every operation, layers that divide all that its plan can divide, and what plans divide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, prod
from typing import Any, NamedTuple

import pytest

from cupy_kst import Geometry
from cupy_kst.cpu import choice, compiled, tiling

from .skips import need_compiled

need_compiled()

from cupy_kst.cpu.compiled import (
    correlation,
    dense,
    dense_plan,
    few_correlation,
    fold_plan,
    folding,
    frames,
    gradients,
    kernels,
    microkernel,
    plan,
)
from cupy_kst.cpu.compiled.work import ARGUMENTS

LANES = microkernel.vector_bytes() // 4

_CACHES = (
    *(plan.plan, frames.plain, frames.minimal, frames.dense, frames.folding, frames.fills_few_lanes),
    *(gradients._correlation, fold_plan.fold_plan, dense_plan.dense_plan, tiling.space_of),
)
# What a part of a large layer has at most, so small that layers of a test have several.
_SMALL: tuple[tuple[Any, str, int], ...] = (
    (plan, "_BOX_POSITIONS", 24),
    (plan, "_BOX_SUMS", 200 * kernels.CHANNELS[1][1] * LANES),
    (gradients, "_SHARE_MACS", 1),
    (gradients, "_MOST_SUMMED", 150),
    (dense_plan, "_COLUMNS", 512 * LANES),
    (dense_plan, "_SUMS", 1536),
    (dense_plan, "_POSITIONS", 5 * LANES),
    (choice, "PART_BYTES", 2000),
    # Of 17 tiles of a 4x4 filter of stride 2, each of 36 sums.
    (tiling, "_SUMS_BYTES", 17 * 36 * 4 * kernels.CHANNELS[1][1] * LANES),
)


@contextmanager
def small_parts() -> Iterator[None]:
    """Plan as if caches were small."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in _SMALL:
            patch.setattr(module, name, value)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for cache in _CACHES:
        cache.cache_clear()


class Layer(NamedTuple):
    """A transposed convolution of an input of this shape, or for the other operations the convolution it transposes."""

    input: tuple[int, ...]
    outputs: int
    kernel: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    groups: int = 1
    dilation: Any = 1
    output_padding: Any = 0

    def geometry(self, op: str) -> Geometry:
        """Return the geometry of an operation whose small map is the input, or whose large one is for ``"conv"``."""
        options = (self.stride, self.padding)
        if op == "conv":
            weight = (self.outputs, self.input[1] // self.groups, *self.kernel)
            return Geometry.conv(self.input, weight, *options, self.dilation, self.groups)
        weight = (self.input[1], self.outputs // self.groups, *self.kernel)
        return Geometry.conv_transpose(
            self.input, weight, *options, self.output_padding, self.groups, self.dilation
        )


# A length, and the parts that it is divided into.
Division = tuple[int, int]


class Form(NamedTuple):
    """How one operation is compiled.

    `kind` is what `frames.choose` is made to say, `divides` names what its plan must divide into several parts that
    are not all of one size, and `divisions` returns what the plan of a geometry divides.
    """

    op: str
    layers: tuple[Layer, ...]
    divides: frozenset[str]
    divisions: Callable[[Geometry], dict[str, Division]]
    run: Callable[..., None]
    kind: int | None = None
    gathers: bool | None = None

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """See this form chosen, whatever pays."""
        with pytest.MonkeyPatch.context() as patch:
            if self.kind is not None:
                patch.setattr(frames, "choose", lambda geometry, itemsize, rows=False: self.kind)
            if self.gathers is not None:
                patch.setattr(frames, "fills_few_lanes", lambda geometry, itemsize: self.gathers)
            yield


def _boxes(table: Any) -> dict[str, Division]:
    axes = ("samples", "depth", "height", "width")
    return {name: (int((table[:, i] + table[:, i + 4]).max()), int(table[:, i + 4].max())) for i, name in enumerate(axes)}


def _of_plain(geometry: Geometry, rows: bool = False) -> dict[str, Division]:
    kind = frames.choose(geometry, 4, rows)
    found = frames.plain(geometry, kind, "f", rows).plan
    numbers, shape = found.numbers, found.shape
    out_channels, blocks, parts, together = (int(numbers[i]) for i in (3, 7, 8, 12))
    deepest = int(found.classes[:, 3].max())
    depth = kernels._ROWS_DEPTH if shape.positions_in_lanes else kernels._DEPTH
    most = {kernels.WIDE[0]: 3, kernels.FEW[0]: 4, kernels.ONE[0]: 8, kernels.CHANNELS[0]: kernels._MOST}[kind]
    return {
        **_boxes(found.boxes),
        "output channels": (out_channels, shape.block),
        "blocks among tasks": (blocks, parts),
        "blocks at once": (blocks // parts, together),
        "products": (deepest, depth),
        "tiles": (int(found.boxes[:, 9].max()), most),
        "rows in vectors": (int(found.boxes[:, 7].max()), shape.lanes),
    }


def _of_rows(geometry: Geometry) -> dict[str, Division]:
    return _of_plain(geometry, rows=True)


def _of_dense(geometry: Geometry) -> dict[str, Division]:
    numbers = [int(each) for each in frames.dense(geometry, "f", 1).plan.numbers]
    samples, _, channels, out_channels, _, kernel, outputs, together, shares, held = numbers[:10]
    return {
        "samples": (samples, together),
        "input channels": (channels, held),
        "output channels among tasks": (out_channels, shares),
        "output channels": (ceil(out_channels / shares), dense.ROWS),
        "products": (held * kernel, dense._DEPTH),
        "tiles": (ceil(together * outputs / LANES), dense.VECTORS),
        "positions in vectors": (together * outputs, LANES),
    }


def _of_fold(geometry: Geometry) -> dict[str, Division]:
    found = frames.folding(geometry, "f", 1).plan
    _, _, channels, out_channels, kernel, shares, few = (int(each) for each in found.numbers[:7])
    left, gap = (int(each) for each in found.numbers[13:15])
    rows = ceil(out_channels / shares) * kernel
    positions = max(left + fold_plan._positions(tuple(part), gap) for part in found.parts)
    axes = {
        name: (int(found.parts[:, i + 1].max()), int((found.parts[:, i + 1] - found.parts[:, i]).max()))
        for name, i in (("depth", 0), ("height", 4), ("width", 8))
    }
    block = folding.ROW_VECTORS * LANES if few else folding.ROWS
    return {
        **axes,
        "input channels": (channels, folding.DEPTH),
        "output channels among tasks": (out_channels, shares),
        "rows packed at once": (rows, folding.WIDE_ROWS),
        "rows": (rows, block),
        "tiles": (positions, folding.POSITIONS) if few else (ceil(positions / LANES), folding.VECTORS),
        "positions in vectors": (positions, LANES),
    }


def _of_minimal(geometry: Geometry) -> dict[str, Division]:
    found = frames.minimal(geometry, "f", 1).plan
    _, channels, out_channels, blocks, parts = (int(each) for each in found.numbers[:5])
    run = int(found.numbers[16])
    return {
        **_boxes(found.boxes),
        "output channels": (out_channels, found.shape.block),
        "blocks among tasks": (blocks, parts),
        "input channels": (channels, microkernel.DEPTH),
        "tiles": (int(found.boxes[:, 9].max()), kernels._MOST),
        "outputs in order": (int(found.boxes[:, 14].max()), run),
    }


def _of_correlation(geometry: Geometry) -> dict[str, Division]:
    found = gradients._correlation(geometry, "f")
    boxes, words = found.tables[0].boxes, found.record[ARGUMENTS:]
    width, stack, rows, columns, held, taps = (int(each) for each in words[12:18])
    blocks = ceil(rows / width)
    last = ceil((rows - (blocks - 1) * width) / LANES)
    at_once = (correlation.ONE, correlation.TWO, correlation.THREE, correlation.FOUR)
    return {
        **_boxes(boxes),
        "channels of the small map": (rows, width),
        "blocks among tasks": (blocks, stack),
        "channels of the large map": (columns, held),
        "boxes among tasks": (len(boxes), found.shares),
        "positions": (int(boxes[:, 9].max()), correlation.DEPTH),
        f"taps of {last} vectors": (held * taps, at_once[last - 1]),
    }


def _of_few_correlation(geometry: Geometry) -> dict[str, Division]:
    found = gradients._correlation(geometry, "f")
    boxes, words = found.tables[0].boxes, found.record[ARGUMENTS:]
    rows, columns, held, taps = (int(each) for each in words[12:16])
    return {
        **_boxes(boxes),
        "channels of the large map": (columns, held),
        "boxes among tasks": (len(boxes), found.shares),
        f"taps of {rows} channels": (held * taps, microkernel.TAPS),
        "rows in vectors": (int(boxes[:, 7].max()), LANES),
    }


def _run_packed(pack: Any) -> Callable[..., None]:
    def run(geometry: Geometry, input: Any, weight: Any, bias: Any, out: Any) -> None:
        operation = compiled.conv_transpose if geometry.transposed else compiled.conv
        operation(geometry, input, pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:])), bias, out)

    return run


def _run_correlate(geometry: Geometry, small: Any, large: Any, bias: Any, out: Any) -> None:
    compiled.correlate(geometry, small, large, out)


_plain, _minimal = _run_packed(compiled.pack), _run_packed(compiled.pack_minimal)

_AXES = frozenset({"samples", "depth", "height", "width"})
_BLOCKS = frozenset({"output channels", "blocks among tasks", "blocks at once"})
_SUMS = frozenset({"products", "tiles"})
_LONG, _WIDE, _CHANNELS = 9 * LANES + 5, kernels.WIDE[1][0], kernels.CHANNELS[1][1] * LANES


def _plain_layers(outputs: int, several: int, deep: int) -> tuple[Layer, ...]:
    """Return rows, images, a volume and samples that boxes divide, channels that blocks divide, and deep sums."""
    return (
        *(Layer((1, 3, _LONG), outputs, (5,), stride, 2) for stride in (1, 2, 3)),
        Layer((2, 3, _LONG + 1), outputs, (4,), 2, 1),
        Layer((1, 3, _LONG), 2 * outputs, (3,), 2, 1, 1 if outputs % 2 else 2, 1, 1),
        *(Layer((1, 3, 7, 10), outputs, (3, 3), stride, 1) for stride in (1, 2)),
        Layer((1, 2, 11, 11), outputs, (3, 2), (2, 3), 1, 1, (1, 2)),
        Layer((1, 2, 5, 2, 3), outputs, (3, 2, 2), 1, (1, 0, 0)),
        Layer((1, 2, 5, 4, 5), outputs, (3, 2, 2), 1, (1, 0, 0)),
        Layer((1, 2, 5, 4, 5), outputs, (3, 3, 3), 2, 1),
        Layer((5, 3, 7), outputs, (3,), 1, 1),
        Layer((5, 3, 13), outputs, (3,), 2, 1),
        Layer((1, deep, 4, 5), outputs, (5, 5), 1, 2),
        Layer((1, 2, 13, 19), several, (3, 3), 1, 1),
        Layer((2, 2, 13, 19), several, (3, 3), 1, 1),
    )


# With few output channels boxes are larger.
_LONGER = (Layer((1, 1, 27 * 16 * LANES + 5), 1, (4,), 2, 1), Layer((1, 1, 27 * 16 * LANES + 5), 1, (3,), 1, 1))


def _plain_form(op: str, kind: int, outputs: int, several: int, deep: int, divides: frozenset[str]) -> Form:
    layers = _plain_layers(outputs, several, deep) + (_LONGER if kind in (kernels.FEW[0], kernels.ONE[0]) else ())
    return Form(op, layers, divides, _of_plain, _plain, kind)


FORMS: dict[str, Form] = {}
for _op in ("conv_transpose", "conv"):
    FORMS |= {
        f"{_op}, wide": _plain_form(
            _op, kernels.WIDE[0], 2 * _WIDE + 3, 7 * _WIDE - 1, 11, _AXES | _BLOCKS | _SUMS | {"rows in vectors"}
        ),
        f"{_op}, few": _plain_form(_op, kernels.FEW[0], 3, 4, 11, _AXES | _SUMS | {"rows in vectors"}),
        f"{_op}, one": _plain_form(_op, kernels.ONE[0], 1, 1, 11, _AXES | _SUMS | {"rows in vectors"}),
        f"{_op}, channels": _plain_form(
            _op,
            kernels.CHANNELS[0],
            _CHANNELS + 3,
            3 * _CHANNELS - 1,
            21,
            (_AXES | _SUMS | _BLOCKS) - {"blocks at once"},
        ),
    }
_MINIMAL = (
    Layer((5, 3, 4, 4), 9, (4, 4), 2, 1),
    Layer((1, 3, 4, 4), 3 * _CHANNELS - 1, (4, 4), 2, 1),
    Layer((5, 3, 19, 21), _CHANNELS + 3, (4, 4), 2, 1),
    Layer((1, 3, 43, 41), 9, (4, 4), 2, 1),
    Layer((1, 3, 4, 323), 9, (4, 4), 2, 1),
    Layer((1, 2, 23, 12, 13), 9, (4, 4, 4), 2, 1),
    Layer((2, 7, 9, 25), 9, (5, 3), 2, (2, 1)),
    Layer((1, 3, 5, 4, 5), 9, (4, 4, 4), 2, 1),
    Layer((1, 3, 15 * LANES + 1), 9, (6,), 3, 1),
    Layer((1, 600, 4, 5), 9, (4, 4), 2, 1),
    Layer((2, 6, 9, 9), 8, (3, 3), 1, 1, 2),
)
FORMS |= {
    f"{op}, minimal": Form(op, _MINIMAL, _AXES | {"output channels", "blocks among tasks", "input channels", "tiles",
                           "outputs in order"}, _of_minimal, _minimal)
    for op in ("conv_transpose", "conv")
}  # fmt: skip
FORMS |= {
    "conv, wide rows": Form("conv", _plain_layers(2 * _WIDE + 3, 7 * _WIDE - 1, 11), _AXES | _BLOCKS | _SUMS | {"rows in vectors"},
                            _of_rows, compiled.conv_rows, kernels.WIDE[0], False),
    "conv, few rows": Form("conv", _plain_layers(3, 4, 11) + _LONGER, _AXES | _SUMS | {"rows in vectors"},
                           _of_rows, compiled.conv_rows, kernels.FEW[0], False),
    "conv, one row": Form("conv", _plain_layers(1, 1, 11) + _LONGER, _AXES | _SUMS | {"rows in vectors"},
                          _of_rows, compiled.conv_rows, kernels.ONE[0], False),
    "conv, dense": Form("conv", (
        Layer((5, 3, 4, 5), 9, (3, 3), 1, 1), Layer((3, 7, 6, 6), 83, (3, 3), 1, 1), Layer((1, 29, 3, 3), 9, (5, 5), 1, 1),
        Layer((7, 4, 9), 12, (3,), 2, 1, 2), Layer((1, 3, 5, 5), 9, (3, 3)), Layer((2, 3, 3, 4, 3), 10, (2, 3, 3), 1, 1),
    ), frozenset({"samples", "input channels", "output channels among tasks", "output channels", "products", "tiles",
                  "positions in vectors"}), _of_dense, compiled.conv_rows, None, True),
    "conv_transpose, fold": Form("conv_transpose", (
        Layer((1, 300, 9, 9), 21, (5, 5), 2, 2), Layer((1, 140, 3, 7), 47, (4, 4), 2, 1), Layer((1, 130, 7 * LANES + 3), 5, (4,), 2, 1),
        Layer((1, 5, 13 * LANES + 1), 5, (3,), 3, 1), Layer((1, 5, 17, 33), 7, (3, 3), 1, 1),
        Layer((2, 6, 11, 21), 6, (3, 4), (3, 2), 1, 2), Layer((1, 5, 11, 4, 5), 7, (3, 2, 3), 2, 1),
        Layer((1, 3, 17, 33), 91, (3, 3), 2, 1, 1, 1, 1),
    ), frozenset({"depth", "height", "width", "input channels", "output channels among tasks", "rows packed at once", "rows",
                  "tiles", "positions in vectors"}), _of_fold, compiled.fold),
    "conv_transpose, fold of few positions": Form("conv_transpose", (
        Layer((1, 300, 1, 13 if LANES > 13 else LANES), 28 * LANES + 3, (3, 4), 2, 1), Layer((2, 150, 3, LANES // 4), 8 * LANES + 6, (4, 4), 2, 1, 2),
        Layer((1, 3, 1, 1), 8 * LANES + 1, (4, 4), 2, 1),
    ), frozenset({"input channels", "output channels among tasks", "rows packed at once", "rows",
                  *(("tiles",) if LANES > folding.POSITIONS else ())}), _of_fold, compiled.fold),
    "conv_weight, blocks": Form("conv_weight", (
        Layer((1, 9 * LANES + 3, 9, 9), 7, (3, 3), 2, 1), Layer((5, _CHANNELS + 2 * LANES + 1, 5, 7), 45, (5, 5), 1, 2),
        Layer((1, 3 * _CHANNELS - 1, 6, 4 * LANES - 2), 5, (1, 3), (1, 2), 1), Layer((1, LANES - 1, 2405), 3, (3,), 1, 1),
        Layer((3, LANES + 3, 5, 11, 13), 4, (2, 3, 3), 2, 1, 1), Layer((7, 2 * LANES + 2, 9, 9), 6, (3, 3), 2, 1, 2),
        Layer((1, 3 * LANES - 1, 9, 9), 3, (3, 3), 2, 1), Layer((5, LANES, 3, 3), 3, (3, 3), 1, 1),
        Layer((1, LANES, 5, 2, 3), 3, (3, 2, 3), 1, 1), Layer((1, 4 * LANES - 3, 9, 9), 3, (3, 3), 2, 1),
    ), _AXES | {"channels of the small map", "blocks among tasks", "channels of the large map", "boxes among tasks",
                "positions", *(f"taps of {n} vectors" for n in range(1, kernels.CHANNELS[1][1] + 1))},
        _of_correlation, _run_correlate),
    "conv_weight, few channels": Form("conv_weight", (
        Layer((5, 1, 9, 21), 67, (5, 5), 1, 2), Layer((1, 2, 700), 5, (3,), 2, 1), Layer((3, 3, 5, 11, 13), 4, (2, 3, 3), 2, 1),
        Layer((7, 6, 19, 37), 4, (3, 3), 2, 1, 2), Layer((7, 3, 9, 9), 5, (3, 3), 1, 1), Layer((1, 2, 45, 19), 3, (3, 3), 2, 1),
        Layer((5, 2, 3, 3), 3, (3, 3), 1, 1), Layer((1, 2, 5, 2, 3), 3, (3, 2, 3), 1, 1),
    ), _AXES | {"channels of the large map", "boxes among tasks", "rows in vectors",
                *(f"taps of {n} channels" for n in (1, 2, 3))},
        _of_few_correlation, _run_correlate),
}  # fmt: skip


def met(form: Form) -> set[str]:
    """Return what the plans of a form's layers divide into several parts that are not all of one size."""
    found: set[str] = set()
    with form.chosen(), small_parts():
        for layer in form.layers:
            for name, (length, part) in form.divisions(layer.geometry(form.op)).items():
                # Of tasks the number is given, of others the size.
                if 1 < part < length and length % part:
                    found.add(name)
    return found
