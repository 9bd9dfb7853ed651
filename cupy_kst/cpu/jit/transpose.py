"""Squares of numbers that are transposed in registers, by one shuffle of each vector for each halving of its lanes.

Sums with channels in lanes lie position by position, the channels of a position side by side. Outputs lie channel by
channel. A square of as many vectors as a vector has lanes is loaded, its halves, quarters and so on change places, and
its columns are stored.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .cache import inner
from .intrinsics import intrinsic
from .llvm import shuffle
from .vector_ops import Line

_I64 = ir.IntType(64)


def _store_transposed(builder: Any, line: Line, rows: list[Any], pointer: Any, pitch: Any) -> None:
    """Store the columns of as many vectors as a vector has lanes."""
    size, step = len(rows), 1
    while step < size:
        # Lines and lanes form squares of ``2*step`` by ``2*step``. In each of them lines `i` and `i + step` exchange
        # the blocks of `step` lanes that are off its diagonal. After all powers of two line `i` is column `i`.
        low = [j if not j & step else size + j - step for j in range(size)]
        high = [j + step if not j & step else size + j for j in range(size)]
        for i in range(size):
            if not i & step:
                one, other = rows[i], rows[i + step]
                rows[i], rows[i + step] = shuffle(builder, one, other, low), shuffle(builder, one, other, high)
        step *= 2
    for i, row in enumerate(rows):
        line.store(row, pointer, builder.mul(pitch, _I64(i)))


@intrinsic
def _transpose_square(typingctx: Any, sums: Any, start: Any, pitch: Any, to: Any, to_pitch: Any) -> Any:
    """Transpose a square of as many lines as a vector has lanes: line ``i`` goes to ``to + i*to_pitch``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = Line(context, builder, signature.args[0].dtype)
        inputs, outputs = (line.pointer(signature.args[0], args[0], args[i]) for i in (1, 3))
        rows = [line.load(inputs, builder.mul(args[2], _I64(i)), line.lanes) for i in range(line.lanes)]
        _store_transposed(builder, line, rows, outputs, args[4])
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(sums, i64, i64, i64, i64), generate


@inner
def transpose_lines(numbers, start, pitch, to, to_pitch, rows, columns, lanes):
    """Transpose `rows` lines of `columns` numbers, in whole squares."""
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            _transpose_square(numbers, start + i * pitch + j, pitch, to + j * to_pitch + i, to_pitch)


def transpose_sums(pairs: int) -> Any:
    """Return the function that transposes a square whose lines are each the sum of 2 lines, or of `pairs` times 2.

    ``transpose_sums(sums, start, apart, pairs_apart, places, first, target, to, to_pitch)``: the first line of sum
    ``i`` is at ``start + places[first + i]``; its own line is at ``to + i*to_pitch``.
    """

    @intrinsic
    def transpose(
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
                    # The pairs of a sum are `pairs_apart`, and the two lines of a pair `apart`.
                    both = [line.load(inputs, index, line.lanes) for index in (at, builder.add(at, args[2]))]
                    pair = builder.fadd(*both)
                    total = pair if total is None else builder.fadd(total, pair)
                    at = builder.add(at, args[3])
                return total

            rows = [sum_of(i) for i in range(line.lanes)]
            outputs = line.pointer(signature.args[6], args[6], args[7])
            _store_transposed(builder, line, rows, outputs, args[8])
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(sums, i64, i64, i64, places, i64, target, i64, i64), generate

    return transpose
