"""How an operation is compiled, and what its plan divides: what tests of all compiled forms need to know of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, NamedTuple

import pytest

from cupy_kst import Geometry
from tests.support.skips import need_compiled

need_compiled()

from cupy_kst.cpu.jit import engine, isa, template
from cupy_kst.cpu.jit.gemm_col2im import plan as col2im_plan
from cupy_kst.cpu.jit.im2col_gemm import plan as im2col_plan
from cupy_kst.cpu.jit.implicit_gemm import plan
from cupy_kst.cpu.jit.weight_grad import call as weight_grad
from cupy_kst.cpu.jit.weight_grad import plan as weight_grad_plan
from cupy_kst.cpu.jit.winograd import blocking
from cupy_kst.cpu.jit.winograd import plan as winograd_plan

LANES = isa.lanes_of(4)
# MR and the vectors of NR, by how the registers are filled.
TILES = isa.blocking().tiles

# Modules that plan calls, and that keep what they planned.
PLANNING: tuple[Any, ...] = (
    *(plan, template, weight_grad, weight_grad_plan, col2im_plan, im2col_plan, winograd_plan, blocking),
)

# What a part of a large layer has at most, so small that layers of a test have several.
_SMALL: tuple[tuple[Any, str, int], ...] = (
    (isa, "BOX_POSITIONS", 24),
    (isa, "BOX_SUMS", 200 * TILES[isa.CHANNELS][1] * LANES),
    (weight_grad_plan, "_SHARE_MACS", 1),
    (isa, "GRADIENT_MOST_POSITIONS", 150),
    (isa, "IM2COL_COLUMNS", 512 * LANES),
    (isa, "IM2COL_SUMS", 1536),
    (isa, "IM2COL_POSITIONS", 5 * LANES),
    (isa, "COL2IM_INPUT_BYTES", 2000),
    # Of 17 tiles of a 4x4 filter of stride 2, each of 36 sums.
    (isa, "WINOGRAD_SUM_BYTES", 17 * 36 * 4 * TILES[isa.CHANNELS][1] * LANES),
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

    `filling` is what `template.choose_filling` is made to say, `divides` names what its plan must divide into several
    parts that are not all of one size, and `divisions` returns what the plan of a geometry divides.
    """

    op: str
    layers: tuple[Layer, ...]
    divides: frozenset[str]
    divisions: Callable[[Geometry], dict[str, Division]]
    run: Callable[..., None]
    filling: int | None = None
    gathers: bool | None = None

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """See this form chosen, whatever pays."""
        with pytest.MonkeyPatch.context() as patch:
            if self.filling is not None:
                patch.setattr(template, "choose_filling", lambda geometry, itemsize, rows=False: self.filling)
            if self.gathers is not None:
                patch.setattr(template, "fills_few_lanes", lambda geometry, itemsize: self.gathers)
            yield


def _boxes(boxes: Any) -> dict[str, Division]:
    return {
        name: (int((boxes[f"first_{first}"] + boxes[name]).max()), int(boxes[name].max()))
        for name, first in (("samples", "sample"), ("depth", "depth"), ("height", "height"), ("width", "width"))
    }


