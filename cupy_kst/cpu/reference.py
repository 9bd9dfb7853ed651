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
    is_complex = any(array is not None and array.dtype.kind == "c" for array in (input, weight, bias))
    wide = np.complex128 if is_complex else np.float64
    x, w = np.asarray(input, wide), np.asarray(weight, wide)
    if x.ndim == rank + 1:
        one: NDArray[Any] = conv_transpose(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
        return one
    strides, dilations, extras = (_tuple(option, rank) for option in (stride, dilation, output_padding))
    pads = [(pad, pad) if np.ndim(pad) == 0 else tuple(pad) for pad in _tuple(padding, rank)]
    batch, channels, *sizes = x.shape
    out_channels, kernel = w.shape[1] * groups, w.shape[2:]

    span = [
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(sizes, strides, dilations, kernel, extras, strict=True)
    ]
    full = np.zeros((batch, out_channels, *span), wide)
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
    return cropped if bias is None else cropped + np.asarray(bias, wide).reshape(-1, *[1] * rank)


def _tuple(option: Any, rank: int) -> tuple[Any, ...]:
    return (option,) * rank if np.ndim(option) == 0 else tuple(option)
