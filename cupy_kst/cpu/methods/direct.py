"""The baseline of convolution: one dense convolution of the padded input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ..arguments import Setting
from ..form import Form
from ..registry import CpuMethod, register
from ..windows import convolve_padded, convolve_parts, padded_bytes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution to `out`; arrays as `cpu.form.Form` has them."""
    # A padding zero times an infinite weight would be NaN: such weights meet only inputs that exist.
    convolve = convolve_padded if np.isfinite(weight.sum()) else convolve_parts
    convolve(geometry, input, weight, bias, out)


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds."""
    return padded_bytes(geometry, setting.itemsize)


register(CpuMethod("direct", (Form("numpy_im2col", run, workspace, exact=True),)))
