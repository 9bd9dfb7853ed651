"""Where micro-kernels find their operands: the members that compiled code passes, and the pointers made of them.

Compiled code passes an operand as a tuple: an array, where the operand begins in it, and what else its class names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types

_I64 = ir.IntType(64)

# The members of each kind of operand: the array, where the operand begins in it, and so on.
_TABLE = ("source", "base", "places", "first_place", "offsets", "first_offset")
_EVEN = ("source", "base", "pitch")
_PACKED = ("weights", "base")
_ROWS = ("weights", "base", "pitch", "rows")
SUMS = ("sums", "base", "pitch")


def tuple_type(given: Any) -> Any:
    """Return the type of an operand: arrays as they are given, and integers of 64 bits."""
    return types.Tuple([each if isinstance(each, types.Array) else types.int64 for each in given])


class Operand:
    """The members of a tuple as attributes; an array's is the pointer to its data."""

    def __init__(self, context: Any, builder: ir.IRBuilder, names: Sequence[str], kind: Any, value: Any) -> None:
        self.dtype = kind[0].dtype
        for number, (name, each) in enumerate(zip(names, kind, strict=True)):
            member = builder.extract_value(value, number)
            # Compiled code knows how much there is of an array, so that its length and strides are left behind.
            if isinstance(each, types.Array):
                member = context.make_array(each)(context, builder, member).data
            setattr(self, name, member)

    def __getattr__(self, name: str) -> Any:
        # Members have names that type checkers do not know.
        raise AttributeError(name)


@dataclass(frozen=True)
class TableInputs:
    """Inputs at ``base + places[first_place + i] + offsets[first_offset + k]`` for place ``i`` in step ``k``."""

    names = _TABLE

    def starts(self, builder: ir.IRBuilder, of: Any, count: int, stride: int) -> list[Any]:
        source = builder.gep(of.source, [of.base])
        # Places are the same in all steps: they are read before the loop, and stay in integer registers.
        places = builder.gep(of.places, [of.first_place])
        return [builder.gep(source, [index_at(builder, places, _I64(i))]) for i in range(count)]

    def offset(self, builder: ir.IRBuilder, of: Any) -> Callable[[Any], Any]:
        offsets = builder.gep(of.offsets, [of.first_offset])
        return lambda step: index_at(builder, offsets, step)


@dataclass(frozen=True)
class EvenInputs:
    """Inputs at ``base + i*stride + k*pitch`` for place ``i`` in step ``k``; the stride is a vector's numbers, or 1."""

    names = _EVEN

    def starts(self, builder: ir.IRBuilder, of: Any, count: int, stride: int) -> list[Any]:
        source = builder.gep(of.source, [of.base])
        return [builder.gep(source, [_I64(i * stride)]) for i in range(count)]

    def offset(self, builder: ir.IRBuilder, of: Any) -> Callable[[Any], Any]:
        return lambda step: builder.mul(step, of.pitch)


@dataclass(frozen=True)
class PackedWeights:
    """Weights from `base` on, step by step."""

    names = _PACKED


PACKED = PackedWeights()


@dataclass(frozen=True)
class RowWeights:
    """Weight ``k`` of row ``i`` at ``base + i*pitch + k``; rows beyond the last of `rows` are that one again."""

    names = _ROWS

    def begins(self, builder: ir.IRBuilder, of: Any, count: int) -> list[Any]:
        # A block of fewer rows than MR runs the same code: it multiplies the last row again, which is in the cache, and
        # has room for sums that nobody reads.
        weights, last = builder.gep(of.weights, [of.base]), builder.sub(of.rows, _I64(1))
        begins = []
        for i in range(count):
            beyond = builder.icmp_signed("<", last, _I64(i))
            begins.append(builder.gep(weights, [builder.mul(builder.select(beyond, last, _I64(i)), of.pitch)]))
        return begins


def index_at(builder: ir.IRBuilder, table: Any, index: Any) -> Any:
    """Return a 32-bit number of a table, widened to 64 bits."""
    return builder.sext(builder.load(builder.gep(table, [index])), _I64)
