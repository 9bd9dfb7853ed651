"""Operations on lines of numbers by vectors, also on short lines, which LLVM's vectoriser leaves to scalar loops.

A line is taken by as many whole vectors as fit, and its rest by a half, a quarter, and so on of a vector, so that
nothing beside the line is read or written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .isa import lanes_of
from .llvm import broadcast, element, prefetch_line, shuffle, size_of

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_LINE_BYTES = 64


class Line:
    """Vectors of a line of `length` numbers: as many whole ones as fit, then halves, quarters, and so on."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any) -> None:
        self._context, self._builder = context, builder
        self.element, self.lanes = element(kind), lanes_of(kind.bitwidth // 8)

    def pointer(self, array_type: Any, array: Any, shift: Any) -> Any:
        data = self._context.make_array(array_type)(self._context, self._builder, array).data
        return self._builder.gep(data, [shift])

    def each(self, length: Any, move: Callable[[int, Any], None]) -> None:
        """Call `move` with each vector's width and where in the line it begins."""
        builder, width = self._builder, self.lanes
        # Widths are powers of two, so that the bits of the length tell which parts there are and where they begin.
        whole = builder.and_(length, _I64(-width))
        with cgutils.for_range_slice(builder, _I64(0), whole, _I64(width), _I64) as (index, _):
            move(width, index)
        while width > 1:
            width //= 2
            with builder.if_then(builder.icmp_signed("!=", builder.and_(length, _I64(width)), _I64(0))):
                move(width, builder.and_(length, _I64(-2 * width)))

    def load(self, pointer: Any, index: Any, width: int) -> Any:
        # A line may begin at any number, so that its vectors are aligned as numbers are.
        at = self._builder.gep(pointer, [index])
        return self._builder.load(self._cast(at, width), align=size_of(self.element))

    def store(self, vector: Any, pointer: Any, index: Any) -> None:
        at = self._builder.gep(pointer, [index])
        self._builder.store(vector, self._cast(at, vector.type.count), align=size_of(self.element))

    def widen(self, vector: Any) -> Any:
        """Return a whole vector of a narrower one's numbers, and zeros."""
        width = vector.type.count
        zeros = ir.Constant(vector.type, [0.0] * width)
        return shuffle(self._builder, vector, zeros, [min(i, width) for i in range(self.lanes)])

    def _cast(self, pointer: Any, width: int) -> Any:
        return self._builder.bitcast(pointer, ir.VectorType(self.element, width).as_pointer())


@intrinsic
def clear(typingctx: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        pointer = line.pointer(signature.args[0], args[0], args[1])

        def move(width: int, index: Any) -> None:
            line.store(ir.Constant(ir.VectorType(line.element, width), [0.0] * width), pointer, index)

        line.each(args[2], move)
        return context.get_dummy_value()

    return types.void(target, types.int64, types.int64), generate


@intrinsic
def prefetch(typingctx: Any, source: Any, start: Any, length: Any) -> Any:
    """Ask for ``source[start : start + length]``, which may lie beyond the array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        pointer = line.pointer(signature.args[0], args[0], args[1])
        step = _I64(_LINE_BYTES // size_of(line.element))
        with cgutils.for_range_slice(builder, _I64(0), args[2], step, _I64) as (index, _):
            prefetch_line(builder, builder.gep(pointer, [index]))
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64), generate


@intrinsic
def copy(typingctx: Any, source: Any, start: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to ``source[start : start + length]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[2], args[2], args[3])

        def move(width: int, index: Any) -> None:
            line.store(line.load(inputs, index, width), outputs, index)

        line.each(args[4], move)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), generate


@intrinsic
def accumulate(typingctx: Any, source: Any, start: Any, target: Any, to: Any, length: Any) -> Any:
    """Add ``source[start : start + length]`` to ``target[to : to + length]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[2], args[2], args[3])

        def move(width: int, index: Any) -> None:
            value = builder.fadd(line.load(outputs, index, width), line.load(inputs, index, width))
            line.store(value, outputs, index)

        line.each(args[4], move)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), generate


