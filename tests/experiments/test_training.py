"""Layers, losses and optimisers: gradients against differences of the loss, steps against their definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from experiments.harness.devices import Device
from experiments.workloads.training import layers, losses, optimisers, passes, steps
from experiments.workloads.training.layers import Layer, Sequential
from experiments.workloads.training.parameters import Init, Parameter

DRAW = np.random.default_rng(1)


def init() -> Init:
    return Init(Device(), 0, "float64")


class Square:
    """A layer after the one under test, so that its gradient is not the same everywhere."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []

    def forward(self, x: np.ndarray) -> np.ndarray:
        self._x = x
        return x**2

    def backward(self, gradient: np.ndarray, to_input: bool = True) -> np.ndarray:
        return gradient * 2 * self._x


LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "conv": (lambda: layers.conv(init(), 2, 3, 3, stride=2, padding=1), (2, 2, 5, 5)),
    "conv_transpose": (lambda: layers.conv_transpose(init(), 2, 3, 4, stride=2, padding=1), (2, 2, 3, 3)),
    "dense": (lambda: layers.Dense(init(), 6, 4), (3, 2, 3)),
    "reshape": (lambda: layers.Reshape(3, 2), (2, 6)),
    "relu": (lambda: layers.LeakyReLU(), (3, 4)),
    "leaky_relu": (lambda: layers.LeakyReLU(0.1), (3, 4)),
    "sigmoid": (lambda: layers.Sigmoid(), (3, 4)),
    "sequential": (lambda: Sequential(layers.Dense(init(), 4, 3), layers.Sigmoid()), (2, 4)),
}


def numeric(loss: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Return the gradient of `loss` by `array`, by central differences."""
    step, found = 1e-5, np.empty_like(array)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + step
        above = loss()
        array[place] = before - step
        found[place] = (above - loss()) / (2 * step)
        array[place] = before
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_layers(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make()
    model = Sequential(layer, Square())
    x = DRAW.standard_normal(shape)
    for parameter in layer.parameters:
        parameter.value += 0.1 * DRAW.standard_normal(parameter.value.shape)
    target = DRAW.standard_normal(model.forward(x).shape)

    def loss() -> float:
        return float(losses.mean_squared_error(model.forward(x), target)[0])

    _, gradient = losses.mean_squared_error(model.forward(x), target)
    to_input = model.backward(gradient)
    assert np.abs(to_input).max() > 1e-3
    np.testing.assert_allclose(to_input, numeric(loss, x), atol=1e-8)
    for parameter in layer.parameters:
        np.testing.assert_allclose(parameter.gradient, numeric(loss, parameter.value), atol=1e-8)


def test_gradient_of_softmax_cross_entropy() -> None:
    output, labels = DRAW.standard_normal((4, 3)), np.array([0, 2, 1, 2])
    loss, gradient = losses.softmax_cross_entropy(output, labels)
    shares = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
    assert float(loss) == pytest.approx(-np.log(shares[np.arange(4), labels]).mean())
    found = numeric(lambda: float(losses.softmax_cross_entropy(output, labels)[0]), output)
    np.testing.assert_allclose(gradient, found, atol=1e-9)


def test_softmax_of_large_numbers_is_finite() -> None:
    loss, gradient = losses.softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert float(loss) == pytest.approx(2e4)
    np.testing.assert_allclose(gradient, [[1, -1]])


def test_the_gradient_of_the_first_input_is_left_out() -> None:
    called = []

    class Passes(passes.ConvPasses):
        def input(self, *arguments: object) -> None:
            called.append(1)

    first = layers.conv(init(), 1, 1, 3, padding=1, passes=Passes())
    model = Sequential(first, layers.LeakyReLU())
    x = DRAW.standard_normal((1, 1, 4, 4))
    optimiser = optimisers.SGD(model.parameters, 0.1)
    steps.train_step(model, losses.mean_squared_error, optimiser, x, x)
    assert called == []
    model.backward(x)
    assert called == [1]


def test_sgd() -> None:
    parameter = Parameter(np.array([1.0, 2.0]), np.array([0.5, -1.0]))
    optimisers.SGD([parameter], 0.1).step()
    np.testing.assert_allclose(parameter.value, [0.95, 2.1])


def test_adam() -> None:
    """Against the paper's algorithm 1, written as it stands there."""
    gradients = DRAW.standard_normal((5, 3))
    parameter = Parameter(np.ones(3))
    optimiser = optimisers.Adam([parameter], 0.01)
    value, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    for t, g in enumerate(gradients, start=1):
        parameter.gradient = g
        optimiser.step()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        value = value - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12)


def test_float32_stays_float32() -> None:
    init32 = Init(Device(), 0)
    model = Sequential(
        layers.Dense(init32, 4, 8),
        layers.Reshape(2, 2, 2),
        layers.conv_transpose(init32, 2, 2, 4, stride=2, padding=1),
        layers.LeakyReLU(0.01),
        layers.conv(init32, 2, 1, 1),
        layers.Sigmoid(),
    )
    x = DRAW.standard_normal((3, 4)).astype(np.float32)
    target = np.zeros((3, 1, 4, 4), np.float32)
    for optimiser in (optimisers.SGD(model.parameters, 0.1), optimisers.Adam(model.parameters, 0.1)):
        steps.train_step(model, losses.mean_squared_error, optimiser, x, target)
    assert model.forward(x).dtype == np.float32
    for parameter in model.parameters:
        assert parameter.value.dtype == parameter.gradient.dtype == np.float32
    _, gradient = losses.softmax_cross_entropy(x, np.array([0, 1, 2]))
    assert gradient.dtype == np.float32


def test_first_values_depend_on_the_seed_alone() -> None:
    first, again, other = (Init(Device(), seed).kaiming_uniform((50, 40), 50).value for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert first.var() == pytest.approx(2 / 50, rel=0.1)


def test_training_learns() -> None:
    model = Sequential(layers.Dense(init(), 2, 16), layers.LeakyReLU(), layers.Dense(init(), 16, 2))
    optimiser = optimisers.Adam(model.parameters, 0.01)
    x = DRAW.standard_normal((200, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    found = [
        float(steps.train_step(model, losses.softmax_cross_entropy, optimiser, x[places], labels[places]))
        for epoch in range(30)
        for places in steps.batches(200, 20, epoch)
    ]
    assert np.mean(found[-10:]) < 0.5 * np.mean(found[:10])


def test_batches_hold_every_sample_once() -> None:
    places = np.concatenate(list(steps.batches(103, 10, 0)))
    assert len(places) == len(set(places)) == 100
    assert (places != np.concatenate(list(steps.batches(103, 10, 1)))).any()
