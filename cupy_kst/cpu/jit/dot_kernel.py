"""The micro-kernel of gradients with positions in lanes: dot products of vectors of two maps.

It is unlike the others, since both operands are vectors of inputs, and each vector has its own number of lanes that
count.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .intrinsics import intrinsic
from .isa import DOT_CHANNELS, DOT_TAPS
from .llvm import as_vector, broadcast, size_of, sum_product
from .microkernel import Code, switch
from .operands import Operand, index_at, tuple_type

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def dot_kernel() -> Any:
    """Return the function that adds up the products of vectors of two maps, for up to `DOT_CHANNELS` channels.

    ``dot(channels, small, large, vectors, sums, resume)`` takes ``small = (array, base, pitch, starts)``, ``large =
    (array, places, offsets, first)``, ``vectors = (counts, begin, depth)`` and ``sums = (array, base)``. Step
    ``k``, of `depth` from `begin` on, multiplies ``counts[k]`` numbers at ``base + c*pitch + starts[k]``, for each
    channel ``c``, by those at ``offsets[first + t] + places[k]``, for each of `DOT_TAPS` filter elements ``t``.
    Nothing else of both maps is read. Each pair of a channel and a filter element has a vector of sums, and these lie
    one behind the other, channel by channel. If `resume` the sums are added to what is there.
    """

    @intrinsic
    def dot(typingctx: Any, channels: Any, small: Any, large: Any, vectors: Any, sums: Any, resume: Any) -> Any:
        signature = types.void(types.int64, *map(tuple_type, (small, large, vectors, sums)), types.boolean)
        names = ("source", "base", "pitch", "starts"), ("source", "places", "offsets", "first")

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            operands = [
                Operand(context, builder, each, signature.args[number], args[number])
                for number, each in enumerate((*names, ("counts", "begin", "depth"), ("sums", "base")), 1)
            ]

            def case(size: tuple[int, int]) -> None:
                _DotCode(builder, size, operands[0].dtype, True).dot(operands, args[5])

            switch(builder, args[0], {each: (each, DOT_TAPS) for each in range(1, DOT_CHANNELS + 1)}, case)
            return context.get_dummy_value()

        return signature, generate

    return dot


class _DotCode(Code):
    """The code of one number of channels, by the vectors of `DOT_TAPS` filter elements."""

    def dot(self, operands: list[Any], resume: Any) -> None:
        small, large, vectors, sums = operands
        builder, width = self.builder, self.vector.count
        base = builder.gep(small.source, [small.base])
        channels = [builder.gep(base, [builder.mul(small.pitch, _I64(c))]) for c in range(self.mr)]
        offsets, taps = builder.gep(large.offsets, [large.first]), []
        for t in range(self.vectors):
            taps.append(builder.gep(large.source, [index_at(builder, offsets, _I64(t))]))
        targets = self.targets(builder.gep(sums.sums, [sums.base]), _I64(self.vectors * width))
        lane = ir.Constant(ir.VectorType(_I32, width), list(range(width)))

        def step(number: Any, _: Any, totals: list[Any]) -> list[Any]:
            at = builder.add(vectors.begin, number)
            count = builder.load(builder.gep(vectors.counts, [at]))
            there = builder.icmp_signed("<", lane, broadcast(builder, count, width))
            shift, other = (builder.load(builder.gep(each, [at])) for each in (small.starts, large.places))
            ones = [self._load_there(builder.gep(each, [shift]), there) for each in channels]
            others = [self._load_there(builder.gep(each, [other]), there) for each in taps]
            pairs = [(one, each) for one in ones for each in others]
            return [sum_product(builder, *pair, total) for pair, total in zip(pairs, totals, strict=True)]

        self.store(self.loop(vectors.depth, step), targets, resume)

    def _load_there(self, pointer: Any, there: Any) -> Any:
        """Return a vector, with zeros in the lanes that are not `there`, which are not read."""
        vector, builder = self.vector, self.builder
        kind = ir.FunctionType(vector, [vector.as_pointer(), _I32, there.type, vector])
        letter = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{vector.count}{letter}.p0")
        nothing = ir.Constant(vector, [0.0] * vector.count)
        return builder.call(
            function, [as_vector(builder, pointer, vector), _I32(size_of(vector.element)), there, nothing]
        )
