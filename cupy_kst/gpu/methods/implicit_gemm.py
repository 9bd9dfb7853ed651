"""Plans of the methods that multiply a map by a packed filter: one launch packs it, one multiplies, one adds parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from ...dtypes import DType
from ...geometry import Geometry
from ..plan import NULL, Plan, Workspace, added, of_weight, tiled
from ..select import cost_model, tiles
from ..select.context import PlanContext
from ..select.cost_model import INTERLEAVES, Product
from ..select.form import Form
from ..select.microkernel import micro_kernels
from ..select.tiles import Defines


def builds(dtype: DType, channels_last: bool) -> Iterator[Defines]:
    """Yield the defines of every build, those that add parts included."""
    vectors = sorted({1, tiles.vector(dtype)})
    for micro in micro_kernels(dtype, "tf32"):
        along_pixels = vectors if micro.tensor and channels_last else [1]
        for tile, vector, vector_a, trimmed in product(tiles.tiles(micro), vectors, along_pixels, (False, True)):
            needed = tiles.shared_bytes(tile, micro, channels_last)
            yield _defines(Form(micro, tile, trimmed), needed, vector, vector_a)


def interleaved_builds(dtype: DType) -> Iterator[Defines]:
    """Yield the defines of every build that interleaves residue classes."""
    for micro in micro_kernels(dtype, "tf32"):
        for tile, classes, vector in product(tiles.tiles(micro), INTERLEAVES, sorted({1, tiles.vector(dtype)})):
            needed = tiles.interleaved_bytes(tile, micro, dtype, classes)
            yield _defines(Form(micro, tile, interleaved=True), needed, vector, 1, classes)


def _defines(form: Form, needed: int, vector: int, vector_a: int, classes: int = 0) -> Defines:
    more = {"INTERLEAVED": classes} if form.interleaved else {}
    return tiles.defines(form.tile, form.micro, needed, vector_a, VECTOR=vector, TRIMMED=int(form.trimmed), **more)


def plan(
    geometry: Geometry,
    context: PlanContext,
    stem: str,
    kernels: Mapping[str, tuple[str, ...]],
    products: Product,
    trimmed: bool,
) -> Plan:
    """Return the launches of a method whose kernels pack, multiply and add, in this order.

    Their rows are positions, or samples if they are `trimmed`; their columns are output channels, and a run of their
    depth the input channels, of one group.
    """
    form = cost_model.form_for(context, products, trimmed)
    along_pixels = tiles.vector(context.dtype, products.run) if form.micro.tensor and context.channels_last else 1
    needed = cost_model.block_bytes(context, products, form)
    classes = products.neighbours if form.interleaved else 0
    defines = _defines(form, needed, tiles.vector(context.dtype, products.columns), along_pixels, classes)
    launched = products.interleaved() if form.interleaved else products
    pack, multiply, add = kernels
    *read, partials, output = kernels[multiply]
    arrays = (*read, partials if form.splits > 1 else NULL, output)
    steps = [
        of_weight(geometry, context.wide, stem, pack, kernels[pack], defines),
        tiled(geometry, context.wide, stem, multiply, arrays, launched, form, defines, tiles.launch_bytes(needed)),
    ]
    workspaces = {"filters": Workspace(geometry.full_weight_shape)}
    if form.splits > 1:
        shape = geometry.full_large_shape if output == "large" else geometry.full_small_shape
        workspaces[partials] = Workspace((form.splits, *shape), context.dtype.compute)
        steps.append(
            added(geometry, context.wide, stem, kernels[add], shape, form.splits, context.channels_last, defines)
        )
    return Plan(tuple(steps), workspaces, form)


def trims(context: PlanContext, pays: bool) -> bool:
    """Return whether a plan is trimmed: where it pays, or as the form that is asked for says."""
    return pays if context.form is None else context.form.trimmed
