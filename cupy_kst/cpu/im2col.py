"""How NumPy carries out a dense convolution: windows gathered into columns, multiplied in blocks that fit caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, repeat
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..geometry import Geometry
from ..geometry.refusals import too_many
from .sums import add_up, matrix_product

Array = NDArray[Any]
Axes = tuple[int, int, int]
Index = tuple[Any, ...]

# What one block of work holds beside its arrays: small beside the last cache, large beside a matrix product's overhead.
BLOCK_BYTES = 1 << 20
# Fewer columns make a product slow, since it reads the whole matrix for them.
BLOCK_COLUMNS = 256


def fits_at_once(geometry: Geometry, row_bytes: int) -> bool:
    """Return whether the products of all taps with a map whose channels take `row_bytes` stay in a block."""
    return prod(axis.kernel for axis in geometry.axes) * row_bytes <= BLOCK_BYTES


def convolve(
    source: Array,
    weight: Array,
    bias: Array | None,
    out: Array,
    start: Axes,
    step: Axes,
    stride: Axes = (1, 1, 1),
) -> None:
    """Convolve ``source`` by ``weight``.

    Set ``out[n, g, m, q]`` to the bias and the sum of ``source[n, g, c, start + q*stride + t*step] * weight[g, c, m,
    t]``.

    Parameters
    ----------
    source : ndarray
        Shape ``(samples, groups, channels, *extents)``; every window that `start`, `step` and the taps name is on it.
    weight : ndarray
        Shape ``(groups, channels, out_channels, *taps)``.
    bias : ndarray, optional
        Shape ``(groups, out_channels, 1, 1, 1)``.
    out : ndarray
        Shape ``(samples, groups, out_channels, *positions)``; any strides.
    start, step, stride : tuple of int
        Input of the first tap at the first position, and the distances from it to the input of the next tap, and to
        that of the next position.
    """
    groups, channels, out_channels, *taps = weight.shape
    # Output channels last: the copy that reorders a sub-kernel is several times faster so, and BLAS takes either.
    matrix = weight.transpose(0, 1, 3, 4, 5, 2).reshape(groups, channels * prod(taps), out_channels).swapaxes(1, 2)
    windows = _windows(source, taps, out.shape[3:], start, step, stride)
    columns = _columns(groups * channels * prod(taps) * source.itemsize)
    for samples, *positions in blocks((out.shape[0], *out.shape[3:]), columns):
        inside: Index = (samples, ..., *positions)
        _convolve_block(windows[inside], matrix, bias, out[inside])


# A function of its own, so that the columns of one block are gone when the next block's are gathered.
def _convolve_block(windows: Array, matrix: Array, bias: Array | None, out: Array) -> None:
    groups, _, products = matrix.shape
    result = matrix_product(matrix, windows.reshape(windows.shape[0], groups, products, -1)).reshape(out.shape)
    if bias is not None:
        result += bias
    out[...] = result


def _columns(column_bytes: int) -> int:
    return max(BLOCK_COLUMNS, BLOCK_BYTES // column_bytes)


def convolve_bytes(
    source: Sequence[int],
    weight: Sequence[int],
    out: Sequence[int],
    itemsize: int,
    step: Axes = (1, 1, 1),
    stride: Axes = (1, 1, 1),
) -> int:
    """Return the bytes that `convolve` holds beside arrays of these shapes: the matrix, and a block's columns and sums.

    A matrix or columns that lie in memory as they are multiplied are not copied.
    """
    groups, channels, out_channels, *taps = weight
    depth = channels * prod(taps)
    matrix = 0 if prod(taps) == 1 else groups * depth * out_channels
    samples, *positions = block_shape((out[0], *out[3:]), _columns(groups * depth * itemsize))
    strides = _strides(source)
    rows_lie = merge([channels, *taps], [strides[2], *_times(step, strides[3:])])
    copied = not (rows_lie and merge(positions, _times(stride, strides[3:])))
    return (matrix + samples * groups * (copied * depth + out_channels) * prod(positions)) * itemsize


def merge(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether axes lie in memory as one, so that NumPy reshapes them to one without a copy."""
    axes = [each for each in zip(sizes, strides, strict=True) if each[0] != 1]
    return all(stride == size * other for (_, stride), (size, other) in pairwise(axes))