@intrinsic
def add_multiple(typingctx: Any, source: Any, start: Any, factor: Any, target: Any, to: Any, length: Any) -> Any:
    """Add `factor` times ``source[start : start + length]`` to ``target[to : to + length]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[3], args[3], args[4])

        def move(width: int, index: Any) -> None:
            multiple = builder.fmul(line.load(inputs, index, width), broadcast(builder, args[2], width))
            line.store(builder.fadd(line.load(outputs, index, width), multiple), outputs, index)

        line.each(args[5], move)
        return context.get_dummy_value()

    return types.void(source, types.int64, source.dtype, target, types.int64, types.int64), generate


@intrinsic
def add(typingctx: Any, source: Any, start: Any, number: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to ``source[start : start + length] + number``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[3], args[3], args[4])

        def move(width: int, index: Any) -> None:
            value = builder.fadd(line.load(inputs, index, width), broadcast(builder, args[2], width))
            line.store(value, outputs, index)

        line.each(args[5], move)
        return context.get_dummy_value()

    return types.void(source, types.int64, source.dtype, target, types.int64, types.int64), generate


@intrinsic
def add_watched(typingctx: Any, source: Any, start: Any, number: Any, target: Any, to: Any, length: Any) -> Any:
    """Do what `add` does, and return whether all numbers of the source are finite."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[3], args[3], args[4])
        # A number times zero is zero, or NaN if it is not finite, and so is the sum of all: one instruction a vector.
        zeros = ir.Constant(ir.VectorType(line.element, line.lanes), [0.0] * line.lanes)
        watched, contract = cgutils.alloca_once_value(builder, zeros), ("contract",)

        def move(width: int, index: Any) -> None:
            numbers = line.load(inputs, index, width)
            line.store(builder.fadd(numbers, broadcast(builder, args[2], width)), outputs, index)
            multiple = builder.fmul(line.widen(numbers), zeros, flags=contract)
            builder.store(builder.fadd(multiple, builder.load(watched), flags=contract), watched)

        line.each(args[5], move)
        total = builder.load(watched)
        different = builder.fcmp_unordered("uno", total, total)
        bits = builder.bitcast(different, ir.IntType(line.lanes))
        return builder.icmp_signed("==", bits, ir.Constant(bits.type, 0))

    return types.boolean(source, types.int64, source.dtype, target, types.int64, types.int64), generate


@intrinsic
def add_pairs(
    typingctx: Any, source: Any, start: Any, other: Any, number: Any, target: Any, to: Any, length: Any
) -> Any:
    """Set ``target[to : to + 2*length]`` to numbers of the lines at `start` and at `other` in turn, plus `number`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        evens, odds = (line.pointer(signature.args[0], args[0], args[i]) for i in (1, 2))
        outputs = line.pointer(signature.args[4], args[4], args[5])

        def move(width: int, index: Any) -> None:
            number = broadcast(builder, args[3], width)
            pair = [builder.fadd(line.load(each, index, width), number) for each in (evens, odds)]
            turns = [half + i for i in range(width) for half in (0, width)]
            line.store(shuffle(builder, pair[0], pair[1], turns), outputs, builder.shl(index, _I64(1)))

        line.each(args[6], move)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, i64, source.dtype, target, i64, i64), generate


@intrinsic
def subtract(typingctx: Any, source: Any, start: Any, other: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to : to + length]`` to numbers of the line at `start` less those of the one at `other`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        ones, others = (line.pointer(signature.args[0], args[0], args[i]) for i in (1, 2))
        outputs = line.pointer(signature.args[3], args[3], args[4])

        def move(width: int, index: Any) -> None:
            line.store(builder.fsub(line.load(ones, index, width), line.load(others, index, width)), outputs, index)

        line.each(args[5], move)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, i64, target, i64, i64), generate


@intrinsic
def copy_strided(typingctx: Any, source: Any, start: Any, stride: Any, target: Any, to: Any, length: Any) -> Any:
    """Set ``target[to + i]`` to ``source[start + i*stride]`` for all ``i`` below `length`.

    Compiled code that indexes arrays asks of each index whether it is negative, which takes longer than the copy.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[3], args[3], args[4])
        with cgutils.for_range_slice(builder, _I64(0), args[5], _I64(1), _I64) as (index, _):
            number = builder.load(builder.gep(inputs, [builder.mul(index, args[2])]))
            builder.store(number, builder.gep(outputs, [index]))
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, i64, target, i64, i64), generate


@intrinsic
def add_strided(
    typingctx: Any, source: Any, start: Any, number: Any, target: Any, to: Any, stride: Any, length: Any
) -> Any:
    """Set ``target[to + i*stride]`` to ``source[start + i] + number`` for all ``i`` below `length`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs = line.pointer(signature.args[0], args[0], args[1])
        outputs = line.pointer(signature.args[3], args[3], args[4])
        with cgutils.for_range_slice(builder, _I64(0), args[6], _I64(1), _I64) as (index, _):
            total = builder.fadd(builder.load(builder.gep(inputs, [index])), args[2])
            builder.store(total, builder.gep(outputs, [builder.mul(index, args[5])]))
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, source.dtype, target, i64, i64, i64), generate
