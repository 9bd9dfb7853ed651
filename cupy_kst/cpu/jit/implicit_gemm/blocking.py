"""The size of boxes: as many positions as fit the second cache with all that they read, and waste the fewest lanes.

A box of the whole width needs no columns twice, and a higher one fewer rows, since neighbouring boxes both read the
halo between them. Vectors may run over the end of a row into the next one, so that the lanes that a box wastes depend
on its height: all heights that fit are compared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from ....geometry import Geometry
from ...taps import AxisReads, reads
from .. import isa
from ..isa import RegisterTile

# What copying a vector of inputs to the buffer takes, beside multiplying it.
_COPY = 0.02


def box_size(
    axes: tuple[AxisReads, ...], samples: int, rows: int, tile: RegisterTile, itemsize: int, least: int, most: int
) -> tuple[int, int, int, int]:
    """Return samples and extents of the boxes of at most `most` positions that these are divided into."""
    depth, height, width = axes

    def fits(n: int, d: int, h: int, w: int) -> bool:
        inputs = n * rows * (d + depth.halo) * (h + height.halo) * (w + width.halo)
        return inputs * itemsize <= isa.BOX_BYTES and n * d * h * w <= most

    w = _most(width.positions, 4 * tile.lanes, lambda size: fits(1, 1, 1, size))
    heights = range(1, 1 + _largest(min(height.positions, most), 1, lambda size: fits(1, 1, size, w)))
    h = _height(height, heights, w, width.halo, tile)
    d = _most(depth.positions, 1, lambda size: fits(1, size, h, w)) if h == height.positions else 1
    whole = d == depth.positions and h == height.positions and w == width.positions
    n = _most(max(1, samples), 1, lambda size: size * d * h * w <= least and fits(size, d, h, w)) if whole else 1
    return n, d, h, w


def _most(length: int, least: int, fits: Callable[[int], bool]) -> int:
    """Return the largest part of `length`, divided as evenly as can be, that is not above `least` or that fits."""
    largest = _largest(length, least, fits)
    return ceil(length / ceil(length / largest))


def _largest(length: int, least: int, fits: Callable[[int], bool]) -> int:
    """Return the largest size up to `length` that is not above `least` or that fits, as all smaller ones then do."""
    return bisect_left(range(length), True, lo=min(length, least), key=lambda size: not fits(size + 1))


def _height(axis: AxisReads, heights: range, width: int, halo: int, tile: RegisterTile) -> int:
    """Return the height of boxes that take least work, the largest of those that take the same."""
    lanes = tile.lanes if tile.positions_in_lanes else 1
    each = np.arange(heights.start, heights.stop)
    boxes, rest = np.divmod(axis.positions, each)
    vectors = boxes * _vectors(each, width, width + halo, lanes)
    vectors += np.where(rest > 0, _vectors(rest, width, width + halo, lanes), 0)
    rows = axis.positions + (boxes + (rest > 0)) * axis.halo
    work = vectors + _COPY * (rows * width / lanes)
    # Rounded, so that the order of additions does not choose between heights of the same work.
    few = np.flatnonzero(work <= work.min() + 0.002)
    return int(min(each[few], key=lambda size: (round(float(work[size - heights.start]), 3), -size)))


def _vectors(rows: Any, width: int, pitch: int, lanes: int) -> Any:
    """Return the fewest vectors that cover rows: each row its own, or rows that flow into each other."""
    return np.minimum(-(-((rows - 1) * pitch + width) // lanes), rows * ceil(width / lanes))


def idle_lanes(geometry: Geometry, lanes: int) -> float:
    """Return how many numbers the vectors have that a convolution's positions take, for each of these."""
    _, height, width = reads(geometry)
    vectors = _vectors(height.positions, width.positions, width.positions + width.halo, lanes)
    return float(vectors) * lanes / (height.positions * width.positions)
