"""Unified kernel segregation (arXiv 2502.20493): one pass over the taps, each added straight into its class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product, zip_longest
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import AXES, Axis, Geometry
from .. import col2im
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import BLOCK_BYTES, Index, block_shape, blocks, fits_at_once, slices
from ..registry import CpuMethod, register
from ..sums import CHAIN, matrix_product
from ..taps import class_table

Array = NDArray[Any]
Table = NDArray[Any]
Tap = tuple[int, ...]

_COLONS = (slice(None),) * AXES


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    how = col2im.plan(geometry, input.itemsize)
    if how is not None:
        col2im.run(geometry, how, input, weight, bias, out)
        return
    groups, channels, out_channels, *kernel = weight.shape
    samples, sizes = input.shape[0], input.shape[3:]
    pixels = input.reshape(samples, groups, channels, prod(sizes))
    row_bytes = prod(sizes) * input.itemsize
    # One product for all taps is quicker, but with large maps it would take more memory than inserted zeros do.
    at_once = fits_at_once(geometry, row_bytes)
    (first, *others), complete = _schedule(geometry)
    if not complete:
        out[...] = 0 if bias is None else bias
    for some, part, outputs in blocks((samples, groups, out_channels), _rows(row_bytes, kernel, at_once)):
        filters, source = weight[part, :, outputs], pixels[some, part]
        products = _Products(filters, source, sizes, at_once)
        target = out[some, part, outputs]
        _set(first, products, None if bias is None else bias[part, outputs], target)
        further = np.empty(target.shape if others else 0, target.dtype)
        for classes in others:
            further[...] = 0
            _set(classes, products, None, further)
            target += further


def _set(classes: list[_Class], products: _Products, bias: Array | None, target: Array) -> None:
    """Set what the products of some taps cover best, and add what is outside of that."""
    for anchor, anchor_inputs, scatter, _, others in classes:
        sums = products.of(anchor)[anchor_inputs]
        for tap, merges, strays in others:
            product_of_tap = products.of(tap)
            for into, inputs in merges:
                sums[into] += product_of_tap[inputs]
            for into, inputs in strays:
                target[into] += product_of_tap[inputs]
        target[scatter] = sums if bias is None else sums + bias


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: products, of which the last ones are held while the next ones are made."""
    how = col2im.plan(geometry, setting.itemsize)
    if how is not None:
        return col2im.workspace(geometry, how, setting)
    samples, groups, _, *sizes = grouped_shapes(geometry)["small"]
    kernel = [axis.kernel for axis in geometry.axes]
    row_bytes = prod(sizes) * setting.itemsize
    at_once = fits_at_once(geometry, row_bytes)
    shape = (samples, groups, geometry.large_channels // groups)
    block = block_shape(shape, _rows(row_bytes, kernel, at_once))
    several = 2 if block != list(shape) else 1
    # Those of all taps; or those of the class, of the tap before and of the tap, or with the bias.
    held = prod(kernel) * several if at_once else min(3, prod(kernel) * several)
    # The sums of further taps of a class are added to those of the first ones.
    taps = prod(int(class_table(axis).counts.max(initial=0)) for axis in geometry.axes)
    beside = prod(axis.large for axis in geometry.axes) * setting.itemsize if taps > CHAIN else 0
    return prod(block) * (row_bytes * (held + 1) + beside)


def _rows(row_bytes: int, kernel: Sequence[int], at_once: bool) -> int:
    """Return how many output channels have their products at once."""
    return max(1, BLOCK_BYTES // (row_bytes * (prod(kernel) if at_once else 1)))


class _Products:
    """The products of each tap with all inputs, of all taps at once or of one when it is asked for."""

    def __init__(self, filters: Array, pixels: Array, sizes: tuple[int, ...], at_once: bool) -> None:
        self._filters, self._pixels, self._sizes = filters, pixels, sizes
        self._all = self._multiply(filters) if at_once else None

    def of(self, tap: Tap) -> Array:
        """Return the products of one tap: (samples, groups, out_channels, depth, height, width)."""
        one: Index = (..., *tap)
        return self._multiply(self._filters[one]) if self._all is None else self._all[one + _COLONS]

    def _multiply(self, filters: Array) -> Array:
        groups, channels, *others = filters.shape
        matrix = filters.reshape(groups, channels, -1).swapaxes(1, 2)
        return matrix_product(matrix, self._pixels).reshape(-1, groups, *others, *self._sizes)


class _Other(NamedTuple):
    """A tap, and (into, inputs) of what is added to the sums of its class, and to outputs that those do not cover."""

    tap: Tap
    merges: list[tuple[Index, Index]]
    strays: list[tuple[Index, Index]]


class _Class(NamedTuple):
    """How the products of one residue class get into its outputs, or those of `CHAIN` of its taps.

    Most products of a class cover the same outputs. They are summed in memory that is contiguous, in place of the
    product that covers most, so that the strided outputs are touched once; what sticks out is added by itself.
    """

    anchor: Tap
    inputs: Index
    scatter: Index
    outputs: int
    others: list[_Other]


@lru_cache(maxsize=256)
def _schedule(geometry: Geometry) -> tuple[list[list[_Class]], bool]:
    """Return the classes that a tap reaches, and whether their sums are set everywhere on the output.

    They are in lists of a part of each class, whose sums are added up: the first is that of all classes.
    """
    axes: list[list[list[_AxisClass]]] = []
    # A part has as many taps as the product of its axes' parts: what the last axis leaves is for those before it.
    most = CHAIN
    for axis in reversed(geometry.axes):
        axes.insert(0, _axis_classes(axis, most))
        longest = max((len(part.taps) for parts in axes[0] for part in parts), default=1)
        most = max(1, most // longest)
    found = ([_class(part) for part in product(*parts)] for parts in product(*axes))
    rounds = [[part for part in parts if part] for parts in zip_longest(*found)] or [[]]
    return rounds, sum(one.outputs for one in rounds[0]) == prod(axis.large for axis in geometry.axes)


# Along one axis: outputs, and the inputs whose products with a tap land there.
_Span = tuple[slice, slice]


class _AxisClass(NamedTuple):
    """A part of a class along one axis: its anchor, and for each tap that meets outputs where its products go.

    Attributes
    ----------
    anchor : int
        The number of the first tap of those that meet most outputs.
    outputs : int
        How many it meets.
    taps : list of int
        The filter elements.
    wholes, inners : list of (slice, slice)
        Outputs and inputs that each tap meets, and those of them that the anchor meets as well.
    sums : list of slice
        Where these are among the outputs of the anchor; the slice is empty where there are none.
    sides : list of list of (slice, slice)
        Outputs and inputs in front of the anchor's and behind them.
    """

    anchor: int
    outputs: int
    taps: list[int]
    wholes: list[_Span]
    inners: list[_Span]
    sums: list[slice]
    sides: list[list[_Span]]


def _axis_classes(axis: Axis, most: int) -> list[list[_AxisClass]]:
    """Return the classes of an axis that taps reach, in parts of at most so many taps."""
    classes = class_table(axis)
    columns = (classes.firsts, classes.lengths, classes.first_taps, classes.counts, classes.starts)
    rows = zip(*(column[classes.counts > 0].tolist() for column in columns), strict=True)
    return [parts for row in rows if (parts := _axis_class(axis, most, *row))]


def _axis_class(
    axis: Axis, most: int, first: int, length: int, first_tap: int, count: int, start: int
) -> list[_AxisClass]:
    # Tap by tap the first input lies further in front, so that those that meet outputs follow each other.
    begin = max(0, -((axis.small - 1 - start) // axis.input_step))
    end = min(count, (start + length - 1) // axis.input_step + 1)
    return [
        _part_of_axis_class(axis, first, length, first_tap, start, some, min(some + most, end))
        for some in range(begin, end, most)
    ]


def _part_of_axis_class(
    axis: Axis, first: int, length: int, first_tap: int, start: int, begin: int, end: int
) -> _AxisClass:
    """Return what the taps of a class from `begin` to `end` have."""
    ahead = start - np.arange(begin, end) * axis.input_step
    low, high = np.maximum(0, -ahead), np.minimum(length, axis.small - ahead)
    anchor = int(np.argmax(high - low))
    inner_low, inner_high = np.maximum(low, low[anchor]), np.minimum(high, high[anchor])
    inner_high = np.maximum(inner_low, inner_high)

    def spans(low: Table, high: Table, ahead: Table) -> list[_Span]:
        to = first + low * axis.stride, first + high * axis.stride
        return list(zip(slices(*to, axis.stride), slices(low + ahead, high + ahead, 1), strict=True))

    sides: list[list[_Span]] = [[] for _ in range(end - begin)]
    for from_, to in ((low, inner_low), (inner_high, high)):
        there = np.flatnonzero(from_ < to)
        for number, span in zip(there.tolist(), spans(from_[there], to[there], ahead[there]), strict=True):
            sides[number].append(span)
    return _AxisClass(
        anchor,
        int(high[anchor] - low[anchor]),
        list(range(first_tap + begin * axis.tap_step, first_tap + end * axis.tap_step, axis.tap_step)),
        spans(low, high, ahead),
        spans(inner_low, inner_high, ahead),
        slices(inner_low - low[anchor], inner_high - low[anchor], 1),
        sides,
    )


def _class(axes: tuple[_AxisClass, ...]) -> _Class:
    """Return how the products of a class's part get into its outputs: each tap is one of those of each axis."""
    anchor = tuple(axis.taps[axis.anchor] for axis in axes)
    of_anchor = [axis.wholes[axis.anchor] for axis in axes]
    others = []
    columns = [
        product(*each)
        for each in (
            [axis.taps for axis in axes],
            [axis.wholes for axis in axes],
            [axis.inners for axis in axes],
            [axis.sums for axis in axes],
            [axis.sides for axis in axes],
        )
    ]
    for tap, wholes, inners, sums, sides in zip(*columns, strict=True):
        if tap == anchor:
            continue
        shared = all(each.start < each.stop for each in sums)
        merges = [((..., *sums), _sides(inners)[1])] if shared else []
        strays = list(map(_sides, _outside(wholes, inners, sides))) if any(sides) else []
        others.append(_Other(tap, merges, strays if shared else [_sides(wholes)]))
    outputs, inputs = _sides(of_anchor)
    return _Class(anchor, inputs, outputs, prod(axis.outputs for axis in axes), others)


def _sides(spans: Sequence[_Span]) -> tuple[Index, Index]:
    """Return the index of the outputs of spans, and that of their inputs."""
    return (..., *(to for to, _ in spans)), (..., *(source for _, source in spans))


def _outside(
    wholes: Sequence[_Span], inners: Sequence[_Span], sides: Sequence[list[_Span]]
) -> Iterator[Sequence[_Span]]:
    """Divide what a tap's spans have outside of the inner ones into boxes."""
    for axis, beside in enumerate(sides):
        for side in beside:
            yield (*inners[:axis], side, *wholes[axis + 1 :])


register(CpuMethod("unified", (Form("numpy_col2im", run, workspace, exact=True),)))
