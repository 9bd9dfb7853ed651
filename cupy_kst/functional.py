"""Convolutions and transposed convolutions of arrays, with the arguments of torch.nn.functional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import arrays
from .calls import check_bias, check_rank, compute
from .dtypes import Precision
from .geometry import Geometry
from .geometry.options import check_choice, size_in_front
from .labels import DataFormat, in_both_formats, resolve

IntOrAxes = int | Sequence[int]

_LABELS = in_both_formats("input", "weight", "output_size")


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
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    out: Any = None,
) -> Any:
    """Transposed convolution over one axis: `conv_transpose2d` with one spatial axis in place of two.

    `input` has shape ``(batch, in_channels, width)`` or ``(in_channels, width)``, `weight`
    ``(in_channels, out_channels // groups, kernel_width)``; the result ``(batch, out_channels, out_width)``. A pair of
    pads is written ``((lo, hi),)``.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(1, input, weight, bias, options, output_size, method, data_format, precision, out)


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
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
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
        Wanted spatial size of the output, or its whole shape in the layout of `data_format`, whose batch and channels
        are those that the call makes; decides `output_padding`.
    method : str
        ``"auto"``, ``"zero_insertion"`` (the baseline), ``"segregated"`` [1]_, ``"unified"`` [2]_, ``"ks_deconv"``
        [4]_ or ``"split"`` [3]_, which takes no dilation. All give the same numbers up to the rounding of sums; they
        differ in work, memory and launches, and in what they make of non-finite values (`methods`).
    data_format : {"channels_first", "channels_last"}
        Whether `input`, `out`, the result and a whole shape as `output_size` have their channels in front of the
        spatial axes or behind them; the weight has the same layout in both.
    precision : {"ieee", "tf32", "tf32x3"}
        How exactly float32 has to be multiplied on a GPU: as IEEE floats, rounded to 10 bits of fraction, or by three
        such products. It allows a quicker kernel and demands none; other dtypes and the CPU pass it over.
    out : array, optional
        Where to write the result: C-contiguous, of the output's shape and dtype, apart from the inputs in memory.

    Returns
    -------
    array
        Shape ``(batch, out_channels, out_height, out_width)`` where, on each axis,
        ``out = (in - 1)*stride - lo - hi + dilation*(kernel - 1) + output_padding + 1``.
        float16 and bfloat16 are multiplied and summed in float32. A sum of n products of one sign has a relative error
        of ``9 * sqrt(n)`` units in the last place of the compute type at most; minimal filtering and tensor cores have
        rules of their own (docs/how_it_works.md, How exact sums are). Complex filters are not conjugated.

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
    .. [4] C-K-S, arXiv 2306.15951.

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
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(2, input, weight, bias, options, output_size, method, data_format, precision, out)


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
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    out: Any = None,
) -> Any:
    """Transposed convolution over three axes: `conv_transpose2d` with three spatial axes in place of two.

    `input` has shape ``(batch, in_channels, depth, height, width)`` or ``(in_channels, depth, height, width)``,
    `weight` ``(in_channels, out_channels // groups, kernel_depth, kernel_height, kernel_width)``; the result
    ``(batch, out_channels, out_depth, out_height, out_width)``.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(3, input, weight, bias, options, output_size, method, data_format, precision, out)


def _conv_transpose(
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    options: tuple[Any, ...],
    output_size: IntOrAxes | None,
    method: str,
    data_format: str,
    precision: Precision,
    out: Any,
) -> Any:
    check_choice("data_format", data_format, DataFormat)
    arrays.engine_of({"bias": bias, "out": out}, input=input, weight=weight)
    labels = _LABELS[data_format]
    check_rank(f"conv_transpose{rank}d", rank, weight.shape, "in_channels, out_channels // groups", labels)
    wished = size_in_front(output_size, rank, data_format)
    make = Geometry.conv_transpose
    geometry = resolve(make, labels, rank, input.shape, weight.shape, *options, output_size=wished)
    check_bias(bias, geometry)
    return compute(
        "conv_transpose",
        method,
        geometry,
        {"small": ("input", input), "weight": ("weight", weight), "bias": ("bias", bias)},
        out=out,
        data_format=data_format,
        precision=precision,
    )


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    dilation: IntOrAxes = 1,
    groups: int = 1,
    *,
    method: str = "auto",
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    out: Any = None,
) -> Any:
    """Convolution over one axis: `conv2d` with one spatial axis in place of two.

    `input` has shape ``(batch, in_channels, width)`` or ``(in_channels, width)``, `weight`
    ``(out_channels, in_channels // groups, kernel_width)``; the result ``(batch, out_channels, out_width)``. A pair of
    pads is written ``((lo, hi),)``.
    """
    options = (stride, padding, dilation, groups)
    return _conv(1, input, weight, bias, options, method, data_format, precision, out)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    dilation: IntOrAxes = 1,
    groups: int = 1,
    *,
    method: str = "auto",
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    out: Any = None,
) -> Any:
    """Convolution over two axes: cross-correlation, as in all frameworks.

    Parameters
    ----------
    input : numpy.ndarray or cupy.ndarray
        Shape ``(batch, in_channels, height, width)``, or ``(in_channels, height, width)`` without a batch; float16,
        bfloat16 (that of ml_dtypes), float32, float64, complex64 or complex128; any strides and byte order.
    weight : array
        Shape ``(out_channels, in_channels // groups, kernel_height, kernel_width)``, of the input's dtype.
    bias : array, optional
        Shape ``(out_channels,)``, of the input's dtype.
    stride, dilation : int or sequence of int
        Distance on the input of neighbouring outputs, and of neighbouring filter elements.
    padding : int, sequence or str
        Zeros around the input: an int, one int per axis, one ``(lo, hi)`` per axis, or ``"valid"`` (none), ``"same"``
        or ``"same_lower"`` (``out = ceil(in / stride)``; of an odd total the larger part is at the end, or at the
        start).
    groups : int
        Number of groups that the channels are divided into.
    method : str
        ``"auto"``, ``"direct"`` (the baseline) or ``"conv_v2"`` [1]_, which trims the filter to what meets input. Both
        give the same numbers up to the rounding of sums.
    data_format : {"channels_first", "channels_last"}
        Whether `input`, `out` and the result have their channels in front of the spatial axes or behind them; the
        weight has the same layout in both.
    precision : {"ieee", "tf32", "tf32x3"}
        As in `conv_transpose2d`.
    out : array, optional
        Where to write the result: C-contiguous, of the output's shape and dtype, apart from the inputs in memory.

    Returns
    -------
    array
        Shape ``(batch, out_channels, out_height, out_width)`` where, on each axis,
        ``out = (in + lo + hi - dilation*(kernel - 1) - 1) // stride + 1``.
        float16 and bfloat16 are multiplied and summed in float32. A sum of n products of one sign has a relative error
        of ``9 * sqrt(n)`` units in the last place of the compute type at most; minimal filtering and tensor cores have
        rules of their own (docs/how_it_works.md, How exact sums are). Complex filters are not conjugated.

    Raises
    ------
    TypeError
        If an array is not a NumPy or CuPy array, or dtypes differ or are not supported.
    ValueError
        If shapes or options break a rule, or the method cannot compute them; the message names it.

    References
    ----------
    .. [1] C-K-S, arXiv 2306.15951.

    Examples
    --------
    >>> import numpy as np
    >>> from cupy_kst import conv2d
    >>> image = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 2, 2)), stride=2)[0, 0]
    array([[10., 18.],
           [42., 50.]])
    """
    options = (stride, padding, dilation, groups)
    return _conv(2, input, weight, bias, options, method, data_format, precision, out)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    dilation: IntOrAxes = 1,
    groups: int = 1,
    *,
    method: str = "auto",
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
    out: Any = None,
) -> Any:
    """Convolution over three axes: `conv2d` with three spatial axes in place of two.

    `input` has shape ``(batch, in_channels, depth, height, width)`` or ``(in_channels, depth, height, width)``,
    `weight` ``(out_channels, in_channels // groups, kernel_depth, kernel_height, kernel_width)``; the result
    ``(batch, out_channels, out_depth, out_height, out_width)``.
    """
    options = (stride, padding, dilation, groups)
    return _conv(3, input, weight, bias, options, method, data_format, precision, out)


def _conv(
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    options: tuple[Any, ...],
    method: str,
    data_format: str,
    precision: Precision,
    out: Any,
) -> Any:
    check_choice("data_format", data_format, DataFormat)
    arrays.engine_of({"bias": bias, "out": out}, input=input, weight=weight)
    labels = _LABELS[data_format]
    check_rank(f"conv{rank}d", rank, weight.shape, "out_channels, in_channels // groups", labels)
    geometry = resolve(Geometry.conv, labels, rank, input.shape, weight.shape, *options)
    check_bias(bias, geometry)
    return compute(
        "conv",
        method,
        geometry,
        {"large": ("input", input), "weight": ("weight", weight), "bias": ("bias", bias)},
        out=out,
        data_format=data_format,
        precision=precision,
    )
