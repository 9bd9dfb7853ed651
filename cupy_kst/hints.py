"""What a refused call may have meant: the nearest word, another layout, a weight's axes swapped, a stride left out.

Only messages are made of this, so that a right call never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

Sizes = tuple[int, ...]
Pads = Sequence[tuple[int, int]]

# Strides above this are not asked for: they fit by chance.
_MOST_STRIDE = 64
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


def stride_of_bias(value: Any) -> str:
    """Return the end of a message for a bias that looks like a stride, as that is third where others have no bias."""
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    if not numbers or not all(type(number) is int and number > 0 for number in numbers):
        return ""
    return f"; the bias stands before the stride: is stride={value!r} meant?"


def layout_or_swap(
    data_format: str, inputs: Sizes, weights: Sizes, rank: int, weight: str, fits: Callable[[int, int, int], bool]
) -> str:
    """Return the end of a message for channels that differ, where another layout or order of axes would fit.

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
    asked = []
    if fits(others, rows, columns):
        asked.append(f"the {where} axis has {others}: {layout}?")
    if fits(channels, columns, rows):
        asked.append(f"{swap}?")
    if not asked and fits(others, columns, rows):
        asked.append(f"{layout}, and {swap}?")
    return "".join(f"; {each}" for each in asked)


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


def transposed_stride(sizes: Sizes, spans: Sizes, pads: Pads, wished: Sizes, dilation: Sizes, any_extra: bool) -> str:
    """Return the end of a message for an output that other strides would make, `spans` being those of the filter."""
    found = []
    for size, span, (lo, hi), wish, spread in zip(sizes, spans, pads, wished, dilation, strict=True):
        # A stride s gives (size - 1)*s + rest, and up to s - 1 more, or up to dilation - 1.
        rest = span - lo - hi
        least = max(1, -(-(wish - rest + 1) // size))
        most = (max(least, spread) if any_extra else least) - 1
        if not 0 <= wish - rest - (size - 1) * least <= most:
            return ""
        found.append(least)
    return _is_stride_meant(found)


def conv_stride(sizes: Sizes, spans: Sizes, pads: Pads, wished: Sizes) -> str:
    """Return the end of a message for an output of a convolution that other strides would make."""
    found = []
    for size, span, (lo, hi), wish in zip(sizes, spans, pads, wished, strict=True):
        steps = size + lo + hi - span
        least = steps // wish + 1 if wish > 0 else 0
        if steps < 0 or least < 1 or steps // least + 1 != wish:
            return ""
        found.append(least)
    return _is_stride_meant(found)


def _is_stride_meant(stride: Sequence[int]) -> str:
    if max(stride) > _MOST_STRIDE:
        return ""
    shown = stride[0] if len(set(stride)) == 1 else tuple(stride)
    return f"; is stride={shown} meant?"
