"""Convolution and transposed convolution that Numba compiles for the processor at hand (the extra ``fast``).

NumPy multiplies matrices as well as the BLAS it was built with knows the processor. Here the sums stay in as many
vector registers as the processor really has, the input is read where it lies in a box that fits the cache, and all
residue classes of a box are made of that one copy.

    if available(dtype) and suits(geometry, operation):
        packed = pack(weight)
        conv_transpose(geometry, input, packed, bias, out)

`conv` is called in the same way. ``fold(geometry, input, weight, bias, out)`` is a transposed convolution by the weight
as it lies, for which nothing is packed, where ``folds(geometry)``; and ``correlate(geometry, small, large, out)`` is the gradient of both their weights.
Arrays are those that `cpu.RUNS` has: C-contiguous, float32 or float64. Sums are taken in one order, whatever the form,
the boxes and the number of threads. Border positions multiply zeros, so weights that are not finite reach outputs that
they do not touch, but for `fold`, which is exact. Threads that helped wait for the next call for a fraction of a
millisecond before they sleep. Calls from several threads are safe; the first one of an element type compiles for some seconds, and
Numba keeps the result on disk.
"""

from __future__ import annotations

from .engine import Packed, available, conv, conv_transpose, correlate, fold, folds, pack, problem, suits

__all__ = ["Packed", "available", "conv", "conv_transpose", "correlate", "fold", "folds", "pack", "problem", "suits"]
