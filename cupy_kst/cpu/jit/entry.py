"""Entry points of kernels: functions that threads of the pool call by address, with a task record and their number.

A kernel is compiled for an element type when its first record is made, or loaded from disk (`cache`). It begins with ::

    task = task_at(tasks)
    arrays = unpack(task)

after which ``task.groups`` is a number of the plan and ``arrays.boxes`` a table. Both come from the kernel's `Task`:
there is no other place where addresses become arrays, except `array_at` for parts of the scratch memory.

LLVM does not know that a record and an array never overlap, and would read a field again after each store. So kernels
read fields into local variables before their loops.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.np import arrayobj
from numpy.typing import NDArray

from .atomics import pointer
from .cache import c_entry, inlined
from .intrinsics import intrinsic
from .task import Task

Array = NDArray[Any]


class EntryPoint:
    """A kernel with the task that it reads."""

    def __init__(self, task: Task, kernel: Callable[..., None]) -> None:
        self.task, self._kernel = task, kernel

    def record(self, char: str, values: Mapping[str, Any]) -> Array:
        """Return the words of a record for arrays of an element type (``"f"`` or ``"d"``)."""
        return self.task.record(char, self._address(char), values)

    def _address(self, char: str) -> int:
        found: int = self.compiled(char).address
        return found

    def compiled(self, char: str) -> Any:
        """Return the compiled function."""
        return _compiled(self, char)

    def signature(self, char: str) -> Any:
        """Return the types of its arguments, by which Numba tells element types apart."""
        return types.void(types.CPointer(numba.from_dtype(self.task.dtype(char))), types.int64)


@cache
def _compiled(entry: EntryPoint, char: str) -> Any:
    return c_entry(entry.signature(char), entry._kernel)


@inlined
def task_at(tasks):
    """Return the record that a pointer leads to."""
    return carray(tasks, 1)[0]


@inlined
def array_at(address, like):
    """Return an array of numbers of the type of `like`, of a length that is not known: no slice of it is right."""
    return carray(pointer(address, like), 1)


@intrinsic
def address_of(typingctx: Any, tasks: Any) -> Any:
    """Return a pointer as a number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(tasks), generate


def unpacker(task: Task) -> Any:
    """Return the function that makes of a record a named tuple of its arrays, whose lengths are not known."""
    # Numba takes the fields of any named tuple; mypy knows only those whose fields are written out where it is made.
    named: Any = namedtuple("Arrays", tuple(task.arrays))  # type: ignore[misc]

    @intrinsic
    def unpack(typingctx: Any, record: Any) -> Any:
        element = record.typeof("element")
        kinds = [element if kind is None else numba.from_dtype(kind) for kind in task.arrays.values()]
        found = types.NamedTuple([types.Array(kind, 1, "C") for kind in kinds], named)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = []
            for name, kind in zip(task.arrays, found.types, strict=True):
                field = cgutils.get_record_member(builder, args[0], record.offset(name), ir.IntType(64))
                arrays.append(_array_at(context, builder, kind, builder.load(field)))
            return context.make_tuple(builder, signature.return_type, arrays)

        return found(record), generate

    return unpack


def _array_at(context: Any, builder: Any, kind: Any, address: Any) -> Any:
    """Return an array that claims one element. Compiled code knows how many there are."""
    array = context.make_array(kind)(context, builder)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    data = builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer())
    one = context.get_constant(types.intp, 1)
    arrayobj.populate_array(array, data=data, shape=[one], strides=[itemsize], itemsize=itemsize, meminfo=None)
    return array._getvalue()
