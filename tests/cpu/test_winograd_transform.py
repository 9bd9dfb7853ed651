"""Minimal filtering along an axis: the points of its tiles against the taps that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.cpu.jit.winograd.transform import AxisTiles, axes_in_tiles, filters
from cupy_kst.cpu.reference import conv, conv_transpose

# Size, kernel, stride, padding, dilation, and products for two outputs of each class, of a transposed convolution.
TRANSPOSED = [
    (6, 4, 2, 1, 1, (3, 3)),
    (7, 4, 2, 1, 1, (3, 3)),
    (6, 3, 2, 1, 1, (2, 3)),
    (6, 5, 2, 2, 1, (5, 3)),
    (5, 16, 8, 4, 1, (3,) * 8),
    (9, 3, 1, 1, 1, (5,)),
    (9, 4, 1, 0, 1, (6,)),
    (5, 7, 3, 2, 1, (5, 3, 3)),
    (8, 4, 2, 3, 2, (6, 0)),
]
# The same of a convolution, whose taps are of as many phases as the stride.
FORWARD = [(12, 4, 2, 1, 1, 6), (13, 3, 2, 1, 1, 5), (12, 5, 1, 2, 1, 8), (11, 5, 2, 2, 1, 8), (20, 6, 3, 0, 1, 9)]


def axis(geometry: Geometry) -> AxisTiles:
    return axes_in_tiles(geometry)[2]


def combined(tiles: AxisTiles, x: Any, w: Any, outputs: int) -> Any:
    """Return the outputs that the points of an axis make, tile by tile."""

    def at(index: int) -> Any:
        return x[index] if 0 <= index < len(x) else 0

    made = np.full(outputs, np.nan)
    terms = list(zip(*tiles.terms, strict=True))
    ends = np.cumsum(tiles.counts).reshape(tiles.counts.shape)
    for number, (first, length) in enumerate(zip(tiles.firsts, tiles.lengths, strict=True)):
        for position in range(length):
            tile, which = divmod(position, tiles.outputs)
            total = 0
            for point in range(which, which + tiles.outputs):
                end = ends[number, point]
                for kind, shift, elements, signs in terms[end - tiles.counts[number, point] : end]:
                    begin = tiles.starts[kind] + tiles.step * (tile + shift)
                    inputs = at(begin) - (at(begin + tiles.aparts[kind]) if tiles.aparts[kind] else 0)
                    total += inputs * sum(
                        sign * w[element] for element, sign in zip(elements, signs, strict=True) if sign
                    )
            made[first + position * tiles.output_step] = total
    return made


def counted(tiles: AxisTiles) -> tuple[int, ...]:
    assert tiles.products == len(tiles.terms.kinds)
    assert (tiles.lowest, tiles.highest) == (min(tiles.terms.shifts), max(tiles.terms.shifts))
    return tuple(tiles.counts.sum(axis=1))


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "products"), TRANSPOSED)
def test_points_make_the_outputs_of_a_transposed_convolution(
    size: int, kernel: int, stride: int, padding: int, dilation: int, products: tuple[int, ...]
) -> None:
    x, w = (np.random.default_rng(n).integers(-5, 6, n).astype(float) for n in (size, kernel))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = conv_transpose(x[None, None], w[None, None], **options)[0, 0]
    tiles = axis(Geometry.conv_transpose((1, 1, size), (1, 1, kernel), **options))
    assert tiles.outputs == 2
    np.testing.assert_array_equal(combined(tiles, x, w, len(expected)), expected)
    assert sorted(counted(tiles)) == sorted(products)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "products"), FORWARD)
def test_points_make_the_outputs_of_a_convolution(
    size: int, kernel: int, stride: int, padding: int, dilation: int, products: int
) -> None:
    x, w = (np.random.default_rng(n).integers(-5, 6, n).astype(float) for n in (size, kernel))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = conv(x[None, None], w[None, None], **options)[0, 0]
    tiles = axis(Geometry.conv((1, 1, size), (1, 1, kernel), **options))
    np.testing.assert_array_equal(combined(tiles, x, w, len(expected)), expected)
    assert counted(tiles) == (products,)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"),
    [(2, 2, 1, 9), (1, 1, 1, 9), (3, 4, 1, 9), (3, 1, 2, 9), (4, 2, 1, 1)],
    ids=["a tap a class", "a tap", "less than a tap a class", "taps apart", "a position"],
)
def test_without_neighbouring_taps_it_saves_nothing(kernel: int, stride: int, dilation: int, size: int) -> None:
    geometry = Geometry.conv_transpose((1, 1, size), (1, 1, kernel), stride, dilation=dilation)
    assert not filters(geometry)
    assert axis(geometry).outputs == 1


def test_depth_is_not_filtered() -> None:
    geometry = Geometry.conv_transpose((1, 1, 8, 8, 8), (1, 1, 4, 4, 4), 2, 1)
    assert [tiles.outputs for tiles in axes_in_tiles(geometry)] == [1, 2, 2]
