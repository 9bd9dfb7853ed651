"""KS-deconv (arXiv 2306.15951): a matrix product per residue class, the sub-filters trimmed where maps are small."""

from __future__ import annotations

from functools import partial
from typing import Any

from numpy.typing import NDArray

from ...geometry import Geometry
from ...geometry.trimming import trims_classes
from .. import cost_model
from ..arguments import Setting
from ..form import Form
from ..jit import engine
from ..jit.pack.weight import pack, pack_winograd
from ..registry import CpuMethod, register
from . import unified
from .segregated import classes_bytes, convolve_classes

Array = NDArray[Any]


def run(geometry: Geometry, input: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Write the transposed convolution to `out`; arrays as `cpu.form.Form` has them."""
    convolve_classes(geometry, input, weight, bias, out, trimmed=trims_classes(geometry))


def workspace(geometry: Geometry, setting: Setting) -> int:
    """Return the bytes that `run` holds."""
    return classes_bytes(geometry, setting.itemsize, trimmed=trims_classes(geometry))


register(
    CpuMethod(
        "ks_deconv",
        (
            Form(
                "jit_implicit_gemm",
                engine.conv_transpose,
                engine.conv_transpose_bytes,
                pack,
                compiled=True,
                suits=engine.suits,
                work=partial(cost_model.jit_implicit_gemm, transposed=True),
            ),
            Form(
                "jit_winograd",
                engine.conv_transpose,
                engine.conv_transpose_winograd_bytes,
                pack_winograd,
                compiled=True,
                combines=True,
                suits=engine.suits_winograd,
                work=partial(cost_model.jit_winograd, transposed=True),
            ),
            Form(
                "jit_col2im",
                engine.col2im,
                engine.col2im_bytes,
                compiled=True,
                exact=True,
                suits=engine.suits_col2im,
                work=cost_model.jit_col2im,
            ),
            Form("numpy_col2im", unified.run, unified.workspace, exact=True, work=cost_model.numpy_col2im),
            Form("numpy_im2col", run, workspace, work=cost_model.numpy_im2col_of_classes),
        ),
        exact_method="unified",
    )
)
