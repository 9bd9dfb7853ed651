"""Losses, each with its gradient by the output of a network."""

from __future__ import annotations

from collections.abc import Callable

from experiments.workloads.training.parameters import Array, module_of

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
