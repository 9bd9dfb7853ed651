"""What a refused call may have meant: the nearest word, another layout, a weight's axes swapped, a stride left out.

Only messages are made of this, so that a right call never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

Sizes = tuple[int, ...]

# Strides above so many extents of the filter are not asked for: they fit by chance.
_MOST_SPANS = 2
# Words by the option that takes them.
_WORDS: dict[str, tuple[str, ...]] = {
    "padding": ("valid", "same", "same_lower"),
    "data_format": ("channels_first", "channels_last"),
}
# Words of other libraries, and what they are called here: the first that is among the choices.
_FIRST, _LAST = ("channels_first",), ("channels_last",)
_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("nchw", "ncw", "ncl", "ncdhw", "nc", "chw", "first", "contiguous_format"), _FIRST),
    **dict.fromkeys(("nhwc", "nwc", "nlc", "ndhwc", "hwc", "last"), _LAST),
    **dict.fromkeys(("same_upper", "half"), ("same", "float16")),
    **dict.fromkeys(("none", "zero", "notset"), ("valid",)),
    **dict.fromkeys(("fp32", "f32", "float32", "single", "highest"), ("float32", "ieee")),
    **dict.fromkeys(("3xtf32", "tf32_x3", "high"), ("tf32x3",)),
    **dict.fromkeys(("tensorfloat32", "medium"), ("tf32",)),
    **dict.fromkeys(("fp16", "f16"), ("float16",)),
    **dict.fromkeys(("bf16", "brain"), ("bfloat16",)),
    **dict.fromkeys(("fp64", "f64", "double"), ("float64",)),
    **dict.fromkeys(("deconv", "deconvolution", "convtranspose", "transposed_conv"), ("conv_transpose",)),
    **dict.fromkeys(("convolution", "correlate"), ("conv",)),
    **dict.fromkeys(("implicit_gemm", "gemm"), ("ks_deconv", "conv_v2", "sk_dilated")),
}


def _plain(word: str) -> str:
    """Return a word without what spellings differ in: case, hyphens, and the rank in "conv2d"."""
    return re.sub(r"_?[123]d", "", re.sub(r"[\s-]+", "_", word.strip().lower()))


def nearest(value: Any, choices: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the choice that a word is nearest to, None for a word that is like none of them."""
    if not isinstance(value, str):
        return None
    plain, by_plain = _plain(value), {_plain(choice): choice for choice in choices}
    if plain in by_plain:
        return by_plain[plain]
    for known in _SYNONYMS.get(plain, ()):
        if known in by_plain:
            return by_plain[known]
    close = get_close_matches(plain, by_plain, 1, cutoff)
    return by_plain[close[0]] if close else None


def question(value: Any, choices: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the end of a message that asks whether the nearest choice is meant, "" where none is near."""
    found = nearest(value, choices, cutoff)
    return "" if found is None else f"; is {found!r} meant?"


def bias_gradient(op: Any) -> str:
    """Return the end of a message for a bias's gradient, which no method is of."""
    if op not in ("conv_bias", "conv_transpose_bias"):
        return ""
    return f"; a bias's gradient is a sum, which has no methods: call grad.{op.replace('_bias', '2d_bias')}"


def stride_of_bias(value: Any, rank: int) -> str:
    """Return the end of a message for a bias that may be a stride, as that is third where others have no bias."""
    several = isinstance(value, (tuple, list))
    numbers = value if several else (value,)
    whole = all(isinstance(each, (int, np.integer)) and not isinstance(each, bool) and each > 0 for each in numbers)
    if not whole or (several and len(value) != rank):
        return ""
    return f"; the bias stands before the stride: is stride={value if several else int(value)} meant?"


def option_of_word(option: str, value: Any) -> str:
    """Return the end of a message for a word that is one of another option's."""
    if isinstance(value, str):
        for other, words in _WORDS.items():
            found = nearest(value, words, 0.8)
            if other != option and found is not None:
                return f"; is {other}={found!r} meant?"
    return ""


def channels_hint(
    data_format: str,
    inputs: Sizes,
    weights: Sizes,
    rank: int,
    weight: str,
    fits: Callable[[int, int, int], bool],
    groups: int = 0,
) -> str:
    """Return the end of a message for channels that differ, where other groups, order of axes or layout would fit.

    Parameters
    ----------
    data_format : str
        The one that the caller chose, "" where there is no choice.
    inputs, weights : tuple of int
        Shapes; that of the input with its channels in front.
    rank : int
        Number of spatial axes.
    weight : str
        What the caller calls the weight.
    fits : callable
        Whether so many channels fit a weight whose first two sizes are these.
    groups : int, optional
        Groups of a convolution, on which the input's channels depend; 0 where they do not.
    """
    channels, (rows, columns) = inputs[-rank - 1], weights[:2]
    first = data_format != "channels_last"
    # What the other layout would take for the channels.
    others, where = (inputs[-1], "last") if first else (inputs[-rank], "first")
    layout = f"is data_format={'channels_last' if first else 'channels_first'!r} meant"
    if not data_format:
        layout = "do the channels stand there, which here are first"
    # A shape has no method that would swap its axes.
    swap = f"are the first two axes of {weight} swapped" if "_" in weight else f"is {weight}.swapaxes(0, 1) meant"
    asked = _other_groups(channels, weights, weight, groups) if groups else []
    if fits(channels, columns, rows):
        asked.append(swap)
    if fits(others, rows, columns):
        asked.append(layout if asked and data_format else f"the {where} axis has {others}: {layout}")
    if not asked and fits(others, columns, rows):
        return f"; {layout}, and {swap}?"
    return f"; {', or '.join(asked[:2])}?" if asked else ""


def _other_groups(channels: int, weights: Sizes, weight: str, groups: int) -> list[str]:
    """Return what to ask where other groups fit the weight of a convolution, or a weight as many groups."""
    rows, columns = weights[:2]
    fitting, rest = divmod(channels, columns)
    if rest or fitting < 1 or rows % fitting:
        return []
    asked = [f"is groups={fitting} meant"]
    if groups > 1 and not channels % groups and not rows % groups:
        shape = (rows, channels // groups, *weights[2:])
        index = f"{weight}[1]" if "_" in weight else f"{weight}.shape[1]"
        asked = [f"{index} is in_channels // groups: is groups={fitting} meant", f"a weight of shape {shape}"]
    return asked


def other_layout(found: Sizes, wanted: Sizes, rank: int, data_format: str) -> str:
    """Return the end of a message for a map of another shape, where the same channels in another place would fit."""
    if not data_format or len(found) <= rank or len(found) != len(wanted):
        return ""
    first = data_format != "channels_last"
    channel = len(found) - rank - 1
    sizes = list(wanted)
    sizes.insert(len(sizes) if first else channel, sizes.pop(channel if first else -1))
    if tuple(sizes) != found:
        return ""
    return f"; is data_format={'channels_last' if first else 'channels_first'!r} meant?"


def out_layout(found: Sizes, wanted: Sizes, rank: int, data_format: str) -> str:
    """Return the end of a message for an `out` whose channels lie as in the other layout than the result's."""
    if not other_layout(found, wanted, rank, data_format):
        return ""
    place = "last" if data_format == "channels_last" else "first"
    return f"; with data_format={data_format!r} the channels of out are {place}, too"


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
