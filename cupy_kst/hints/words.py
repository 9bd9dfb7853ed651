"""Words that are almost right, of another option, or in another place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

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
    **dict.fromkeys(("cuda", "nvidia"), ("gpu",)),
    **dict.fromkeys(("kernel_segregation", "kernel_segregated", "segregation"), ("segregated",)),
    **dict.fromkeys(("unified_kernel_segregation", "unified_kernel_segregated"), ("unified",)),
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
