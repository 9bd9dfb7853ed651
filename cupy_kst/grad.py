"""Gradients of convolutions and transposed convolutions, with the arguments of torch.nn.grad.

For each rank 1, 2 and 3 there are ``conv2d_input``, ``conv2d_weight``, ``conv2d_bias`` and ``conv2d``, which returns
all three, and the same four with ``conv_transpose2d``. Gradients of complex functions are the adjoint, as in PyTorch:
the weight or the input is conjugated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np

from . import arrays, dtypes
from .arrays import channels_first
from .calls import check_rank, compute
from .cpu import sums as cpu_sums
from .dtypes import Precision
from .geometry import Geometry, check_output
from .geometry.options import check_choice, is_sequence, shape
from .gpu import sums as gpu_sums
from .hints.words import option_of_word
from .labels import DataFormat, Labels, ShapeError, channels_first_shape, in_both_formats, resolve

IntOrAxes = int | Sequence[int]
P = ParamSpec("P")
R = TypeVar("R")

_CONV = "out_channels, in_channels // groups"
_TRANSPOSE = "in_channels, out_channels // groups"

_OF_INPUT = in_both_formats("input_size", "weight", "grad_output")
_OF_WEIGHT = in_both_formats("input", "weight_size", "grad_output")
_OF_ALL = in_both_formats("input", "weight", "grad_output")


def _conv_input(
    rank: int,
    input_size: Sequence[int],
    weight: Any,
    grad_output: Any,
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
    """Gradient of a convolution's input: a transposed convolution.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input, ``(batch, in_channels, *spatial)`` or ``(in_channels, *spatial)``.
    weight : array
        Shape ``(out_channels, in_channels // groups, *kernel)``.
    grad_output : array
        Gradient of the output, of its shape ``(batch, out_channels, *out_spatial)`` and of the weight's dtype.
    stride, padding, dilation, groups
        Those of the convolution.
    method : str
        ``"auto"`` or a method of ``"conv_transpose"`` (`cupy_kst.methods`).
    data_format, precision, out
        As in `cupy_kst.conv_transpose2d`; `data_format` concerns `input_size`, `grad_output` and the result.

    Returns
    -------
    array
        Shape `input_size`; zero where no output depends on the input.

    Raises
    ------
    TypeError, ValueError
        As `cupy_kst.conv2d` does, and if `grad_output` has not the shape of the output.
    """
    _check(data_format, {"out": out}, weight=weight, grad_output=grad_output)
    labels = _OF_INPUT[data_format]
    check_rank(f"conv{rank}d_input", rank, weight.shape, _CONV, labels)
    shapes = shape("input_size", input_size), weight.shape, grad_output.shape
    geometry = _resolve_conv(labels, rank, shapes, (stride, padding, dilation, groups))
    given: Any = {"small": ("grad_output", grad_output), "weight": ("weight", arrays.conjugated(weight))}
    return compute("conv_transpose", method, geometry, given, out=out, data_format=data_format, precision=precision)


def _conv_weight(
    rank: int,
    input: Any,
    weight_size: Sequence[int],
    grad_output: Any,
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
    """Gradient of a convolution's weight.

    Parameters
    ----------
    input : array
        Shape ``(batch, in_channels, *spatial)`` or ``(in_channels, *spatial)``.
    weight_size : sequence of int
        Shape of the weight, ``(out_channels, in_channels // groups, *kernel)``.
    grad_output : array
        Gradient of the output, of its shape ``(batch, out_channels, *out_spatial)`` and of the input's dtype.
    stride, padding, dilation, groups
        Those of the convolution.
    method : str
        ``"auto"``, ``"zero_dilation"`` (the baseline) or ``"sk_dilated"`` (arXiv 2306.15951).
    data_format, precision, out
        As in `cupy_kst.conv_transpose2d`; the weight has the same layout in both formats.

    Returns
    -------
    array
        Shape `weight_size`. On numbers of one sign the relative error of a sum of n products is at most ``9 * sqrt(n)``
        units in the last place of the compute type; tensor cores have a rule of their own (docs/how_it_works.md).

    Raises
    ------
    TypeError, ValueError
        As `cupy_kst.conv2d` does, and if `grad_output` has not the shape of the output.
    """
    _check(data_format, {"out": out}, input=input, grad_output=grad_output)
    weights = shape("weight_size", weight_size)
    labels = _OF_WEIGHT[data_format]
    check_rank(f"conv{rank}d_weight", rank, weights, _CONV, labels)
    shapes = input.shape, weights, grad_output.shape
    geometry = _resolve_conv(labels, rank, shapes, (stride, padding, dilation, groups))
    # sum(conj(input) * grad) = conj(sum(input * conj(grad))), and the gradient is the smaller of the two.
    given: Any = {"large": ("input", input), "small": ("grad_output", arrays.conjugated(grad_output))}
    result = compute("conv_weight", method, geometry, given, out=out, data_format=data_format, precision=precision)
    return arrays.conjugate_in_place(result)


def _conv_transpose_input(
    rank: int,
    input_size: Sequence[int],
    weight: Any,
    grad_output: Any,
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
    """Gradient of a transposed convolution's input: a convolution.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input, ``(batch, in_channels, *spatial)`` or ``(in_channels, *spatial)``.
    weight : array
        Shape ``(in_channels, out_channels // groups, *kernel)``.
    grad_output : array
        Gradient of the output, of its shape ``(batch, out_channels, *out_spatial)`` and of the weight's dtype. Its
        sizes say what the output padding was.
    stride, padding, dilation, groups
        Those of the transposed convolution.
    method : str
        ``"auto"`` or a method of ``"conv"`` (`cupy_kst.methods`).
    data_format, precision, out
        As in `cupy_kst.conv_transpose2d`; `data_format` concerns `input_size`, `grad_output` and the result.

    Returns
    -------
    array
        Shape `input_size`.

    Raises
    ------
    TypeError, ValueError
        As `cupy_kst.conv_transpose2d` does, and if no output padding explains the shape of `grad_output`.
    """
    _check(data_format, {"out": out}, weight=weight, grad_output=grad_output)
    labels = _OF_INPUT[data_format]
    check_rank(f"conv_transpose{rank}d_input", rank, weight.shape, _TRANSPOSE, labels)
    shapes = shape("input_size", input_size), weight.shape, grad_output.shape
    geometry = _resolve_conv_transpose(labels, rank, shapes, (stride, padding, dilation, groups))
    given: Any = {"large": ("grad_output", grad_output), "weight": ("weight", arrays.conjugated(weight))}
    return compute("conv", method, geometry, given, out=out, data_format=data_format, precision=precision)


def _conv_transpose_weight(
    rank: int,
    input: Any,
    weight_size: Sequence[int],
    grad_output: Any,
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
    """Gradient of a transposed convolution's weight.

    Parameters
    ----------
    input : array
        Shape ``(batch, in_channels, *spatial)`` or ``(in_channels, *spatial)``.
    weight_size : sequence of int
        Shape of the weight, ``(in_channels, out_channels // groups, *kernel)``.
    grad_output : array
        Gradient of the output, of its shape ``(batch, out_channels, *out_spatial)`` and of the input's dtype. Its
        sizes say what the output padding was.
    stride, padding, dilation, groups
        Those of the transposed convolution.
    method : str
        ``"auto"``, ``"zero_dilation"`` (the baseline) or ``"sk_dilated"`` (arXiv 2306.15951).
    data_format, precision, out
        As in `cupy_kst.conv_transpose2d`; the weight has the same layout in both formats.

    Returns
    -------
    array
        Shape `weight_size`. On numbers of one sign the relative error of a sum of n products is at most ``9 * sqrt(n)``
        units in the last place of the compute type; tensor cores have a rule of their own (docs/how_it_works.md).

    Raises
    ------
    TypeError, ValueError
        As `cupy_kst.conv_transpose2d` does, and if no output padding explains the shape of `grad_output`.
    """
    _check(data_format, {"out": out}, input=input, grad_output=grad_output)
    weights = shape("weight_size", weight_size)
    labels = _OF_WEIGHT[data_format]
    check_rank(f"conv_transpose{rank}d_weight", rank, weights, _TRANSPOSE, labels)
    shapes = input.shape, weights, grad_output.shape
    geometry = _resolve_conv_transpose(labels, rank, shapes, (stride, padding, dilation, groups))
    given: Any = {"large": ("grad_output", grad_output), "small": ("input", arrays.conjugated(input))}
    return compute("conv_weight", method, geometry, given, out=out, data_format=data_format, precision=precision)


def _bias(rank: int, grad_output: Any, *, data_format: DataFormat = "channels_first") -> Any:
    """Gradient of a bias: the sum over all but the channels.

    Parameters
    ----------
    grad_output : array
        Gradient of the output, ``(batch, out_channels, *spatial)`` or ``(out_channels, *spatial)``.
    data_format : {"channels_first", "channels_last"}
        Layout of `grad_output`.

    Returns
    -------
    array
        Shape ``(out_channels,)``, summed in the compute type. On numbers of one sign the relative error of a sum of n
        numbers is at most ``9 * sqrt(n)`` units in the last place of that type, rounding to the dtype aside.

    Raises
    ------
    TypeError, ValueError
        If `grad_output` is not a NumPy or CuPy array of a supported dtype, or has not as many dimensions.
    """
    _check(data_format, {}, grad_output=grad_output)
    if grad_output.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"grad_output has shape {grad_output.shape}: expected {rank + 2} dimensions, {rank + 1} unbatched"
        )
    dtype = dtypes.common(grad_output=grad_output)
    first = channels_first(grad_output, rank, data_format)
    channel = first.ndim - rank - 1
    sums = cpu_sums if arrays.engine_of({}, grad_output=grad_output) == "numpy" else gpu_sums
    # A sum that overflows says so in its result, not in warnings.
    with arrays.device_of(grad_output), np.errstate(all="ignore"):
        return sums.channel_sums(first, channel, dtype.compute).astype(dtype.storage, copy=False)


def _conv(
    rank: int,
    input: Any,
    weight: Any,
    grad_output: Any,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    dilation: IntOrAxes = 1,
    groups: int = 1,
    *,
    output_mask: Sequence[bool] = (True, True, True),
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
) -> tuple[Any, Any, Any]:
    """Gradients of a convolution's input, weight and bias.

    Parameters
    ----------
    input, weight : array
        Those of the convolution.
    grad_output : array
        Gradient of the output.
    stride, padding, dilation, groups
        Those of the convolution.
    output_mask : sequence of bool
        Which of the three are wanted.
    data_format, precision : str
        As in `cupy_kst.conv2d`.

    Returns
    -------
    tuple of array
        The gradients of input, weight and bias, None where not wanted.
    """
    forward = _Forward("conv", _CONV, _resolve_conv, _conv_input, _conv_weight)
    options = (stride, padding, dilation, groups)
    return _three(forward, rank, (input, weight, grad_output), output_mask, options, data_format, precision)


def _conv_transpose(
    rank: int,
    input: Any,
    weight: Any,
    grad_output: Any,
    stride: IntOrAxes = 1,
    padding: Any = 0,
    dilation: IntOrAxes = 1,
    groups: int = 1,
    *,
    output_mask: Sequence[bool] = (True, True, True),
    data_format: DataFormat = "channels_first",
    precision: Precision = "ieee",
) -> tuple[Any, Any, Any]:
    """Gradients of a transposed convolution's input, weight and bias.

    Parameters
    ----------
    input, weight : array
        Those of the transposed convolution.
    grad_output : array
        Gradient of the output; its sizes say what the output padding was.
    stride, padding, dilation, groups
        Those of the transposed convolution.
    output_mask : sequence of bool
        Which of the three are wanted.
    data_format, precision : str
        As in `cupy_kst.conv_transpose2d`.

    Returns
    -------
    tuple of array
        The gradients of input, weight and bias, None where not wanted.
    """
    resolve, of_input, of_weight = _resolve_conv_transpose, _conv_transpose_input, _conv_transpose_weight
    forward = _Forward("conv_transpose", _TRANSPOSE, resolve, of_input, of_weight)
    options = (stride, padding, dilation, groups)
    return _three(forward, rank, (input, weight, grad_output), output_mask, options, data_format, precision)


class _Forward(NamedTuple):
    """What all three gradients of a convolution of either kind take."""

    name: str
    channels: str
    resolve: Callable[..., Geometry]
    of_input: Callable[..., Any]
    of_weight: Callable[..., Any]


def _three(
    forward: _Forward,
    rank: int,
    given: tuple[Any, Any, Any],
    output_mask: Sequence[bool],
    options: tuple[Any, ...],
    data_format: DataFormat,
    precision: Precision,
) -> tuple[Any, Any, Any]:
    input, weight, grad_output = given
    _check(data_format, {}, input=input, weight=weight, grad_output=grad_output)
    if not is_sequence(output_mask) or len(output_mask) != 3:
        raise ValueError(f"output_mask={output_mask!r}: expected 3 values, for input, weight and bias")
    how = {"data_format": data_format, "precision": precision}
    wants_input, wants_weight, wants_bias = output_mask
    try:
        return (
            forward.of_input(rank, input.shape, weight, grad_output, *options, **how) if wants_input else None,
            forward.of_weight(rank, input, weight.shape, grad_output, *options, **how) if wants_weight else None,
            _bias(rank, grad_output, data_format=data_format) if wants_bias else None,
        )
    except ValueError:
        # Shapes that break a rule are told of by the names that this call has for them.
        labels = _OF_ALL[data_format]
        check_rank(f"{forward.name}{rank}d", rank, weight.shape, forward.channels, labels)
        forward.resolve(labels, rank, (input.shape, weight.shape, grad_output.shape), options)
        raise


def _check(data_format: str, optional: dict[str, Any], **needed: Any) -> None:
    check_choice("data_format", data_format, DataFormat)
    arrays.engine_of(optional, **needed)


def _resolve_conv(labels: Labels, rank: int, shapes: tuple[tuple[int, ...], ...], options: tuple[Any, ...]) -> Geometry:
    """Return the geometry of a convolution, of which input, weight and output have these shapes in the format."""
    inputs, weights, outputs = shapes
    in_front = channels_first_shape(outputs, rank, labels.data_format)
    return resolve(_conv_to, labels, rank, inputs, weights, in_front, options)


def _conv_to(
    inputs: tuple[int, ...], weights: tuple[int, ...], outputs: tuple[int, ...], options: tuple[Any, ...]
) -> Geometry:
    try:
        geometry = Geometry.conv(inputs, weights, *options)
    except ShapeError as error:
        raise error.beside(outputs) from None
    return check_output(geometry, outputs)


def _resolve_conv_transpose(
    labels: Labels, rank: int, shapes: tuple[tuple[int, ...], ...], options: tuple[Any, ...]
) -> Geometry:
    """Return the geometry of a transposed convolution, of which all three have these shapes in the format."""
    inputs, weights, outputs = shapes
    in_front = channels_first_shape(outputs, rank, labels.data_format)
    return resolve(Geometry.conv_transpose_to, labels, rank, inputs, weights, in_front, *options)


def _of_rank(rank: int, name: str, function: Callable[Concatenate[int, P], R]) -> Callable[P, R]:
    whole = inspect.signature(function)
    signature = whole.replace(parameters=list(whole.parameters.values())[1:])

    def ranked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(rank, *args, **kwargs)
        except TypeError:
            # Python names unknown arguments by the name of `function`, and counts the rank.
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                words = (option_of_word("", value) for value in args)
                raise TypeError(f"{name}() {error}{next(filter(None, words), '')}") from None
            raise

    # What `inspect` looks for; mypy knows of no such attribute of functions.
    ranked.__signature__ = signature  # type: ignore[attr-defined]
    ranked.__name__ = ranked.__qualname__ = name
    ranked.__doc__ = function.__doc__
    return ranked


conv1d = _of_rank(1, "conv1d", _conv)
conv1d_input = _of_rank(1, "conv1d_input", _conv_input)
conv1d_weight = _of_rank(1, "conv1d_weight", _conv_weight)
conv1d_bias = _of_rank(1, "conv1d_bias", _bias)
conv2d = _of_rank(2, "conv2d", _conv)
conv2d_input = _of_rank(2, "conv2d_input", _conv_input)
conv2d_weight = _of_rank(2, "conv2d_weight", _conv_weight)
conv2d_bias = _of_rank(2, "conv2d_bias", _bias)
conv3d = _of_rank(3, "conv3d", _conv)
conv3d_input = _of_rank(3, "conv3d_input", _conv_input)
conv3d_weight = _of_rank(3, "conv3d_weight", _conv_weight)
conv3d_bias = _of_rank(3, "conv3d_bias", _bias)
conv_transpose1d = _of_rank(1, "conv_transpose1d", _conv_transpose)
conv_transpose1d_input = _of_rank(1, "conv_transpose1d_input", _conv_transpose_input)
conv_transpose1d_weight = _of_rank(1, "conv_transpose1d_weight", _conv_transpose_weight)
conv_transpose1d_bias = _of_rank(1, "conv_transpose1d_bias", _bias)
conv_transpose2d = _of_rank(2, "conv_transpose2d", _conv_transpose)
conv_transpose2d_input = _of_rank(2, "conv_transpose2d_input", _conv_transpose_input)
conv_transpose2d_weight = _of_rank(2, "conv_transpose2d_weight", _conv_transpose_weight)
conv_transpose2d_bias = _of_rank(2, "conv_transpose2d_bias", _bias)
conv_transpose3d = _of_rank(3, "conv_transpose3d", _conv_transpose)
conv_transpose3d_input = _of_rank(3, "conv_transpose3d_input", _conv_transpose_input)
conv_transpose3d_weight = _of_rank(3, "conv_transpose3d_weight", _conv_transpose_weight)
conv_transpose3d_bias = _of_rank(3, "conv_transpose3d_bias", _bias)
