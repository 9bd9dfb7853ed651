"""The quickstart's filters, which interpolate a photograph, and the layers that they make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.harness.comparison import Case

CHANNELS, STRIDE = 3, 2

# Kernel size -> padding; the outputs are 447, 448 and 447 pixels wide.
PADDING = {3: 1, 4: 1, 5: 2}


def triangle(size: int, stride: int = STRIDE) -> NDArray[np.float64]:
    """Return the taps of linear interpolation, scaled so that the taps each output meets sum to 1.

    Taps that lie `stride` apart meet the same outputs. For size 5 their plain sums are 5/3 and 4/3, which would show
    as a checkerboard. Outputs on the very border miss a neighbour and stay a little darker.
    """
    half = (size + 1) // 2
    taps: NDArray[np.float64] = 1 - np.abs(np.arange(size) - (size - 1) / 2) / half
    for residue in range(stride):
        taps[residue::stride] /= taps[residue::stride].sum()
    return taps


def upsampling_weight(size: int) -> NDArray[np.float32]:
    """Return the weight (CHANNELS, CHANNELS, size, size) that interpolates each channel by itself.

    It is diagonal over the channels but dense in memory, so every method does the full work of a layer this size.
    """
    taps = triangle(size)
    weight: NDArray[np.float64] = np.einsum("io,y,x->ioyx", np.eye(CHANNELS), taps, taps)
    return weight.astype(np.float32)


def cases(pixels: NDArray[np.float32]) -> list[Case]:
    """Return the three cases for one photograph of shape (side, side, 3)."""
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1))[np.newaxis]
    return [
        Case(f"{size}x{size}", batch, upsampling_weight(size), {"stride": STRIDE, "padding": padding})
        for size, padding in PADDING.items()
    ]
