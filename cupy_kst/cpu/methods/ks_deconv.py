"""KS-deconv (arXiv 2306.15951): a matrix product per residue class, the sub-filters trimmed where maps are small."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...geometry import Geometry
from ...trimming import trims_classes
from ..form import Setting
from .segregated import classes_bytes, convolve_classes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as cpu.Form has them."""
    convolve_classes(geometry, input, weight, bias, out, trimmed=trims_classes(geometry))


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds."""
    return classes_bytes(geometry, setting.itemsize, trimmed=trims_classes(geometry))
