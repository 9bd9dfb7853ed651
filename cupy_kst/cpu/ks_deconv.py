"""KS-deconv (arXiv 2306.15951): a matrix product per residue class, the sub-filters trimmed where maps are small."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from .segregated import convolve_classes

Array = NDArray[Any]


# As the paper's code has it: with fewer samples the parts' products are too small to be worth dividing.
_TRIMMED_SAMPLES = 64
_TRIMMED_SHARE = 1 / 1.08


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.RUNS has them."""
    pays = geometry.samples >= _TRIMMED_SAMPLES and geometry.useful_share <= _TRIMMED_SHARE
    convolve_classes(geometry, input, weight, bias, out, trimmed=pays)
