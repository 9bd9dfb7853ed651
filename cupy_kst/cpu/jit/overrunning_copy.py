"""Copies by whole vectors that overrun the end of a line: the next line is then written over the surplus.

A short line takes a fraction of the time that it takes in `vector_ops`, where it ends with a half, a quarter, and so on
of a vector. The memory behind the last line has to have room for a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .llvm import broadcast, shuffle
from .vector_ops import Line

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class _Vectors(Line):
    """Whole vectors of a line, whatever its length."""

    @property
    def kind(self) -> ir.Type:
        """The LLVM type of a vector."""
        return ir.VectorType(self.element, self.lanes)

    def load_every(self, step: int, pointer: Any, index: Any) -> Any:
        """Load the numbers at ``step*index``, ``step*(index + 1)``, and so on; `step` is one or two."""
        width = self.lanes
        if step == 1:
            return self.load(pointer, index, width)
        first = self._builder.shl(index, _I64(1))
        one, other = (self.load(pointer, at, width) for at in (first, self._builder.add(first, _I64(width))))
        return shuffle(self._builder, one, other, list(range(0, 2 * width, 2)))

    def between(self, begin: Any, end: Any) -> Any:
        """Return which lanes are not below `begin`, but below `end`."""
        builder = self._builder
        low, high = (broadcast(builder, builder.trunc(each, _I32), self.lanes) for each in (begin, end))
        lane = ir.Constant(low.type, list(range(self.lanes)))
        return builder.and_(builder.icmp_signed("<=", low, lane), builder.icmp_signed("<", lane, high))

    def cover(self, length: Any, move: Callable[[Any], None]) -> None:
        """Call `move` with where each vector begins, until they cover the length."""
        with cgutils.for_range_slice(self._builder, _I64(0), length, _I64(self.lanes), _I64) as (index, _):
            move(index)


@intrinsic
def overrunning_zeros(typingctx: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        pointer = vectors.pointer(signature.args[0], args[0], args[1])
        zeros = ir.Constant(vectors.kind, [0.0] * vectors.lanes)
        vectors.cover(args[2], lambda index: vectors.store(zeros, pointer, index))
        return context.get_dummy_value()

    return types.void(target, types.int64, types.int64), generate


def overrunning_copy(step: int) -> Any:
    """Return the function that copies every `step`-th number, one or two, with zeros at the ends.

    ``cover(source, start, target, to, begin, end, length)`` sets ``target[to + i]`` to ``source[start + step*i]`` for
    ``begin <= i < end``, and to zero elsewhere below `length`. It reads what whole vectors cover.
    """

    @intrinsic
    def cover(typingctx: Any, source: Any, start: Any, target: Any, to: Any, begin: Any, end: Any, length: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vectors = _Vectors(context, builder, signature.args[0].dtype)
            inputs = vectors.pointer(signature.args[0], args[0], args[1])
            outputs = vectors.pointer(signature.args[2], args[2], args[3])
            zeros = ir.Constant(vectors.kind, [0.0] * vectors.lanes)

            def move(index: Any) -> None:
                numbers = vectors.load_every(step, inputs, index)
                there = vectors.between(builder.sub(args[4], index), builder.sub(args[5], index))
                vectors.store(builder.select(there, numbers, zeros), outputs, index)

            vectors.cover(args[6], move)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(source, i64, target, i64, i64, i64, i64), generate

    return cover
