"""Which form a method takes on the CPU: a pure estimate of times, so that it is tested without measuring any."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod
from typing import NamedTuple

from ..geometry import Geometry
from .col2im import PRODUCT_BYTES, plan
from .im2col import BLOCK_BYTES, fits_at_once
from .jit import isa
from .jit.gemm_col2im.plan import parts_of_map
from .jit.winograd.blocking import space_of


class WorkCounts(NamedTuple):
    """What a form does. `PRICES` has the seconds that one of each takes.

    Attributes
    ----------
    gemm_macs : float
        Multiply-adds of NumPy's matrix products.
    gemm_operands : float
        Elements of the matrices that these products read and write.
    gathered : float
        Elements that are copied into the columns of a matrix.
    scattered : float
        Elements that NumPy adds to outputs or stores there.
    numpy_calls : float
        Calls of NumPy's functions.
    jit_macs : float
        Multiply-adds that Numba compiled.
    packed_weights : float
        Elements of the weight that are packed for micro-kernels.
    copied_weights : float
        Elements of the weight that are copied to a cache without packing, each time that they are.
    jit_scattered : float
        Products that Numba's code adds to outputs.
    winograd_macs : float
        Multiply-adds of minimal filtering.
    transformed : float
        Inputs, tiles and outputs that minimal filtering transforms.
    read_weights : float
        Elements of the packed weight that minimal filtering reads, each time that it does.
    """

    gemm_macs: float = 0.0
    gemm_operands: float = 0.0
    gathered: float = 0.0
    scattered: float = 0.0
    numpy_calls: float = 0.0
    jit_macs: float = 0.0
    packed_weights: float = 0.0
    copied_weights: float = 0.0
    jit_scattered: float = 0.0
    winograd_macs: float = 0.0
    transformed: float = 0.0
    read_weights: float = 0.0


# What the processor that prices are of makes at once. Vectors have 16 numbers of float32.
_LANES = 16
_BLOCKING = isa.BLOCKING[32]
_WINOGRAD_TILE = isa.tile_of(_BLOCKING, isa.CHANNELS, _LANES)
_FEW, _WIDE = _BLOCKING.tiles[isa.FEW][0], _BLOCKING.tiles[isa.WIDE][0]
# Products that are added in the time that a line of them takes to begin with.
_LINE = 50
# How much longer products take that read a weight for one vector.
_ALONE = 1.3

# Forms differ little in what an element's size makes of them.
_ITEMSIZE = 4

# The prices are those of float32 on two cores of an AMD EPYC (Zen 5) with OpenBLAS's kernels for Haswell;
# `python -m experiments cpu_calibrate` measures them again. A product costs three quarters of that with the kernels for
# SkylakeX, but a form chosen by these prices loses less there than the other way round.
PRICES = WorkCounts(
    gemm_macs=1.2e-11,
    gemm_operands=9.8e-11,
    gathered=2.8e-10,
    scattered=1.1e-10,
    numpy_calls=2.3e-6,
    jit_macs=5.8e-12,
    packed_weights=4e-10,
    copied_weights=7.1e-11,
    jit_scattered=7.5e-11,
    winograd_macs=4e-12,
    transformed=1.5e-10,
    read_weights=2.7e-11,
)


def seconds(work: WorkCounts) -> float:
    """Return an estimate of the time that it takes."""
    return sum(amount * price for amount, price in zip(work, PRICES, strict=True))


def jit_implicit_gemm(geometry: Geometry, prepared: bool, transposed: bool) -> WorkCounts:
    """Count products with a packed weight, in blocks of output channels that fill the registers."""
    pairs = geometry.samples * geometry.small_channels * geometry.large_channels // geometry.groups
    taps = geometry.class_taps if transposed else geometry.window_taps
    out_channels = (geometry.large_channels if transposed else geometry.small_channels) // geometry.groups
    macs = pairs // out_channels * _filled(out_channels) * taps
    if prepared:
        return WorkCounts(jit_macs=macs, numpy_calls=4)
    return WorkCounts(jit_macs=macs, packed_weights=prod(geometry.full_weight_shape), numpy_calls=16)


def jit_im2col(geometry: Geometry, prepared: bool) -> WorkCounts:
    """Count the vectors of positions: as rows lie, with idle lanes, or gathered into columns for each tap."""
    del prepared
    packed = jit_implicit_gemm(geometry, True, False)
    _, height, width = geometry.axes
    halo = (width.kernel - 1) * width.dilation // width.stride
    flat, apart = (height.small - 1) * (width.small + halo) + width.small, -(-width.small // _LANES)
    vectors = geometry.samples * min(-(-flat // _LANES), height.small * apart)
    pixels, taps = (prod(getattr(axis, name) for axis in geometry.axes) for name in ("small", "kernel"))
    positions = max(1, geometry.samples * pixels)
    slices = pixels // max(1, height.small * width.small)
    rows, filled = (
        packed._replace(jit_macs=packed.jit_macs / positions * each * _LANES * (_ALONE if each == 1 else 1))
        for each in (vectors * slices, -(-positions // _LANES))
    )
    gathered = filled._replace(gathered=geometry.samples * geometry.large_channels * taps * pixels)
    return rows if seconds(rows) <= seconds(gathered) else gathered


def jit_winograd(geometry: Geometry, prepared: bool, transposed: bool) -> WorkCounts:
    """Count products of transformed inputs and weights in boxes of tiles: each box reads the whole weight."""
    geometry = replace(geometry, transposed=transposed)
    space, groups = space_of(geometry, _WINOGRAD_TILE, _ITEMSIZE), geometry.groups
    lengths = (geometry.samples, *(axis.tiles for axis in space.axes))
    boxes = prod(ceil(length / size) for length, size in zip(lengths, space.box, strict=True))
    inputs = boxes * groups * space.box.samples * (prod(space.extents) * space.channels + space.sample)
    blocks = ceil(geometry.out_channels // groups / space.tile.block)
    products = prod(axis.products for axis in space.axes)
    weights = groups * products * space.channels * blocks * space.tile.block
    return WorkCounts(
        numpy_calls=4,
        packed_weights=0 if prepared else weights,
        winograd_macs=prod(lengths) * weights,
        transformed=inputs + prod(geometry.output_shape),
        read_weights=boxes * weights,
    )


def _filled(out_channels: int) -> float:
    """Return the output channels that are made, in blocks that fill the registers, in the time of those of many."""
    if out_channels == 1:
        return 1
    # Blocks of few read more for each product.
    return 1.25 * _FEW if out_channels <= _FEW else -(-out_channels // _WIDE) * _WIDE


def numpy_col2im(geometry: Geometry, prepared: bool) -> WorkCounts:
    """Count products of all taps with the input as it lies, whose results are added to the outputs that they belong to.

    Where these are not merged in place, large maps take one product for each tap and for few output channels, and all
    of them read the whole input.
    """
    taps, pixels = prod(axis.kernel for axis in geometry.axes), prod(axis.small for axis in geometry.axes)
    groups, samples = geometry.groups, geometry.samples
    columns, depth = geometry.large_channels // groups, geometry.small_channels // groups
    results = samples * groups * taps * columns * pixels
    outputs = prod(axis.large for axis in geometry.axes) * geometry.large_channels * samples
    how = plan(geometry, _ITEMSIZE)
    if how is None:
        at_once = taps if fits_at_once(geometry, pixels * _ITEMSIZE) else 1
        rows = max(1, BLOCK_BYTES // (pixels * _ITEMSIZE * at_once))
        strips, reads, each = 1.0, -(-columns // rows) * (taps // at_once), 2 * taps
    else:
        rows = max(1, PRODUCT_BYTES // (taps * how.resident * how.inner * _ITEMSIZE))
        strips, reads = -(-how.sizes[how.outer] // how.strip) / how.sizes[0], -(-columns // rows)
        each = (
            2 + sum(2 * len(line.merges) for line in how.lines) + prod(len(line.scatter_ranges) for line in how.lines)
        )
    operands = samples * groups * depth * (reads * pixels + strips * taps * columns) + results
    calls = 3 + each * strips * max(1, samples * geometry.large_channels // rows)
    return WorkCounts(results * depth, operands, 0, results + outputs, calls)


def jit_col2im(geometry: Geometry, prepared: bool) -> WorkCounts:
    """Count the same in parts of the map whose inputs fit a cache: each part reads the whole weight."""
    del prepared
    pixels, weights = prod(axis.small for axis in geometry.axes), prod(geometry.full_weight_shape)
    parts = parts_of_map(geometry, _ITEMSIZE)
    split = next((axis for axis in geometry.axes if axis.small > 1), geometry.axes[-1])
    width = geometry.axes[-1]
    # Inputs that two parts read, and zeros at the ends of rows.
    more = 1 + parts * ((split.kernel - 1) * split.dilation // split.stride) / split.small + 1 / width.small
    macs = geometry.samples * weights * pixels
    results = macs * geometry.groups // geometry.small_channels
    rows = geometry.samples * geometry.large_channels * prod(axis.large for axis in geometry.axes[:-1])
    lines = rows * (width.large if width.small == 1 else min(width.stride, width.large))
    return WorkCounts(
        jit_macs=macs * more,
        numpy_calls=4,
        copied_weights=weights * geometry.samples * parts,
        jit_scattered=results + _LINE * lines,
    )


def numpy_im2col_of_classes(geometry: Geometry, prepared: bool) -> WorkCounts:
    """Count for each class the inputs of all its taps, gathered into columns, and one product."""
    del prepared
    groups, samples = geometry.groups, geometry.samples
    rows, channels = geometry.large_channels // groups, geometry.small_channels // groups
    products, depth = samples * groups, channels * prod(axis.taps_of_classes for axis in geometry.axes)
    # A sum over all classes is a product of sums over those of the axes.
    gathered = float(products * channels * geometry.class_taps)
    positions = prod(axis.large for axis in geometry.axes)
    operands = float(products * (rows * depth + channels * geometry.class_taps + rows * positions))
    outputs = positions * geometry.large_channels * samples
    return WorkCounts(gathered * rows, operands, gathered, outputs, 3 + 6 * geometry.class_count)


def numpy_im2col(geometry: Geometry, prepared: bool) -> WorkCounts:
    """Count for each output of a convolution the inputs of all taps, gathered into a column, and one product."""
    del prepared
    groups, positions = geometry.groups, prod(axis.small for axis in geometry.axes)
    rows, products = geometry.small_channels // groups, geometry.samples * groups
    depth = geometry.large_channels // groups * prod(axis.kernel for axis in geometry.axes)
    gathered = products * depth * positions
    operands = products * (rows * depth + rows * positions) + gathered
    return WorkCounts(gathered * rows, operands, gathered, products * rows * positions, numpy_calls=8)
