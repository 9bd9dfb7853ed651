"""The definition: every product of an input and a filter element is added where it lands, in float64 or complex128.

Everything else is checked against this file, so it shares nothing with the rest: no Geometry, no residue class.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray


def conv_transpose(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> NDArray[Any]:
    """Transposed convolution of any rank by its definition.

    Parameters
    ----------
    input : ndarray
        Shape ``(batch, in_channels, *spatial)``, or without the batch.
    weight : ndarray
        Shape ``(in_channels, out_channels // groups, *kernel)``.
    bias : ndarray, optional
        Shape ``(out_channels,)``.
    stride, padding, output_padding, groups, dilation
        As in `cupy_kst.conv_transpose2d`, but for the names of paddings.

    Returns
    -------
    ndarray
        Shape ``(batch, out_channels, *output)``: complex128 where an array is complex, else float64.
    """
    rank = weight.ndim - 2
    x, w = _wide(input, weight)
    if x.ndim == rank + 1:
        one: NDArray[Any] = conv_transpose(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
        return one
    strides, dilations, extras = (_tuple(option, rank) for option in (stride, dilation, output_padding))
    pads = _pairs(padding, rank)
    batch, channels, *sizes = x.shape
    out_channels, kernel = w.shape[1] * groups, w.shape[2:]

    span = [
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(sizes, strides, dilations, kernel, extras, strict=True)
    ]
    full = np.zeros((batch, out_channels, *span), x.dtype)
    for sample, channel, out_channel in product(range(batch), range(channels), range(w.shape[1])):
        target = channel // (channels // groups) * w.shape[1] + out_channel
        for tap in product(*map(range, kernel)):
            lands = tuple(
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
            )
            full[sample, target][lands] += x[sample, channel] * w[channel, out_channel][tap]
    inside: tuple[Any, ...] = (..., *(slice(lo, length - hi) for length, (lo, hi) in zip(span, pads, strict=True)))
    cropped: NDArray[Any] = full[inside]
    return cropped if bias is None else cropped + np.asarray(bias, x.dtype).reshape(-1, *[1] * rank)


def conv(
    input: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Convolution of any rank by its definition: the sum over taps of the padded input's windows.

    Parameters and result are those of `cupy_kst.conv2d`, but for the names of paddings and the wide result.
    """
    w, x = _wide(weight, input)
    rank = weight.ndim - 2
    if x.ndim == rank + 1:
        one: NDArray[Any] = conv(x[None], w, bias, stride, padding, dilation, groups)[0]
        return one
    padded = np.pad(x, [(0, 0), (0, 0), *_pairs(padding, rank)])
    kernel = w.shape[2:]
    strides, dilations = _tuple(stride, rank), _tuple(dilation, rank)
    sizes = [
        (extent - d * (k - 1) - 1) // s + 1
        for extent, k, s, d in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes), np.result_type(x, w))
    for ins, outs in _groups(groups, x.shape[1], w.shape[0]):
        for tap in product(*map(range, kernel)):
            window = padded[_window(ins, _reach(tap, sizes, strides, dilations))]
            y[:, outs] += np.einsum("nc...,oc->no...", window, w[_element(outs, tap)])
    return y if bias is None else y + np.asarray(bias, y.dtype).reshape(-1, *[1] * rank)


