"""The layers of small networks.

A layer's `forward` keeps what its `backward` needs; `backward` takes the gradient of its output, fills in the gradients
of its parameters and returns that of its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from experiments.workloads.training.parameters import Array, Init, Parameter, module_of
from experiments.workloads.training.passes import ConvPasses, ConvTransposePasses, Passes


class Layer(Protocol):
    """What a network is made of."""

    @property
    def parameters(self) -> list[Parameter]: ...

    def forward(self, x: Array) -> Array: ...

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        """Return the gradient of the input, or anything at all if not `to_input`."""
        ...


@dataclass(eq=False)
class Convolution:
    """A convolution or a transposed convolution with a bias, whichever `passes` are of."""

    kernel: Parameter
    bias: Parameter
    stride: int
    padding: int
    passes: Passes
    _x: Array = field(default=None, init=False, repr=False)

    @property
    def parameters(self) -> list[Parameter]:
        return [self.kernel, self.bias]

    def forward(self, x: Array) -> Array:
        self._x = x
        return self.passes.forward(x, self.kernel.value, self.bias.value, self.stride, self.padding)

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        x, kernel = self._x, self.kernel
        kernel.gradient = self.passes.weight(x, kernel.value.shape, gradient, self.stride, self.padding)
        self.bias.gradient = gradient.sum(axis=(0, 2, 3))
        return self.passes.input(x.shape, kernel.value, gradient, self.stride, self.padding) if to_input else None


def conv(
    init: Init, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, passes: Passes | None = None
) -> Convolution:
    """Return a convolution with a square kernel."""
    kernel = init.kaiming_uniform((outputs, inputs, size, size), inputs * size**2)
    return Convolution(kernel, init.zeros(outputs), stride, padding, passes or ConvPasses())


def conv_transpose(
    init: Init, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, passes: Passes | None = None
) -> Convolution:
    """Return a transposed convolution with a square kernel."""
    # One in stride**2 taps of a kernel meets an output.
    kernel = init.kaiming_uniform((inputs, outputs, size, size), max(1, inputs * size**2 // stride**2))
    return Convolution(kernel, init.zeros(outputs), stride, padding, passes or ConvTransposePasses())


class Dense:
    """A fully connected layer; an input of more axes is flattened."""

    def __init__(self, init: Init, inputs: int, outputs: int) -> None:
        self.parameters = [init.kaiming_uniform((inputs, outputs), inputs), init.zeros(outputs)]
        self._shape: Sequence[int] = ()
        self._x: Array = None

    def forward(self, x: Array) -> Array:
        weight, bias = self.parameters
        self._shape, self._x = x.shape, x.reshape(len(x), -1)
        return self._x @ weight.value + bias.value

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        weight, bias = self.parameters
        weight.gradient, bias.gradient = self._x.T @ gradient, gradient.sum(axis=0)
        return (gradient @ weight.value.T).reshape(self._shape) if to_input else None


class Reshape:
    """Gives every sample the shape `shape`."""

    def __init__(self, *shape: int) -> None:
        self.parameters: list[Parameter] = []
        self._to = shape
        self._from: Sequence[int] = ()

    def forward(self, x: Array) -> Array:
        self._from = x.shape
        return x.reshape(len(x), *self._to)

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        return gradient.reshape(self._from)


class LeakyReLU:
    """max(x, slope * x); slope 0 is the ordinary ReLU."""

    def __init__(self, slope: float = 0.0) -> None:
        self.parameters: list[Parameter] = []
        self._slope = slope
        self._above: Array = None

    def forward(self, x: Array) -> Array:
        self._above = x > 0
        return module_of(x).where(self._above, x, self._slope * x)

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        return module_of(gradient).where(self._above, gradient, self._slope * gradient)


class Sigmoid:
    """1 / (1 + exp(-x)), as a hyperbolic tangent, which does not overflow."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        self._y: Array = None

    def forward(self, x: Array) -> Array:
        self._y = 0.5 * module_of(x).tanh(0.5 * x) + 0.5
        return self._y

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        return gradient * self._y * (1 - self._y)


class Sequential:
    """Layers one after another."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    @property
    def parameters(self) -> list[Parameter]:
        return [parameter for layer in self.layers for parameter in layer.parameters]

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient, to_input or layer is not self.layers[0])
        return gradient
