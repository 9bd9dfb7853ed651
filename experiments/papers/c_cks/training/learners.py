"""The classifier of c_training, and its learners: by the library's operators, or by PyTorch from the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cupy_kst.cpu import reference
from experiments.harness.devices import Device
from experiments.workloads.training.layers import Dense, Layer, LeakyReLU, Sequential, conv
from experiments.workloads.training.losses import softmax_cross_entropy
from experiments.workloads.training.optimisers import Adam
from experiments.workloads.training.parameters import Init
from experiments.workloads.training.passes import ConvPasses, Passes
from experiments.workloads.training.steps import train_step

Array = NDArray[Any]

STRIDE, SLOPE, RATE = 2, 0.01, 1e-3

SEED = 0

# By the names that results give them: the operators of the paper, and what they are compared with.
OURS = {
    "C-K-S": ConvPasses("conv_v2", "ks_deconv", "sk_dilated"),
    "with zeros": ConvPasses("direct", "zero_insertion", "zero_dilation"),
}
PEER = "PyTorch"


@dataclass(frozen=True)
class Design:
    """Convolutions of stride 2, each with LeakyReLU, and a fully connected layer.

    Attributes
    ----------
    image : tuple of int
        Channels and side of the images.
    stages : tuple of (int, int)
        Output channels and taps of each convolution.
    classes : int
        Outputs.
    """

    image: tuple[int, int]
    stages: tuple[tuple[int, int], ...]
    classes: int

    @property
    def maps(self) -> list[tuple[int, int]]:
        """Channels and side of the image and of what each convolution makes of it."""
        found = [self.image]
        for outputs, taps in self.stages:
            found.append((outputs, (found[-1][1] + 2 * (taps // 2) - taps) // STRIDE + 1))
        return found


def network(design: Design, device: Device, passes: Passes, dtype: str = "float32") -> Sequential:
    """Return the network, its weights the same for the same design."""
    init = Init(device, SEED, dtype)
    layers: list[Layer] = []
    for (inputs, _), (outputs, taps) in zip(design.maps, design.stages, strict=False):
        layers += [conv(init, inputs, outputs, taps, STRIDE, taps // 2, passes), LeakyReLU(SLOPE)]
    channels, side = design.maps[-1]
    return Sequential(*layers, Dense(init, channels * side**2, design.classes))


class Learner(Protocol):
    """What trains a network batch by batch."""

    def step(self, x: Array, labels: Array) -> Any:
        """Train on one batch and return its loss, for `number`."""
        ...

    def number(self, loss: Any) -> float:
        """Return a loss as a number; a GPU is waited for."""
        ...

    def scores(self, x: Array) -> Array:
        """Return what the network gives each class."""
        ...

    def gradients(self) -> list[Array]:
        """Return the gradients of the last step, parameter by parameter."""
        ...


class Ours:
    """Trains with the library's operators."""

    def __init__(self, design: Design, device: Device, passes: Passes, dtype: str) -> None:
        self._device = device
        self._model = network(design, device, passes, dtype)
        self._adam = Adam(self._model.parameters, RATE)

    def step(self, x: Array, labels: Array) -> Any:
        put = self._device.put
        return train_step(self._model, softmax_cross_entropy, self._adam, put(x), put(labels))

    def number(self, loss: Any) -> float:
        return float(self._device.get(loss))

    def scores(self, x: Array) -> Array:
        return self._device.get(self._model.forward(self._device.put(x)))

    def gradients(self) -> list[Array]:
        return [self._device.get(parameter.gradient) for parameter in self._model.parameters]


class Torch:
    """Trains the same network, from the same weights, with PyTorch."""

    def __init__(self, design: Design, torch: Any, dtype: str) -> None:
        self._torch, self._functional = torch, torch.nn.functional
        start = network(design, Device(), ConvPasses(), dtype).parameters
        self._parameters = [torch.from_numpy(each.value).requires_grad_() for each in start]
        self._adam = torch.optim.Adam(self._parameters, RATE)

    def step(self, x: Array, labels: Array) -> Any:
        loss = self._functional.cross_entropy(self._forward(x), self._torch.from_numpy(labels))
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()

    def number(self, loss: Any) -> float:
        return float(loss)

    def scores(self, x: Array) -> Array:
        with self._torch.no_grad():
            return np.asarray(self._forward(x).numpy())

    def gradients(self) -> list[Array]:
        return [np.asarray(each.grad.numpy()) for each in self._parameters]

    def _forward(self, x: Array) -> Any:
        y = self._torch.from_numpy(x)
        *kernels, weight, bias = self._parameters
        for kernel, its_bias in zip(kernels[::2], kernels[1::2], strict=True):
            y = self._functional.conv2d(y, kernel, its_bias, STRIDE, kernel.shape[-1] // 2)
            y = self._functional.leaky_relu(y, SLOPE)
        return y.flatten(1) @ weight + bias


def learner(side: str, design: Design, device: Device, torch: Any = None, dtype: str = "float32") -> Learner:
    """Return the learner called `side`."""
    return Torch(design, torch, dtype) if side == PEER else Ours(design, device, OURS[side], dtype)


class Definition:
    """The passes of a convolution by their definition, in float64."""

    def forward(self, x: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array:
        return reference.conv(x, weight, bias, stride, padding)

    def input(self, size: Sequence[int], weight: Array, gradient: Array, stride: int, padding: int) -> Array:
        return reference.conv_input(size, weight, gradient, stride, padding)

    def weight(self, x: Array, size: Sequence[int], gradient: Array, stride: int, padding: int) -> Array:
        return reference.conv_weight(x, size, gradient, stride, padding)


def exact_gradients(design: Design, x: Array, labels: Array) -> list[Array]:
    """Return the gradients of the first step in float64, from the very weights that the others start with."""
    model = network(design, Device(), Definition(), "float64")
    for exact, start in zip(model.parameters, network(design, Device(), ConvPasses()).parameters, strict=True):
        exact.value = start.value.astype(np.float64)
    _, gradient = softmax_cross_entropy(model.forward(x.astype(np.float64)), labels)
    model.backward(gradient, to_input=False)
    return [parameter.gradient for parameter in model.parameters]
