"""Transposed convolutions of arrays, with the arguments of torch.nn.functional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import arrays, cpu, dtypes
from .geometry import Geometry
from .methods import choose

IntOrAxes = int | Sequence[int]


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    output_padding: IntOrAxes = 0,
    groups: int = 1,
    dilation: IntOrAxes = 1,
    *,
    output_size: IntOrAxes | None = None,
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Transposed convolution over one axis: `conv_transpose2d` with one spatial axis in place of two.

    `input` has shape ``(batch, in_channels, width)`` or ``(in_channels, width)``, `weight`
    ``(in_channels, out_channels // groups, kernel_width)``; the result ``(batch, out_channels, out_width)``. A pair of
    pads is written ``((lo, hi),)``.
    """
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, method, out
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    output_padding: IntOrAxes = 0,
    groups: int = 1,
    dilation: IntOrAxes = 1,
    *,
    output_size: IntOrAxes | None = None,
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Transposed convolution over two axes.

    Parameters
    ----------
    input : numpy.ndarray or cupy.ndarray
        Shape ``(batch, in_channels, height, width)``, or ``(in_channels, height, width)`` without a batch; float16,
        bfloat16 (that of ml_dtypes), float32, float64, complex64 or complex128; any strides and byte order. NumPy
        arrays are computed on the CPU, CuPy arrays on their own device and its current stream.
    weight : array
        Shape ``(in_channels, out_channels // groups, kernel_height, kernel_width)``, of the input's dtype.
    bias : array, optional
        Shape ``(out_channels,)``, of the input's dtype.
    stride, dilation : int or sequence of int
        Distance on the output of neighbouring inputs, and of neighbouring filter elements.
    padding : int, sequence or str
        What is cropped off the full output: an int, one int per axis, one ``(lo, hi)`` per axis, or ``"valid"``
        (nothing), ``"same"`` or ``"same_lower"`` (``out = in * stride``; of an odd total the larger part comes off the
        end, or off the start).
    output_padding : int or sequence of int
        Rows added at the end of each axis; smaller than stride or dilation.
    groups : int
        Number of groups that the channels are divided into.
    output_size : int or sequence of int, optional
        Wanted spatial size, or whole shape, of the output; settles `output_padding`.
    method : str
        ``"auto"``, ``"zero_insertion"`` (the baseline), ``"segregated"`` [1]_, ``"unified"`` [2]_ or ``"split"`` [3]_,
        which takes no dilation. All give the same numbers up to the rounding of sums; they differ in work, memory and
        launches, and in what they make of non-finite values (`methods`).
    out : array, optional
        Where to write the result: C-contiguous, of the output's shape and dtype, apart from the inputs in memory.

    Returns
    -------
    array
        Shape ``(batch, out_channels, out_height, out_width)`` where, on each axis,
        ``out = (in - 1)*stride - lo - hi + dilation*(kernel - 1) + output_padding + 1``.
        float16 and bfloat16 are multiplied and summed in float32. Complex filters are not conjugated.

    Raises
    ------
    TypeError
        If an array is not a NumPy or CuPy array, or dtypes differ or are not supported.
    ValueError
        If shapes or options break a rule, or the method cannot compute them; the message names it.

    References
    ----------
    .. [1] Tida et al., "Kernel-Segregated Transpose Convolution Operation", arXiv 2209.03704.
    .. [2] Tida et al., "Unified Kernel-Segregated Transpose Convolution Operation", arXiv 2502.20493.
    .. [3] Xu et al., "Accelerating Generative Neural Networks on Unmodified Deep Learning Processors",
       arXiv 1907.01773.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst import conv_transpose2d
    >>> image, triangle = np.ones((1, 1, 2, 2)), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])[None, None]
    >>> conv_transpose2d(image, triangle, stride=2, padding=1)[0, 0]
    array([[1., 1., 1.],
           [1., 1., 1.],
           [1., 1., 1.]])
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, method, out
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    output_padding: IntOrAxes = 0,
    groups: int = 1,
    dilation: IntOrAxes = 1,
    *,
    output_size: IntOrAxes | None = None,
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Transposed convolution over three axes: `conv_transpose2d` with three spatial axes in place of two.

    `input` has shape ``(batch, in_channels, depth, height, width)`` or ``(in_channels, depth, height, width)``,
    `weight` ``(in_channels, out_channels // groups, kernel_depth, kernel_height, kernel_width)``; the result
    ``(batch, out_channels, out_depth, out_height, out_width)``.
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, method, out
    )


def _conv_transpose(
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: IntOrAxes,
    padding: Any,
    output_padding: IntOrAxes,
    groups: int,
    dilation: IntOrAxes,
    output_size: IntOrAxes | None,
    method: str,
    out: Any,
) -> Any:
    engine = arrays.engine_of({"bias": bias, "out": out}, input=input, weight=weight)
    dtype = dtypes.common(input=input, weight=weight, bias=bias)
    if weight.ndim != rank + 2:
        raise ValueError(
            f"weight has shape {weight.shape}: conv_transpose{rank}d takes {rank + 2} dimensions "
            "(in_channels, out_channels // groups, *kernel)"
        )
    geometry = Geometry.conv_transpose(
        input.shape, weight.shape, stride, padding, output_padding, groups, dilation, output_size=output_size
    )
    if bias is not None and bias.shape != (geometry.out_channels,):
        raise ValueError(f"bias has shape {bias.shape}: the output has {geometry.out_channels} channels")
    chosen = choose(method, "conv_transpose", geometry).name
    if engine == "numpy":
        if out is None:
            out = np.empty(geometry.output_shape, dtype.storage)
        else:
            arrays.check_out(np, out, geometry.output_shape, dtype.storage, input=input, weight=weight, bias=bias)
        cpu.conv_transpose(chosen, geometry, dtype, input, weight, bias, out)
        return out
    from . import gpu

    return gpu.conv_transpose(chosen, geometry, dtype, input, weight, bias, out)
