"""How an operation is compiled, and what its plan divides: what tests of all compiled forms need to know of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, NamedTuple

import pytest

from cupy_kst import Geometry
from cupy_kst.cpu import cost_model
from cupy_kst.cpu import jit as compiled
from cupy_kst.cpu.jit.winograd import blocking as tiling
from tests.support.skips import need_compiled

need_compiled()

from cupy_kst.cpu.jit import microkernel
from cupy_kst.cpu.jit import template as frames
from cupy_kst.cpu.jit.gemm_col2im import kernel as folding
from cupy_kst.cpu.jit.gemm_col2im import plan as fold_plan
from cupy_kst.cpu.jit.im2col_gemm import kernel as dense
from cupy_kst.cpu.jit.im2col_gemm import plan as dense_plan
from cupy_kst.cpu.jit.implicit_gemm import kernel as kernels
from cupy_kst.cpu.jit.implicit_gemm import plan
from cupy_kst.cpu.jit.task import ARGUMENTS
from cupy_kst.cpu.jit.weight_grad import kernel as correlation
from cupy_kst.cpu.jit.weight_grad import plan as gradients
from cupy_kst.cpu.jit.winograd import plan as minimal_plan

LANES = microkernel.vector_bytes() // 4

# Modules that plan calls, and that keep what they planned.
PLANNING: tuple[Any, ...] = (plan, frames, gradients, fold_plan, dense_plan, minimal_plan, tiling)

# What a part of a large layer has at most, so small that layers of a test have several.
_SMALL: tuple[tuple[Any, str, int], ...] = (
    (plan, "_BOX_POSITIONS", 24),
    (plan, "_BOX_SUMS", 200 * kernels.CHANNELS[1][1] * LANES),
    (gradients, "_SHARE_MACS", 1),
    (gradients, "_MOST_SUMMED", 150),
    (dense_plan, "_COLUMNS", 512 * LANES),
    (dense_plan, "_SUMS", 1536),
    (dense_plan, "_POSITIONS", 5 * LANES),
    (cost_model, "PART_BYTES", 2000),
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
    for module in PLANNING:
        for each in vars(module).values():
            if hasattr(each, "cache_clear"):
                each.cache_clear()


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
        return Geometry.conv_transpose(self.input, weight, *options, self.output_padding, self.groups, self.dilation)


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
    return {
        name: (int((table[:, i] + table[:, i + 4]).max()), int(table[:, i + 4].max())) for i, name in enumerate(axes)
    }


def of_plain(geometry: Geometry, rows: bool = False) -> dict[str, Division]:
    """Return what the plan of a product with packed weights divides, or of one whose rows are not packed."""
    kind = frames.choose(geometry, 4, rows)
    found = frames.plain(geometry, kind, "f", rows).plan
    numbers, shape = found.numbers, found.shape
    out_channels, blocks, parts, together = (int(numbers[i]) for i in (3, 7, 8, 12))
    deepest = int(found.classes[:, 3].max())
    most = {kernels.WIDE[0]: 3, kernels.FEW[0]: 4, kernels.ONE[0]: 8, kernels.CHANNELS[0]: kernels._MOST}[kind]
    return {
        **_boxes(found.boxes),
        "output channels": (out_channels, shape.block),
        "blocks among tasks": (blocks, parts),
        "blocks at once": (blocks // parts, together),
        "products": (deepest, kernels._DEPTH),
        "tiles": (int(found.boxes[:, 9].max()), most),
        "rows in vectors": (int(found.boxes[:, 7].max()), shape.lanes),
    }


def of_rows(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product with rows that are not packed divides."""
    return of_plain(geometry, rows=True)


def of_dense(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product with gathered columns divides."""
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


def of_fold(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product of all taps divides."""
    found = frames.folding(geometry, "f", 1).plan
    _, _, channels, out_channels, kernel, shares, few = (int(each) for each in found.numbers[:7])
    left, gap = (int(each) for each in found.numbers[13:15])
    rows = ceil(out_channels / shares) * kernel
    positions = left + int(fold_plan._positions(found.parts, gap).max())
    axes = {
        name: (int(found.parts[:, i + 1].max()), int((found.parts[:, i + 1] - found.parts[:, i]).max()))
        for name, i in (("depth", 0), ("height", 4), ("width", 8))
    }
    block = folding.ROW_VECTORS * LANES if few else folding.ROWS
    return {
        **axes,
        "input channels": (channels, folding.DEPTH),
        "output channels among tasks": (out_channels, shares),
        "rows packed at once": (rows, folding.WIDE_ROWS // block * block),
        "rows": (rows, block),
        "tiles": (positions, folding.POSITIONS) if few else (ceil(positions / LANES), folding.VECTORS),
        "positions in vectors": (positions, LANES),
    }


def of_minimal(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of minimal filtering divides."""
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


def of_correlation(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a weight's gradient divides."""
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


def of_few_correlation(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a weight's gradient of few channels divides."""
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


def run_packed(pack: Any) -> Callable[..., None]:
    """Return the product with weights that `pack` lays out."""

    def run(geometry: Geometry, input: Any, weight: Any, bias: Any, out: Any) -> None:
        operation = compiled.conv_transpose if geometry.transposed else compiled.conv
        operation(
            geometry, input, pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:])), bias, out
        )

    return run


def run_correlate(geometry: Geometry, small: Any, large: Any, bias: Any, out: Any) -> None:
    """Write the gradient of a weight."""
    compiled.correlate(geometry, small, large, out)


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
