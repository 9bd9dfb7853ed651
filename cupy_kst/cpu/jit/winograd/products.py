"""The products of minimal filtering: the transformed inputs that each one multiplies, and the elements of its weight.

Along each axis a point of a class is a sum of terms (`transform`). A product of all axes is a choice of one term of
each, so that it multiplies the inputs of all their kinds at once, by the products of their signed filter elements.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...taps import combinations, crossed, ranges
from ..task import table_of, table_type
from .blocking import Space
from .transform import AxisTiles

Table = NDArray[Any]

POINT = table_type("first_product", "products")
# A filter element with its sign, of which transformed weights are sums.
ELEMENT = table_type("element", "sign")


class Products(NamedTuple):
    """For each point its first product and how many it has, for each product where its inputs begin, and its elements.

    The plan has the same `elements` and `ends`.
    """

    points: Table
    inputs: Table
    elements: Table
    ends: Table


def products_of(axes: tuple[AxisTiles, AxisTiles, AxisTiles], space: Space, kernel: tuple[int, ...]) -> Products:
    """Return the points of all classes, and what each multiplies."""
    # Classes of all axes come before their points.
    each = combinations(*(np.arange(size) for part in (0, 1) for size in (axis.counts.shape[part] for axis in axes)))
    depth, height, width = (each[:, at] * axis.counts.shape[1] + each[:, 3 + at] for at, axis in enumerate(axes))
    of_depth, of_height, of_width = (axis.counts.ravel() for axis in axes)
    counts, first, second = crossed(of_depth, of_height, depth, height)
    counts, both, third = crossed(counts, of_width, np.arange(len(counts)), width)
    terms = first[both], second[both], third
    inputs = reduce(np.add, (place[term] for place, term in zip(_places(space), terms, strict=True)))
    elements, ends = _elements(axes, terms, kernel)
    return Products(table_of(POINT, np.cumsum(counts) - counts, counts), inputs, elements, ends)


def _places(space: Space) -> list[Table]:
    """Return for each term of each axis how far the inputs of its products are from the first ones."""
    places = []
    planes, tiles = space.plane, space.pitch
    for axis, count in list(zip(space.axes, space.tiles, strict=True))[::-1]:
        places.append(axis.terms.kinds * planes + (axis.terms.shifts - axis.lowest) * tiles)
        planes, tiles = planes * len(axis.starts), tiles * count
    return places[::-1]


def _elements(axes: tuple[AxisTiles, ...], terms: tuple[Table, ...], kernel: tuple[int, ...]) -> tuple[Table, Table]:
    """Return signed filter elements, product by product, and where the elements of each product end."""
    several = [(axis.terms.signs[term, 1] != 0) for axis, term in zip(axes, terms, strict=True)]
    counts = reduce(np.multiply, (1 + each for each in several))
    product, left = np.repeat(np.arange(len(counts)), counts), ranges(np.zeros_like(counts), counts)
    places, signs, apart = np.zeros_like(left), np.ones_like(left), 1
    for axis, term, two, size in list(zip(axes, terms, several, kernel, strict=True))[::-1]:
        # The last axis's elements go first.
        which = left * two[product] % 2
        left = np.where(two[product], left // 2, left)
        places += axis.terms.elements[term[product], which] * apart
        signs *= axis.terms.signs[term[product], which]
        apart *= size
    return table_of(ELEMENT, places, signs), np.cumsum(counts)
