"""Unified kernel segregation (arXiv 2502.20493): one pass over the taps, each added straight into its class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..axis import AxisClass
from ..geometry import Geometry
from .forms import BLOCK_BYTES, Index, blocks, last_axes, multiply

Array = NDArray[Any]
Ranges = tuple[range, ...]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.RUNS has them."""
    groups, channels, out_channels, *kernel = weight.shape
    samples, sizes = input.shape[0], input.shape[3:]
    pixels = input.reshape(samples, groups, channels, prod(sizes))
    rows = weight.reshape(groups, channels, out_channels, prod(kernel))
    row_bytes = groups * prod(kernel) * prod(sizes) * input.itemsize
    for some, outputs in blocks((samples, out_channels), max(1, BLOCK_BYTES // row_bytes)):
        block = rows[:, :, outputs]
        products = multiply(block.reshape(groups, channels, -1).swapaxes(1, 2), pixels[some])
        products = products.reshape(-1, groups, block.shape[2], *kernel, *sizes)
        target = out[some, :, outputs]
        for lead, lands, merges, strays in _schedule(geometry):
            sums = products[lead]
            for into, source in merges:
                sums[into] += products[source]
            target[lands] = sums if bias is None else sums + bias[:, outputs]
            for into, source in strays:
                target[into] += products[source]


class _Class(NamedTuple):
    """How the products of one residue class get into its outputs.

    Most products of a class cover the same outputs. They are summed in memory that is contiguous, in place of the
    product that covers most, so that the strided outputs are touched once; what sticks out is added by itself.
    """

    lead: Index
    lands: Index
    merges: list[tuple[Index, Index]]
    strays: list[tuple[Index, Index]]


@lru_cache(maxsize=256)
def _schedule(geometry: Geometry) -> list[_Class]:
    found = (_class(geometry, classes) for classes in geometry.classes)
    return [one for one in found if one is not None]


def _class(geometry: Geometry, classes: tuple[AxisClass, ...]) -> _Class | None:
    meetings: dict[tuple[int, ...], tuple[Ranges, Ranges]] = {}
    taps = (range(one.taps) for one in classes)
    for steps in product(*taps):
        tap = tuple(
            one.first_tap + step * axis.tap_step for one, step, axis in zip(classes, steps, geometry.axes, strict=True)
        )
        each = [axis.meetings(k) for axis, k in zip(geometry.axes, tap, strict=True)]
        if all(inputs for inputs, _ in each):
            meetings[tap] = tuple(inputs for inputs, _ in each), tuple(lands for _, lands in each)
    if not meetings:
        return None
    lead = max(meetings, key=lambda tap: prod(map(len, meetings[tap][1])))
    inputs, lands = meetings.pop(lead)
    merges, strays = [], []
    for tap, (its_inputs, its_lands) in meetings.items():
        shared = tuple(map(_intersection, lands, its_lands))
        if all(shared):
            within = tuple(range(len(each)) for each in lands)
            merges.append(
                (last_axes(_matching(shared, lands, within)), _of(tap, _matching(shared, its_lands, its_inputs)))
            )
        for part in _outside(its_lands, shared):
            strays.append((last_axes(part), _of(tap, _matching(part, its_lands, its_inputs))))
    return _Class(_of(lead, inputs), last_axes(lands), merges, strays)


def _of(tap: tuple[int, ...], inputs: Ranges) -> Index:
    return (..., *tap, *last_axes(inputs)[1:])


def _intersection(one: range, other: range) -> range:
    first, stop = max(one.start, other.start), min(one.stop, other.stop)
    return range(first, max(first, stop), one.step)


def _matching(part: Ranges, lands: Ranges, inputs: Ranges) -> Ranges:
    """Return the inputs that land on a part of `lands`."""
    firsts = ((some.start - all_.start) // all_.step for some, all_ in zip(part, lands, strict=True))
    return tuple(each[first : first + len(some)] for each, first, some in zip(inputs, firsts, part, strict=True))


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
