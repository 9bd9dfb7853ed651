"""Convolution and transposed convolution that Numba compiles for the processor at hand (the extra ``fast``).

NumPy multiplies matrices as well as the BLAS it was built with knows the processor. Here the sums stay in as many
vector registers as the processor really has, the input is read where it lies in a box that fits the cache, and all
residue classes of a box are made of that one copy.

    if available(dtype) and engine.suits(geometry, operation):
        packed = pack.weight.pack(weight)
        engine.conv_transpose(geometry, input, packed, bias, out)

`engine.conv` is called in the same way. Where ``engine.suits_winograd(geometry, operation)``, both take what
`pack_winograd` returns instead, make fewer products, and return whether sums of these are not finite. ``engine.col2im``
and ``engine.conv_unpacked`` take a weight as it lies, and ``weight_grad.call.correlate`` makes the gradient of one.
Arrays are those of `cpu.form.Form`: C-contiguous, float32 or float64.

Each form takes its sums in one order, whatever the number of threads. Border positions multiply zeros, so weights that
are not finite reach outputs that they do not touch, but for `col2im`, which is exact. Calls from several threads are
safe, and threads that helped watch for the next call for a fraction of a millisecond before they sleep. The first call
of an element type compiles for some seconds, and the result is kept on disk (`cache`).

What all kernels share is of two kinds. Numbers and their places (`isa`, `task`, `box`, `template`, `memory`, `launch`,
`threads`) need no Numba. What is compiled is imported by the first call: `entry`, `cache`, `pool`, `atomics`,
`intrinsics`; `microkernel`, `operands`, `dot_kernel`, `channels_in_lanes`; `gather`, `overrunning_copy`, `vector_ops`,
`transpose`, `llvm`. Each kernel has a folder with its `plan` and its `kernel`.
"""

from __future__ import annotations

from . import threads
from .engine import available, problem

__all__ = ["available", "problem", "threads"]