def _strides(shape: Sequence[int]) -> list[int]:
    """Return the strides of a C-contiguous array, in numbers."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _windows(
    source: Array, taps: Sequence[int], positions: Sequence[int], start: Axes, step: Axes, stride: Axes
) -> Array:
    """Return a view of shape ``(samples, groups, channels, *taps, *positions)`` on the inputs of every tap."""
    depth, height, width = start
    strides = source.strides[3:]
    return as_strided(
        source[..., depth:, height:, width:],
        (*source.shape[:3], *taps, *positions),
        (*source.strides[:3], *_times(step, strides), *_times(stride, strides)),
        writeable=False,
    )


def _times(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a * b for a, b in zip(one, other, strict=True))


def correlate(one: Array, other: Array) -> Array:
    """Return the sum over samples and positions of each channel of `one` times each of `other`.

    Both have shape ``(samples, groups, channels, *positions)``; the result ``(groups, channels, other's channels)``.
    Samples are summed in the order of their index.
    """
    samples, groups, rows = one.shape[:3]
    columns, positions = other.shape[2], prod(one.shape[3:])
    batch = _batch(groups * max(rows, columns) * positions * one.itemsize)

    def product_from(first: int) -> Array:
        some = slice(first, first + batch)
        left, right = (np.moveaxis(each[some], 0, 2).reshape(groups, each.shape[2], -1) for each in (one, other))
        return matrix_product(left, right.swapaxes(1, 2))

    return add_up(map(product_from, range(0, samples, batch)))


def _batch(sample_bytes: int) -> int:
    return max(1, BLOCK_BYTES // sample_bytes)


class Window(NamedTuple):
    """Positions of a map that `correlate` multiplies: the map's shape, and size and step along each of its axes."""

    shape: Sequence[int]
    sizes: Sequence[int]
    steps: Sequence[int] = (1, 1, 1)


def correlate_bytes(one: Window, other: Window, itemsize: int) -> int:
    """Return the bytes that `correlate` holds: two matrices, and the operands of two products unless they are views."""
    samples, groups, rows = one.shape[:3]
    columns, positions = other.shape[2], prod(one.sizes)
    batch = min(samples, _batch(groups * max(rows, columns) * positions * itemsize))
    copied = 0
    for shape, sizes, steps in (one, other):
        strides = _strides(shape)
        if not merge([batch, *sizes], [strides[0], *_times(steps, strides[3:])]):
            copied += batch * groups * shape[2] * positions
    # The next operands are made while those before are held.
    several = 2 if batch < samples else 1
    return (2 * groups * rows * columns + several * copied) * itemsize


def block_shape(shape: Sequence[int], size: int) -> list[int]:
    """Return the extents of the boxes that `blocks` makes."""
    edges: list[int] = []
    left = size
    for length in reversed(shape):
        edges.insert(0, max(1, min(length, left)))
        left //= max(1, length)
    return edges


def blocks(shape: Sequence[int], size: int) -> Iterator[tuple[slice, ...]]:
    """Divide `shape` into boxes of at most `size` elements, whole along as many of the last axes as fit."""
    edges = block_shape(shape, size)
    for first in np.ndindex(*(-(-length // edge) for length, edge in zip(shape, edges, strict=True))):
        yield tuple(slice(i * edge, (i + 1) * edge) for i, edge in zip(first, edges, strict=True))


def slices(starts: Array, stops: Array, step: int) -> list[slice]:
    """Return the slices that begin and end there."""
    return list(map(slice, starts.tolist(), stops.tolist(), repeat(step)))


def last_axes(ranges: Sequence[range]) -> Index:
    """Return the index that takes a range of each of the last axes."""
    return (..., *(slice(each.start, each.stop, each.step) if each else slice(0) for each in ranges))


def pad(input: Array, borders: Sequence[tuple[int, int]]) -> Array:
    """Return the input with (lo, hi) zeros around each of the last axes: itself if there are none to put.

    Raises
    ------
    ValueError
        If no array can have so many elements.
    """
    if not any(map(any, borders)):
        return input
    sizes = input.shape[-len(borders) :]
    extents = (lo + size + hi for size, (lo, hi) in zip(sizes, borders, strict=True))
    shape = (*input.shape[: -len(borders)], *extents)
    if why := too_many(shape):
        raise ValueError(
            f"padding, stride and dilation put {tuple(borders)} zeros around the input in NumPy, which would have "
            f"shape {shape}, {why}"
        )
    padded = np.zeros(shape, input.dtype)
    padded[last_axes([range(lo, lo + size) for size, (lo, _) in zip(sizes, borders, strict=True)])] = input
    return padded


def padded_shape(shape: Sequence[int], borders: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the shape of what `pad` returns."""
    front = len(shape) - len(borders)
    return (*shape[:front], *(lo + size + hi for size, (lo, hi) in zip(shape[front:], borders, strict=True)))


def pad_bytes(shape: Sequence[int], borders: Sequence[tuple[int, int]], itemsize: int) -> int:
    """Return the bytes of a copy that `pad` makes: 0 where there are no zeros to put."""
    return prod(padded_shape(shape, borders)) * itemsize if any(map(any, borders)) else 0
