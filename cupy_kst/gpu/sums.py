"""Sums over all axes but one by CuPy, one thread of which adds up as many numbers as it gets, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.sums import CHAIN


def channel_sums(array: Any, channel: int, dtype: np.dtype[Any]) -> Any:
    """Return the sums over all axes but one, of a CuPy array of any strides and dtype, as `dtype`.

    Each number that a launch makes is the sum of `CHAIN` numbers at the most, in whatever order CuPy takes them.
    """
    others = (axis for axis in range(array.ndim) if axis != channel)
    return _sums(array.transpose((channel, *others)), dtype)


def _sums(array: Any, dtype: np.dtype[Any]) -> Any:
    """Return the sums over all axes but the first."""
    if array.ndim == 1:
        return array.astype(dtype, copy=False)
    together, count = [], 1
    for axis in reversed(range(1, array.ndim)):
        if count * array.shape[axis] <= CHAIN:
            together.append(axis)
            count *= array.shape[axis]
    if together:
        return _sums(array.sum(axis=tuple(together), dtype=dtype), dtype)
    # Each axis is longer than a chain. The last one is divided evenly, but for a few numbers at its end.
    length = array.shape[-1]
    chains = -(-length // CHAIN)
    whole = length // chains * chains
    divided = array[..., :whole].reshape(*array.shape[:-1], chains, whole // chains)
    sums = _sums(divided.sum(axis=-1, dtype=dtype), dtype)
    return sums if whole == length else sums + _sums(array[..., whole:], dtype)
