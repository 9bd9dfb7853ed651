"""Transposed convolutions with one fault each, for the tests of what must catch them."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_kst.cpu import reference

Array = NDArray[Any]
Options = dict[str, Any]
FAULTS: dict[str, Callable[..., Array]] = {}


def _fault(plant: Callable[[Array, Array, Array | None, Options], Array]) -> Callable[..., Array]:
    def fn(
        input: Array,
        weight: Array,
        bias: Array | None,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        dilation: Any,
    ) -> Array:
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        }
        return plant(input, weight, bias, options)

    fn.__name__ = plant.__name__
    FAULTS[plant.__name__] = fn
    return fn


def right(input: Array, weight: Array, bias: Array | None, *options: Any) -> Array:
    """Return the transposed convolution in the input's dtype, without a fault."""
    return reference.conv_transpose(input, weight, bias, *options).astype(input.dtype)


@_fault
def odd_sizes_lack_the_last_output(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    y = right(x, w, b, *options.values())
    if y.shape[-1] % 2:
        y[..., -1] = 0
    return y


@_fault
def common_factor_ignored(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    factor = gcd(options["stride"][-1], options["dilation"][-1])
    y = right(x, w, None, *options.values())
    if factor > 1:
        y[..., ::factor] = 0
    return y if b is None else y + b.reshape(-1, *[1] * (w.ndim - 2))


@_fault
def stride_above_kernel_fills_gaps(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    y = right(x, w, b, *options.values())
    stride, kernel = options["stride"][-1], w.shape[-1]
    if stride > kernel and y.shape[-1] > kernel:
        y[..., kernel::stride] = y[..., :1]
    return y


@_fault
def no_bias_where_no_tap_lands(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    y = right(x, w, b, *options.values())
    return np.where(right(np.ones_like(x), np.ones_like(w), None, *options.values()) == 0, 0, y)


@_fault
def reads_past_the_border(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    pads = [pad if np.ndim(pad) else (pad, pad) for pad in options["padding"]]
    lo, hi = pads[-1]
    longer = np.concatenate([x, x[..., :1]], axis=-1)
    stride = options["stride"][-1]
    y = right(longer, w, b, *{**options, "padding": [*pads[:-1], (lo, hi)]}.values())
    return y[..., : y.shape[-1] - stride]


@_fault
def pads_swapped(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    pads = [pad[::-1] if np.ndim(pad) else pad for pad in options["padding"]]
    return right(x, w, b, *{**options, "padding": pads}.values())


@_fault
def output_padding_is_zeros(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    y = right(x, w, b, *options.values())
    if options["output_padding"][-1]:
        y[..., -options["output_padding"][-1] :] = 0
    return y


@_fault
def groups_read_the_first(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    channels, axis = w.shape[0] // options["groups"], -w.ndim + 1
    first = np.take(x, [channel % channels for channel in range(w.shape[0])], axis)
    return right(first, w, b, *options.values())


@_fault
def samples_repeat_the_first(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    y = right(x, w, b, *options.values())
    if x.ndim == w.ndim:
        y[1:] = y[:1]
    return y


@_fault
def batch_is_never_empty(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    return right(x if x.size else np.zeros((1, *x.shape[1:]), x.dtype), w, b, *options.values())


@_fault
def unbatched_gets_a_batch(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    return right(x if x.ndim == w.ndim else x[None], w, b, *options.values())


@_fault
def filter_flipped(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    return right(x, w[..., ::-1], b, *options.values())


@_fault
def depth_takes_the_stride_of_height(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    stride = options["stride"]
    return right(x, w, b, *{**options, "stride": (stride[len(stride) // 2], *stride[1:])}.values())


@_fault
def dilation_above_two_is_two(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    return right(x, w, b, *{**options, "dilation": [min(2, each) for each in options["dilation"]]}.values())


@_fault
def raises_where_pads_exceed_the_filter(x: Array, w: Array, b: Array | None, options: Options) -> Array:
    for pad, kernel, dilation in zip(options["padding"], w.shape[2:], options["dilation"], strict=True):
        if np.max(pad) > dilation * (kernel - 1):
            raise IndexError("negative offset")
    return right(x, w, b, *options.values())
