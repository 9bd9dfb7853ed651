"""The products of all taps, merged class by class where they lie: one axis after the other, in few long additions.

A class has an *anchor* tap, whose products cover all of its outputs. The products of its other taps are added to these
in place, shifted. Along the inner axes that is done for rows and planes as one line: what a shift would carry from one
row into the next is set to zero before. Large maps are divided into strips of the outermost axis, so that the products
of one stay in a cache. Samples of small maps are one axis more, the outermost, so that they share one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import ceil, prod
from threading import local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import AXES, Axis, Geometry
from .arguments import Setting, grouped_shapes
from .im2col import Index, block_shape, blocks, slices
from .parallel import parallel_for
from .sums import CHAIN, matrix_product
from .taps import class_table, ranges, table

Array = NDArray[Any]
Table = NDArray[Any]

# Products of a block, which a thread keeps for the next one.
PRODUCT_BYTES = 2 << 20
# The most that they take where lines are long.
_MOST_BYTES = 4 * PRODUCT_BYTES
# A matrix product is slow with fewer rows, since it reads the other matrix for them.
_ROWS = 256
# A product of so many columns, or more, is as quick as one of several samples' columns, which have to be put together.
_COLUMNS = 256
# Outputs that take less time than waking a thread.
_ALONE = 1 << 17

_memory = local()


class _Line(NamedTuple):
    """What is merged along one axis, and where it goes.

    Attributes
    ----------
    merges : ndarray of int64
        Rows of an anchor, a tap whose products are added to its own, and how many inputs the anchor's are before
        the tap's.
    scatter_ranges : ndarray of int64
        For each class with taps the anchor, the first input and the first output of its sums, and how many there are.
    step : int
        Distance of a class's outputs.
    anchors : slice
        Taps that have all anchors among them.
    """

    merges: Table
    scatter_ranges: Table
    step: int
    anchors: slice


class _Strip(NamedTuple):
    """What is done for neighbouring steps of the outer axis; indices are of all products, as `_Block` has them.

    Attributes
    ----------
    inputs, products : slice
        Inputs that are multiplied, and where their products go.
    merges : list of (index, index, index)
        Products that are set to zero, then those that others are added to, and these.
    stores : list of (index, index)
        Outputs, and their sums.
    carried : tuple of slice, optional
        Where products go that the next strip needs, and where they are.
    """

    inputs: slice
    products: slice
    merges: list[tuple[Index | None, Index, Index]]
    stores: list[tuple[Index, Index]]
    carried: tuple[slice, slice] | None


class Plan(NamedTuple):
    """How the products of a geometry are merged.

    Attributes
    ----------
    lines : tuple
        What is merged along samples, which is nothing, depth, height and width.
    sizes : tuple of int
        Samples of a product, and inputs along these axes.
    outer : int
        The axis that is divided into strips: the first of more than one.
    inner : int
        Inputs of one step along it.
    strip : int
        Steps of a strip.
    before, after : int
        Steps from a sum's anchor to the other inputs that it takes, if there are several strips.
    complete : bool
        Whether all outputs are written.
    """

    lines: tuple[_Line, ...]
    sizes: tuple[int, ...]
    outer: int
    inner: int
    strip: int
    before: int
    after: int
    complete: bool

    @property
    def resident(self) -> int:
        """Steps of products that are held at once."""
        return self.strip + self.before + self.after


@lru_cache(maxsize=256)
def plan(geometry: Geometry, itemsize: int) -> Plan | None:
    """Return how the products of a geometry are merged.

    None where a class has no tap that covers its outputs, or more taps than a chain has, or where a strip of one output
    channel would not fit a cache.
    """
    axes, pixels = geometry.axes, prod(axis.small for axis in geometry.axes)
    batch = max(1, geometry.samples) if pixels < _COLUMNS else 1
    sizes = (batch, *(axis.small for axis in axes))
    outer = next((number for number, size in enumerate(sizes) if size > 1), AXES)
    inner, taps = prod(sizes[outer + 1 :]), prod(axis.kernel for axis in axes)
    rows = min(_ROWS, taps * geometry.large_channels // geometry.groups)
    strip = min(sizes[outer], max(1, PRODUCT_BYTES // (rows * inner * itemsize)))
    if taps * strip * inner * itemsize > _MOST_BYTES:
        return None
    lines = tuple(line for axis in axes if (line := _line(axis)))
    if len(lines) < AXES:
        return None
    samples = _Line(np.empty((0, 3), np.int64), np.array([[0, 0, 0, batch]]), 1, slice(0, 1))
    lines = (samples, *lines)
    shifts = lines[outer].merges[:, 2]
    before, after = (0, 0) if strip == sizes[outer] else (-shifts.min(initial=0), shifts.max(initial=0))
    found = Plan(lines, sizes, outer, inner, strip, int(before), int(after), geometry.reaches_all_outputs)
    return found if taps * found.resident * inner * itemsize <= _MOST_BYTES else None


def _line(axis: Axis) -> _Line | None:
    """Return what is merged along an axis, None where a class has no tap that covers its outputs."""
    classes = class_table(axis)
    some = classes.counts > 0
    firsts, lengths, counts = classes.firsts[some], classes.lengths[some], classes.counts[some]
    first_taps, starts = classes.first_taps[some], classes.starts[some]
    # The products of more taps are added up in several chains, for which there is no room in place.
    if (counts > CHAIN).any():
        return None
    # The first tap that does not reach behind the last input; it has to have the first one, too.
    anchors = np.maximum(0, -((axis.small - starts - lengths) // axis.input_step))
    if (anchors >= counts).any() or (starts < anchors * axis.input_step).any():
        return None
    numbers, of_class = ranges(np.zeros_like(counts), counts), np.repeat(np.arange(len(counts)), counts)
    shifts = (anchors[of_class] - numbers) * axis.input_step
    anchor_taps = first_taps + anchors * axis.tap_step
    merges = table(anchor_taps[of_class], first_taps[of_class] + numbers * axis.tap_step, shifts)
    merges = merges[(shifts != 0) & (abs(shifts) < axis.small)]
    scatter_ranges = table(anchor_taps, starts - anchors * axis.input_step, firsts, lengths)
    return _Line(merges, scatter_ranges, axis.stride, _covering(np.sort(anchor_taps)))


def _covering(taps: Table) -> slice:
    """Return a slice that has these taps, and no others if they are evenly apart."""
    if not len(taps):
        return slice(0, 1, 1)
    steps = np.diff(taps)
    even = len(steps) and (steps == steps[0]).all()
    return slice(int(taps[0]), int(taps[-1]) + 1, int(steps[0]) if even else 1)


def run(geometry: Geometry, how: Plan, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    if not how.complete:
        out[...] = 0 if bias is None else bias
    row_bytes = prod(weight.shape[3:]) * how.resident * how.inner * input.itemsize
    whole = how.strip == how.sizes[how.outer]
    # Strips of large maps are many, and quickly told in comparison.
    strips = _one_strip(geometry, input.itemsize) if whole else list(_strips(how))
    # Samples that share a product stand behind groups and channels, as pixels do.
    split = (each.reshape(-1, how.sizes[0], *each.shape[1:]) for each in (input, out))
    pixels, target = (each.transpose(0, 2, 3, 1, 4, 5, 6) for each in split)

    def block(index: tuple[slice, ...]) -> None:
        some, part, outputs = index
        of_block = None if bias is None else bias[part, outputs, None]
        _block(how, strips, pixels[some, part], weight[part, :, outputs], of_block, target[some, part, outputs])

    each = blocks(target.shape[:3], max(1, PRODUCT_BYTES // row_bytes))
    if weight.shape[1] == 1 and out.size > _ALONE:
        parallel_for(each, block)
    else:
        for index in each:
            block(index)


def workspace(geometry: Geometry, how: Plan, setting: Setting) -> int:
    """Return the bytes that `run` holds: of each thread products, and inputs of samples that share a product."""
    samples, groups, channels, *sizes = grouped_shapes(geometry)["small"]
    out_channels, taps = geometry.large_channels // groups, prod(axis.kernel for axis in geometry.axes)
    row_bytes = taps * how.resident * how.inner * setting.itemsize
    shape = (samples // how.sizes[0], groups, out_channels)
    block = block_shape(shape, max(1, PRODUCT_BYTES // row_bytes))
    batch = how.sizes[0] if groups * channels > 1 else 1
    columns = block[0] * block[1] * channels * batch * prod(sizes) * setting.itemsize if batch > 1 else 0
    count = prod(ceil(length / edge) for length, edge in zip(shape, block, strict=True))
    shared = channels == 1 and prod(geometry.full_large_shape) > _ALONE
    return (min(setting.threads, count) if shared else 1) * (columns + max(PRODUCT_BYTES, prod(block) * row_bytes))


def _block(how: Plan, strips: list[_Strip], pixels: Array, weight: Array, bias: Array | None, out: Array) -> None:
    groups, channels, _, *kernel = weight.shape
    matrix = weight.reshape(groups, channels, -1).swapaxes(1, 2)
    columns = pixels.reshape(*pixels.shape[:3], -1)
    length = how.resident * how.inner
    memory = _workspace((len(pixels), *matrix.shape[:2], length), pixels.dtype)
    lines = memory.reshape(*out.shape[:3], 1, *kernel, length)
    grid = memory.reshape(*lines.shape[:-1], *how.sizes[: how.outer], how.resident, *how.sizes[how.outer + 1 :])
    for inputs, new, merges, stores, carried in strips:
        matrix_product(matrix, columns[..., inputs], memory[..., new])
        for emptied, sums, others in merges:
            if emptied is not None:
                grid[emptied] = 0
            into = lines[sums]
            into += lines[others]
        for outputs, sums in stores:
            if bias is None:
                out[outputs] = grid[sums]
            else:
                np.add(grid[sums], bias, out=out[outputs])
        if carried is not None:
            to, source = carried
            memory[..., to] = memory[..., source]


@lru_cache(maxsize=256)
def _one_strip(geometry: Geometry, itemsize: int) -> list[_Strip]:
    how = plan(geometry, itemsize)
    return [] if how is None else list(_strips(how))


def _strips(how: Plan) -> Iterator[_Strip]:
    size, inner = how.sizes[how.outer], how.inner
    halo = how.before + how.after
    done = 0
    for first in range(0, size, how.strip):
        stop = min(size, first + how.strip)
        # The step whose products are held first.
        base = first - halo
        end = size if stop == size else max(done, stop - how.after)
        new = slice(halo * inner, (stop - base) * inner)
        merges = [*_inner_merges(how, halo, stop - base), *_outer_merges(how, base, done, end)]
        left = (stop - base - halo) * inner
        carried = (slice(0, halo * inner), slice(left, left + halo * inner)) if stop < size and halo else None
        yield _Strip(slice(first * inner, stop * inner), new, merges, list(_stores(how, base, done, end)), carried)
        done = end


def _around(how: Plan, number: int) -> tuple[Index, Index]:
    """Return the index in front of the tap of one axis, and that behind it, which has the anchors of other axes."""
    return (..., *(slice(None),) * number), tuple(line.anchors for line in how.lines[number + 1 :])


def _inner_merges(how: Plan, first: int, stop: int) -> Iterator[tuple[Index, Index, Index]]:
    """Yield what is merged within the steps that are held from `first` to `stop`."""
    start, end = first * how.inner, stop * how.inner
    for number in reversed(range(how.outer + 1, AXES + 1)):
        size, step = how.sizes[number], prod(how.sizes[number + 1 :])
        before, behind = _around(how, number)
        whole = (slice(None),) * (number - how.outer - 1)
        inside = (*behind, *(slice(None),) * how.outer, slice(first, stop), *whole)
        last = (slice(None),) * (AXES - number)
        for anchor, tap, shift in how.lines[number].merges.tolist():
            # Where a sum takes what lies in the next line, or in the one before.
            edge = slice(0, shift) if shift > 0 else slice(size + shift, None)
            distance = abs(shift) * step
            low, high = slice(start, end - distance), slice(start + distance, end)
            into, others = (low, high) if shift > 0 else (high, low)
            yield (
                (*before, tap, *inside, edge, *last),
                (*before, anchor, *behind, into),
                (*before, tap, *behind, others),
            )


def _outer_merges(how: Plan, base: int, done: int, end: int) -> Iterator[tuple[None, Index, Index]]:
    """Yield what is merged into the sums of the outer axis from `done` to `end`."""
    inner, size = how.inner, how.sizes[how.outer]
    before, behind = _around(how, how.outer)
    for anchor, tap, shift in how.lines[how.outer].merges.tolist():
        first, stop = max(done, -shift) - base, min(end, size - shift) - base
        if first < stop:
            into = (*before, anchor, *behind, slice(first * inner, stop * inner))
            others = (*before, tap, *behind, slice((first + shift) * inner, (stop + shift) * inner))
            yield None, into, others


def _stores(how: Plan, base: int, done: int, end: int) -> Iterator[tuple[Index, Index]]:
    """Yield the outputs whose sums are complete on the outer axis from `done` to `end`, and these."""
    anchors, inputs, outputs = [], [], []
    for number, line in enumerate(how.lines):
        tap, start, output, count = line.scatter_ranges.T
        if number == how.outer:
            first, stop = np.maximum(done, start), np.minimum(end, start + count)
            some = first < stop
            tap, count, output = tap[some], (stop - first)[some], (output + (first - start) * line.step)[some]
            start = first[some] - base
        anchors.append(tap.tolist())
        inputs.append(slices(start, start + count, 1))
        outputs.append(slices(output, output + count * line.step, line.step))
    # Products of lists are made without a step of the interpreter for each.
    sums = zip(product((...,), *anchors), product(*inputs), strict=True)
    for to, (anchor, at) in zip(product((...,), *outputs), sums, strict=True):
        yield to, anchor + at


def _workspace(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return memory of this thread, the same for every call unless a row alone takes more than a block."""
    size = prod(shape) * dtype.itemsize
    if size > PRODUCT_BYTES:
        return np.empty(shape, dtype)
    cached: Array | None = getattr(_memory, "cached", None)
    if cached is None:
        cached = _memory.cached = np.empty(PRODUCT_BYTES, np.uint8)
    part: Array = cached[:size].view(dtype)
    return part.reshape(shape)
