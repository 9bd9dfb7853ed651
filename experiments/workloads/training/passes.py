"""The three passes of a convolution or a transposed convolution, each by a method of the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cupy_kst
from cupy_kst import grad
from experiments.workloads.training.parameters import Array


class Passes(Protocol):
    """How a layer of convolution is carried out: its three passes, with the arguments of cupy_kst."""

    def forward(self, x: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array: ...

    def input(self, size: Sequence[int], weight: Array, gradient: Array, stride: int, padding: int) -> Array: ...

    def weight(self, x: Array, size: Sequence[int], gradient: Array, stride: int, padding: int) -> Array: ...


@dataclass(frozen=True)
class ConvPasses:
    """The passes of a convolution, each by a method of the library."""

    forward_by: str = "auto"
    input_by: str = "auto"
    weight_by: str = "auto"

    def forward(self, x: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array:
        return cupy_kst.conv2d(x, weight, bias, stride, padding, method=self.forward_by)

    def input(self, size: Sequence[int], weight: Array, gradient: Array, stride: int, padding: int) -> Array:
        return grad.conv2d_input(size, weight, gradient, stride, padding, method=self.input_by)

    def weight(self, x: Array, size: Sequence[int], gradient: Array, stride: int, padding: int) -> Array:
        return grad.conv2d_weight(x, size, gradient, stride, padding, method=self.weight_by)


@dataclass(frozen=True)
class ConvTransposePasses:
    """The passes of a transposed convolution, each by a method of the library."""

    forward_by: str = "auto"
    input_by: str = "auto"
    weight_by: str = "auto"

    def forward(self, x: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array:
        return cupy_kst.conv_transpose2d(x, weight, bias, stride, padding, method=self.forward_by)

    def input(self, size: Sequence[int], weight: Array, gradient: Array, stride: int, padding: int) -> Array:
        return grad.conv_transpose2d_input(size, weight, gradient, stride, padding, method=self.input_by)

    def weight(self, x: Array, size: Sequence[int], gradient: Array, stride: int, padding: int) -> Array:
        return grad.conv_transpose2d_weight(x, size, gradient, stride, padding, method=self.weight_by)
