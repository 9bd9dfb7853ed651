"""Geometry: what a convolution's shapes and options come to. Sizes, pads and residue classes; no arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, gcd
from typing import Any, NamedTuple

from .options import Padding, per_axis, per_axis_padding, whole_number

AXES = 3


class AxisClass(NamedTuple):
    """The outputs of one axis that share their taps: ``first, first + stride, ...``.

    Position ``q`` of the class is output ``first + q * stride``. Its tap ``t`` is filter element
    ``first_tap + t * tap_step`` and meets input ``start + q - t * input_step``, which counts if it is on the input.
    """

    residue: int
    first: int
    positions: int
    first_tap: int
    taps: int
    start: int


@dataclass(frozen=True)
class Axis:
    """One spatial axis: output ``o`` takes input ``i`` by tap ``k`` where ``o = i*stride + k*dilation - pad_lo``."""

    in_size: int = 1
    out_size: int = 1
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pad_lo: int = 0
    pad_hi: int = 0

    @property
    def common(self) -> int:
        """Greatest common divisor of stride and dilation: residues that it does not divide have no taps."""
        return gcd(self.stride, self.dilation)

    @property
    def tap_step(self) -> int:
        """Distance in the filter from one tap of a class to the next."""
        return self.stride // self.common

    @property
    def input_step(self) -> int:
        """Distance on the input, downwards, from one tap of a class to the next."""
        return self.dilation // self.common

    @property
    def inverse(self) -> int:
        """Inverse of `input_step` modulo `tap_step`; 0 where every tap belongs to one class."""
        return pow(self.input_step, -1, self.tap_step) if self.tap_step > 1 else 0

    @property
    def zero_inserted_size(self) -> int:
        """Extent of the zero-inserted, padded map that an ordinary convolution would need."""
        return self.out_size + self.dilation * (self.kernel - 1)

    @property
    def classes(self) -> tuple[AxisClass, ...]:
        """The classes that have outputs, by residue."""
        return _axis_classes(self)

    def meetings(self, tap: int) -> tuple[range, range]:
        """Return the inputs whose product with `tap` lands on an output, and those outputs."""
        return self._landings(tap * self.dilation - self.pad_lo, self.out_size)

    def standings(self) -> tuple[range, range]:
        """Return the inputs that the padding leaves on the zero-inserted map, and where they stand on it."""
        return self._landings((self.kernel - 1) * self.dilation - self.pad_lo, self.zero_inserted_size)

    def _landings(self, shift: int, extent: int) -> tuple[range, range]:
        """Return the inputs ``i`` with ``0 <= i*stride + shift < extent``, and those places."""
        first = max(0, -(shift // self.stride))
        end = max(first, min(self.in_size, (extent - 1 - shift) // self.stride + 1))
        return range(first, end), range(first * self.stride + shift, end * self.stride + shift, self.stride)


@lru_cache(maxsize=4096)
def _axis_classes(axis: Axis) -> tuple[AxisClass, ...]:
    classes = []
    for residue in range(axis.stride):
        first = (residue - axis.pad_lo) % axis.stride
        if first >= axis.out_size:
            continue
        positions = ceil((axis.out_size - first) / axis.stride)
        first_tap = residue // axis.common * axis.inverse % axis.tap_step
        taps = 0 if residue % axis.common else max(0, -((first_tap - axis.kernel) // axis.tap_step))
        start = (first + axis.pad_lo - first_tap * axis.dilation) // axis.stride if taps else 0
        classes.append(AxisClass(residue, first, positions, first_tap, taps, start))
    return tuple(classes)


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
        inputs, weights = tuple(map(int, input_shape)), tuple(map(int, weight_shape))
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
    try:
        values = tuple(output_size)
    except TypeError:
        return per_axis("output_size", output_size, rank, 1)
    if len(values) == input_dimensions:
        values = values[-rank:]
    if len(values) != rank:
        raise ValueError(
            f"output_size={output_size!r}: expected {rank} spatial sizes or a shape of {input_dimensions} dimensions"
        )
    return per_axis("output_size", values, rank, 1)


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
