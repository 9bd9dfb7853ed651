"""Sums over all axes but one by CuPy, which adds up the numbers of a result in whatever order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.sums import CHAIN
from .build.runtime import load_cupy

# Numbers of the shortest chains that a long axis is divided into: a launch writes so many times less than it reads.
_SHORTEST = 16


def channel_sums(array: Any, channel: int, dtype: np.dtype[Any]) -> Any:
    """Return a new array of the sums over all axes but one, of a CuPy array of any strides and dtype, as `dtype`.

    Each number that a launch makes is the sum of `CHAIN` numbers at the most, which bounds its error in any order.
    """
    if not array.size:
        return load_cupy().zeros(array.shape[channel], dtype)
    sums = _merged(array, channel)
    if sums.ndim == 1:
        return sums.astype(dtype)
    while sums.ndim > 1:
        sums = _merged(_shorter(sums, dtype), 0)
    return sums


def _merged(array: Any, channel: int) -> Any:
    """Return a view with the channels first, and of other axes as few as memory has, each longer than 1."""
    shape, strides = array.shape, array.strides
    others = sorted((axis for axis in range(array.ndim) if axis != channel), key=lambda axis: -abs(strides[axis]))
    lengths: list[int] = []
    step = 0
    for axis in (axis for axis in others if shape[axis] > 1):
        if lengths and step == shape[axis] * strides[axis]:
            lengths[-1] *= shape[axis]
        else:
            lengths.append(shape[axis])
        step = strides[axis]
    return array.transpose((channel, *others)).reshape((shape[channel], *lengths))


def _shorter(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return sums over axes of no more than `CHAIN` numbers together, or over parts of a longer one."""
    longest_first = sorted(range(1, array.ndim), key=lambda axis: -array.shape[axis])
    longest = longest_first[0]
    if array.shape[longest] > CHAIN:
        rest = (axis for axis in range(array.ndim) if axis != longest)
        return _chains(array.transpose((*rest, longest)), dtype)
    together, count = [], 1
    for axis in longest_first:
        if count * array.shape[axis] <= CHAIN:
            together.append(axis)
            count *= array.shape[axis]
    return array.sum(axis=tuple(together), dtype=dtype)


def _chains(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return the sums of chains along the last axis: of one length, if one divides the axis, else of two."""
    length, most = array.shape[-1], CHAIN
    while most * CHAIN < length:
        most *= CHAIN
    # Shorter chains are too many for the launches that come after this one.
    for chain in range(CHAIN, max(_SHORTEST, -(-length // most)) - 1, -1):
        if length % chain == 0:
            return _divided(array, chain).sum(axis=-1, dtype=dtype)
    chains = -(-length // CHAIN)
    chain, longer = divmod(length, chains)
    sums = load_cupy().empty((*array.shape[:-1], chains), dtype)
    edge = longer * (chain + 1)
    _divided(array[..., :edge], chain + 1).sum(axis=-1, dtype=dtype, out=sums[..., :longer])
    _divided(array[..., edge:], chain).sum(axis=-1, dtype=dtype, out=sums[..., longer:])
    return sums


def _divided(array: Any, chain: int) -> Any:
    """Return a view of an array whose last axis is divided into chains."""
    return array.reshape((*array.shape[:-1], -1, chain))
