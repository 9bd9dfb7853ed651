"""Which build and which form a geometry takes: pure functions, so that they are tested without a device."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ...geometry import Axis, Geometry
from .context import PlanContext
from .form import Form
from .microkernel import micro_kernels
from .tiles import Tile, interleaved_bytes, shared_bytes, tiles

# Room above the largest offset for a block's threads that fall outside.
_NARROW = 2**31 - 1024
# The least stages of one part of a product.
SPLIT_STAGES = 4
# Residue classes along a row that a block may interleave: as many as floats of a sector at most.
INTERLEAVES = range(2, 9)


@lru_cache(maxsize=1024)
def needs_wide(geometry: Geometry) -> bool:
    """Return whether an offset inside one sample, or inside the weight, or a sample's number, may not fit 32 bits."""
    lengths = [
        geometry.samples,
        prod(geometry.full_small_shape[1:]),
        prod(geometry.full_large_shape[1:]),
        prod(geometry.zero_inserted_shape[1:]),
        geometry.small_channels * prod(axis.dilated_size for axis in geometry.axes),
        prod(geometry.full_weight_shape),
        prod(geometry.split_output_shape[1:]),
        prod(geometry.split_weight_shape),
    ]
    return max(*lengths, *map(_reach, geometry.axes)) > _NARROW


def _reach(axis: Axis) -> int:
    """Return a bound of what kernels compute along one axis on their way to an offset."""
    furthest_tap = axis.dilation * (max(axis.kernel, axis.tap_step) + 1)
    furthest_place = max(axis.large, axis.small * axis.stride)
    return furthest_place + axis.stride + axis.pad_lo + max(furthest_tap, axis.tap_step**2)


# The most sums on tensor cores beside which a thread has registers for 64-bit indices.
_WIDE_SUMS = 32


