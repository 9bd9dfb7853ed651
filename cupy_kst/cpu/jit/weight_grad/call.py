"""The call that makes the gradient of a weight."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....geometry import Geometry
from ...arguments import Setting
from .. import isa
from ..launch import held_bytes, run_tasks
from ..memory import address
from .plan import division

Array = NDArray[Any]


def correlate(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`: each channel of the small map with each of the large one, per tap.

    Lanes hold channels of the small map, or positions where there are few of them in a group.
    """
    if geometry.samples == 0:
        out[...] = 0
        return
    how = _template(geometry, small.dtype.char)
    shares = np.empty((how.shares, *out.shape), out.dtype) if how.shares > 1 else out
    record = how.record.copy()
    for slot, array in zip(how.slots, (small, large, shares), strict=True):
        record[slot] = address(array)
    run_tasks(record, how.scratch, how.tasks, how.macs)
    if how.shares > 1:
        # Gradients of shares are added up in their order, whichever thread made them.
        np.add.reduce(shares, axis=0, out=out)


def correlate_bytes(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `correlate` holds: scratch memory, and the gradients of shares of the maps."""
    how = division(geometry, setting.itemsize)
    shares = how.shares * prod(geometry.full_weight_shape) * setting.itemsize if how.shares > 1 else 0
    return shares + held_bytes(how.scratch, how.tasks, how.macs, setting.threads)


class _Template(NamedTuple):
    """What gradients of a geometry have in common: a record without three arrays, and the words of their addresses."""

    tables: dict[str, Array]
    record: Array
    slots: tuple[int, ...]
    scratch: int
    tasks: int
    shares: int
    macs: int


@lru_cache(maxsize=256)
def _template(geometry: Geometry, char: str) -> _Template:
    from . import few_channels, kernel

    how = division(geometry, np.dtype(char).itemsize)
    entry = few_channels.RUN if how.few else kernel.RUN
    # Micro-kernels may read offsets behind the last one. Nobody reads the sums that they make of these.
    offsets = np.append(how.plan.tables["offsets"], np.zeros(max(isa.DOT_TAPS, *isa.blocking().summed), np.int32))
    tables = {name: how.plan.tables[name] for name in entry.task.arrays if name in how.plan.tables}
    tables["offsets"] = offsets
    # The plan is of the channels of one box. `gather` steps over all channels of the map.
    gather = how.plan.gather.copy()
    gather["channels"] = how.numbers["large_channels"]
    arrays = ("small", "large", "out")
    record = entry.record(char, {**dict.fromkeys(arrays), **tables, **how.numbers, "gather": gather})
    slots = tuple(map(entry.task.slot, arrays))
    return _Template(tables, record, slots, how.scratch, how.tasks, how.shares, how.macs)
