"""Rules that several shapes or functions break, beyond the sizes of one axis, and the errors that tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from ..hints.channels import channels_hint
from ..labels import Labels, ShapeError
from .axis import AXES, Axis
from .options import counted

# An array has at most 2**63 - 1 bytes, so that it has fewer elements than this, where an element has 16.
_ELEMENTS = 2**59


def too_many(sizes: Iterable[int]) -> str:
    """Return why there can be no array of these sizes, "" where there can."""
    # A batch of zero makes no memory of all the rest, but NumPy reckons with it.
    elements = prod(max(size, 1) for size in sizes)
    return f"{elements} elements, more than the 2**59 - 1 of any array" if elements >= _ELEMENTS else ""


def check_weight(weights: tuple[int, ...], channels: str) -> None:
    """Raise a ShapeError unless a weight of this shape has one to three spatial axes."""
    rank = len(weights) - 2
    if not 1 <= rank <= AXES:
        raise ShapeError(f"{{weight_is}}: expected 3, 4 or 5 dimensions ({channels}, *kernel)", rank, weight=weights)


def check_shapes(inputs: tuple[int, ...], weights: tuple[int, ...], rank: int, channels: str) -> None:
    """Raise a ShapeError unless an input and a weight have the dimensions of a convolution of this rank."""
    check_weight(weights, channels)
    if len(inputs) not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{{input_is}}: {{weight}} takes {rank + 2} dimensions ({{axes}}), or {rank + 1} without the batch",
            rank,
            input=inputs,
            weight=weights,
        )
    if 0 in inputs[-rank - 1 :]:
        raise ShapeError("{input_is}: only the batch may be of size zero", rank, input=inputs)
    if 0 in weights:
        raise ShapeError("{weight_is}: no dimension may be of size zero", rank, weight=weights)


def channels_differ(
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    rank: int,
    takes: str,
    fits: Callable[[int, int, int], bool],
    groups: int = 0,
) -> ShapeError:
    """Return the error for an input whose channels are not those that a weight `takes`.

    ``fits(channels, rows, columns)`` tells whether a map of so many channels fits a weight of such a shape, by which
    the hint looks for another layout or another order of the weight's axes.
    """
    return ShapeError(
        f"{{input}} has {counted(inputs[-rank - 1], 'channel')}, but {{weight}} {takes}",
        rank,
        lambda labels: channels_hint(labels, inputs, weights, rank, fits, groups),
        input=inputs,
        weight=weights,
    )


def another_output(
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    rank: int,
    groups: int,
    output: tuple[int, ...],
    made: tuple[int, ...],
) -> ShapeError:
    """Return the error for an output whose batch or channels are not those that a call makes."""
    if output[: -rank - 1] != made[:-1]:
        wrong = f"its batch is {output[0]}, but that of {{input}} is {made[0]}"
    else:
        wrong = f"it has {counted(output[-rank - 1], 'channel')}, but {{weight}} with groups={groups} makes {made[-1]}"

    def hint(labels: Labels) -> str:
        channels, place = (output[-rank], "last") if labels.data_format == "channels_last" else (output[-1], "first")
        if not labels.data_format or channels != made[-1]:
            return ""
        return f"; with data_format={labels.data_format!r} the channels are {place}"

    return ShapeError(f"{{output_is}}: {wrong}", rank, hint, input=inputs, weight=weights, output=output)


def options_of(axes: Sequence[Axis]) -> str:
    """Return the options that axes have, as callers would write them."""
    stride, dilation = (tuple(getattr(axis, name) for axis in axes) for name in ("stride", "dilation"))
    pads = tuple((axis.pad_lo, axis.pad_hi) for axis in axes)
    return f"stride={stride}, padding={pads}, dilation={dilation}"
