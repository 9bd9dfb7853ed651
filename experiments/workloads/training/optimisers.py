"""What changes parameters by their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from experiments.workloads.training.parameters import Parameter, module_of


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
