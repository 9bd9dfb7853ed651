"""Vectors in LLVM IR: loads, broadcasts and products that micro-kernels and whole lines have in common."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

_I32 = ir.IntType(32)


def element(kind: Any) -> ir.Type:
    """Return the LLVM type of a Numba type."""
    return ir.FloatType() if kind == types.float32 else ir.DoubleType()


def size_of(kind: ir.Type) -> int:
    """Return the bytes of a number, by which vectors in memory are aligned."""
    return 4 if isinstance(kind, ir.FloatType) else 8


def as_vector(builder: ir.IRBuilder, pointer: Any, vector: ir.VectorType) -> Any:
    """Return a pointer to numbers as one to a vector."""
    return builder.bitcast(pointer, vector.as_pointer())


def load_vector(builder: ir.IRBuilder, pointer: Any, vector: ir.VectorType) -> Any:
    """Return the vector that begins at a number."""
    return builder.load(as_vector(builder, pointer, vector), align=size_of(vector.element))


def shuffle(builder: ir.IRBuilder, one: Any, other: Any, order: list[int]) -> Any:
    """Return numbers of two vectors in an order that counts those of both."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_I32, len(order)), order))


def broadcast(builder: ir.IRBuilder, number: Any, width: int) -> Any:
    """Return a vector of equal numbers."""
    undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    return shuffle(builder, builder.insert_element(undefined, number, _I32(0)), undefined, [0] * width)


def sum_product(builder: ir.IRBuilder, one: Any, other: Any, total: Any) -> Any:
    """Return a sum with one more product: LLVM may fuse the two, and does where the processor can."""
    contract = ("contract",)
    return builder.fadd(builder.fmul(one, other, flags=contract), total, flags=contract)


def prefetch_line(builder: ir.IRBuilder, pointer: Any) -> None:
    """Ask for the cache line of a pointer, which may lie beyond what may be read."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    builder.call(function, [builder.bitcast(pointer, byte), _I32(0), _I32(2), _I32(1)])
