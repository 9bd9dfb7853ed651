"""The innermost products, as LLVM IR: sums that stay in vector registers over the whole inner loop.

Left to its vectoriser, LLVM keeps the sums in memory. A microkernel multiplies `scalars` numbers by `vectors` vectors
in each step, each number spread over a register of its own, and has ``scalars * vectors`` sums in registers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..sums import CHAIN
from .intrinsics import intrinsic

# Products of a chain, after which sums are put aside: what is read between stays in the cache for the next of the sums.
DEPTH = CHAIN

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@lru_cache(maxsize=1)
def _features() -> frozenset[str]:
    # Numba compiles for this processor unless told otherwise by these.
    told = os.environ.get("NUMBA_CPU_FEATURES")
    if os.environ.get("NUMBA_CPU_NAME") == "generic" and told is None:
        return frozenset()
    if told is not None:
        return frozenset(each[1:] for each in told.split(",") if each.startswith("+"))
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def vector_bytes() -> int:
    """Return the size of a vector register of the processor that Numba compiles for."""
    if "avx512f" in _features():
        return 64
    return 32 if "avx" in _features() else 16


def registers() -> int:
    """Return the number of vector registers."""
    return 32 if "avx512f" in _features() or "neon" in _features() else 16


def element(kind: Any) -> ir.Type:
    """Return the LLVM type of a Numba type."""
    return ir.FloatType() if kind == types.float32 else ir.DoubleType()


def lanes(kind: Any) -> int:
    """Return how many numbers of a Numba type a vector has."""
    return vector_bytes() * 8 // int(kind.bitwidth)


def ask(builder: ir.IRBuilder, pointer: Any) -> None:
    """Ask for the cache line of a pointer, which may lie beyond what may be read."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    builder.call(function, [builder.bitcast(pointer, byte), _I32(0), _I32(2), _I32(1)])


