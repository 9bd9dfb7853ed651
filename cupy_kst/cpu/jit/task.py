"""Task records: what a thread of the pool reads to do its work, by named fields.

A call hands one address to each thread. There it finds a record: a header that all kernels share, the addresses of
arrays, and numbers of the plan. Handing over an address takes a fraction of the time in which a function unpacks as
many arrays.

A `Task` defines the record of one kernel, once. Python fills it by name and fails on a name that is missing or unknown;
compiled code reads it as ``task.name``, since Numba knows NumPy's structured types (`entry`). Nobody counts words, so a
new field cannot move another one to a place where old code looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .memory import address

Array = NDArray[Any]

# The number of the next part of the work, helpers that are not done (`pool`), the address of the compiled function, the
# scratch memory and its bytes for each thread, and whether a kernel that looks found sums that are not finite.
HEADER = ("counter", "pending", "function", "scratch", "scratch_bytes", "overflowed")
COUNTER, PENDING, FUNCTION, SCRATCH, SCRATCH_BYTES, OVERFLOWED = range(len(HEADER))
_WORD = np.dtype(np.int64)


def table_type(*names: str) -> np.dtype[Any]:
    """Return the type of a row of a plan's table: int64 columns of these names."""
    return np.dtype([(name, _WORD) for name in names])


def table_of(kind: np.dtype[Any], *columns: Any) -> Array:
    """Return a table of a type of `table_type`, given its columns in order."""
    assert kind.names is not None and len(kind.names) == len(columns), kind
    found = np.empty(len(columns[0]), kind)
    for name, column in zip(kind.names, columns, strict=True):
        found[name] = column
    return found


class Task:
    """The record of one kernel.

    Parameters
    ----------
    name : str
        The kernel's name.
    arrays : mapping of str to dtype
        Arrays whose addresses the record has; None stands for the element type of the call.
    fields : sequence of str
        Numbers.
    parts : mapping of str to dtype, optional
        Records within the record, which functions of several kernels take.
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, DTypeLike | None],
        fields: Sequence[str],
        parts: Mapping[str, np.dtype[Any]] | None = None,
    ) -> None:
        self.name = name
        self.arrays = {name: None if kind is None else np.dtype(kind) for name, kind in arrays.items()}
        self.fields = tuple(fields)
        self.parts = dict(parts or {})

    def dtype(self, char: str) -> np.dtype[Any]:
        """Return the structured type of a record for an element type, which its last field has."""
        return _dtype(self, char)

    def slot(self, name: str) -> int:
        """Return which word of a record has a field."""
        fields = self.dtype("f").fields
        assert fields is not None
        offset: int = fields[name][1]
        return offset // _WORD.itemsize

    def record(self, char: str, function: int, values: Mapping[str, Any]) -> Array:
        """Return the words of a record of arrays, of which it has the addresses, and of numbers.

        An array that is None is one that each call sets.
        """
        wanted = {*self.arrays, *self.fields, *self.parts}
        if values.keys() != wanted:
            raise TypeError(f"{self.name}: fields missing or unknown: {sorted(values.keys() ^ wanted)}")
        made = np.zeros(1, self.dtype(char))
        made["function"] = function
        for name, value in values.items():
            made[name] = address_of(value, self.arrays[name], char) if name in self.arrays else value
        return made.view(_WORD)


def address_of(array: Array | None, kind: np.dtype[Any] | None, char: str) -> int:
    """Return where an array is that has the type that compiled code reads there, 0 for None."""
    if array is None:
        return 0
    kind = np.dtype(char) if kind is None else kind
    if array.dtype != kind or not array.flags.c_contiguous:
        raise TypeError(f"an array of {array.dtype} where compiled code reads contiguous {kind}")
    return address(array)


@cache
def _dtype(task: Task, char: str) -> np.dtype[Any]:
    words = [(name, _WORD) for name in (*HEADER, *task.arrays, *task.fields)]
    return np.dtype([*words, *task.parts.items(), ("element", char)], align=True)
