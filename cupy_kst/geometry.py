"""Geometry: what a convolution's shapes and options come to. Sizes, pads and residue classes; no arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from .axis import Axis, AxisClass
from .options import Padding, per_axis, per_axis_padding, shape, whole_number

AXES = 3


@dataclass(frozen=True)
class Geometry:
    """The shapes of one transposed convolution, all options settled.

    Ranks 1 and 2 have unit axes in front, so that engines see three axes always.

    Attributes
    ----------
    rank : int
        Number of spatial axes that the caller has: 1, 2 or 3.
    batch : int or None
        Number of samples; None for an unbatched input.
    in_channels, out_channels, groups : int
        Channels of input and output, and the groups that both are divided into.
    axes : tuple of Axis
        Depth, height and width.
    """

    rank: int
    batch: int | None
    in_channels: int
    out_channels: int
    groups: int
    axes: tuple[Axis, Axis, Axis]

    @classmethod
    def conv_transpose(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Any = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        *,
        output_size: int | Sequence[int] | None = None,
    ) -> Geometry:
        """Settle the shapes and options of a transposed convolution.

        Parameters
        ----------
        input_shape : sequence of int
            ``(batch, in_channels, *spatial)``, or ``(in_channels, *spatial)`` without a batch.
        weight_shape : sequence of int
            ``(in_channels, out_channels // groups, *kernel)``; its length gives the rank.
        stride, dilation, output_padding : int or sequence of int
            For all axes, or one per axis.
        padding : int, sequence or str
            An int, one int per axis, one ``(lo, hi)`` per axis, ``"valid"``, ``"same"`` or ``"same_lower"``.
        groups : int
            Number of groups; divides `in_channels`.
        output_size : int or sequence of int, optional
            Spatial size of the output, or its whole shape; settles `output_padding`.

        Raises
        ------
        TypeError, ValueError
            If an option or a shape breaks a rule; the message names it.
        """
        inputs, weights = shape("input_shape", input_shape), shape("weight_shape", weight_shape)
        rank = len(weights) - 2
        _check_shapes(inputs, weights, rank)
        return _conv_transpose(
            inputs,
            weights,
            per_axis("stride", stride, rank, 1),
            per_axis_padding(padding, rank),
            per_axis("output_padding", output_padding, rank, 0),
            whole_number("groups", groups, 1),
            per_axis("dilation", dilation, rank, 1),
            None if output_size is None else _spatial_size(output_size, rank, len(inputs)),
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input, as the caller has it."""
        return self._caller_shape(self.in_channels, tuple(axis.in_size for axis in self.axes))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output, as the caller has it."""
        return self._caller_shape(self.out_channels, tuple(axis.out_size for axis in self.axes))

    @property
    def samples(self) -> int:
        """Number of samples, 1 for an unbatched input."""
        return 1 if self.batch is None else self.batch

    @property
    def full_input_shape(self) -> tuple[int, ...]:
        """Shape ``(samples, in_channels, depth, height, width)``."""
        return (self.samples, self.in_channels, *(axis.in_size for axis in self.axes))

    @property
    def full_output_shape(self) -> tuple[int, ...]:
        """Shape ``(samples, out_channels, depth, height, width)``."""
        return (self.samples, self.out_channels, *(axis.out_size for axis in self.axes))

    @property
    def full_weight_shape(self) -> tuple[int, ...]:
        """Shape ``(in_channels, out_channels // groups, depth, height, width)``."""
        return (self.in_channels, self.out_channels // self.groups, *(axis.kernel for axis in self.axes))

    @property
    def zero_inserted_shape(self) -> tuple[int, ...]:
        """Shape of the zero-inserted, padded input, three axes."""
        return (self.samples, self.in_channels, *(axis.zero_inserted_size for axis in self.axes))

    @property
    def split_weight_shape(self) -> tuple[int, ...]:
        """Shape of the sub-filters of split deconvolution, those of an output channel side by side, three axes."""
        channels = self.out_channels // self.groups * prod(axis.stride for axis in self.axes)
        return (self.in_channels, channels, *(axis.sub_taps for axis in self.axes))

    @property
    def split_output_shape(self) -> tuple[int, ...]:
        """Shape of what these sub-filters make of the input, before it is interleaved, three axes."""
        channels = self.out_channels * prod(axis.stride for axis in self.axes)
        return (self.samples, channels, *(len(axis.sub_positions) for axis in self.axes))

    @property
    def classes(self) -> tuple[tuple[AxisClass, AxisClass, AxisClass], ...]:
        """The residue classes that have outputs: the product of the axes' classes."""
        depth, height, width = (axis.classes for axis in self.axes)
        return tuple(product(depth, height, width))

    def _caller_shape(self, channels: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
        shape = (channels, *spatial[AXES - self.rank :])
        return shape if self.batch is None else (self.batch, *shape)


def _check_shapes(inputs: tuple[int, ...], weights: tuple[int, ...], rank: int) -> None:
    if not 1 <= rank <= AXES:
        raise ValueError(
            f"weight has shape {weights}: expected 3, 4 or 5 dimensions (in_channels, out_channels // groups, *kernel)"
        )
    if len(inputs) not in (rank + 1, rank + 2):
        raise ValueError(
            f"input has shape {inputs}: a weight of shape {weights} takes {rank + 2} dimensions (batch, in_channels, "
            f"*spatial), or {rank + 1} without the batch"
        )
    if 0 in inputs[-rank - 1 :]:
        raise ValueError(f"input has shape {inputs}: only the batch may be of size zero")
    if 0 in weights:
        raise ValueError(f"weight has shape {weights}: no dimension may be of size zero")


def _spatial_size(output_size: Any, rank: int, input_dimensions: int) -> tuple[int, ...]:
    largest = 2**62
    if isinstance(output_size, int):
        return per_axis("output_size", output_size, rank, 1, largest)
    values = shape("output_size", output_size)
    if len(values) not in (rank, input_dimensions):
        raise ValueError(
            f"output_size={output_size!r}: expected {rank} spatial sizes or a shape of {input_dimensions} dimensions"
        )
    return per_axis("output_size", values[-rank:], rank, 1, largest)


@lru_cache(maxsize=4096)
def _conv_transpose(
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    output_padding: tuple[int, ...],
    groups: int,
    dilation: tuple[int, ...],
    output_size: tuple[int, ...] | None,
) -> Geometry:
    rank = len(stride)
    channels, sizes, kernel = inputs[-rank - 1], inputs[-rank:], weights[2:]
    if channels != weights[0]:
        raise ValueError(
            f"input of shape {inputs} has {channels} channels, but weight of shape {weights} takes {weights[0]}"
        )
    if channels % groups:
        raise ValueError(f"groups={groups} does not divide the {channels} channels of input of shape {inputs}")
    for extra, step, spread in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(step, spread):
            raise ValueError(
                f"output_padding={output_padding}: must be smaller than stride or dilation on each axis, "
                f"which are {stride} and {dilation}"
            )
    # The full extent that input and filter span, before padding is taken off.
    spans = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(sizes, stride, dilation, kernel, strict=True)]
    pads, extras = _settle(spans, sizes, stride, padding, output_padding, output_size)
    axes = []
    for n, span, k, s, d, (lo, hi), extra in zip(sizes, spans, kernel, stride, dilation, pads, extras, strict=True):
        axes.append(Axis(n, span - lo - hi + extra, k, s, d, lo, hi))
    if any(axis.out_size < 1 for axis in axes):
        raise ValueError(
            f"the output would have spatial size {tuple(axis.out_size for axis in axes)}: input of shape {inputs} and "
            f"weight of shape {weights} with stride={stride}, padding={pads}, output_padding={tuple(extras)}, "
            f"dilation={dilation} leave nothing"
        )
    depth, height, width = [Axis()] * (AXES - rank) + axes
    batch = inputs[0] if len(inputs) == rank + 2 else None
    return Geometry(rank, batch, channels, weights[1] * groups, groups, (depth, height, width))


def _settle(
    spans: list[int],
    sizes: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    output_padding: tuple[int, ...],
    output_size: tuple[int, ...] | None,
) -> tuple[list[tuple[int, int]], list[int]]:
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
    for wished, least, step in zip(output_size, smallest, stride, strict=True):
        if not least <= wished < least + step:
            largest = tuple(least + step - 1 for least, step in zip(smallest, stride, strict=True))
            raise ValueError(f"output_size={output_size}: possible are {tuple(smallest)} to {largest}")
    return pads, [wished - least for wished, least in zip(output_size, smallest, strict=True)]


def _same(
    spans: list[int], sizes: tuple[int, ...], stride: tuple[int, ...], padding: str
) -> tuple[list[tuple[int, int]], list[int]]:
    pads, extras = [], []
    for span, size, step in zip(spans, sizes, stride, strict=True):
        excess = span - size * step
        small = max(excess, 0) // 2
        pair = (small, max(excess, 0) - small)
        pads.append(pair if padding == "same" else pair[::-1])
        extras.append(max(-excess, 0))
    return pads, extras
