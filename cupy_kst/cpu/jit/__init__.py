"""Convolution and transposed convolution that Numba compiles for the processor at hand (the extra ``fast``).

NumPy multiplies matrices as well as the BLAS it was built with knows the processor. Here the sums stay in as many
vector registers as the processor really has, the input is read where it lies in a box that fits the cache, and all
residue classes of a box are made of that one copy.

    if available(dtype) and suits(geometry, operation):
        packed = pack(weight)
        conv_transpose(geometry, input, packed, bias, out)

`conv` is called in the same way. Where ``suits_minimal(geometry, operation)``, both take what `pack_minimal` returns
instead, make fewer products, and return whether sums of these are not finite. ``correlate(geometry, small, large,
out)`` is the gradient of both their weights. Where ``folds(geometry)``, ``fold(geometry, input, weight, bias, out)`` is
the transposed convolution by a weight as it lies, for which nothing is packed, and so is `conv_rows` a convolution.
Arrays are those that `cpu.RUNS` has: C-contiguous, float32 or float64. Each form takes its sums in one order, whatever
the number of threads. Border positions multiply zeros, so weights that are not finite reach outputs that they do not
touch, but for `fold`, which is exact. Calls from several threads are safe, and threads that helped watch for the next
call for a fraction of a millisecond before they sleep. The first call of an element type compiles for some seconds, and
Numba keeps the result on disk.
"""

from __future__ import annotations

from . import threads
from .engine import available, conv, conv_rows, conv_transpose, fold, folds, problem, suits, suits_minimal
from .pack.weight import Packed, pack, pack_minimal
from .weight_grad.plan import correlate

__all__ = [
    "Packed",
    "available",
    "conv",
    "conv_rows",
    "conv_transpose",
    "correlate",
    "fold",
    "folds",
    "pack",
    "pack_minimal",
    "problem",
    "suits",
    "suits_minimal",
    "threads",
]
