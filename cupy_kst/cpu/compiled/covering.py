"""Moving lines by whole vectors that may reach beyond their ends: the next line is then written over the surplus.

Short lines take a fraction of the time of those in `lines`, which end with halves, quarters, and so on of a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .microkernel import element, lanes

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class _Vectors:
    """Vectors of numbers at pointers."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any) -> None:
        self._context, self._builder = context, builder
        self.kind = ir.VectorType(element(kind), lanes(kind))
        self._alignment = 4 if isinstance(self.kind.element, ir.FloatType) else 8

    def pointer(self, array_type: Any, array: Any, shift: Any) -> Any:
        data = self._context.make_array(array_type)(self._context, self._builder, array).data
        return self._builder.gep(data, [shift])

    def load(self, pointer: Any, index: Any) -> Any:
        return self._builder.load(self._at(pointer, index), align=self._alignment)

    def store(self, vector: Any, pointer: Any, index: Any) -> None:
        self._builder.store(vector, self._at(pointer, index), align=self._alignment)

    def load_every(self, step: int, pointer: Any, index: Any) -> Any:
        """Load the numbers at ``step*index``, ``step*(index + 1)``, and so on; `step` is one or two."""
        if step == 1:
            return self.load(pointer, index)
        width = self.kind.count
        first = self._builder.shl(index, _I64(1))
        pair = (self.load(pointer, at) for at in (first, self._builder.add(first, _I64(width))))
        evens = ir.Constant(ir.VectorType(_I32, width), list(range(0, 2 * width, 2)))
        return self._builder.shuffle_vector(*pair, evens)

    def between(self, begin: Any, end: Any) -> Any:
        """Return which lanes are not below `begin`, but below `end`."""
        builder = self._builder
        low, high = (self._spread(builder.trunc(each, _I32)) for each in (begin, end))
        lane = ir.Constant(low.type, list(range(self.kind.count)))
        return builder.and_(builder.icmp_signed("<=", low, lane), builder.icmp_signed("<", lane, high))

    def each(self, length: Any, move: Callable[[Any], None]) -> None:
        """Call `move` with where each vector begins, until they cover the length."""
        with cgutils.for_range_slice(self._builder, _I64(0), length, _I64(self.kind.count), _I64) as (index, _):
            move(index)

    def _spread(self, number: Any) -> Any:
        width = self.kind.count
        undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
        one = self._builder.insert_element(undefined, number, _I32(0))
        return self._builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, width), [0] * width))

    def _at(self, pointer: Any, index: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(pointer, [index]), self.kind.as_pointer())


@intrinsic
def cover_with_zeros(typingctx: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[0].dtype)
        pointer = vectors.pointer(signature.args[0], args[0], args[1])
        zeros = ir.Constant(vectors.kind, [0.0] * vectors.kind.count)
        vectors.each(args[2], lambda index: vectors.store(zeros, pointer, index))
        return context.get_dummy_value()

    return types.void(target, types.int64, types.int64), generate


def covering(step: int) -> Any:
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
            zeros = ir.Constant(vectors.kind, [0.0] * vectors.kind.count)

            def move(index: Any) -> None:
                numbers = vectors.load_every(step, inputs, index)
                there = vectors.between(builder.sub(args[4], index), builder.sub(args[5], index))
                vectors.store(builder.select(there, numbers, zeros), outputs, index)

            vectors.each(args[6], move)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(source, i64, target, i64, i64, i64, i64), generate

    return cover
