"""Training with one transposed convolution, by zero insertion and by segregated kernels.

The paper (arXiv 2209.03704) trains a simple model with one transposed convolution on MNIST, once the conventional
way, through a map with zeros inserted, and once with its segregated kernel. Its abstract names a 2.2 times faster
training on a dual-core Intel CPU. The model, its sizes, the loss and the optimiser are not known to us.

Here an autoencoder squeezes each digit into 32 numbers and draws it again: two fully connected layers, a transposed
convolution with a 4 x 4 kernel and stride 2 from 64 channels to 32, and a 1 x 1 convolution; mean squared error, Adam.
How much faster it trains depends on the share that the transposed convolution has, which is why the tables show this
layer alone as well. Both sides start with the same weights and see the same batches in the same order, so their losses
coincide but for rounding, and they train in turn, an epoch each.

The conventional side keeps the map with zeros. It is convolved for the output; for the gradient of the input that of
the whole map is made and all but every second row and column dropped; the gradient of the kernel is summed over all of
the map. The segregated side is our method `segregated`, and for the gradients `direct` and `sk_dilated`, which meet no
inserted zeros either; what the paper does there is not known to us. A pass of one side runs the same code as that of
the other. By default the digits are those of scikit-learn, 8 x 8 pixels; `--data` takes the four files of MNIST, of
which the first 2048 images are learnt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import cupy_kst
from cupy_kst import grad
from cupy_kst.cpu import reference
from experiments.errors import ExperimentError
from experiments.harness import frame
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row, time_fields
from experiments.harness.timing import time_in_turn
from experiments.papers.a_segregation.mnist import chart
from experiments.papers.a_segregation.mnist.tables import METHODS, sheets
from experiments.workloads.data import DIGITS_HELP, Labelled, digits
from experiments.workloads.training.layers import Dense, LeakyReLU, Reshape, Sequential, Sigmoid, conv, conv_transpose
from experiments.workloads.training.losses import mean_squared_error
from experiments.workloads.training.optimisers import Adam
from experiments.workloads.training.parameters import Array, Init, module_of
from experiments.workloads.training.passes import ConvTransposePasses, Passes
from experiments.workloads.training.steps import batches, train_step

CODE, CHANNELS, MAPS, KERNEL, STRIDE, PADDING = 32, 64, 32, 4, 2, 1
BATCH, RATE = 32, 1e-3

SEEDS, EPOCHS, MOST, MOST_TESTS = (0, 1, 2), 8, 2048, 1000
QUICK_SEEDS, QUICK_EPOCHS, QUICK_MOST = (0,), 3, 10 * BATCH


class ThroughZeros:
    """The conventional passes: everything is computed on the map that has zeros inserted, which is kept."""

    def __init__(self) -> None:
        self._map: Array = None

    def forward(self, x: Array, weight: Array, bias: Array, stride: int, padding: int) -> Array:
        self._map = _zeros_inserted(x, weight.shape, stride, padding)
        return cupy_kst.conv2d(self._map, _transposed(weight), bias, method="direct")

    def input(self, size: Sequence[int], weight: Array, gradient: Array, stride: int, padding: int) -> Array:
        whole = grad.conv2d_input(self._map.shape, _transposed(weight), gradient, method="zero_insertion")
        return module_of(whole).ascontiguousarray(whole[_real(size, weight.shape, stride, padding)])

    def weight(self, x: Array, size: Sequence[int], gradient: Array, stride: int, padding: int) -> Array:
        transposed = (size[1], size[0], *size[2:])
        return _transposed(grad.conv2d_weight(self._map, transposed, gradient, method="sk_dilated"))


def passes(method: str) -> Passes:
    """Return the passes of one of METHODS."""
    return ThroughZeros() if method == METHODS[0] else ConvTransposePasses("segregated", "direct", "sk_dilated")


def network(init: Init, side: int, method: str) -> Sequential:
    """Return the autoencoder of pictures of `side` pixels squared."""
    half = side // 2
    return Sequential(
        Dense(init, side * side, CODE),
        LeakyReLU(),
        Dense(init, CODE, CHANNELS * half * half),
        LeakyReLU(),
        Reshape(CHANNELS, half, half),
        conv_transpose(init, CHANNELS, MAPS, KERNEL, STRIDE, PADDING, passes(method)),
        LeakyReLU(),
        conv(init, MAPS, 1, 1),
        Sigmoid(),
    )


def units(settings: Settings) -> list[Unit]:
    """Return a unit for the layer alone and one for the training with each seed."""
    found = digits(settings.data)
    side = found.train.images.shape[-1]
    if found.train.images.shape[-2] != side or side % 2:
        raise ExperimentError(f"--data: images of {found.train.images.shape[-2:]} pixels; they must be square and even")
    seeds, epochs = (QUICK_SEEDS, QUICK_EPOCHS) if settings.quick else (SEEDS, EPOCHS)
    most = QUICK_MOST if settings.quick else MOST
    train, test = _first(found.train, most), _first(found.test, MOST_TESTS)
    return [
        Unit("layer", "the transposed convolution alone", partial(layer_rows, side // 2, settings)),
        *(
            Unit(f"seed {seed}", f"training, seed {seed}", partial(epoch_rows, train, test, seed, epochs, settings))
            for seed in seeds
        ),
    ]


def layer_rows(half: int, settings: Settings) -> list[Row]:
    """Return a row for each pass of the layer by each method, on one batch."""
    device, random = settings.device, np.random.default_rng(0)
    x = random.uniform(-1, 1, (BATCH, CHANNELS, half, half)).astype(np.float32)
    weight = random.uniform(-1, 1, (CHANNELS, MAPS, KERNEL, KERNEL)).astype(np.float32)
    gradient = random.uniform(-1, 1, (BATCH, MAPS, 2 * half, 2 * half)).astype(np.float32)
    bias = np.zeros(MAPS, np.float32)
    on = [device.put(array) for array in (x, weight, gradient, bias)]
    options: dict[str, Any] = {"stride": STRIDE, "padding": PADDING}
    exact = {
        "forward": reference.conv_transpose(x, weight, bias, **options),
        "input": reference.conv(gradient, weight, **options),
        "weight": reference.conv_transpose_weight(x, weight.shape, gradient, **options),
    }
    # Terms of one sum: each tap of each channel, or each position of each sample. No term is above 1.
    terms = {"forward": CHANNELS * KERNEL**2, "input": MAPS * KERNEL**2, "weight": BATCH * half**2}
    rows = []
    for step, right in exact.items():
        calls = {method: _call(step, passes(method), *on) for method in METHODS}
        timings, outputs = time_in_turn(calls, settings.clock, settings.rounds)
        rows += [
            {
                "part": "layer",
                "pass": step,
                "method": method,
                "input_shape": list(x.shape),
                "weight_shape": list(weight.shape),
                **options,
                **time_fields(timing, settings.clock.calls_per_sample),
                "max_abs_error": float(np.abs(device.get(outputs[method]) - right).max()),
                "tolerance": terms[step] * float(np.finfo(np.float32).eps),
            }
            for method, timing in timings.items()
        ]
    return rows


def epoch_rows(train: Labelled, test: Labelled, seed: int, epochs: int, settings: Settings) -> list[Row]:
    """Return a row for each epoch of each method: its seconds and its losses."""
    device, side = settings.device, train.images.shape[-1]
    images, tests = device.put(train.images), device.put(test.images)
    # Compiles kernels, so that the first epoch does not pay for it.
    for method in METHODS:
        _Training(method, side, seed, settings).epoch(images[:BATCH], 0)
    trainings = [_Training(method, side, seed, settings) for method in METHODS]
    rows = []
    for epoch in range(epochs):
        # Every other epoch the other side goes first.
        for training in trainings[:: -1 if epoch % 2 else 1]:
            start = time.perf_counter()
            loss = training.epoch(images, epoch)
            seconds = time.perf_counter() - start
            rows.append(
                {
                    "part": "epoch",
                    "seed": seed,
                    "epoch": epoch + 1,
                    "method": training.method,
                    "images": len(images),
                    "side": side,
                    "batch": BATCH,
                    "seconds": seconds,
                    "loss": loss,
                    "test_loss": training.loss(tests),
                }
            )
    return rows


class _Training:
    """The training of one network by one method."""

    def __init__(self, method: str, side: int, seed: int, settings: Settings) -> None:
        self.method = method
        self._seed, self._device = seed, settings.device
        self._model = network(Init(settings.device, seed), side, method)
        self._optimiser = Adam(self._model.parameters, RATE)

    def epoch(self, images: Array, number: int) -> float:
        """Learn all images once and return the mean loss."""
        losses = []
        for places in batches(len(images), BATCH, (self._seed, number)):
            batch = images[self._device.put(places)]
            losses.append(train_step(self._model, mean_squared_error, self._optimiser, batch, batch))
        # The first number that is fetched: until then the host need not wait for a GPU.
        return float(sum(losses)) / len(losses)

    def loss(self, images: Array) -> float:
        return float(mean_squared_error(self._model.forward(images), images)[0])


def _call(step: str, by: Passes, x: Array, weight: Array, gradient: Array, bias: Array) -> Callable[[], Array]:
    """Return the call that is one pass of the layer."""
    by.forward(x, weight, bias, STRIDE, PADDING)
    calls = {
        "forward": lambda: by.forward(x, weight, bias, STRIDE, PADDING),
        "input": lambda: by.input(x.shape, weight, gradient, STRIDE, PADDING),
        "weight": lambda: by.weight(x, weight.shape, gradient, STRIDE, PADDING),
    }
    return calls[step]


def _zeros_inserted(x: Array, weight_shape: Sequence[int], stride: int, padding: int) -> Array:
    """Return the map: `x` with zeros between its elements and around them."""
    batch, channels, *sizes = x.shape
    spans = [(n - 1) * stride + 1 + 2 * (k - 1 - padding) for n, k in zip(sizes, weight_shape[2:], strict=True)]
    whole = module_of(x).zeros((batch, channels, *spans), x.dtype)
    whole[_real(x.shape, weight_shape, stride, padding)] = x
    return whole


def _real(size: Sequence[int], weight_shape: Sequence[int], stride: int, padding: int) -> tuple[Any, ...]:
    """Return the places of the map that hold elements of its input, of shape `size`."""
    starts = [k - 1 - padding for k in weight_shape[2:]]
    return (..., *(slice(lo, lo + (n - 1) * stride + 1, stride) for lo, n in zip(starts, size[2:], strict=True)))


def _transposed(weight: Array) -> Array:
    """Return the weight by which the map is convolved, or from its gradient the one of the weight."""
    return module_of(weight).ascontiguousarray(weight[:, :, ::-1, ::-1].swapaxes(0, 1))


def _first(samples: Labelled, number: int) -> Labelled:
    return Labelled(samples.images[:number], samples.labels[:number])


PAPER = Paper(
    name="a_mnist",
    source="A, arXiv 2209.03704",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=chart.draw,
    data=DIGITS_HELP,
)
command = frame.command(PAPER)
