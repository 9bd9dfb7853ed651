"""ConvV2 (arXiv 2306.15951): a matrix product by the filter, trimmed to what meets real input where maps are small."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...geometry import Geometry
from ...trimming import trims_windows
from ..form import Setting
from ..windows import convolve_padded, convolve_parts, padded_bytes, parts_bytes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution to `out`; arrays as cpu.Form has them."""
    convolve = convolve_parts if trims_windows(geometry) else convolve_padded
    convolve(geometry, input, weight, bias, out)


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds."""
    return (parts_bytes if trims_windows(geometry) else padded_bytes)(geometry, setting.itemsize)
