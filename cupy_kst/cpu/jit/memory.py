"""Where arrays are in memory, and memory that threads keep for their next calls."""

from __future__ import annotations

from math import ceil
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Bytes that a thread keeps for its next call at most, and bytes of two cache lines.
MOST_HELD, LINES_BYTES = 64 << 20, 128

_memory = local()


def address(array: Array) -> int:
    """Return where an array is in memory."""
    found: int = array.__array_interface__["data"][0]
    return found


def lines(size: int) -> int:
    """Return bytes in whole pairs of cache lines."""
    return ceil(size / LINES_BYTES) * LINES_BYTES


def partition(*sizes: int) -> tuple[list[int], int]:
    """Return where parts of a thread's memory begin, each in whole lines, and the bytes of all of them."""
    offsets, total = [0], lines(sizes[0])
    for size in sizes[1:]:
        offsets.append(int(total))
        total = total + lines(size)
    return offsets, total


def aligned(memory: Array) -> int:
    """Return the address of the first pair of cache lines that begins in memory with room for one more."""
    return lines(address(memory))


def empty(size: int, dtype: Any) -> Array:
    """Return an array that begins where a cache line does: vectors of weights are read twice as fast there."""
    count = size * dtype.itemsize
    memory = np.empty(count + LINES_BYTES, np.uint8)
    start = aligned(memory) - address(memory)
    return memory[start : start + count].view(dtype)


def bytes_of(count: int, itemsize: int) -> int:
    """Return the bytes of an array that `empty` makes."""
    return count * itemsize + LINES_BYTES


def scratch(size: int) -> tuple[Array, int]:
    """Return memory of this thread, the same for every call that does not need more, and where so many bytes begin."""
    held: tuple[Array, int] | None = getattr(_memory, "held", None)
    if held is None or held[0].size < size + LINES_BYTES:
        memory = np.empty(size + LINES_BYTES, np.uint8)
        held = memory, aligned(memory)
        if size <= MOST_HELD:
            _memory.held = held
    return held
