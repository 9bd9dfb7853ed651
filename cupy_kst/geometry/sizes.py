"""The sizes of each axis: what padding rules, output padding and wished sizes come to, for both directions."""

from __future__ import annotations

from ..hints.channels import are_swapped, swapped
from ..hints.sizes import Sizing, transposed_options
from ..labels import ShapeError
from .axis import Axis
from .options import Padding, Rule

Sizes = tuple[int, ...]
Pads = list[tuple[int, int]]


def conv_axes(inputs: Sizes, weights: Sizes, stride: Sizes, padding: Padding, dilation: Sizes) -> tuple[Axis, ...]:
    """Return the axes of a convolution of shapes, or raise a ShapeError where the filter does not fit."""
    rank = len(stride)
    sizes, kernel = inputs[-rank:], weights[2:]
    spans = _spans(kernel, dilation)
    if isinstance(padding, str):
        pads = _same_conv(sizes, spans, stride, padding) if padding != "valid" else [(0, 0)] * len(sizes)
    else:
        pads = list(padding)
    axes = []
    for size, span, k, s, d, (lo, hi) in zip(sizes, spans, kernel, stride, dilation, pads, strict=True):
        if size + lo + hi < span:
            raise ShapeError(
                f"the filter of size {kernel} with dilation={dilation} spans {spans}, more than the size {sizes} of "
                f"{{input}} with padding={tuple(pads)}",
                rank,
                lambda labels: (
                    swapped(labels) if inputs[-rank - 1] == weights[1] and are_swapped(inputs, weights, rank) else ""
                ),
                input=inputs,
            )
        axes.append(Axis((size + lo + hi - span) // s + 1, size, k, s, d, lo, hi))
    return tuple(axes)


def conv_transpose_axes(
    inputs: Sizes,
    weights: Sizes,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    output: Sizes | None,
    any_extra: bool,
) -> tuple[Axis, ...]:
    """Return the axes of a transposed convolution of shapes, or raise a ShapeError.

    `output` is a wished spatial size or whole shape; it may add as much as a stride less one, with `any_extra` as much
    as any output padding.
    """
    rank = len(stride)
    sizes, kernel = inputs[-rank:], weights[2:]
    # The full extent that input and filter span, before padding is taken off.
    spans = [(n - 1) * s + span for n, s, span in zip(sizes, stride, _spans(kernel, dilation), strict=True)]
    if output is None:
        pads, extras = _unasked(spans, sizes, stride, padding, output_padding)
    else:
        pads, extras = _asked(spans, inputs, weights, stride, padding, output_padding, dilation, output, any_extra)
    axes = []
    for n, span, k, s, d, (lo, hi), extra in zip(sizes, spans, kernel, stride, dilation, pads, extras, strict=True):
        axes.append(Axis(n, span - lo - hi + extra, k, s, d, lo, hi))
    if any(axis.large < 1 for axis in axes):
        raise ShapeError(
            f"the output would have spatial size {tuple(axis.large for axis in axes)}: {{input}} and {{weight}} with "
            f"stride={stride}, padding={tuple(pads)}, output_padding={tuple(extras)}, dilation={dilation} leave "
            "nothing",
            rank,
            input=inputs,
            weight=weights,
        )
    return tuple(axes)


def _spans(kernel: Sizes, dilation: Sizes) -> Sizes:
    """Return the extent of a filter with its dilation on each axis."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def _unasked(
    spans: list[int], sizes: Sizes, stride: Sizes, padding: Padding, output_padding: Sizes
) -> tuple[Pads, list[int]]:
    """Return the (lo, hi) pads and the output padding that padding rules come to."""
    if not isinstance(padding, str):
        return list(padding), list(output_padding)
    if padding == "valid":
        return [(0, 0)] * len(spans), list(output_padding)
    if any(output_padding):
        raise _given_twice(padding)
    excess = [span - size * step for span, size, step in zip(spans, sizes, stride, strict=True)]
    return [_halves(max(each, 0), padding) for each in excess], [max(-each, 0) for each in excess]


def _asked(
    spans: list[int],
    inputs: Sizes,
    weights: Sizes,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    output: Sizes,
    any_extra: bool,
) -> tuple[Pads, list[int]]:
    """Return the (lo, hi) pads and the output padding that a wished output comes to."""
    rank = len(stride)
    wished = output[-rank:]
    if any(output_padding):
        raise ShapeError(
            f"{{output}} and output_padding={output_padding} both settle the output: give one of them",
            rank,
            output=output,
        )
    if isinstance(padding, str) and padding != "valid":
        raise _given_twice(padding)
    pads = [(0, 0)] * rank if isinstance(padding, str) else list(padding)
    # As in torch, a wished size may add less than a stride; output padding may be up to the dilation as well.
    most = [(max(step, spread) if any_extra else step) - 1 for step, spread in zip(stride, dilation, strict=True)]
    smallest = tuple(span - lo - hi for span, (lo, hi) in zip(spans, pads, strict=True))
    largest = tuple(least + extra for least, extra in zip(smallest, most, strict=True))
    if not all(least <= size <= end for least, size, end in zip(smallest, wished, largest, strict=True)):
        possible = f"is {smallest}" if smallest == largest else f"are {smallest} to {largest}"
        spreads = dilation if any_extra else (1,) * rank
        each = zip(inputs[-rank:], _spans(weights[2:], dilation), wished, stride, pads, spreads, strict=True)
        hint = transposed_options([Sizing(*axis) for axis in each])
        raise ShapeError(
            f"{{output_is}}: possible {possible} for {{input}} and {{weight}} with stride={stride}, "
            f"padding={tuple(pads)}, dilation={dilation}",
            rank,
            lambda labels: hint or labels.forward,
            input=inputs,
            weight=weights,
            output=output,
        )
    return pads, [size - least for size, least in zip(wished, smallest, strict=True)]


def _given_twice(padding: Rule) -> ValueError:
    return ValueError(
        f"padding={padding!r} makes the output input * stride: give no output_padding or output_size with it"
    )


def _same_conv(sizes: Sizes, spans: Sizes, stride: Sizes, padding: Rule) -> Pads:
    """Return the pads of a convolution whose output is the input divided by the stride, rounded up."""
    needed = [-(-size // s) * s - s + span - size for size, span, s in zip(sizes, spans, stride, strict=True)]
    return [_halves(max(each, 0), padding) for each in needed]


def _halves(total: int, padding: Rule) -> tuple[int, int]:
    pair = (total // 2, total - total // 2)
    return pair if padding == "same" else pair[::-1]
