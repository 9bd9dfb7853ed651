"""The six networks of paper D (arXiv 1907.01773): their deconvolution layers, what these multiply, calls of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cupy_kst
from cupy_kst.cpu import reference
from experiments.harness.devices import Device
from experiments.peers.backends import Backend
from experiments.workloads import layers
from experiments.workloads.layers import LayerSpec
from experiments.workloads.operations import LayerOperation

# The paper's networks by the names that the list of layers has for their shapes. The paper's table of layers was not
# at hand: the DCGAN is the one in its authors' repository, the others are the networks' own public code.
NETWORKS = {
    "DCGAN": "SD-DCGAN",
    "SNGAN": "SNGAN",
    "GP-GAN": "GP-GAN",
    "FST": "FST",
    "MDE": "MDE",
    "ArtGAN": "ArtGAN",
}

# What inserted zeros and split deconvolution are measured by, and what the library takes by itself.
METHODS = ("zero_insertion", "split", "auto")

SHAPES_NOTE = (
    "Layer shapes: DCGAN as in the repository of the paper's authors (5x5 filters), the others as in public code of "
    "each network; the layer tables of the paper were not at hand, so its own counts may differ."
)


@cache
def of(network: str) -> tuple[LayerSpec, ...]:
    """Return the deconvolution layers of one of the networks."""
    return tuple(layers.named([NETWORKS[network]]))


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one sample.

    Attributes
    ----------
    original : int
        Inputs times taps: what the layer asks for, borders counted in full.
    nzp : int
        Outputs times taps: with inserted zeros, NZP in the tables of the paper's authors.
    split : int
        Outputs times the taps of a sub-filter, expansion zeros counted, cropped outputs not.
    nzp_done, split_done, ours_done : int
        What the library's `zero_insertion`, `split` and `ks_deconv` really multiply.
    useful : int
        Products of a filter element and an input that both exist and land on an output.
    """

    original: int
    nzp: int
    split: int
    nzp_done: int
    split_done: int
    ours_done: int
    useful: int

    @classmethod
    def of(cls, layer: LayerSpec) -> Macs:
        """Count those of one layer."""
        costs = cupy_kst.costs(layer.input_shape(1), layer.weight_shape, **layer.options)
        pairs = layer.in_channels * layer.out_channels // layer.groups
        nzp, split, ours = (costs[method] for method in ("zero_insertion", "split", "ks_deconv"))
        return cls(
            pairs * prod(layer.in_size) * prod(layer.kernel),
            nzp.nominal_macs,
            split.nominal_macs,
            nzp.macs,
            split.macs,
            ours.macs,
            nzp.useful_macs,
        )

    def __add__(self, other: Macs) -> Macs:
        return Macs(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def macs(network: str) -> Macs:
    """Count those of all deconvolution layers of a network."""
    first, *others = map(Macs.of, of(network))
    return sum(others, first)


def works(network: str) -> list[LayerOperation]:
    """Return the layers of a network, each with an input and a weight drawn at random, of one sample."""
    return [LayerOperation.drawn(layer, 1, "forward") for layer in of(network)]


def prepared(works: Sequence[LayerOperation], method: str, device: Device) -> list[Backend]:
    """Return a backend of ours for each layer, the weight prepared beforehand as the paper splits it offline."""

    def backend(work: LayerOperation) -> Backend:
        ready = cupy_kst.prepare(device.put(work.weight), method=method, **work.layer.options)
        x = device.put(work.input)
        return Backend(method, lambda: ready(x), device.get)

    return [backend(work) for work in works]


def in_turn(backends: Sequence[Backend]) -> Callable[[], list[Any]]:
    """Return the call that runs one layer after another."""
    return lambda: [backend.call() for backend in backends]


def definition(x: NDArray[Any], weight: NDArray[Any], options: dict[str, Any]) -> NDArray[np.float64]:
    """Return the transposed convolution in float64 by its definition: the gradient of a convolution's input."""
    shape = cupy_kst.Geometry.conv_transpose(x.shape, weight.shape, **options).output_shape
    conv_options = {name: value for name, value in options.items() if name != "output_padding"}
    return reference.conv_input(shape, weight, x, **conv_options)
