"""Sums of bounded error: in chains of at most `CHAIN` numbers, whose sums are added up in chains again.

Each addition of a chain may round the chain's whole sum, so that a chain of n numbers of one sign has a relative error
of n half units in the last place at the most. That of chains of chains stays below 8 * sqrt(n) units, whatever n is.
Chains of a BLAS are longer, for which the documented bound is 9 * sqrt(n).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Numbers that are added up one after the other: 16 squared, so that as many half units are 8 * sqrt(CHAIN) units.
CHAIN = 256
# Elements of a block of a map, which stay in a cache with their sums, and the fewest sums that are made side by side:
# so many that a block has no more than `CHAIN` numbers for each.
_BLOCK, _SIDE_BY_SIDE = 1 << 19, 1 << 11
# Elements of a matrix product which BLAS makes by chains of a few hundred. Some make those of fewer, or of a vector, by
# chains as long as the depth, or a fixed part of it.
_LARGE = 1 << 12
# Elements of the products that are held before they are added up, but for one product.
_AT_ONCE = 1 << 14
# Depth of the products that are added up one after the other.
_DEEPEST = CHAIN * CHAIN


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


def matrix_product(matrix: Array, columns: Array, out: Array | None = None) -> Array:
    """Return the matrix product over the last two axes, which is `out` if that is given."""
    rows, depth = matrix.shape[-2:]
    if depth == 1:
        # With one column to sum over, NumPy's matmul leaves BLAS and is ten times slower than an outer product.
        return np.multiply(matrix, columns, out=out)
    large = min(rows, columns.shape[-1]) > 1 and rows * columns.shape[-1] >= _LARGE
    if depth <= (_DEEPEST if large else CHAIN):
        return np.matmul(matrix, columns, out=out)
    make = np.matmul if large else _product_by_chains
    pieces = (slice(first, first + _DEEPEST) for first in range(0, depth, _DEEPEST))
    total = add_up(make(matrix[..., piece], columns[..., piece, :]) for piece in pieces)
    if out is None:
        return total
    out[...] = total
    return out


def _product_by_chains(matrix: Array, columns: Array) -> Array:
    """Return a matrix product as the sum of those of `CHAIN` columns each, of no more than `CHAIN` of them."""
    whole = matrix.shape[-1] // CHAIN * CHAIN
    rest: Array = np.matmul(matrix[..., whole:], columns[..., whole:, :])
    if not whole:
        return rest
    left = matrix[..., :whole].reshape(*matrix.shape[:-1], -1, CHAIN).swapaxes(-2, -3)
    right = columns[..., :whole, :].reshape(*columns.shape[:-2], -1, CHAIN, columns.shape[-1])
    several = max(1, _AT_ONCE // max(1, rest.size))
    pieces = (slice(first, first + several) for first in range(0, whole // CHAIN, several))
    products = (np.matmul(left[..., piece, :, :], right[..., piece, :, :]) for piece in pieces)
    return add_up(chain([rest], (np.add.reduce(each, axis=-3) for each in products)))


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
        line = min(line, int(np.getbufsize()))
    chains: int = -(-array.size // max(1, array.shape[channel] * line))
    return chains


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
    beside = -(-_SIDE_BY_SIDE // columns)
    chain = len(rows) // beside
    if chain > 1:
        # Lines of many rows, so that an addition is of long lines.
        lines = rows[: chain * beside].reshape(chain, beside * columns)
        rows = np.concatenate([np.add.reduce(lines, axis=0).reshape(beside, columns), rows[chain * beside :]])
    few = len(rows) <= CHAIN
    sums: Array = np.add.reduce(rows, axis=0) if few else np.add.reduce(np.ascontiguousarray(rows.T), axis=1)
    return sums
