"""Moving whole lines of numbers by vectors, also short ones, which LLVM's vectoriser leaves to scalar loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .microkernel import ask, element, lanes

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_LINE_BYTES = 64


class Line:
    """Vectors of a line of `length` numbers: as many whole ones as fit, then halves, quarters, and so on."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: Any) -> None:
        self._context, self._builder = context, builder
        self.element, self.lanes = element(kind), lanes(kind)

    def pointer(self, array_type: Any, array: Any, shift: Any) -> Any:
        data = self._context.make_array(array_type)(self._context, self._builder, array).data
        return self._builder.gep(data, [shift])

    def each(self, length: Any, move: Callable[[int, Any], None]) -> None:
        """Call `move` with each vector's width and where in the line it begins."""
        builder, width = self._builder, self.lanes
        whole = builder.and_(length, _I64(-width))
        with cgutils.for_range_slice(builder, _I64(0), whole, _I64(width), _I64) as (index, _):
            move(width, index)
        while width > 1:
            width //= 2
            with builder.if_then(builder.icmp_signed("!=", builder.and_(length, _I64(width)), _I64(0))):
                move(width, builder.and_(length, _I64(-2 * width)))

    def load(self, pointer: Any, index: Any, width: int) -> Any:
        at = self._builder.gep(pointer, [index])
        return self._builder.load(self._cast(at, width), align=self.size)

    def store(self, vector: Any, pointer: Any, index: Any) -> None:
        at = self._builder.gep(pointer, [index])
        self._builder.store(vector, self._cast(at, vector.type.count), align=self.size)

    def turn(self, rows: list[Any], pointer: Any, pitch: Any) -> None:
        """Store the columns of as many vectors as a vector has lanes."""
        size, step = len(rows), 1
        while step < size:
            low = [j if not j & step else size + j - step for j in range(size)]
            high = [j + step if not j & step else size + j for j in range(size)]
            for i in range(size):
                if not i & step:
                    one, other = rows[i], rows[i + step]
                    rows[i], rows[i + step] = self.shuffle(one, other, low), self.shuffle(one, other, high)
            step *= 2
        for i, row in enumerate(rows):
            self.store(row, pointer, self._builder.mul(pitch, _I64(i)))

    def shuffle(self, one: Any, other: Any, order: list[int]) -> Any:
        return self._builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_I32, len(order)), order))

    def spread(self, number: Any, width: int) -> Any:
        undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
        return self.shuffle(self._builder.insert_element(undefined, number, _I32(0)), undefined, [0] * width)

    def widen(self, vector: Any) -> Any:
        """Return a whole vector of a narrower one's numbers, and zeros."""
        width = vector.type.count
        return self.shuffle(vector, ir.Constant(vector.type, [0.0] * width), [min(i, width) for i in range(self.lanes)])

    def _cast(self, pointer: Any, width: int) -> Any:
        return self._builder.bitcast(pointer, ir.VectorType(self.element, width).as_pointer())

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return 4 if isinstance(self.element, ir.FloatType) else 8


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
        step = _I64(_LINE_BYTES // line.size)
        with cgutils.for_range_slice(builder, _I64(0), args[2], step, _I64) as (index, _):
            ask(builder, builder.gep(pointer, [index]))
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
            multiple = builder.fmul(line.load(inputs, index, width), line.spread(args[2], width))
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
            value = builder.fadd(line.load(inputs, index, width), line.spread(args[2], width))
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
            line.store(builder.fadd(numbers, line.spread(args[2], width)), outputs, index)
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
            number = line.spread(args[3], width)
            pair = [builder.fadd(line.load(each, index, width), number) for each in (evens, odds)]
            turns = [half + i for i in range(width) for half in (0, width)]
            line.store(line.shuffle(pair[0], pair[1], turns), outputs, builder.shl(index, _I64(1)))

        line.each(args[6], move)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, i64, source.dtype, target, i64, i64), generate


@intrinsic
def transpose(typingctx: Any, sums: Any, start: Any, pitch: Any, to: Any, to_pitch: Any) -> Any:
    """Turn a square of as many lines as a vector has lanes: line ``i`` is at ``to + i*to_pitch``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs, outputs = (line.pointer(signature.args[0], args[0], args[i]) for i in (1, 3))
        rows = [line.load(inputs, builder.mul(args[2], _I64(i)), line.lanes) for i in range(line.lanes)]
        line.turn(rows, outputs, args[4])
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(sums, i64, i64, i64, i64), generate


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


def turn_sums(pairs: int) -> Any:
    """Return the function that turns a square whose lines are each the sum of 2 lines, or of `pairs` times 2.

    ``turn_sums(sums, start, apart, pairs_apart, places, first, target, to, to_pitch)``: the first of those of line
    ``i`` is at ``start + places[first + i]``; its own line is at ``to + i*to_pitch``.
    """

    @intrinsic
    def turn(
        typingctx: Any,
        sums: Any,
        start: Any,
        apart: Any,
        pairs_apart: Any,
        places: Any,
        first: Any,
        target: Any,
        to: Any,
        to_pitch: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            line = Line(context, builder, signature.args[0].dtype)
            inputs = line.pointer(signature.args[0], args[0], args[1])
            table = line.pointer(signature.args[4], args[4], args[5])

            def sum_of(i: int) -> Any:
                total, at = None, builder.sext(builder.load(builder.gep(table, [_I64(i)])), _I64)
                for _ in range(pairs):
                    both = [line.load(inputs, index, line.lanes) for index in (at, builder.add(at, args[2]))]
                    pair = builder.fadd(*both)
                    total = pair if total is None else builder.fadd(total, pair)
                    at = builder.add(at, args[3])
                return total

            rows = [sum_of(i) for i in range(line.lanes)]
            line.turn(rows, line.pointer(signature.args[6], args[6], args[7]), args[8])
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(sums, i64, i64, i64, places, i64, target, i64, i64), generate

    return turn
