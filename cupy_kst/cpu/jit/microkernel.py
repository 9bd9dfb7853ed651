"""The innermost products, as LLVM IR: MR x NR sums that stay in vector registers over the whole inner loop.

Left to its vectoriser, LLVM keeps the sums in memory. Here each step broadcasts MR numbers, loads the vectors of NR,
and adds their products to one register for each pair. A chain of KC steps is made at once, then the sums are stored, or
added to those that an earlier chain has stored.

Kernels differ in where they find their operands, which `operands` tells:

- inputs are at places of a table plus offsets of another one (`TableInputs`), or evenly apart (`EvenInputs`);
- weights are packed in the order of the steps (`PackedWeights`), or rows of the weight as it lies (`RowWeights`);
- vectors hold positions, and weights are broadcast, or the other way round.

`micro_kernel` makes a function of a choice of these, for all sizes of a tile at once: an LLVM switch leads to the code
of the size that a call asks for, and a size that there is no code for ends the process instead of running another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .isa import KC, lanes_of
from .llvm import as_vector, broadcast, element, load_vector, prefetch_line, size_of, sum_product
from .operands import PACKED, SUMS, EvenInputs, Operand, PackedWeights, RowWeights, TableInputs, tuple_type

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def micro_kernel(
    tiles: Mapping[int, tuple[int, int]],
    inputs: TableInputs | EvenInputs,
    weights: PackedWeights | RowWeights = PACKED,
    *,
    positions_in_lanes: bool,
    prefetch: bool = False,
) -> Any:
    """Return the function that adds up MR x NR sums of products and stores them, for each size in `tiles`.

    ``multiply(size, inputs, weights, sums, depth, resume)``: `size` is a key of `tiles`, whose values are MR and the
    vectors of NR. Operands are tuples as their classes name their members, sums are ``(array, base, pitch)``: the
    sums of broadcast number ``i`` are stored at ``base + i*pitch``, vector by vector. If `resume` they are added to
    what is there, as the sum of a chain, so that a call is one of at most `KC` products. With `positions_in_lanes` a
    place is where a vector of inputs begins, and a weight is broadcast; else it is where one input is, which is
    broadcast.

    With `prefetch`, and without `positions_in_lanes`, each step asks for the packed weights that lie `KC` steps on.
    """

    @intrinsic
    def multiply(typingctx: Any, size: Any, given: Any, weight: Any, sums: Any, depth: Any, resume: Any) -> Any:
        signature = types.void(types.int64, *map(tuple_type, (given, weight, sums)), types.int64, types.boolean)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            operands = [
                Operand(context, builder, names, signature.args[number], args[number])
                for number, names in ((1, inputs.names), (2, weights.names), (3, SUMS))
            ]

            def case(size: tuple[int, int]) -> None:
                code = Code(builder, size, operands[0].dtype, positions_in_lanes)
                code.multiply(inputs, weights, operands, prefetch, args[4], args[5])

            switch(builder, args[0], tiles, case)
            return context.get_dummy_value()

        return signature, generate

    return multiply


def sizes(tile: tuple[int, int], positions_in_lanes: bool) -> dict[int, tuple[int, int]]:
    """Return all sizes of a tile by the number of its places: vectors of positions, or positions that are broadcast."""
    mr, vectors = tile
    if positions_in_lanes:
        return {count: (mr, count) for count in range(1, vectors + 1)}
    return {count: (count, vectors) for count in range(1, mr + 1)}


def switch(builder: ir.IRBuilder, size: Any, tiles: Mapping[int, Any], case: Callable[[Any], None]) -> None:
    """Generate the code of each size, and a trap for all others."""
    # Without the trap, the code of another size might write more sums than its caller has room for.
    wrong, after = builder.append_basic_block("wrong_size"), builder.append_basic_block("multiplied")
    cases = builder.switch(size, wrong)
    for number, tile in tiles.items():
        block = builder.append_basic_block(f"size_{number}")
        cases.add_case(_I64(number), block)
        builder.position_at_end(block)
        case(tile)
        builder.branch(after)
    builder.position_at_end(wrong)
    builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.trap"), [])
    builder.unreachable()
    builder.position_at_end(after)


# Returns the sums after a step: of its number, the pointer to its packed weights or None, and the sums before it.
_Step = Callable[[Any, Any, list[Any]], list[Any]]


class Code:
    """The code of one size: MR broadcast numbers and some vectors in each step."""

    def __init__(self, builder: ir.IRBuilder, size: tuple[int, int], dtype: Any, positions_in_lanes: bool) -> None:
        self.builder, (self.mr, self.vectors) = builder, size
        self._in_lanes = positions_in_lanes
        self.vector = ir.VectorType(element(dtype), lanes_of(dtype.bitwidth // 8))

    @property
    def _taken(self) -> int:
        """Packed weights of a step."""
        return self.mr if self._in_lanes else self.vectors * self.vector.count

    def multiply(self, inputs: Any, weights: Any, operands: list[Any], prefetch: bool, depth: Any, resume: Any) -> None:
        builder, (given, weight, sums) = self.builder, operands
        count, stride = (self.vectors, self.vector.count) if self._in_lanes else (self.mr, 1)
        starts, offset = inputs.starts(builder, given, count, stride), inputs.offset(builder, given)
        targets = self.targets(builder.gep(sums.sums, [sums.base]), sums.pitch)
        if isinstance(weights, RowWeights):
            rows = weights.begins(builder, weight, self.mr)

            # Rows are far apart, so there is a pointer for each, and the step is the index of all of them. Pointers
            # that move would take an addition for each row.
            def step(at: Any, _: Any, totals: list[Any]) -> list[Any]:
                places = [builder.gep(start, [offset(at)]) for start in starts]
                return self._products([builder.gep(row, [at]) for row in rows], places, totals)

            found = self.loop(depth, step)
        else:

            def packed(at: Any, here: Any, totals: list[Any]) -> list[Any]:
                shift = offset(at)
                return self._packed_step([builder.gep(start, [shift]) for start in starts], here, totals, prefetch)

            found = self.loop(depth, packed, builder.gep(weight.weights, [weight.base]))
        self.store(found, targets, resume)

    def _packed_step(self, inputs: list[Any], weights: Any, totals: list[Any], prefetch: bool) -> list[Any]:
        builder, width = self.builder, self.vector.count
        if self._in_lanes:
            return self._products([builder.gep(weights, [_I64(i)]) for i in range(self.mr)], inputs, totals)
        places = [builder.gep(weights, [_I64(v * width)]) for v in range(self.vectors)]
        if prefetch:
            # What lies KC steps on is what the next chain reads. Where the whole weight is read, it may be in no cache
            # of this core yet.
            for each in places:
                prefetch_line(builder, builder.gep(each, [_I64(KC * self._taken)]))
        return self._products(inputs, places, totals)

    def _products(self, numbers: list[Any], places: list[Any], totals: list[Any]) -> list[Any]:
        """Return the sums with the products of numbers and vectors at these pointers."""
        builder = self.builder
        # The vectors are loaded first, and each broadcast number meets all of them. So the registers hold MR sums for
        # each vector, the vectors, and one broadcast number.
        vectors = [load_vector(builder, each, self.vector) for each in places]
        found = []
        for i, number in enumerate(numbers):
            one = broadcast(builder, builder.load(number), self.vector.count)
            for vector, total in zip(vectors, totals[i * self.vectors : (i + 1) * self.vectors], strict=True):
                found.append(sum_product(builder, one, vector, total))
        return found

    def targets(self, sums: Any, pitch: Any) -> list[Any]:
        builder = self.builder
        return [
            builder.gep(sums, [builder.add(builder.mul(pitch, _I64(i)), _I64(v * self.vector.count))])
            for i in range(self.mr)
            for v in range(self.vectors)
        ]

    def store(self, sums: list[Any], targets: list[Any], resume: Any) -> None:
        """Store sums, added to what is there if `resume`."""
        builder, before = self.builder, self.builder.block
        # The sum of this chain is added to the stored one at its end, and does not begin with it. So a rounding error
        # is that of one chain, and of one addition for each chain.
        with builder.if_then(builder.trunc(resume, ir.IntType(1)) if resume.type.width > 1 else resume):
            held = (load_vector(builder, to, self.vector) for to in targets)
            totals = [builder.fadd(there, each) for there, each in zip(held, sums, strict=True)]
            inside = builder.block
        # Both ways lead to the same stores. A phi is the value of the way that was taken.
        values = [builder.phi(self.vector) for _ in sums]
        for value, each, total, target in zip(values, sums, totals, targets, strict=True):
            value.add_incoming(each, before)
            value.add_incoming(total, inside)
            builder.store(value, as_vector(builder, target, self.vector), align=size_of(self.vector.element))

    def loop(self, depth: Any, each: _Step, weights: Any = None) -> list[Any]:
        """Return the sums of `depth` steps, all zero without any; `weights` moves on by the weights of a step."""
        builder = self.builder
        initial = [ir.Constant(self.vector, [0.0] * self.vector.count)] * (self.mr * self.vectors)
        before = builder.block
        # The loop asks at its end whether it goes on. So a depth of 0 is asked for before it, and passes it by.
        body, after = builder.append_basic_block("products"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", depth, _I64(0)), body, after)
        builder.position_at_end(body)
        # In the first step a phi is its initial value, later it is what the step before has made of it.
        step = builder.phi(_I64)
        weight = None if weights is None else builder.phi(weights.type)
        sums = [builder.phi(self.vector) for _ in initial]
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
        # A depth of 0 comes here past the loop, and its sums are zero.
        finals = []
        for start, total in zip(initial, totals, strict=True):
            final = builder.phi(self.vector)
            final.add_incoming(start, before)
            final.add_incoming(total, body)
            finals.append(final)
        return finals
