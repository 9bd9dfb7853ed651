"""Unified kernel segregation (arXiv 2502.20493): one pass over the taps, each added straight into its class."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .forms import BLOCK_BYTES, blocks, last_axes, multiply

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, out: Array) -> None:
    """Add the transposed convolution to `out`; arrays as cpu.RUNS has them."""
    groups, channels, out_channels, *kernel = weight.shape
    samples, sizes = input.shape[0], input.shape[3:]
    pixels = input.reshape(samples, groups, channels, prod(sizes))
    rows = weight.reshape(groups, channels, out_channels, prod(kernel))
    meetings = [
        tuple(zip(*(axis.meetings(k) for axis, k in zip(geometry.axes, tap, strict=True)), strict=True))
        for tap in product(*map(range, kernel))
    ]
    rows_in_block = max(1, BLOCK_BYTES // (groups * prod(sizes) * input.itemsize))
    for some, outputs, taps in blocks((samples, out_channels, prod(kernel)), rows_in_block):
        block = rows[:, :, outputs, taps]
        products = multiply(block.reshape(groups, channels, -1).swapaxes(1, 2), pixels[some])
        products = products.reshape(-1, groups, *block.shape[2:], *sizes)
        for index, (inputs, lands) in enumerate(meetings[taps]):
            out[some, :, outputs][last_axes(lands)] += products[:, :, :, index][last_axes(inputs)]
