"""Small networks that train with the library's convolutions and gradients, on NumPy or CuPy arrays.

A layer's `forward` keeps what its `backward` needs; `backward` takes the gradient of its output, fills in the gradients
of its parameters and returns that of its input.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst import grad
from experiments.harness.devices import Device

Array = Any


def module_of(array: Array) -> Any:
    """Return the module, NumPy or CuPy, that `array` is of."""
    return sys.modules[type(array).__module__.partition(".")[0]]


@dataclass(eq=False)
class Parameter:
    """An array that is learnt, and the gradient of the loss by it."""

    value: Array
    gradient: Array = None


class Init:
    """Draws first values, the same ones for the same seed on every device."""

    def __init__(self, device: Device, seed: int, dtype: str = "float32") -> None:
        self._device, self._dtype = device, dtype
        self._random = np.random.default_rng(seed)

    def kaiming_uniform(self, shape: Sequence[int], terms: int) -> Parameter:
        """Return values of variance 2 / `terms`, `terms` being the number of inputs of each output."""
        bound = math.sqrt(6 / terms)
        return Parameter(self._device.put(self._random.uniform(-bound, bound, shape).astype(self._dtype)))

    def zeros(self, *shape: int) -> Parameter:
        return Parameter(self._device.put(np.zeros(shape, self._dtype)))


class Layer(Protocol):
    """What a network is made of."""

    @property
    def parameters(self) -> list[Parameter]: ...

    def forward(self, x: Array) -> Array: ...

    def backward(self, gradient: Array, to_input: bool = True) -> Array:
        """Return the gradient of the input, or anything at all if not `to_input`."""
        ...


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
    # Of the taps of a kernel, one in stride**2 meets an output.
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


# Returns the loss, an array of one element, and the gradient of it by the output.
Loss = Callable[[Array, Array], tuple[Array, Array]]


def mean_squared_error(output: Array, target: Array) -> tuple[Array, Array]:
    """Return the mean over all elements of the squared difference from `target`."""
    difference = output - target
    return (difference * difference).mean(), difference * (2 / output.size)


def softmax_cross_entropy(output: Array, labels: Array) -> tuple[Array, Array]:
    """Return the mean over the samples of -log of what the softmax of `output` gives the right class."""
    xp = module_of(output)
    shifted = output - output.max(axis=1, keepdims=True)
    powers = xp.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    samples = xp.arange(len(output))
    loss = (xp.log(sums[:, 0]) - shifted[samples, labels]).mean()
    gradient = powers / sums
    gradient[samples, labels] -= 1
    return loss, gradient / len(output)


class Optimiser(Protocol):
    """Changes parameters by their gradients."""

    def step(self) -> None: ...


class SGD:
    """Steps against the gradient."""

    def __init__(self, parameters: Sequence[Parameter], rate: float) -> None:
        self._parameters, self._rate = parameters, rate

    def step(self) -> None:
        for parameter in self._parameters:
            parameter.value -= self._rate * parameter.gradient


class Adam:
    """Steps by means of the gradients over their size, as Kingma and Ba have it (arXiv 1412.6980)."""

    def __init__(
        self, parameters: Sequence[Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self._rate, self._betas, self._eps = rate, betas, eps
        self._steps = 0
        self._state = [(each, 0 * each.value, 0 * each.value) for each in parameters]

    def step(self) -> None:
        self._steps += 1
        first, second = self._betas
        # Both means begin at zero; this takes out what that does to them.
        rate = self._rate * math.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        for parameter, mean, square in self._state:
            mean += (1 - first) * (parameter.gradient - mean)
            square += (1 - second) * (parameter.gradient**2 - square)
            eps = self._eps * math.sqrt(1 - second**self._steps)
            parameter.value -= rate * mean / (module_of(mean).sqrt(square) + eps)


def train_step(model: Sequential, loss: Loss, optimiser: Optimiser, x: Array, target: Array) -> Array:
    """Train on one batch and return its loss, an array of one element, so that a GPU need not be waited for."""
    value, gradient = loss(model.forward(x), target)
    model.backward(gradient, to_input=False)
    optimiser.step()
    return value


def batches(number: int, size: int, seed: int | Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Return the places of each batch of an epoch: `number` samples in a drawn order, less an incomplete batch.

    They are NumPy's; what indexes a CuPy array must be put on its device first.
    """
    order = np.random.default_rng(seed).permutation(number)
    for start in range(0, number - size + 1, size):
        yield order[start : start + size]
