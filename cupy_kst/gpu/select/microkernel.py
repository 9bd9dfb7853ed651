"""MicroKernel-kernels of the tiled methods: what multiplies the elements of an array, and where that is allowed."""

from __future__ import annotations

from typing import NamedTuple

from ...dtypes import DTYPES, DType, Precision
from .device import Device


class MicroKernel(NamedTuple):
    """A way to multiply.

    Attributes
    ----------
    name : str
        What is multiplied, as the names of forms have it.
    bytes : int
        Bytes of an element in shared memory.
    tensor : int
        0 on CUDA cores, else the products that tensor cores make of one; the macro TENSOR of cuda/tile.cuh.
    rate : float
        Multiply-adds of one multiprocessor a clock, as an H200 has them; about, for choices between forms.
    """

    name: str
    bytes: int
    tensor: int
    rate: float

    def runs_on(self, device: Device) -> bool:
        """Return whether a device has the instructions."""
        return not self.tensor or device.capability >= (8, 0)


_CUDA = {
    dtype.name: MicroKernel(dtype.short, dtype.storage.itemsize, 0, rate)
    for dtype, rate in (
        (DTYPES["float32"], 90),
        (DTYPES["float64"], 45),
        (DTYPES["complex64"], 22),
        (DTYPES["complex128"], 11),
    )
}
# mma.sync reaches about two thirds of what Hopper's own instructions do.
_HALF = {"float16": MicroKernel("f16", 2, 1, 1200), "bfloat16": MicroKernel("bf16", 2, 1, 1200)}
_TF32, _TF32X3 = MicroKernel("tf32", 4, 1, 550), MicroKernel("tf32x3", 4, 3, 180)
_FLOAT: dict[Precision, tuple[MicroKernel, ...]] = {"ieee": (), "tf32x3": (_TF32X3,), "tf32": (_TF32, _TF32X3)}


def micro_kernels(dtype: DType, precision: Precision) -> tuple[MicroKernel, ...]:
    """Return what may multiply elements of a type, the fastest first."""
    cuda = _CUDA[dtype.compute.name]
    if dtype.name in _HALF:
        return (_HALF[dtype.name], cuda)
    return (*_FLOAT[precision], cuda) if dtype.name == "float32" else (cuda,)
