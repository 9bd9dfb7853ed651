"""Sk-dilated (arXiv 2306.15951): a matrix product per tap, which steps over the large map by the stride."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import Axis, Geometry
from ..arguments import Setting, grouped_shapes
from ..form import Form
from ..im2col import Window, correlate, correlate_bytes, slices
from ..jit import engine
from ..jit.weight_grad import call as weight_grad
from ..registry import CpuMethod, register
from ..taps import valid_pairs

Array = NDArray[Any]


def run(geometry: Geometry, small: Array, large: Array, out: Array) -> None:
    """Write the gradient of the weight to `out`; arrays as `cpu.form.Form` has them."""
    axes = list(map(_taps, geometry.axes))
    for (d, on_d, to_d), (h, on_h, to_h), (w, on_w, to_w) in product(*axes):
        some = on_d.start < on_d.stop and on_h.start < on_h.stop and on_w.start < on_w.stop
        smalls, larges = small[..., on_d, on_h, on_w], large[..., to_d, to_h, to_w]
        out[..., d, h, w] = correlate(smalls, larges) if some else 0


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds: the most that the product of a tap takes."""
    shapes = grouped_shapes(geometry)
    found = 0
    for sizes in product(*(_sizes(axis) for axis in geometry.axes)):
        small = Window(shapes["small"], sizes)
        large = Window(shapes["large"], sizes, [axis.stride for axis in geometry.axes])
        found = max(found, correlate_bytes(small, large, setting.itemsize))
    return found


def _sizes(axis: Axis) -> list[int]:
    """Return the numbers of inputs that taps meet, but 0."""
    starts, stops = valid_pairs(axis)
    found: list[int] = np.unique((stops - starts)[stops > starts]).tolist()
    return found


def _taps(axis: Axis) -> list[tuple[int, slice, slice]]:
    """Return for each tap the inputs and the outputs that it joins."""
    starts, stops = valid_pairs(axis)
    shifts = np.arange(axis.kernel) * axis.dilation - axis.pad_lo
    # Where a tap joins none, a slice that begins behind its end.
    outputs = slices(starts * axis.stride + shifts, stops * axis.stride + shifts, axis.stride)
    return list(zip(range(axis.kernel), slices(starts, stops, 1), outputs, strict=True))


register(
    CpuMethod(
        "sk_dilated",
        (
            Form(
                "jit_implicit_gemm",
                weight_grad.correlate,
                weight_grad.correlate_bytes,
                compiled=True,
                suits=engine.suits,
            ),
            Form("numpy_per_tap", run, workspace),
        ),
    )
)
