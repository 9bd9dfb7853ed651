"""Unified kernel segregation that keeps the sizes of its sub-kernels in an array, as arXiv 2502.20493 is said to do.

The library's `unified` needs no such array: the taps of a class are every `stride`-th of the filter, so a loop over
them ends with the filter. To show what leaving the array out gains, this module has the method with it. On a GPU that
is a kernel beside the library's, the same but for where a loop's end comes from. NumPy has no threads of which each
would read the array: there one loop over the classes runs with sizes that are computed, and with sizes looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_kst import Geometry
from cupy_kst.geometry import Axis
from cupy_kst.gpu.build import source
from cupy_kst.gpu.build.runtime import Runtime
from cupy_kst.gpu.plan import per_position
from cupy_kst.gpu.select.cost_model import needs_wide
from experiments.harness.places import EXPERIMENTS

Array = NDArray[Any]

# Rows and columns of the sub-kernel of a class.
Sizes = Callable[[int, int], tuple[int, int]]

_KERNEL = EXPERIMENTS / "cuda" / "unified_table.cu"


def table(geometry: Geometry) -> Array:
    """Return the array: rows and columns of the sub-kernel of each class, shape (stride, stride, 2)."""
    rows, columns = _computed(geometry)
    sizes = [
        [(rows(down), columns(across)) for across in range(geometry.axes[2].stride)]
        for down in range(geometry.axes[1].stride)
    ]
    return np.array(sizes, np.int32)


def computed(geometry: Geometry) -> Sizes:
    """Return the rule that gives the sizes without an array."""
    rows, columns = _computed(geometry)
    return lambda down, across: (rows(down), columns(across))


def looked_up(sizes: Array) -> Sizes:
    """Return the sizes as they stand in an array."""

    def look(down: int, across: int) -> tuple[int, int]:
        rows, columns = sizes[down, across]
        return int(rows), int(columns)

    return look


def one_pass(geometry: Geometry, x: Array, weight: Array, sizes: Sizes) -> Array:
    """Return the transposed convolution of NumPy arrays: for each class its taps, each added into the class's outputs.

    Two spatial axes, no dilation, one group.
    """
    _, height, width = geometry.axes
    samples, channels, outputs = *x.shape[:2], weight.shape[1]
    out = np.zeros(geometry.output_shape, x.dtype)
    for _, down, across in geometry.classes:
        rows, columns = sizes(down.residue, across.residue)
        for row, column in product(range(rows), range(columns)):
            tap = down.residue + row * height.stride, across.residue + column * width.stride
            (from_h, to_h), (from_w, to_w) = height.valid_pairs(tap[0]), width.valid_pairs(tap[1])
            window = x[:, :, _slice(from_h), _slice(from_w)]
            made = weight[:, :, tap[0], tap[1]].T @ window.reshape(samples, channels, -1)
            out[:, :, _slice(to_h), _slice(to_w)] += made.reshape(samples, outputs, len(from_h), len(from_w))
    return out


def text(dtype: str, wide: bool = False, constants: tuple[Axis, Axis, Axis] | None = None) -> str:
    """Return the CUDA text: that of the library's `unified`, with the kernel that reads the array behind it."""
    library = source.text("unified", dtype, wide=wide, constants=constants)
    return f'{library}\n#line 1 "{_KERNEL.name}"\n{_KERNEL.read_text(encoding="utf-8")}'


def launcher(runtime: Runtime, geometry: Geometry, dtype: str) -> Callable[[Any, Any, Any, Any], None]:
    """Return what launches that kernel on (x, weight, y, sizes); filter and stride are literals of its text."""
    depth, height, width = geometry.axes
    rows, columns = (Axis(kernel=axis.kernel, stride=axis.stride) for axis in (height, width))
    wide = needs_wide(geometry)
    grid = depth.large, height.large, width.large
    step = per_position(geometry, wide, "unified", "unified_table", (), geometry.large_channels, grid)
    kernel = runtime.compile(text(dtype, wide, (Axis(), rows, columns)), "unified_table")

    def launch(x: Any, weight: Any, y: Any, sizes: Any) -> None:
        runtime.launch(kernel, step.grid, step.block, (x, weight, y, sizes, step.params))

    return launch


def _computed(geometry: Geometry) -> tuple[Callable[[int], int], Callable[[int], int]]:
    """Return how many taps a class has, for rows and for columns."""
    _, height, width = geometry.axes
    return (
        lambda residue: max(0, -((residue - height.kernel) // height.stride)),
        lambda residue: max(0, -((residue - width.kernel) // width.stride)),
    )


def _slice(places: range) -> slice:
    return slice(places.start, places.stop, places.step)
