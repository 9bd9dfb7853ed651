"""ConvV2 (arXiv 2306.15951): a matrix product by the filter, trimmed to what meets real input where maps are small."""

from __future__ import annotations

from functools import partial
from typing import Any

from numpy.typing import NDArray

from ...geometry import Geometry
from ...geometry.trimming import trims_windows
from .. import cost_model
from ..arguments import Setting
from ..form import Form
from ..jit import engine
from ..jit.pack.weight import pack, pack_winograd
from ..registry import CpuMethod, register
from ..windows import convolve_padded, convolve_parts, padded_bytes, parts_bytes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the convolution to `out`; arrays as `cpu.form.Form` has them."""
    convolve = convolve_parts if trims_windows(geometry) else convolve_padded
    convolve(geometry, input, weight, bias, out)


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds."""
    return (parts_bytes if trims_windows(geometry) else padded_bytes)(geometry, setting.itemsize)


register(
    CpuMethod(
        "conv_v2",
        (
            Form(
                "jit_implicit_gemm",
                engine.conv,
                engine.conv_bytes,
                pack,
                compiled=True,
                suits=engine.suits,
                work=partial(cost_model.jit_implicit_gemm, transposed=False),
            ),
            Form(
                "jit_winograd",
                engine.conv,
                engine.conv_winograd_bytes,
                pack_winograd,
                compiled=True,
                combines=True,
                suits=engine.suits_winograd,
                work=partial(cost_model.jit_winograd, transposed=False),
            ),
            Form(
                "jit_im2col",
                engine.conv_unpacked,
                engine.conv_unpacked_bytes,
                compiled=True,
                suits=engine.suits,
                work=cost_model.jit_im2col,
            ),
            Form("numpy_im2col", run, workspace, work=cost_model.numpy_im2col),
        ),
        exact_method="direct",
    )
)