class Product(NamedTuple):
    """Matrix products of one size.

    Attributes
    ----------
    number : int
        How many there are.
    rows, columns : int
        Their size.
    runs, run : int
        Their depth: so many runs of so many elements, none of which shares a stage with another's.
    neighbours : int
        How many of the products have their elements side by side, in turn, where these are written.
    """

    number: int
    rows: int
    columns: int
    runs: int
    run: int
    neighbours: int = 1

    def interleaved(self) -> Product:
        """Return the products whose blocks make those of all neighbours, one after the other."""
        return self._replace(number=self.number // self.neighbours, runs=self.runs * self.neighbours, neighbours=1)

    def blocks(self, tile: Tile) -> int:
        """Return the tiles of all products."""
        return self.number * -(-self.rows // tile.m) * -(-self.columns // tile.n)

    def stages(self, tile: Tile) -> int:
        """Return the stages of one tile."""
        return self.runs * -(-self.run // tile.k)


@lru_cache(maxsize=1024)
def form_for(context: PlanContext, product: Product, trimmed: bool = False) -> Form:
    """Return the form that makes `product` in the least time by `estimated_cycles`, or the one asked for."""
    if context.form is not None:
        _check(context, product, context.form)
        return context.form
    micro = next(each for each in micro_kernels(context.dtype, context.precision) if each.runs_on(context.device))
    forms = [
        form
        for tile in tiles(micro)
        if not (context.wide and micro.tensor and tile.thread_m * tile.thread_n > _WIDE_SUMS)
        for form in _of_tile(context, product, Form(micro, tile, trimmed))
        if block_bytes(context, product, form) <= context.device.shared_bytes_optin
    ]

    def worth(form: Form) -> tuple[float, int]:
        return estimated_cycles(context, product, form) * (1 if form.interleaved else _BETTER), form.splits

    return min(forms, key=worth)


def _check(context: PlanContext, product: Product, form: Form) -> None:
    if not form.micro.runs_on(context.device):
        raise ValueError(f"form='{form}': {context.device.name} has no such tensor cores")
    if form.interleaved and product.neighbours not in INTERLEAVES:
        least, most = INTERLEAVES[0], INTERLEAVES[-1]
        raise ValueError(
            f"form='{form}': rows of the output are of {product.neighbours} residue classes, not of {least} to {most}"
        )


def _of_tile(context: PlanContext, product: Product, plain: Form) -> Iterator[Form]:
    """Yield the forms of a tile that are tried."""
    for splits in _parts(product.stages(plain.tile), context.device.max_grid[1]):
        yield plain._replace(splits=splits)
    if product.neighbours in INTERLEAVES and not plain.trimmed:
        yield plain._replace(interleaved=True)


def block_bytes(context: PlanContext, product: Product, form: Form) -> int:
    """Return the shared memory of a block."""
    if form.interleaved:
        return interleaved_bytes(form.tile, form.micro, context.dtype, product.neighbours)
    return shared_bytes(form.tile, form.micro, context.channels_last)


def _parts(stages: int, most: int) -> list[int]:
    """Return the numbers of parts that are tried."""
    parts = (one << power for power in range(16) for one in (2, 3))
    return [1, *(each for each in parts if each * SPLIT_STAGES <= stages and each <= most)]


def estimated_cycles(context: PlanContext, product: Product, form: Form) -> float:
    """Return about how many clocks a form takes for products: what multiprocessors do, and what they wait for.

    The blocks of a multiprocessor share its arithmetic and its way to memory; each stage of a block waits for the one
    before, the more blocks there are the less. That is arithmetic on a data sheet: no measurement stands behind it.
    """
    device, micro, tile = context.device, form.micro, form.tile
    made = product.interleaved() if form.interleaved else product
    blocks = max(1, -(-made.blocks(tile) * form.splits // device.multiprocessors))
    held = min(_RESIDENT_THREADS // tile.threads, device.shared_bytes_optin // block_bytes(context, product, form))
    together = min(blocks, max(1, held))
    stages = -(-made.stages(tile) // form.splits)
    # What taps share of the map comes from the first cache.
    loaded = tile.k * (tile.m / max(1, min(product.runs, _SHARING)) + tile.n) * micro.bytes / _BYTES_A_CLOCK
    multiplied = tile.m * tile.n * tile.k / micro.rate
    # Loads hide behind products, or these behind loads, but not quite.
    stage = max(multiplied, loaded) + min(multiplied, loaded) / 4
    waited = _WAIT / (tile.stages - 1) * -(-blocks // together)
    # A block begins anew with each class that it makes.
    begun = product.neighbours // made.neighbours
    time = stages * max(blocks * stage, waited) + begun * (
        blocks * _writing(context, product, form) + -(-blocks // together) * _BLOCK
    )
    if form.splits > 1:
        written = 4 * form.splits * product.number * product.rows * product.columns
        time += _LAUNCH + written / device.multiprocessors / _BYTES_A_CLOCK
    return time


def _writing(context: PlanContext, product: Product, form: Form) -> float:
    """Return the clocks in which a multiprocessor writes the sums of a tile.

    Memory is written by sectors. What one product leaves out of them its neighbours write another time, unless they
    are interleaved, on their way through shared memory.
    """
    element = (context.dtype.compute if form.splits > 1 else context.dtype.storage).itemsize
    sums = form.tile.m * min(form.tile.n, product.columns)
    if form.interleaved:
        return sums * element * (1 / _BYTES_A_CLOCK + 2 / _SHARED_BYTES_A_CLOCK)
    return sums * min(_SECTOR, product.neighbours * element) / _BYTES_A_CLOCK


# An interleaved form is taken if it needs less than this share of another form's time, because the estimate leaves out
# the first cache, which it fills.
_BETTER = 0.98
# Taps that share the inputs of a tile.
_SHARING = 4
# Bytes that are written at once.
_SECTOR = 32
# What one multiprocessor has: threads whose registers fit; bytes a cycle from the second cache, and from shared memory;
# and the cycles of a load from the second cache, of the start and end of a block, and of another launch.
_RESIDENT_THREADS, _BYTES_A_CLOCK, _SHARED_BYTES_A_CLOCK, _WAIT, _BLOCK, _LAUNCH = 512, 32, 128, 700, 1500, 3000
