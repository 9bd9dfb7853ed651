"""What a call multiplies, stores and launches, counted from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from . import dtypes
from .geometry import Geometry
from .methods import METHODS, Operation


@dataclass(frozen=True)
class Cost:
    """The work of one call by one method; multiplications are multiply-adds, of complex numbers as of real ones.

    Attributes
    ----------
    nominal_macs : int
        The papers' count: output positions times the taps that the method gives each, borders and, for split, the
        expansion zeros of the filter counted in full.
    useful_macs : int
        Products of a filter element and an input that both exist and land on an output: the same for every method.
    macs : int
        What the CUDA kernels of the method multiply. For split, expansion zeros and the padding of its convolution
        among it, and more than `nominal_macs` where outputs are cropped: all sub-filters are computed at each of their
        positions. A 4x4 filter with stride 2 and padding 1 takes ``in + 1`` positions of each axis, of which the first
        and the last are cropped by half; the paper counts ``in``. So the four layers of GP-GAN, nominally 103.8 M,
        really take 136.1 M.
    workspace_bytes : int
        Device memory that they need beside input, weight and output; for zero_insertion the whole zero-inserted,
        padded map, for split the sub-filters and the outputs that are to be interleaved. The NumPy engine needs some
        megabytes for its blocks besides.
    launches : int
        CUDA kernels launched.
    extra_threads : int
        Output elements of the launch grids that fall outside the output. Split computes them, and crops them; the
        other methods do not.
    """

    nominal_macs: int
    useful_macs: int
    macs: int
    workspace_bytes: int
    launches: int
    extra_threads: int


def costs(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    op: Operation = "conv_transpose",
    stride: int | Sequence[int] = 1,
    padding: Any = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    output_size: int | Sequence[int] | None = None,
    dtype: Any = "float32",
) -> dict[str, Cost]:
    """Return the cost of a call by every method that supports it.

    Parameters
    ----------
    input_shape, weight_shape : sequence of int
        Shapes as `conv_transpose2d` takes them, of any rank.
    op : str
        The operation; so far ``"conv_transpose"``.
    stride, padding, output_padding, groups, dilation, output_size
        As in `conv_transpose2d`.
    dtype : dtype
        Element type of the arrays.

    Returns
    -------
    dict of str to Cost
        By the name of the method.
    """
    if op != "conv_transpose":
        raise ValueError(f"op={op!r}: there is 'conv_transpose'")
    itemsize = dtypes.supported(dtype).storage.itemsize
    geometry = Geometry.conv_transpose(
        input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size=output_size
    )
    counts = {
        "zero_insertion": _zero_insertion(geometry, itemsize),
        "segregated": _segregated(geometry),
        "unified": _unified(geometry),
        "split": _split(geometry, itemsize),
    }
    able = (method.name for method in METHODS.values() if method.supports(geometry)[0])
    return {name: counts[name] for name in able if name in counts}


def _pairs(geometry: Geometry) -> int:
    """Number of (sample, input channel, output channel) triples that are multiplied."""
    return geometry.samples * geometry.small_channels * geometry.large_channels // geometry.groups


def _useful(geometry: Geometry) -> int:
    met = prod(sum(len(axis.meetings(tap)[0]) for tap in range(axis.kernel)) for axis in geometry.axes)
    return _pairs(geometry) * met


def _dense(geometry: Geometry) -> int:
    return _pairs(geometry) * prod(sum(one.positions * one.taps for one in axis.classes) for axis in geometry.axes)


def _zero_insertion(geometry: Geometry, itemsize: int) -> Cost:
    nominal = _pairs(geometry) * prod(axis.large * axis.kernel for axis in geometry.axes)
    return Cost(nominal, _useful(geometry), nominal, prod(geometry.zero_inserted_shape) * itemsize, 2, 0)


def _segregated(geometry: Geometry) -> Cost:
    launches = prod(len(axis.classes) for axis in geometry.axes)
    threads = launches * prod(-(-axis.large // axis.stride) for axis in geometry.axes)
    extra = threads - prod(axis.large for axis in geometry.axes)
    useful = _useful(geometry)
    return Cost(_dense(geometry), useful, useful, 0, launches, extra * geometry.samples * geometry.large_channels)


def _unified(geometry: Geometry) -> Cost:
    useful = _useful(geometry)
    return Cost(_dense(geometry), useful, useful, 0, 1, 0)


def _split(geometry: Geometry, itemsize: int) -> Cost:
    samples, channels, *positions = geometry.split_output_shape
    computed, kept = samples * channels * prod(positions), prod(geometry.full_large_shape)
    # Every output of every sub-filter sums the same number of taps, expansion zeros and padding among them.
    terms = geometry.small_channels // geometry.groups * prod(axis.sub_taps for axis in geometry.axes)
    workspace = (prod(geometry.split_weight_shape) + computed) * itemsize
    return Cost(kept * terms, _useful(geometry), computed * terms, workspace, 3, computed - kept)