def microkernel(scalars: int, vectors: int, positions_in_lanes: bool, ahead: bool = False) -> Any:
    """Return the function that adds up ``scalars * vectors`` vectors of products and stores them.

    ``microkernel(source, source_base, places, first_place, offsets, first, depth, weights, weight_base, sums, sum_base,
    sum_pitch, resume)``: step ``k`` of `depth` reads `source` at ``source_base + places[first_place + i] +
    offsets[first + k]``, and the next `weights`. With `positions_in_lanes` each place begins a vector, and a weight is
    spread over lanes; else each place is one number that is spread, and weights are vectors. The sums of scalar ``i``
    are stored at ``sum_base + i*sum_pitch``, vector by vector. If `resume` they are added to what is there, as the sum
    of a chain, so that a call is one of at most `DEPTH` products. With `ahead` it asks for the weights of
    the same step of the next `DEPTH` products, which follow.
    """

    @intrinsic
    def multiply_add(
        typingctx: Any,
        source: Any,
        source_base: Any,
        places: Any,
        first_place: Any,
        offsets: Any,
        first: Any,
        depth: Any,
        weights: Any,
        weight_base: Any,
        sums: Any,
        sum_base: Any,
        sum_pitch: Any,
        resume: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(source, i64, places, i64, offsets, i64, i64, weights, i64, sums, i64, i64, types.boolean)
        vector = ir.VectorType(element(source.dtype), lanes(source.dtype))
        return signature, _Builder(scalars, vectors, positions_in_lanes, vector, ahead).generate

    return multiply_add


def dense_microkernel(scalars: int, vectors: int, positions_in_lanes: bool) -> Any:
    """Return the same for inputs that are evenly apart.

    ``microkernel(source, source_base, source_pitch, depth, weights, weight_base, sums, sum_base, sum_pitch, resume)``:
    places are one vector apart with `positions_in_lanes`, else one number.
    """

    @intrinsic
    def multiply_add(
        typingctx: Any,
        source: Any,
        source_base: Any,
        source_pitch: Any,
        depth: Any,
        weights: Any,
        weight_base: Any,
        sums: Any,
        sum_base: Any,
        sum_pitch: Any,
        resume: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(source, i64, i64, i64, weights, i64, sums, i64, i64, types.boolean)
        vector = ir.VectorType(element(source.dtype), lanes(source.dtype))
        return signature, _Builder(scalars, vectors, positions_in_lanes, vector, True).generate_dense

    return multiply_add


def rows_microkernel(scalars: int, vectors: int) -> Any:
    """Return `microkernel` with positions in lanes for weights that are not packed.

    ``microkernel(source, places, first_place, offsets, first, depth, weights, weight_base, weight_pitch, rows, sums,
    sum_base, sum_pitch, resume)``: those of scalar ``i`` are one after the other from ``weight_base + i*weight_pitch``.
    Of more scalars than `rows` the sums are those of the last row.
    """

    @intrinsic
    def multiply_add(
        typingctx: Any,
        source: Any,
        places: Any,
        first_place: Any,
        offsets: Any,
        first: Any,
        depth: Any,
        weights: Any,
        weight_base: Any,
        weight_pitch: Any,
        rows: Any,
        sums: Any,
        sum_base: Any,
        sum_pitch: Any,
        resume: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(
            source, places, i64, offsets, i64, i64, weights, i64, i64, i64, sums, i64, i64, types.boolean
        )
        vector = ir.VectorType(element(source.dtype), lanes(source.dtype))
        return signature, _Builder(scalars, vectors, True, vector).generate_rows

    return multiply_add


def dense_rows_microkernel(scalars: int, vectors: int) -> Any:
    """Return the same for inputs that are evenly apart.

    ``microkernel(source, source_base, source_pitch, depth, weights, weight_base, weight_pitch, rows, sums, sum_base,
    sum_pitch, resume)``.
    """

    @intrinsic
    def multiply_add(
        typingctx: Any,
        source: Any,
        source_base: Any,
        source_pitch: Any,
        depth: Any,
        weights: Any,
        weight_base: Any,
        weight_pitch: Any,
        rows: Any,
        sums: Any,
        sum_base: Any,
        sum_pitch: Any,
        resume: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(source, i64, i64, i64, weights, i64, i64, i64, sums, i64, i64, types.boolean)
        vector = ir.VectorType(element(source.dtype), lanes(source.dtype))
        return signature, _Builder(scalars, vectors, True, vector).generate_dense_rows

    return multiply_add


# Filter elements whose products are summed at once with positions in lanes.
TAPS = 8


def dot_microkernel(channels: int) -> Any:
    """Return the function that adds up the products of lines of two maps, vector by vector, and stores the sums.

    ``microkernel(small, small_base, small_pitch, small_places, large, large_places, counts, depth, offsets, first,
    last, sums, sum_base, resume)``: step ``k`` of `depth` multiplies ``counts[k]`` numbers at ``small_base +
    c*small_pitch + small_places[k]``, for each channel ``c``, by those at ``offsets[first + t] + large_places[k]``, for
    each of `TAPS` filter elements ``t``, or the one that is `last`; nothing else is read. A vector of sums for each
    follows that of the one before, channel by channel.
    """

    @intrinsic
    def multiply_add(
        typingctx: Any,
        small: Any,
        small_base: Any,
        small_pitch: Any,
        small_places: Any,
        large: Any,
        large_places: Any,
        counts: Any,
        depth: Any,
        offsets: Any,
        first: Any,
        last: Any,
        sums: Any,
        sum_base: Any,
        resume: Any,
    ) -> Any:
        i64 = types.int64
        maps = small, i64, i64, small_places, large, large_places
        signature = types.void(*maps, counts, i64, offsets, i64, i64, sums, i64, types.boolean)
        vector = ir.VectorType(element(small.dtype), lanes(small.dtype))
        return signature, _Builder(channels, TAPS, True, vector).generate_dot

    return multiply_add


# How far a step's inputs are from the places where they begin.
_Offset = Callable[[Any], Any]
# The sums with one step's products, of the step, where its weights are, and the sums before.
_Step = Callable[[Any, Any, list[Any]], list[Any]]


class _Builder:
    def __init__(
        self, scalars: int, vectors: int, positions_in_lanes: bool, vector: ir.VectorType, ahead: bool = False
    ) -> None:
        self._scalars, self._vectors = scalars, vectors
        self._positions_in_lanes, self._vector, self._ahead = positions_in_lanes, vector, ahead

    @property
    def _taken(self) -> int:
        """Weights of a step."""
        return self._scalars if self._positions_in_lanes else self._vectors * self._vector.count

    @property
    def _places(self) -> int:
        return self._vectors if self._positions_in_lanes else self._scalars

    def generate_dense(self, context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, shift: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [shift])

        _, base, source_pitch, depth, _, weight_base, _, sum_base, pitch, resume = args
        source, weights, sums = pointer(0, base), pointer(4, weight_base), pointer(6, sum_base)
        apart = self._vector.count if self._positions_in_lanes else 1
        starts = [builder.gep(source, [_I64(i * apart)]) for i in range(self._places)]
        targets = self._targets(builder, sums, pitch)
        sums = self._loop(builder, depth, starts, lambda step: builder.mul(step, source_pitch), weights)
        self._store(builder, sums, targets, resume)
        return context.get_dummy_value()

    def generate_rows(self, context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, shift: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [shift])

        _, _, first_place, _, first, depth, _, base, weight_pitch, rows, _, sum_base, pitch, resume = args
        source, places, offsets = pointer(0, _I64(0)), pointer(1, first_place), pointer(3, first)
        weights, sums = self._rows(builder, pointer(6, base), weight_pitch, rows), pointer(10, sum_base)
        starts = [builder.gep(source, [self._index(builder, places, i)]) for i in range(self._places)]
        targets = self._targets(builder, sums, pitch)
        sums = self._loop(builder, depth, starts, lambda step: self._index(builder, offsets, step), weights)
        self._store(builder, sums, targets, resume)
        return context.get_dummy_value()

    def generate_dense_rows(self, context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, shift: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [shift])

        _, base, source_pitch, depth, _, weight_base, weight_pitch, rows, _, sum_base, pitch, resume = args
        source, sums = pointer(0, base), pointer(8, sum_base)
        weights = self._rows(builder, pointer(4, weight_base), weight_pitch, rows)
        starts = [builder.gep(source, [_I64(i * self._vector.count)]) for i in range(self._places)]
        targets = self._targets(builder, sums, pitch)
        sums = self._loop(builder, depth, starts, lambda step: builder.mul(step, source_pitch), weights)
        self._store(builder, sums, targets, resume)
        return context.get_dummy_value()

    def generate_dot(self, context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, shift: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.gep(data, [shift])

        zero = _I64(0)
        _, base, small_pitch, _, _, _, _, depth, _, first, last, _, sum_base, resume = args
        smalls, larges, counts, offsets = pointer(3, zero), pointer(5, zero), pointer(6, zero), pointer(8, first)
        small, large, sums = pointer(0, base), pointer(4, zero), pointer(11, sum_base)
        channels = [builder.gep(small, [builder.mul(small_pitch, _I64(c))]) for c in range(self._scalars)]
        taps = []
        for t in range(self._vectors):
            there = builder.select(builder.icmp_signed("<", last, _I64(t)), last, _I64(t))
            taps.append(builder.gep(large, [self._index(builder, offsets, there)]))
        targets = self._targets(builder, sums, _I64(self._vectors * self._vector.count))
        lane = ir.Constant(ir.VectorType(_I32, self._vector.count), list(range(self._vector.count)))

        def step(at: Any, _: Any, totals: list[Any]) -> list[Any]:
            count = builder.load(builder.gep(counts, [at]))
            there = builder.icmp_signed("<", lane, self._spread(builder, count))
            shift, other = (builder.load(builder.gep(places, [at])) for places in (smalls, larges))
            ones = [self._load_there(builder, builder.gep(each, [shift]), there) for each in channels]
            others = [self._load_there(builder, builder.gep(each, [other]), there) for each in taps]
            pairs = [(one, each) for one in ones for each in others]
            return [self._add_product(builder, *pair, total) for pair, total in zip(pairs, totals, strict=True)]

        self._store(builder, self._repeat(builder, depth, step), targets, resume)
        return context.get_dummy_value()

    def _load_there(self, builder: ir.IRBuilder, pointer: Any, there: Any) -> Any:
        """Return a vector, with zeros in the lanes that are not `there`, which are not read."""
        vector = self._vector
        kind = ir.FunctionType(vector, [vector.as_pointer(), _I32, there.type, vector])
        letter = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{vector.count}{letter}.p0")
        nothing = ir.Constant(vector, [0.0] * vector.count)
        return builder.call(function, [self._as_vector(builder, pointer), _I32(self._alignment), there, nothing])

    def _rows(self, builder: ir.IRBuilder, weights: Any, pitch: Any, rows: Any) -> list[Any]:
        """Return where the weights of each scalar begin."""
        last = builder.sub(rows, _I64(1))
        begins = []
        for i in range(self._scalars):
            beyond = builder.icmp_signed("<", last, _I64(i))
            begins.append(builder.gep(weights, [builder.mul(builder.select(beyond, last, _I64(i)), pitch)]))
        return begins

    def _targets(self, builder: ir.IRBuilder, sums: Any, pitch: Any) -> list[Any]:
        return [
            builder.gep(sums, [builder.add(builder.mul(pitch, _I64(i)), _I64(v * self._vector.count))])
            for i in range(self._scalars)
            for v in range(self._vectors)
        ]

    def generate(self, context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        def pointer(array: int, *shifts: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            for shift in shifts:
                data = builder.gep(data, [shift])
            return data

        _, base, _, first_place, _, first, depth, _, weight_base, _, sum_base, pitch, resume = args
        source, places, offsets = pointer(0, base), pointer(2, first_place), pointer(4, first)
        weights, sums = pointer(7, weight_base), pointer(9, sum_base)
        starts = [builder.gep(source, [self._index(builder, places, i)]) for i in range(self._places)]
        targets = self._targets(builder, sums, pitch)
        sums = self._loop(builder, depth, starts, lambda step: self._index(builder, offsets, step), weights)
        self._store(builder, sums, targets, resume)
        return context.get_dummy_value()

    @property
    def _alignment(self) -> int:
        return 4 if isinstance(self._vector.element, ir.FloatType) else 8

    def _as_vector(self, builder: ir.IRBuilder, pointer: Any) -> Any:
        return builder.bitcast(pointer, self._vector.as_pointer())

    def _load(self, builder: ir.IRBuilder, pointer: Any) -> Any:
        return builder.load(self._as_vector(builder, pointer), align=self._alignment)

    def _index(self, builder: ir.IRBuilder, table: Any, index: Any) -> Any:
        index = _I64(index) if isinstance(index, int) else index
        return builder.sext(builder.load(builder.gep(table, [index])), _I64)

    def _spread(self, builder: ir.IRBuilder, number: Any) -> Any:
        undefined = ir.Constant(ir.VectorType(number.type, self._vector.count), ir.Undefined)
        one = builder.insert_element(undefined, number, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self._vector.count), [0] * self._vector.count)
        return builder.shuffle_vector(one, undefined, zeros)

    def _store(self, builder: ir.IRBuilder, sums: list[Any], targets: list[Any], resume: Any) -> None:
        """Store sums, added to what is there if `resume`."""
        before = builder.block
        with builder.if_then(builder.trunc(resume, ir.IntType(1)) if resume.type.width > 1 else resume):
            totals = [builder.fadd(self._load(builder, to), each) for to, each in zip(targets, sums, strict=True)]
            inside = builder.block
        values = [builder.phi(self._vector) for _ in sums]
        for value, each, total, target in zip(values, sums, totals, targets, strict=True):
            value.add_incoming(each, before)
            value.add_incoming(total, inside)
            builder.store(value, self._as_vector(builder, target), align=self._alignment)

    def _loop(self, builder: ir.IRBuilder, depth: Any, starts: list[Any], offset: _Offset, weights: Any) -> list[Any]:
        """Return the sums of `depth` steps, by packed weights or by those of rows that begin at `weights`."""
        if not isinstance(weights, list):
            return self._repeat(
                builder,
                depth,
                lambda step, weight, sums: self._step(builder, starts, offset(step), weight, sums),
                weights,
            )

        # A pointer that moves would take an addition for each row.
        def by_rows(step: Any, _: Any, sums: list[Any]) -> list[Any]:
            return self._step(builder, starts, offset(step), [builder.gep(row, [step]) for row in weights], sums)

        return self._repeat(builder, depth, by_rows)

    def _repeat(self, builder: ir.IRBuilder, depth: Any, each: _Step, weights: Any = None) -> list[Any]:
        """Return the sums of `depth` steps, all zero without any."""
        initial = [ir.Constant(self._vector, [0.0] * self._vector.count)] * (self._scalars * self._vectors)
        before = builder.block
        body, after = builder.append_basic_block("products"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", depth, _I64(0)), body, after)
        builder.position_at_end(body)
        step = builder.phi(_I64)
        weight = None if weights is None else builder.phi(weights.type)
        sums = [builder.phi(self._vector) for _ in initial]
        totals = each(step, weight, sums)
        following = builder.add(step, _I64(1))
        loops = [(step, _I64(0), following), *zip(sums, initial, totals, strict=True)]
        if weight is not None:
            loops.append((weight, weights, builder.gep(weight, [_I64(self._taken)])))
        for phi, start, again in loops:
            phi.add_incoming(start, before)
            phi.add_incoming(again, body)
        builder.cbranch(builder.icmp_signed("<", following, depth), body, after)
        builder.position_at_end(after)
        finals = []
        for start, total in zip(initial, totals, strict=True):
            final = builder.phi(self._vector)
            final.add_incoming(start, before)
            final.add_incoming(total, body)
            finals.append(final)
        return finals

    def _prefetch(self, builder: ir.IRBuilder, places: list[Any]) -> None:
        """Ask for the weights of the same step of the next products, which other threads may not have read either."""
        for each in places:
            ask(builder, builder.gep(each, [_I64(DEPTH * self._taken)]))

    def _step(self, builder: ir.IRBuilder, starts: list[Any], offset: Any, weight: Any, sums: list[Any]) -> list[Any]:
        """Return the sums with one step's products."""
        inputs = [builder.gep(start, [offset]) for start in starts]
        if self._positions_in_lanes:
            packed = not isinstance(weight, list)
            numbers = [builder.gep(weight, [_I64(i)]) for i in range(self._scalars)] if packed else weight
            vectors = [self._load(builder, each) for each in inputs]
        else:
            width = self._vector.count
            numbers = inputs
            places = [builder.gep(weight, [_I64(v * width)]) for v in range(self._vectors)]
            vectors = [self._load(builder, each) for each in places]
            if self._ahead:
                self._prefetch(builder, places)
        totals = []
        for i, number in enumerate(numbers):
            spread = self._spread(builder, builder.load(number))
            for vector, total in zip(vectors, sums[i * self._vectors : (i + 1) * self._vectors], strict=True):
                totals.append(self._add_product(builder, spread, vector, total))
        return totals

    def _add_product(self, builder: ir.IRBuilder, one: Any, other: Any, total: Any) -> Any:
        # LLVM may fuse the two, and does where the processor can.
        contract = ("contract",)
        return builder.fadd(builder.fmul(one, other, flags=contract), total, flags=contract)
