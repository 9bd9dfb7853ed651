"""Strides and pads that make an output of the size that was given, and pads in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

# Strides above so many extents of the filter are not asked for: they fit by chance.
_MOST_SPANS = 2


class Sizing(NamedTuple):
    """One axis of a call whose output has not the size that was given for it.

    Attributes
    ----------
    size, span, wish : int
        Extents of the input, of the filter with its dilation, and of the output that was given.
    stride : int
        The caller's.
    pads : (int, int)
        The caller's.
    spread : int
        Outputs that a transposed convolution may add are fewer than this, or than the stride.
    """

    size: int
    span: int
    wish: int
    stride: int
    pads: tuple[int, int]
    spread: int = 1


def transposed_options(axes: Sequence[Sizing]) -> str:
    """Return the end of a message for an output that other strides, or pads, of a transposed convolution make."""
    return _options_meant(axes, _transposed_stride, _transposed_padding)


def conv_options(axes: Sequence[Sizing]) -> str:
    """Return the end of a message for an output that other strides, or pads, of a convolution make."""
    return _options_meant(axes, _conv_stride, _conv_padding)


def _transposed_stride(axis: Sizing) -> int | None:
    # A stride s gives (size - 1)*s + rest, and up to s - 1 more, or up to spread - 1.
    rest = axis.span - sum(axis.pads)
    least = max(1, -(-(axis.wish - rest + 1) // axis.size))
    fits = 0 <= axis.wish - rest - (axis.size - 1) * least < max(least, axis.spread)
    return least if fits else None


def _transposed_padding(axis: Sizing) -> tuple[int, int] | None:
    for stride in (axis.stride, axis.wish // axis.size, -(-axis.wish // axis.size)):
        padding = -(-((axis.size - 1) * stride + axis.span - axis.wish) // 2)
        extra = axis.wish - (axis.size - 1) * stride - axis.span + 2 * padding
        if 0 <= 2 * padding <= axis.span and 0 <= extra < max(stride, 1):
            return stride, padding
    return None


def _conv_stride(axis: Sizing) -> int | None:
    steps = axis.size + sum(axis.pads) - axis.span
    least = steps // axis.wish + 1 if axis.wish > 0 else 0
    return None if steps < 0 or least < 1 or steps // least + 1 != axis.wish else least


def _conv_padding(axis: Sizing) -> tuple[int, int] | None:
    if axis.wish < 1:
        return None
    for stride in (axis.stride, -(-axis.size // axis.wish), axis.size // axis.wish):
        padding = -((axis.size - axis.span - stride * (axis.wish - 1)) // 2)
        if (
            stride
            and 0 <= 2 * padding <= axis.span
            and (axis.size + 2 * padding - axis.span) // stride + 1 == axis.wish
        ):
            return stride, padding
    return None


def _options_meant(
    axes: Sequence[Sizing],
    stride_of: Callable[[Sizing], int | None],
    padding_of: Callable[[Sizing], tuple[int, int] | None],
) -> str:
    """Return a question for strides alone if some fit, or else for strides and pads."""
    strides = [stride for axis in axes if (stride := stride_of(axis)) is not None]
    if len(strides) == len(axes) and _are_likely(axes, strides):
        return f"; is stride={_shown(strides)} meant?"
    both = [pair for axis in axes if (pair := padding_of(axis)) is not None]
    if len(both) < len(axes) or not _are_likely(axes, [stride for stride, _ in both]):
        return ""
    strides, pads = ([pair[place] for pair in both] for place in (0, 1))
    padding = f"padding={_shown(pads)}"
    if all(axis.stride == stride for axis, stride in zip(axes, strides, strict=True)):
        return f"; is {padding} meant?"
    return f"; are stride={_shown(strides)} and {padding} meant?"


def _are_likely(axes: Sequence[Sizing], strides: Sequence[int]) -> bool:
    """Return whether no stride steps far over its filter: those that do fit by chance."""
    return all(0 < stride <= _MOST_SPANS * axis.span for axis, stride in zip(axes, strides, strict=True))


def _shown(numbers: Sequence[int]) -> str:
    return str(numbers[0] if len(set(numbers)) == 1 else tuple(numbers))


def pads_in_a_row(pads: Any, rank: int) -> str:
    """Return the end of a message for pads as ONNX has them: those in front of all axes, and then those behind."""
    if not isinstance(pads, (tuple, list)) or len(pads) != 2 * rank:
        return ""
    if not all(isinstance(each, (int, np.integer)) and not isinstance(each, bool) and each >= 0 for each in pads):
        return ""
    return f"; is padding={tuple((int(pads[axis]), int(pads[rank + axis])) for axis in range(rank))} meant?"
