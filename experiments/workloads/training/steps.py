"""A step of training, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.workloads.training.layers import Sequential
from experiments.workloads.training.losses import Loss
from experiments.workloads.training.optimisers import Optimiser
from experiments.workloads.training.parameters import Array


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
