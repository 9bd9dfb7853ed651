"""Which form a method takes on the CPU: a pure estimate of times, so that it is tested without measuring any."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil, prod
from typing import NamedTuple

from ..geometry import Geometry
from .col2im import PRODUCT_BYTES, plan
from .im2col import BLOCK_BYTES, fits_at_once
from .shape import Shape
from .tiling import space_of


class Work(NamedTuple):
    """What a form does: in the fields' order what `SECONDS` has a price of.

    Attributes
    ----------
    macs : float
        Multiply-adds of matrix products.
    operands : float
        Elements of the matrices that these read and write.
    gathered : float
        Elements that are copied into columns.
    added : float
        Elements that are added or stored where they land.
    calls : float
        Calls of NumPy's functions.
    compiled : float
        Multiply-adds that Numba compiled.
    packed : float
        Elements of the weight that are put in the order in which these read them.
    passed : float
        Elements of the weight that are copied to a cache as they lie, as often as they are.
    folded : float
        Products that Numba's code adds where they land.
    filtered : float
        Multiply-adds of minimal filtering.
    combined : float
        Numbers that it combines: inputs, planes of tiles, and outputs.
    read : float
        Elements of the packed weight that it reads, as often as it reads them.
    """

    macs: float = 0.0
    operands: float = 0.0
    gathered: float = 0.0
    added: float = 0.0
    calls: float = 0.0
    compiled: float = 0.0
    packed: float = 0.0
    passed: float = 0.0
    folded: float = 0.0
    filtered: float = 0.0
    combined: float = 0.0
    read: float = 0.0


# Channels of a group.
_FEW = 4
# Products that are added in the time that a line of them takes to begin with.
_LINE = 50
# Numbers of a vector, of the processor that prices are of, and how much longer products take that read a weight for one
# vector.
_LANES, _ALONE = 16, 1.3
# Inputs of a part of the map that stay in the second cache while all output channels are made of them, and the sums of
# some of these.
PART_BYTES, SUMS_BYTES = 384 << 10, 256 << 10

# What minimal filtering multiplies at once, on the processor that prices are of.
_MICROKERNEL = Shape(False, 6, 4, _LANES)
# Forms differ little in what an element's size makes of them.
_ITEMSIZE = 4

# Of float32, on two cores of an AMD EPYC (Zen 5) with OpenBLAS's kernels for Haswell; `python -m experiments
# cpu_calibrate` measures them again. With its kernels for SkylakeX products cost three quarters of that, but a form
# that is right for these loses more with the others than the other way round.
SECONDS = Work(
    macs=1.2e-11,
    operands=9.8e-11,
    gathered=2.8e-10,
    added=1.1e-10,
    calls=2.3e-6,
    compiled=5.8e-12,
    packed=4e-10,
    passed=7.1e-11,
    folded=7.5e-11,
    filtered=4e-12,
    combined=1.5e-10,
    read=2.7e-11,
)


@lru_cache(maxsize=1024)
def ranked(forms: tuple[str, ...], geometry: Geometry, prepared: bool) -> tuple[str, ...]:
    """Return forms of one method in the order of the time that they take, with a weight that is prepared or is not."""
    if "columns" in forms and len(forms) > 1:
        transposed = "fold" in forms
        return tuple(sorted(forms, key=lambda name: seconds(work(name, geometry, prepared, transposed))))
    return forms


def seconds(work: Work) -> float:
    """Return an estimate of the time that it takes."""
    return sum(amount * price for amount, price in zip(work, SECONDS, strict=True))


def work(form: str, geometry: Geometry, prepared: bool, transposed: bool = True) -> Work:
    """Return what a form of KS-deconv does, or one of ConvV2."""
    if form == "compiled_fold":
        return _compiled_fold(geometry)
    if form == "compiled_rows":
        return _compiled_rows(geometry)
    if form == "compiled_minimal":
        return _compiled_minimal(replace(geometry, transposed=transposed), prepared)
    if form == "compiled":
        pairs = geometry.samples * geometry.small_channels * geometry.large_channels // geometry.groups
        taps = geometry.class_taps if transposed else geometry.window_taps
        out_channels = (geometry.large_channels if transposed else geometry.small_channels) // geometry.groups
        macs = pairs // out_channels * _filled(out_channels) * taps
        weights = prod(geometry.full_weight_shape)
        return Work(compiled=macs, calls=4) if prepared else Work(compiled=macs, packed=weights, calls=16)
    if not transposed:
        return _windows(geometry)
    return _fold(geometry) if form == "fold" else _columns(geometry)


def _compiled_rows(geometry: Geometry) -> Work:
    """Vectors of a convolution's positions: as they lie in rows, with lanes that idle, or gathered for each tap."""
    compiled = work("compiled", geometry, True, False)
    _, height, width = geometry.axes
    halo = (width.kernel - 1) * width.dilation // width.stride
    flat, apart = (height.small - 1) * (width.small + halo) + width.small, -(-width.small // _LANES)
    vectors = geometry.samples * min(-(-flat // _LANES), height.small * apart)
    pixels, taps = (prod(getattr(axis, name) for axis in geometry.axes) for name in ("small", "kernel"))
    positions = max(1, geometry.samples * pixels)
    slices = pixels // max(1, height.small * width.small)
    rows, filled = (
        compiled._replace(compiled=compiled.compiled / positions * each * _LANES * (_ALONE if each == 1 else 1))
        for each in (vectors * slices, -(-positions // _LANES))
    )
    gathered = filled._replace(gathered=geometry.samples * geometry.large_channels * taps * pixels)
    return rows if seconds(rows) <= seconds(gathered) else gathered


def _compiled_minimal(geometry: Geometry, prepared: bool) -> Work:
    """Products of combined inputs and weights in boxes of tiles: each box reads the whole weight."""
    space, groups = space_of(geometry, _MICROKERNEL, _ITEMSIZE), geometry.groups
    lengths = (geometry.samples, *(axis.tiles for axis in space.axes))
    boxes = prod(ceil(length / size) for length, size in zip(lengths, space.box, strict=True))
    inputs = boxes * groups * space.box.samples * (prod(space.extents) * space.channels + space.sample)
    blocks = ceil(geometry.out_channels // groups / space.shape.block)
    products = prod(axis.products for axis in space.axes)
    weights = groups * products * space.channels * blocks * space.shape.block
    return Work(
        calls=4,
        packed=0 if prepared else weights,
        filtered=prod(lengths) * weights,
        combined=inputs + prod(geometry.output_shape),
        read=boxes * weights,
    )


def _filled(out_channels: int) -> float:
    """Return the output channels that are made, in blocks that fill the registers, in the time of those of many."""
    if out_channels == 1:
        return 1
    # Blocks of few read more for each product.
    return 1.25 * _FEW if out_channels <= _FEW else -(-out_channels // (2 * _FEW)) * 2 * _FEW


def _fold(geometry: Geometry) -> Work:
    """Products of all taps with the input as it lies, whose results are added where they land.

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
        rows = max(1, PRODUCT_BYTES // (taps * how.held * how.inner * _ITEMSIZE))
        strips, reads = -(-how.sizes[how.outer] // how.strip) / how.sizes[0], -(-columns // rows)
        each = 2 + sum(2 * len(line.merges) for line in how.lines) + prod(len(line.landings) for line in how.lines)
    operands = samples * groups * depth * (reads * pixels + strips * taps * columns) + results
    calls = 3 + each * strips * max(1, samples * geometry.large_channels // rows)
    return Work(results * depth, operands, 0, results + outputs, calls)


def fold_parts(geometry: Geometry, itemsize: int) -> float:
    """Return the parts of the map whose inputs, and whose sums of one output channel, fit a cache."""
    pixels, kernel = prod(axis.small for axis in geometry.axes), prod(axis.kernel for axis in geometry.axes)
    channels = geometry.small_channels // geometry.groups
    return max(1.0, pixels * channels * itemsize / PART_BYTES, pixels * kernel * itemsize / SUMS_BYTES)


def _compiled_fold(geometry: Geometry) -> Work:
    """The same in parts of the map whose inputs fit a cache: each part reads the whole weight."""
    pixels, weights = prod(axis.small for axis in geometry.axes), prod(geometry.full_weight_shape)
    parts = fold_parts(geometry, _ITEMSIZE)
    split = next((axis for axis in geometry.axes if axis.small > 1), geometry.axes[-1])
    width = geometry.axes[-1]
    # Inputs that two parts read, and zeros at the ends of rows.
    more = 1 + parts * ((split.kernel - 1) * split.dilation // split.stride) / split.small + 1 / width.small
    macs = geometry.samples * weights * pixels
    results = macs * geometry.groups // geometry.small_channels
    rows = geometry.samples * geometry.large_channels * prod(axis.large for axis in geometry.axes[:-1])
    lines = rows * (width.large if width.small == 1 else min(width.stride, width.large))
    return Work(
        compiled=macs * more, calls=4, passed=weights * geometry.samples * parts, folded=results + _LINE * lines
    )


def _columns(geometry: Geometry) -> Work:
    """For each class the inputs of all its taps gathered into columns, and one product."""
    groups, samples = geometry.groups, geometry.samples
    rows, channels = geometry.large_channels // groups, geometry.small_channels // groups
    products, depth = samples * groups, channels * prod(axis.taps_of_classes for axis in geometry.axes)
    # A sum over all classes is a product of sums over those of the axes.
    gathered = float(products * channels * geometry.class_taps)
    positions = prod(axis.large for axis in geometry.axes)
    operands = float(products * (rows * depth + channels * geometry.class_taps + rows * positions))
    outputs = positions * geometry.large_channels * samples
    return Work(gathered * rows, operands, gathered, outputs, 3 + 6 * geometry.class_count)


def _windows(geometry: Geometry) -> Work:
    """For each output of a convolution the inputs of all taps gathered into a column, and one product."""
    groups, positions = geometry.groups, prod(axis.small for axis in geometry.axes)
    rows, products = geometry.small_channels // groups, geometry.samples * groups
    depth = geometry.large_channels // groups * prod(axis.kernel for axis in geometry.axes)
    gathered = products * depth * positions
    operands = products * (rows * depth + rows * positions) + gathered
    return Work(gathered * rows, operands, gathered, products * rows * positions, calls=8)