def conv_input(
    input_size: Sequence[int],
    weight: NDArray[Any],
    grad_output: NDArray[Any],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Gradient of a convolution's input by definition: every output's gradient goes back to what it was summed from."""
    w, g = _wide(weight, grad_output)
    rank = weight.ndim - 2
    if len(input_size) == rank + 1:
        one: NDArray[Any] = conv_input((1, *input_size), w, g[None], stride, padding, dilation, groups)[0]
        return one
    pads = _pairs(padding, rank)
    padded = np.zeros(
        (*input_size[:2], *(n + lo + hi for n, (lo, hi) in zip(input_size[2:], pads, strict=True))), g.dtype
    )
    for ins, outs in _groups(groups, input_size[1], w.shape[0]):
        for tap in product(*map(range, w.shape[2:])):
            places = _reach(tap, g.shape[2:], _tuple(stride, rank), _tuple(dilation, rank))
            padded[_window(ins, places)] += np.einsum("no...,oc->nc...", g[:, outs], w[_element(outs, tap)].conj())
    inside: tuple[Any, ...] = (..., *(slice(lo, lo + n) for n, (lo, _) in zip(input_size[2:], pads, strict=True)))
    cropped: NDArray[Any] = padded[inside]
    return cropped


def conv_weight(
    input: NDArray[Any],
    weight_size: Sequence[int],
    grad_output: NDArray[Any],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Gradient of a convolution's weight by definition: for every tap the products of its window and the gradient."""
    x, g = _wide(input, grad_output)
    rank = len(weight_size) - 2
    if x.ndim == rank + 1:
        return conv_weight(x[None], weight_size, g[None], stride, padding, dilation, groups)
    padded = np.pad(x, [(0, 0), (0, 0), *_pairs(padding, rank)])
    gradient = np.zeros(tuple(weight_size), np.result_type(x, g))
    for ins, outs in _groups(groups, x.shape[1], weight_size[0]):
        for tap in product(*map(range, weight_size[2:])):
            places = _reach(tap, g.shape[2:], _tuple(stride, rank), _tuple(dilation, rank))
            window = padded[_window(ins, places)].conj()
            gradient[_element(outs, tap)] = _summed(g[:, outs], window)
    return gradient


def conv_transpose_input(
    input_size: Sequence[int],
    weight: NDArray[Any],
    grad_output: NDArray[Any],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Gradient of a transposed convolution's input by definition: what comes back from every place it went to."""
    w, g = _wide(weight, grad_output)
    rank = weight.ndim - 2
    if len(input_size) == rank + 1:
        one: NDArray[Any] = conv_transpose_input((1, *input_size), w, g[None], stride, padding, dilation, groups)[0]
        return one
    full = _uncropped(g, input_size[2:], w.shape[2:], stride, padding, dilation)
    gradient = np.zeros(tuple(input_size), g.dtype)
    for outs, ins in _groups(groups, full.shape[1], w.shape[0]):
        for tap in product(*map(range, w.shape[2:])):
            places = _reach(tap, input_size[2:], _tuple(stride, rank), _tuple(dilation, rank))
            window = full[_window(outs, places)]
            gradient[:, ins] += np.einsum("no...,io->ni...", window, w[_element(ins, tap)].conj())
    return gradient


def conv_transpose_weight(
    input: NDArray[Any],
    weight_size: Sequence[int],
    grad_output: NDArray[Any],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> NDArray[Any]:
    """Gradient of a transposed convolution's weight by definition: every tap's inputs times where they went."""
    x, g = _wide(input, grad_output)
    rank = len(weight_size) - 2
    if x.ndim == rank + 1:
        return conv_transpose_weight(x[None], weight_size, g[None], stride, padding, dilation, groups)
    full = _uncropped(g, x.shape[2:], weight_size[2:], stride, padding, dilation)
    gradient = np.zeros(tuple(weight_size), g.dtype)
    for outs, ins in _groups(groups, full.shape[1], weight_size[0]):
        for tap in product(*map(range, weight_size[2:])):
            places = _reach(tap, x.shape[2:], _tuple(stride, rank), _tuple(dilation, rank))
            window = full[_window(outs, places)]
            gradient[_element(ins, tap)] = _summed(x[:, ins].conj(), window)
    return gradient


def _uncropped(
    grad_output: NDArray[Any], sizes: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> NDArray[Any]:
    """Return the gradient with zeros where the padding cropped the full output."""
    rank = len(kernel)
    spans = [
        (n - 1) * s + d * (k - 1) + 1
        for n, k, s, d in zip(sizes, kernel, _tuple(stride, rank), _tuple(dilation, rank), strict=True)
    ]
    extents = grad_output.shape[2:]
    zeros = [
        (lo, max(0, span - lo - extent))
        for (lo, _), span, extent in zip(_pairs(padding, rank), spans, extents, strict=True)
    ]
    return np.pad(grad_output, [(0, 0), (0, 0), *zeros])


def _reach(
    tap: Sequence[int], sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[slice, ...]:
    """Return where a tap's products are on the larger map, for each of `sizes` positions of the smaller one."""
    return tuple(
        slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
    )


def _element(channels: slice, tap: Sequence[int]) -> tuple[Any, ...]:
    return (channels, slice(None), *tap)


def _window(channels: slice, places: Sequence[slice]) -> tuple[Any, ...]:
    return (slice(None), channels, *places)


def _summed(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the products of all pairs of channels, summed over samples and positions."""
    axes = (0, *range(2, one.ndim))
    summed: NDArray[Any] = np.tensordot(one, other, (axes, axes))
    return summed


def _groups(groups: int, one: int, other: int) -> list[tuple[slice, slice]]:
    """Return for each group its channels, of `one` and of `other`."""
    a, b = one // groups, other // groups
    return [(slice(g * a, (g + 1) * a), slice(g * b, (g + 1) * b)) for g in range(groups)]


def _wide(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    wide = np.complex128 if any(array.dtype.kind == "c" for array in arrays) else np.float64
    return [np.asarray(array, wide) for array in arrays]


def _pairs(padding: Any, rank: int) -> list[tuple[int, int]]:
    return [(pad, pad) if np.ndim(pad) == 0 else tuple(pad) for pad in _tuple(padding, rank)]


def _tuple(option: Any, rank: int) -> tuple[Any, ...]:
    return (option,) * rank if np.ndim(option) == 0 else tuple(option)
