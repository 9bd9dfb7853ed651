"""The sizes of each axis: what padding rules, output padding and wished sizes come to, for both directions."""

from __future__ import annotations

from .axis import Axis
from .options import Padding, Rule

Sizes = tuple[int, ...]
Pads = list[tuple[int, int]]


def conv_axes(sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes) -> tuple[Axis, ...]:
    """Return the axes of a convolution of a map of `sizes`, or raise a ValueError where the filter does not fit."""
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if isinstance(padding, str):
        pads = _same_conv(sizes, spans, stride, padding) if padding != "valid" else [(0, 0)] * len(sizes)
    else:
        pads = list(padding)
    axes = []
    for size, span, k, s, d, (lo, hi) in zip(sizes, spans, kernel, stride, dilation, pads, strict=True):
        if size + lo + hi < span:
            raise ValueError(
                f"the filter of size {kernel} with dilation={dilation} spans {tuple(spans)}, more than the input of "
                f"size {sizes} with padding={pads}"
            )
        axes.append(Axis((size + lo + hi - span) // s + 1, size, k, s, d, lo, hi))
    return tuple(axes)


def conv_transpose_axes(
    sizes: Sizes,
    kernel: Sizes,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    output_size: Sizes | None,
    most_extra: Sizes,
    wish: str,
) -> tuple[Axis, ...]:
    """Return the axes of a transposed convolution of a map of `sizes`; `output_size` may add up to `most_extra`.

    Errors call it `wish`.
    """
    # The full extent that input and filter span, before padding is taken off.
    spans = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(sizes, stride, dilation, kernel, strict=True)]
    pads, extras = _settle(spans, sizes, stride, padding, output_padding, output_size, most_extra, wish)
    axes = []
    for n, span, k, s, d, (lo, hi), extra in zip(sizes, spans, kernel, stride, dilation, pads, extras, strict=True):
        axes.append(Axis(n, span - lo - hi + extra, k, s, d, lo, hi))
    if any(axis.large < 1 for axis in axes):
        raise ValueError(
            f"the output would have spatial size {tuple(axis.large for axis in axes)}: input of size {sizes} and "
            f"filter of size {kernel} with stride={stride}, padding={pads}, output_padding={tuple(extras)}, "
            f"dilation={dilation} leave nothing"
        )
    return tuple(axes)


def _settle(
    spans: list[int],
    sizes: Sizes,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    output_size: Sizes | None,
    most_extra: Sizes,
    wish: str,
) -> tuple[Pads, list[int]]:
    """Return the (lo, hi) pads and the output padding that padding rules and a wished output size come to."""
    if output_size is not None and any(output_padding):
        raise ValueError(
            f"output_size={output_size} and output_padding={output_padding} both settle the output: give one of them"
        )
    if isinstance(padding, str) and padding != "valid":
        if output_size is not None or any(output_padding):
            raise ValueError(
                f"padding={padding!r} makes the output input * stride: give no output_padding or output_size with it"
            )
        return _same(spans, sizes, stride, padding)
    pads = [(0, 0)] * len(spans) if isinstance(padding, str) else list(padding)
    if output_size is None:
        return pads, list(output_padding)
    smallest = [span - lo - hi for span, (lo, hi) in zip(spans, pads, strict=True)]
    largest = tuple(least + extra for least, extra in zip(smallest, most_extra, strict=True))
    if not all(least <= wished <= most for least, wished, most in zip(smallest, output_size, largest, strict=True)):
        raise ValueError(f"{wish}: possible are {tuple(smallest)} to {largest}")
    return pads, [wished - least for wished, least in zip(output_size, smallest, strict=True)]


def _same(spans: list[int], sizes: Sizes, stride: Sizes, padding: Rule) -> tuple[Pads, list[int]]:
    excess = [span - size * step for span, size, step in zip(spans, sizes, stride, strict=True)]
    return [_halves(max(each, 0), padding) for each in excess], [max(-each, 0) for each in excess]


def _same_conv(sizes: Sizes, spans: list[int], stride: Sizes, padding: Rule) -> Pads:
    """Return the pads of a convolution whose output is the input divided by the stride, rounded up."""
    needed = [-(-size // s) * s - s + span - size for size, span, s in zip(sizes, spans, stride, strict=True)]
    return [_halves(max(each, 0), padding) for each in needed]


def _halves(total: int, padding: Rule) -> tuple[int, int]:
    pair = (total // 2, total - total // 2)
    return pair if padding == "same" else pair[::-1]
