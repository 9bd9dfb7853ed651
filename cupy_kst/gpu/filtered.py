"""Plans of the methods that multiply a map by a packed filter: one launch packs it, one multiplies, one adds parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from ..dtypes import DType
from ..geometry import Geometry
from . import choice, tiles
from .choice import Product
from .micro import Micro, micros
from .plan import NULL, Plan, Workspace, added, of_weight, tiled
from .target import Target
from .tiles import Defines, Tile


def forms(dtype: DType, channels_last: bool) -> Iterator[Defines]:
    """Yield the defines of every build, those that add parts included."""
    vectors = sorted({1, tiles.vector(dtype)})
    for micro in micros(dtype, "tf32"):
        along_pixels = vectors if micro.tensor and channels_last else [1]
        for tile, vector, vector_a, trimmed in product(tiles.tiles(micro), vectors, along_pixels, (False, True)):
            yield _defines(tile, micro, channels_last, vector, vector_a, trimmed)


def _defines(tile: Tile, micro: Micro, channels_last: bool, vector: int, vector_a: int, trimmed: bool) -> Defines:
    along_pixels = vector_a if micro.tensor and channels_last else 1
    return tiles.defines(tile, micro, channels_last, along_pixels, VECTOR=vector, TRIMMED=int(trimmed))


def plan(
    geometry: Geometry,
    target: Target,
    stem: str,
    kernels: Mapping[str, tuple[str, ...]],
    products: Product,
    trimmed: bool,
) -> Plan:
    """Return the launches of a method whose kernels pack, multiply and add, in this order.

    Their rows are positions, or samples if they are `trimmed`; their columns are output channels, and a run of their
    depth the input channels, of one group.
    """
    form = choice.form_for(target, products, trimmed)
    micro, tile = form.micro, form.tile
    vectors = tiles.vector(target.dtype, products.columns), tiles.vector(target.dtype, products.run)
    defines = _defines(tile, micro, target.channels_last, *vectors, form.trimmed)
    pack, multiply, add = kernels
    asked = tiles.launch_bytes(tile, micro, target.channels_last)
    *read, partials, output = kernels[multiply]
    arrays = (*read, partials if form.splits > 1 else NULL, output)
    steps = [
        of_weight(geometry, target.wide, stem, pack, kernels[pack], defines),
        tiled(geometry, target.wide, stem, multiply, arrays, products, form, defines, asked),
    ]
    workspaces = {"filters": Workspace(geometry.full_weight_shape)}
    if form.splits > 1:
        shape = geometry.full_large_shape if output == "large" else geometry.full_small_shape
        workspaces[partials] = Workspace((form.splits, *shape), target.dtype.compute)
        steps.append(
            added(geometry, target.wide, stem, kernels[add], shape, form.splits, target.channels_last, defines)
        )
    return Plan(tuple(steps), workspaces, form)


def trims(target: Target, pays: bool) -> bool:
    """Return whether a plan is trimmed: where it pays, or as the form that is asked for says."""
    return pays if target.form is None else target.form.trimmed
