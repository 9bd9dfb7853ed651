"""Unified kernel segregation (arXiv 2502.20493): one pass over the taps, each added straight into its class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, product, zip_longest
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axis import Axis, AxisClass
from ..geometry import AXES, Geometry
from . import merging
from .form import Setting, grouped_shapes
from .forms import BLOCK_BYTES, Index, block_shape, blocks, fits_at_once, last_axes
from .sums import CHAIN, matrix_product

Array = NDArray[Any]
Ranges = tuple[range, ...]
Tap = tuple[int, ...]

_COLONS = (slice(None),) * AXES


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.Form has them."""
    how = merging.plan(geometry, input.itemsize)
    if how is not None:
        merging.run(geometry, how, input, weight, bias, out)
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
        for classes in others:
            beside = np.zeros(target.shape, target.dtype)
            _set(classes, products, None, beside)
            target += beside


def _set(classes: list[_Class], products: _Products, bias: Array | None, target: Array) -> None:
    """Set what the products of some taps cover best, and add what is outside of that."""
    for lead, lead_inputs, lands, _, others in classes:
        sums = products.of(lead)[lead_inputs]
        for tap, merges, strays in others:
            product_of_tap = products.of(tap)
            for into, inputs in merges:
                sums[into] += product_of_tap[inputs]
            for into, inputs in strays:
                target[into] += product_of_tap[inputs]
        target[lands] = sums if bias is None else sums + bias


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: products, of which the last ones are held while the next ones are made."""
    how = merging.plan(geometry, setting.itemsize)
    if how is not None:
        return merging.workspace(geometry, how, setting)
    samples, groups, _, *sizes = grouped_shapes(geometry)["small"]
    kernel = [axis.kernel for axis in geometry.axes]
    row_bytes = prod(sizes) * setting.itemsize
    at_once = fits_at_once(geometry, row_bytes)
    shape = (samples, groups, geometry.large_channels // groups)
    block = block_shape(shape, _rows(row_bytes, kernel, at_once))
    several = 2 if block != list(shape) else 1
    # Those of all taps; or those of the class, of the tap before and of the tap, or with the bias.
    held = prod(kernel) * several if at_once else min(3, prod(kernel) * several)
    return prod(block) * row_bytes * (held + 1)


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

    lead: Tap
    inputs: Index
    lands: Index
    outputs: int
    others: list[_Other]


@lru_cache(maxsize=256)
def _schedule(geometry: Geometry) -> tuple[list[list[_Class]], bool]:
    """Return the classes that a tap reaches, and whether their sums are set everywhere on the output.

    They are in lists of a part of each class, whose sums are added up: the first is that of all classes.
    """
    found = [_class(geometry, classes) for classes in geometry.classes]
    rounds = [[part for part in parts if part] for parts in zip_longest(*found)] or [[]]
    return rounds, sum(one.outputs for one in rounds[0]) == prod(axis.large for axis in geometry.axes)


def _class(geometry: Geometry, classes: tuple[AxisClass, ...]) -> list[_Class]:
    """Return a class, in parts of no more taps than a chain has."""
    meetings: dict[Tap, tuple[Ranges, Ranges]] = {}
    for tap in product(*map(_taps, geometry.axes, classes)):
        each = [axis.meetings(k) for axis, k in zip(geometry.axes, tap, strict=True)]
        if all(inputs for inputs, _ in each):
            meetings[tap] = tuple(inputs for inputs, _ in each), tuple(lands for _, lands in each)
    taps = iter(meetings.items())
    return [_part_of_class(part) for part in iter(lambda: dict(islice(taps, CHAIN)), {})]


def _part_of_class(meetings: dict[Tap, tuple[Ranges, Ranges]]) -> _Class:
    lead = max(meetings, key=lambda tap: prod(map(len, meetings[tap][1])))
    inputs, lands = meetings.pop(lead)
    within = tuple(range(len(each)) for each in lands)
    others = []
    for tap, (its_inputs, its_lands) in meetings.items():
        shared = tuple(map(_intersection, lands, its_lands))
        merges = [(_part(shared, lands, within), _part(shared, its_lands, its_inputs))] if all(shared) else []
        strays = [(last_axes(box), _part(box, its_lands, its_inputs)) for box in _outside(its_lands, shared)]
        others.append(_Other(tap, merges, strays))
    return _Class(lead, last_axes(inputs), last_axes(lands), prod(map(len, lands)), others)


def _taps(axis: Axis, one: AxisClass) -> range:
    return range(one.first_tap, axis.kernel, axis.tap_step) if one.taps else range(0)


def _intersection(one: range, other: range) -> range:
    first, stop = max(one.start, other.start), min(one.stop, other.stop)
    return range(first, max(first, stop), one.step)


def _part(box: Ranges, lands: Ranges, inputs: Ranges) -> Index:
    """Return the index of the inputs that land on `box`, a part of `lands`."""
    firsts = ((some.start - all_.start) // all_.step for some, all_ in zip(box, lands, strict=True))
    return last_axes([each[first : first + len(some)] for each, first, some in zip(inputs, firsts, box, strict=True)])


def _outside(box: Ranges, inner: Ranges) -> Iterator[Ranges]:
    """Divide what `box` has outside of `inner`, a part of it, into boxes."""
    if not all(inner):
        yield box
        return
    for axis, (whole, part) in enumerate(zip(box, inner, strict=True)):
        first = (part.start - whole.start) // whole.step
        for side in (whole[:first], whole[first + len(part) :]):
            if side:
                yield (*inner[:axis], side, *box[axis + 1 :])
