"""Kernel segregation of a weight array: the dense sub-kernels of its residue classes, and back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import product
from math import gcd
from typing import Any

from . import arrays
from .dtypes import spelt
from .geometry.options import per_axis

IntOrAxes = int | Sequence[int]
Residues = tuple[int, ...]


def segregate(weight: Any, stride: IntOrAxes, dilation: IntOrAxes = 1) -> dict[Residues, Any]:
    """Return the sub-kernels of a weight, one for each residue class that has taps [1]_.

    The outputs ``o`` of a transposed convolution with ``(o + lo) mod stride == residue`` on each axis take the taps of
    one sub-kernel and no others, as a convolution of stride 1. Its taps on an axis lie ``stride / gcd(stride,
    dilation)`` apart in the filter. With stride 2 on two axes these are the four sub-kernels of the paper.

    Parameters
    ----------
    weight : numpy.ndarray or cupy.ndarray
        Shape ``(in_channels, out_channels // groups, *kernel)``, one to three axes of any size; of any dtype.
    stride, dilation : int or sequence of int
        For all axes, or one per axis.

    Returns
    -------
    dict of tuple of int to array
        By the residue on each axis, in ascending order: views on `weight` of shape
        ``(in_channels, out_channels // groups, *taps)``.

    Raises
    ------
    TypeError
        If `weight` is not a NumPy or CuPy array, or an option not made of ints.
    ValueError
        If an option is below 1 or has not a value per axis, or `weight` not three to five dimensions of some size.

    References
    ----------
    .. [1] Tida et al., "Kernel-Segregated Transpose Convolution Operation", arXiv 2209.03704.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst import segregate
    >>> weight = np.arange(9).reshape(1, 1, 3, 3)
    >>> for residues, taps in segregate(weight, stride=2).items():
    ...     print(residues, taps[0, 0].tolist())
    (0, 0) [[0, 2], [6, 8]]
    (0, 1) [[1], [7]]
    (1, 0) [[3, 5]]
    (1, 1) [[4]]
    """
    arrays.engine_of({}, weight=weight)
    rank = _rank("weight", weight.shape)
    if 0 in weight.shape:
        raise ValueError(f"weight has shape {weight.shape}: no dimension may be of size zero")
    taps = _taps(weight.shape[2:], per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1))
    return {residues: weight[_index(taps, residues)] for residues in product(*taps)}


def merge(subkernels: Mapping[Residues, Any], stride: IntOrAxes, dilation: IntOrAxes = 1) -> Any:
    """Return the weight whose sub-kernels are given: the exact inverse of `segregate`.

    Parameters
    ----------
    subkernels : mapping of tuple of int to array
        By the residue on each axis, as `segregate` returns them for the same `stride` and `dilation`; NumPy or CuPy
        arrays of shape ``(in_channels, out_channels // groups, *taps)``.
    stride, dilation : int or sequence of int
        For all axes, or one per axis.

    Returns
    -------
    array
        Shape ``(in_channels, out_channels // groups, *kernel)``, a new C-contiguous array of the sub-kernels' module
        and dtype.

    Raises
    ------
    TypeError
        If a sub-kernel is not a NumPy or CuPy array, their dtypes differ, or an option is not made of ints.
    ValueError
        If the residues or shapes are not those of any weight with this stride and dilation.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst import merge, segregate
    >>> weight = np.arange(9).reshape(1, 1, 3, 3)
    >>> np.array_equal(merge(segregate(weight, stride=2), stride=2), weight)
    True
    """
    if not isinstance(subkernels, Mapping):
        raise TypeError(
            f"subkernels is a {type(subkernels).__name__}: expected a dict of residue class to array, as segregate "
            "returns"
        )
    if not subkernels:
        raise ValueError("subkernels is empty: a weight has one at least")
    module = arrays.engine_of({}, **{f"subkernels[{residues}]": each for residues, each in subkernels.items()})
    (one, first), *others = subkernels.items()
    for residues, each in others:
        if each.dtype != first.dtype:
            raise TypeError(
                f"subkernels[{one}] has dtype {spelt(first.dtype)} and subkernels[{residues}] has dtype "
                f"{spelt(each.dtype)}: "
                "convert one with astype"
            )
    rank = _rank(f"subkernels[{one}]", first.shape)
    strides, dilations = per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1)
    taps = _taps(_kernel(subkernels, rank), strides, dilations)
    expected = {
        residues: (*first.shape[:2], *(_length(of_axis[r]) for of_axis, r in zip(taps, residues, strict=True)))
        for residues in product(*taps)
    }
    found = {residues: tuple(each.shape) for residues, each in subkernels.items()}
    if found != expected:
        raise ValueError(
            f"subkernels have shapes {found}: with stride={strides} and dilation={dilations} a weight of as many taps "
            f"has {expected}"
        )
    kernel = (sum(map(_length, of_axis.values())) for of_axis in taps)
    weight = sys.modules[module].empty((*first.shape[:2], *kernel), first.dtype)
    for residues, each in subkernels.items():
        weight[_index(taps, residues)] = each
    return weight


def _rank(name: str, shape: Sequence[int]) -> int:
    if not 3 <= len(shape) <= 5:
        raise ValueError(
            f"{name} has shape {tuple(shape)}: expected 3, 4 or 5 dimensions (in_channels, out_channels // groups, "
            "*kernel)"
        )
    return len(shape) - 2


def _taps(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[dict[int, slice]]:
    """Return for each axis the taps of its residue classes that have any."""
    axes = []
    for taps, s, d in zip(kernel, stride, dilation, strict=True):
        # From the last tap on, so that the first of each class stays.
        first = {tap * d % s: tap for tap in reversed(range(taps))}
        axes.append({residue: slice(first[residue], taps, s // gcd(s, d)) for residue in sorted(first)})
    return axes


def _index(taps: Sequence[Mapping[int, slice]], residues: Residues) -> tuple[Any, ...]:
    return (..., *(of_axis[residue] for of_axis, residue in zip(taps, residues, strict=True)))


def _length(taps: slice) -> int:
    return len(range(taps.start, taps.stop, taps.step))


def _kernel(subkernels: Mapping[Residues, Any], rank: int) -> list[int]:
    """Return the taps of the whole filter on each axis, as those of the residues there are come to."""
    for residues in subkernels:
        if not isinstance(residues, tuple) or len(residues) != rank:
            raise ValueError(f"subkernels has the key {residues!r}: expected a tuple of {rank} residues")
    taps: list[dict[int, int]] = [{} for _ in range(rank)]
    for residues, each in subkernels.items():
        if each.ndim != rank + 2:
            raise ValueError(f"subkernels[{residues}] has shape {each.shape}: expected {rank + 2} dimensions")
        for of_axis, residue, length in zip(taps, residues, each.shape[2:], strict=True):
            of_axis[residue] = length
    return [sum(of_axis.values()) for of_axis in taps]