def of_implicit_gemm(geometry: Geometry, rows: bool = False) -> dict[str, Division]:
    """Return what the plan of a product with packed weights divides, or of one whose rows are not packed."""
    filling = template.choose_filling(geometry, 4, rows)
    found = template.implicit_gemm(geometry, filling, "f", rows).plan
    numbers, boxes = found.numbers, found.tables["boxes"]
    blocks, parts = numbers["blocks"], numbers["parts"]
    mr, vectors = TILES[filling]
    return {
        **_boxes(boxes),
        "output channels": (numbers["out_channels"], found.tile.block),
        "blocks among tasks": (blocks, parts),
        "blocks at once": (blocks // parts, numbers["batch"]),
        "products": (int(found.tables["classes"]["products"].max()), isa.KC),
        "tiles": (int(boxes["places"].max()), mr if filling == isa.CHANNELS else vectors),
        "rows in vectors": (int(boxes["width"].max()), found.tile.lanes),
    }


def of_rows(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product with rows that are not packed divides."""
    return of_implicit_gemm(geometry, rows=True)


def of_im2col(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product with gathered columns divides."""
    numbers = template.im2col_gemm(geometry, "f", 1).plan.numbers
    positions, parts = numbers["batch"] * numbers["outputs"], numbers["parts"]
    mr, vectors = TILES[isa.WIDE]
    return {
        "samples": (numbers["samples"], numbers["batch"]),
        "input channels": (numbers["channels"], numbers["channels_at_once"]),
        "output channels among tasks": (numbers["out_channels"], parts),
        "output channels": (ceil(numbers["out_channels"] / parts), mr),
        "products": (numbers["channels_at_once"] * numbers["kernel"], isa.ROWS_KC),
        "tiles": (ceil(positions / LANES), vectors),
        "positions in vectors": (positions, LANES),
    }


def of_col2im(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a product of all taps divides."""
    found = template.gemm_col2im(geometry, "f", 1).plan
    numbers, parts = found.numbers, found.tables["parts"]
    rows = ceil(numbers["out_channels"] / numbers["shares"]) * numbers["kernel"]
    positions = numbers["left"] + int(col2im_plan._positions(parts, numbers["gap"]).max())
    axes = {
        name: (int(part["end_output"].max()), int((part["end_output"] - part["first_output"]).max()))
        for name, part in ((name, parts[name]) for name in ("depth", "height", "width"))
    }
    (mr, vectors), (few_mr, few_vectors) = TILES[isa.WIDE], TILES[isa.CHANNELS]
    block = few_vectors * LANES if numbers["few"] else mr
    return {
        **axes,
        "input channels": (numbers["channels"], isa.ROWS_KC),
        "output channels among tasks": (numbers["out_channels"], numbers["shares"]),
        "rows packed at once": (rows, isa.ROWS_NC // block * block),
        "rows": (rows, block),
        "tiles": (positions, few_mr) if numbers["few"] else (ceil(positions / LANES), vectors),
        "positions in vectors": (positions, LANES),
    }


def of_winograd(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of minimal filtering divides."""
    found = template.winograd(geometry, "f", 1).plan
    numbers, boxes = found.numbers, found.tables["boxes"]
    return {
        **_boxes(boxes),
        "output channels": (numbers["out_channels"], found.tile.block),
        "blocks among tasks": (numbers["blocks"], numbers["parts"]),
        "input channels": (numbers["channels"], isa.KC),
        "tiles": (int(boxes["places"].max()), TILES[isa.CHANNELS][0]),
        "outputs in order": (int(boxes["contiguous"].max()), numbers["run"]),
    }


def of_weight_grad(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a weight's gradient divides."""
    found = weight_grad_plan.division(geometry, 4)
    boxes, numbers = found.plan.tables["boxes"], found.numbers
    width, rows = numbers["block"], numbers["small_channels"]
    blocks = ceil(rows / width)
    last = ceil((rows - (blocks - 1) * width) / LANES)
    return {
        **_boxes(boxes),
        "channels of the small map": (rows, width),
        "blocks among tasks": (blocks, numbers["stack"]),
        "channels of the large map": (numbers["large_channels"], numbers["cached"]),
        "boxes among tasks": (len(boxes), found.shares),
        "positions": (int(boxes["places"].max()), isa.GRADIENT_KC),
        f"taps of {last} vectors": (numbers["cached"] * numbers["taps"], isa.blocking().summed[last - 1]),
    }


def of_few_channels(geometry: Geometry) -> dict[str, Division]:
    """Return what the plan of a weight's gradient of few channels divides."""
    found = weight_grad_plan.division(geometry, 4)
    boxes, numbers = found.plan.tables["boxes"], found.numbers
    return {
        **_boxes(boxes),
        "channels of the large map": (numbers["large_channels"], numbers["cached"]),
        "boxes among tasks": (len(boxes), found.shares),
        f"taps of {numbers['small_channels']} channels": (numbers["cached"] * numbers["taps"], isa.DOT_TAPS),
        "rows in vectors": (int(boxes["width"].max()), LANES),
    }


def run_packed(pack: Any) -> Callable[..., None]:
    """Return the product with weights that `pack` lays out."""

    def run(geometry: Geometry, input: Any, weight: Any, bias: Any, out: Any) -> None:
        operation = engine.conv_transpose if geometry.transposed else engine.conv
        operation(
            geometry, input, pack(weight.reshape(geometry.groups, -1, *geometry.full_weight_shape[1:])), bias, out
        )

    return run


def run_correlate(geometry: Geometry, small: Any, large: Any, bias: Any, out: Any) -> None:
    """Write the gradient of a weight."""
    weight_grad.correlate(geometry, small, large, out)


def met(form: Form) -> set[str]:
    """Return what the plans of a form's layers divide into several parts that are not all of one size."""
    found: set[str] = set()
    with form.chosen(), small_parts():
        for layer in form.layers:
            for name, (length, part) in form.divisions(layer.geometry(form.op)).items():
                # A division into tasks gives their number, others the size of a part.
                if 1 < part < length and length % part:
                    found.add(name)
    return found
