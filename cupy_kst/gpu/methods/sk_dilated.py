"""Launches of Sk-dilated (arXiv 2306.15951): one for every tap's product, one to add split sums."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ...dtypes import DType
from ...geometry import Geometry
from ..counts import Counts, tiled_counts, valid_macs, window_macs
from ..plan import NULL, Plan, Workspace, added, tiled
from ..registry import GpuMethod, register
from ..select import cost_model, tiles
from ..select.context import PlanContext
from ..select.cost_model import Product
from ..select.microkernel import MicroKernel, micro_kernels
from ..select.tiles import Defines, Tile

KERNELS = {
    "multiply_taps": ("small", "large", "partials", "weight"),
    "add_partials": ("partials", NULL, "weight"),
}


def builds(dtype: DType, channels_last: bool) -> Iterator[Defines]:
    """Yield the defines of every build."""
    for micro in micro_kernels(dtype, "tf32"):
        for tile in tiles.tiles(micro):
            for vector in sorted({1, _vector(tile, micro, channels_last, tiles.vector(dtype))}):
                yield tiles.defines(tile, micro, tiles.shared_bytes(tile, micro, False), vector)


def _vector(tile: Tile, micro: MicroKernel, channels_last: bool, vector: int) -> int:
    """Return the elements of a load along pixels: on tensor cores, of both maps alike, so in square tiles alone."""
    return vector if micro.tensor and channels_last else 1


def plan(geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches that compute `geometry`, and the split sums between them, if there are any."""
    rows, columns = (count // geometry.groups for count in (geometry.small_channels, geometry.large_channels))
    products = geometry.groups * prod(axis.kernel for axis in geometry.axes)
    product = Product(products, rows, columns, 1, geometry.samples * _most_positions(geometry))
    form = cost_model.form_for(context, product)
    vector = _vector(form.tile, form.micro, context.channels_last, tiles.vector(context.dtype, rows, columns))
    needed = tiles.shared_bytes(form.tile, form.micro, False)
    defines = tiles.defines(form.tile, form.micro, needed, vector)
    arrays = KERNELS["multiply_taps"] if form.splits > 1 else ("small", "large", NULL, "weight")
    asked = tiles.launch_bytes(needed)
    multiply = tiled(geometry, context.wide, "sk_dilated", "multiply_taps", arrays, product, form, defines, asked)
    if form.splits == 1:
        return Plan((multiply,), form=form)
    shape = geometry.full_weight_shape
    arrays = KERNELS["add_partials"]
    add = added(geometry, context.wide, "sk_dilated", arrays, shape, form.splits, False, defines)
    workspaces = {"partials": Workspace((form.splits, *shape), context.dtype.compute)}
    return Plan((multiply, add), workspaces, form)


def _most_positions(geometry: Geometry) -> int:
    """Return the positions of the small map where the tap that meets most of them does."""
    return prod(axis.most_met for axis in geometry.axes)


def counts(geometry: Geometry, dtype: DType) -> Counts:
    """Count the products of the taps that meet an input."""
    return tiled_counts(plan, geometry, dtype, window_macs(geometry), valid_macs(geometry))


register(GpuMethod("sk_dilated", KERNELS, 255, plan, counts, builds, frozenset()))
