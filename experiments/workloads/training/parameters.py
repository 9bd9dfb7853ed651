"""What is learnt: arrays with their gradients, and their first values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
