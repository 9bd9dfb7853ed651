"""Sums of bounded error: in chains of at most `CHAIN` numbers, whose sums are added up in chains again.

Each addition of a chain may round the chain's whole sum, so that a chain of n numbers of one sign has a relative error
of n half units in the last place at the most. That of chains of chains stays below 8 * sqrt(n) units, whatever n is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Numbers that are added up one after the other: 16 squared, so that as many half units are 8 * sqrt(CHAIN) units.
CHAIN = 256
# Elements of a block of a map, which stay in a cache with their sums, and sums that are made side by side.
_BLOCK, _SIDE_BY_SIDE = 1 << 19, 1 << 11
# Elements of a matrix product from which on BLAS has chains of some hundred numbers. It makes smaller ones, and those
# of vectors, by chains as long as the depth, or a fixed part of it.
_LARGE = 1 << 12
# Depth of a large product, which BLAS divides by itself, and of small ones that are made together.
_DEEPEST, _TOGETHER = 1 << 16, 1 << 16


def add_up(parts: Iterable[Array]) -> Array:
    """Return the sum of arrays of one shape, at least one, which are overwritten."""
    totals = parts
    for _ in range(3):
        totals = _chains(totals)
    first, *others = totals
    for each in others:
        first += each
    return first


def _chains(parts: Iterable[Array]) -> Iterator[Array]:
    """Yield the sums of `CHAIN` arrays each."""
    left = iter(parts)
    for total in left:
        for part in islice(left, CHAIN - 1):
            total += part
        yield total


def channel_sums(array: Array, channel: int, dtype: np.dtype[Any]) -> Array:
    """Return the sums over all axes but one, of an array of any strides and dtype, as `dtype`.

    The array is read in the order of memory. Blocks of it are copied where NumPy would add up too many numbers one
    after the other, unless they are contiguous and of that dtype.
    """
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    ordered, at = array.transpose(order), order.index(channel)
    if _longest_chain(ordered, at, dtype) <= CHAIN:
        return _reduce(ordered, at, dtype)
    sums = np.empty(array.shape[channel], dtype)
    edges = _edges(ordered.shape)
    starts = [range(0, size, edge) for size, edge in zip(ordered.shape, edges, strict=True)]
    for start in starts[at]:
        starts[at] = range(start, start + 1)
        boxes = product(*starts)
        blocks = (ordered[tuple(slice(i, i + edge) for i, edge in zip(box, edges, strict=True))] for box in boxes)
        sums[start : start + edges[at]] = add_up(_block_sums(block, at, dtype) for block in blocks)
    return sums


def _longest_chain(array: Array, channel: int, dtype: np.dtype[Any]) -> int:
    """Return how many numbers, or sums of lines, NumPy adds up one after the other, of axes in the order of memory."""
    line, step = 1, 0
    for axis in reversed(range(channel + 1, array.ndim)):
        size, stride = array.shape[axis], array.strides[axis]
        if size > 1 and line > 1 and stride != line * step:
            break
        if size > 1:
            step = stride if line == 1 else step
            line *= size
    # It adds up a line by halves, but buffers lines of another dtype piece by piece.
    if array.dtype != dtype or not array.flags.aligned:
        line = min(line, np.getbufsize())
    return -(-array.size // max(1, array.shape[channel] * line))


def _reduce(array: Array, channel: int, dtype: np.dtype[Any]) -> Array:
    others = tuple(axis for axis in range(array.ndim) if axis != channel)
    # An array of one axis is its own sum, and has no axis to be copied along.
    return np.add.reduce(array, axis=others, dtype=dtype) if others else array.astype(dtype)


def _edges(shape: tuple[int, ...]) -> list[int]:
    """Return the sizes of blocks that are whole along as many of the last axes as they may."""
    edges: list[int] = []
    left = _BLOCK
    for size in reversed(shape):
        edges.insert(0, max(1, min(size, left)))
        left //= size
    return edges


def _block_sums(block: Array, channel: int, dtype: np.dtype[Any]) -> Array:
    """Return a new array of the sums of a block's channels."""
    if _longest_chain(block, channel, dtype) <= CHAIN:
        return _reduce(block, channel, dtype)
    before, channels, behind = (prod(part) for part in _around(block.shape, channel))
    numbers = np.ascontiguousarray(block, dtype).reshape(before, channels, behind)
    # NumPy adds up contiguous numbers by halves.
    return _sum_rows(numbers[..., 0] if behind == 1 else np.add.reduce(numbers, axis=2))


def _around(shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], ...]:
    return shape[:axis], shape[axis : axis + 1], shape[axis + 1 :]


def _sum_rows(rows: Array) -> Array:
    """Return a new array of the sums over the first of two axes, of no more than `CHAIN` * `_SIDE_BY_SIDE` numbers."""
    columns = rows.shape[1]
    beside = max(1, _SIDE_BY_SIDE // columns)
    chain = len(rows) // beside
    if chain > 1:
        # Lines of many rows, so that an addition is of long lines.
        lines = rows[: chain * beside].reshape(chain, beside * columns)
        rows = np.concatenate([np.add.reduce(lines, axis=0).reshape(beside, columns), rows[chain * beside :]])
    if len(rows) <= CHAIN:
        return np.add.reduce(rows, axis=0)
    return np.add.reduce(np.ascontiguousarray(rows.T), axis=1)
