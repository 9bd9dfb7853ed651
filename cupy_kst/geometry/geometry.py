"""The record of a convolution's shapes and options: sizes, pads and residue classes, without arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import Any

from ..hints.channels import other_layout
from ..hints.sizes import Sizing, conv_options
from ..labels import Labels, ShapeError, shape_in_format
from .axis import AXES, Axis, AxisClass
from .options import Padding, counted, is_sequence, per_axis, per_axis_padding, shape, spatial_size, whole_number
from .refusals import another_output, channels_differ, check_shapes, options_of, too_many
from .sizes import conv_axes, conv_transpose_axes


@dataclass(frozen=True)
class Geometry:
    """The shapes of one convolution or transposed convolution, all options resolved.

    Both join a small and a large map by a weight of shape ``(small_channels, large_channels // groups, *kernel)``: a
    transposed convolution makes the large map of the small one, a convolution the small one of the large one, and each
    is the gradient of the other. Ranks 1 and 2 have unit axes in front, so that engines see three axes always.

    Attributes
    ----------
    transposed : bool
        Whether the large map is the output.
    rank : int
        Number of spatial axes that the caller has: 1, 2 or 3.
    batch : int or None
        Number of samples; None for an unbatched input.
    small_channels, large_channels, groups : int
        Channels of the two maps, and the groups that both are divided into.
    axes : tuple of Axis
        Depth, height and width.
    """

    transposed: bool
    rank: int
    batch: int | None
    small_channels: int
    large_channels: int
    groups: int
    axes: tuple[Axis, Axis, Axis]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Return the hash, kept because every call looks its geometry up in several caches.

        None counts as -1, so that a pickled hash is right in another process.
        """
        return hash(tuple(-1 if (value := getattr(self, field.name)) is None else value for field in fields(self)))

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
            Spatial size of the output, or its whole shape, whose batch and channels are those that the call makes;
            decides `output_padding`.

        Raises
        ------
        TypeError, ValueError
            If an option or a shape breaks a rule; the message names it.
        """
        return _resolve(input_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size)

    @classmethod
    def conv(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Any = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Geometry:
        """Settle the shapes and options of a convolution.

        Parameters
        ----------
        input_shape : sequence of int
            ``(batch, in_channels, *spatial)``, or ``(in_channels, *spatial)`` without a batch.
        weight_shape : sequence of int
            ``(out_channels, in_channels // groups, *kernel)``; its length gives the rank.
        stride, dilation : int or sequence of int
            For all axes, or one per axis.
        padding : int, sequence or str
            An int, one int per axis, one ``(lo, hi)`` per axis, ``"valid"``, ``"same"`` (``out = ceil(in / stride)``,
            the larger half at the end) or ``"same_lower"`` (at the start).
        groups : int
            Number of groups; divides `in_channels` and `out_channels`.

        Raises
        ------
        TypeError, ValueError
            If an option or a shape breaks a rule; the message names it.
        """
        return _resolve_conv(input_shape, weight_shape, stride, padding, dilation, groups)

    @classmethod
    def conv_transpose_to(
        cls,
        input_shape: Sequence[int],
        weight_shape: Sequence[int],
        output_shape: Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Any = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Geometry:
        """Settle a transposed convolution whose output is given, as its gradient's sizes are: any output padding.

        Parameters are those of `conv_transpose`; `output_shape` is ``(batch, out_channels, *spatial)``, or without the
        batch.

        Raises
        ------
        TypeError, ValueError
            If no output padding explains the output's shape, or an option or a shape breaks a rule.
        """
        try:
            return _resolve_to(input_shape, weight_shape, output_shape, stride, padding, dilation, groups)
        except ShapeError as error:
            error.args = (error.told(Labels(output="output_shape")),)
            raise

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.small_channels if self.transposed else self.large_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.large_channels if self.transposed else self.small_channels

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input, as the caller has it."""
        return self.small_shape if self.transposed else self.large_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output, as the caller has it."""
        return self.large_shape if self.transposed else self.small_shape

    @property
    def small_shape(self) -> tuple[int, ...]:
        """Shape of the small map, as the caller has it."""
        return self._caller_shape(self.small_channels, tuple(axis.small for axis in self.axes))

    @property
    def large_shape(self) -> tuple[int, ...]:
        """Shape of the large map, as the caller has it."""
        return self._caller_shape(self.large_channels, tuple(axis.large for axis in self.axes))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight, as the caller has it."""
        return (*self.full_weight_shape[:2], *self.full_weight_shape[2 + AXES - self.rank :])

    @property
    def samples(self) -> int:
        """Number of samples, 1 for an unbatched input."""
        return 1 if self.batch is None else self.batch

    @property
    def full_small_shape(self) -> tuple[int, ...]:
        """Shape ``(samples, small_channels, depth, height, width)``."""
        return (self.samples, self.small_channels, *(axis.small for axis in self.axes))

    @property
    def full_large_shape(self) -> tuple[int, ...]:
        """Shape ``(samples, large_channels, depth, height, width)``."""
        return (self.samples, self.large_channels, *(axis.large for axis in self.axes))

    @property
    def full_weight_shape(self) -> tuple[int, ...]:
        """Shape ``(small_channels, large_channels // groups, depth, height, width)``."""
        return (self.small_channels, self.large_channels // self.groups, *(axis.kernel for axis in self.axes))

    @property
    def zero_inserted_shape(self) -> tuple[int, ...]:
        """Shape of the zero-inserted, padded input, three axes."""
        return (self.samples, self.small_channels, *(axis.zero_inserted_size for axis in self.axes))

    @property
    def split_weight_shape(self) -> tuple[int, ...]:
        """Shape of the sub-filters of split deconvolution, those of an output channel side by side, three axes."""
        channels = self.large_channels // self.groups * prod(axis.stride for axis in self.axes)
        return (self.small_channels, channels, *(axis.sub_taps for axis in self.axes))

    @property
    def split_output_shape(self) -> tuple[int, ...]:
        """Shape of what these sub-filters make of the input, before it is interleaved, three axes."""
        channels = self.large_channels * prod(axis.stride for axis in self.axes)
        return (self.samples, channels, *(len(axis.sub_positions) for axis in self.axes))

    @property
    def met_taps(self) -> int:
        """Pairs of an element of the small map and a tap that meet the large one: per sample and pair of channels."""
        return prod(axis.met_taps for axis in self.axes)

    @property
    def class_taps(self) -> int:
        """Pairs of an element of the large map and a tap of its residue class, whether on the small map or not."""
        return prod(axis.class_taps for axis in self.axes)

    @property
    def window_taps(self) -> int:
        """Pairs of an element of the small map and a tap, whether on the large map or not."""
        return prod(axis.small * axis.kernel for axis in self.axes)

    @property
    def class_count(self) -> int:
        """Number of the residue classes that have outputs."""
        return prod(axis.class_count for axis in self.axes)

    @property
    def reaches_all_outputs(self) -> bool:
        """Whether every residue class that has outputs has taps."""
        return all(axis.classes_with_taps == axis.class_count for axis in self.axes)

    @property
    def classes(self) -> tuple[tuple[AxisClass, AxisClass, AxisClass], ...]:
        """The residue classes that have outputs: the product of the axes' classes."""
        depth, height, width = (axis.classes for axis in self.axes)
        return tuple(product(depth, height, width))

    def _caller_shape(self, channels: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
        shape = (channels, *spatial[AXES - self.rank :])
        return shape if self.batch is None else (self.batch, *shape)


def check_output(geometry: Geometry, outputs: tuple[int, ...]) -> Geometry:
    """Return a geometry whose output has this shape, or raise a ShapeError."""
    made, rank = geometry.output_shape, geometry.rank
    if made == outputs:
        return geometry
    axes = geometry.axes[-rank:]

    def hint(labels: Labels) -> str:
        found, wanted = (shape_in_format(each, rank, labels.data_format) for each in (outputs, made))
        layout = other_layout(found, wanted, rank, labels.data_format)
        if layout or geometry.transposed or len(made) != len(outputs) or made[:-rank] != outputs[:-rank]:
            return layout
        asked = conv_options(
            [
                Sizing(axis.large, axis.dilation * (axis.kernel - 1) + 1, wish, axis.stride, (axis.pad_lo, axis.pad_hi))
                for axis, wish in zip(axes, outputs[-rank:], strict=True)
            ]
        )
        return asked or labels.forward

    raise ShapeError(
        f"{{output_is}}: {{input}} and {{weight}} give shape {{made_shape}} with {options_of(axes)}",
        rank,
        hint,
        input=geometry.input_shape,
        weight=geometry.weight_shape,
        output=outputs,
        made=made,
    )


def _is_plain(value: Any) -> bool:
    """Return whether a value is made of ints and tuples alone, so that what compares equal means the same."""
    kind = type(value)
    return kind is int or value is None or (kind is tuple and all(map(_is_plain, value)))


def _keep(make: Callable[..., Geometry]) -> Callable[..., Geometry]:
    """Return `make` with a memory: networks call with few shapes again and again."""
    kept = lru_cache(maxsize=1024)(make)

    def kept_or_made(*given: Any) -> Geometry:
        return kept(*given) if _is_plain(given) else make(*given)

    return kept_or_made


@_keep
def _resolve(
    input_shape: Any,
    weight_shape: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    output_size: Any,
) -> Geometry:
    """Return the geometry of a transposed convolution."""
    inputs, weights = shape("input_shape", input_shape), shape("weight_shape", weight_shape)
    rank = len(weights) - 2
    check_shapes(inputs, weights, rank, "in_channels, out_channels // groups")
    return _conv_transpose(
        inputs,
        weights,
        per_axis("stride", stride, rank, 1),
        per_axis_padding(padding, rank),
        per_axis("output_padding", output_padding, rank, 0),
        whole_number("groups", groups, 1),
        per_axis("dilation", dilation, rank, 1),
        None if output_size is None else _output_size(output_size, rank, inputs, weights),
    )


@_keep
def _resolve_conv(
    input_shape: Any, weight_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Geometry:
    """Return the geometry of a convolution."""
    inputs, weights = shape("input_shape", input_shape), shape("weight_shape", weight_shape)
    rank = len(weights) - 2
    check_shapes(inputs, weights, rank, "out_channels, in_channels // groups")
    return _conv(
        inputs,
        weights,
        per_axis("stride", stride, rank, 1),
        per_axis_padding(padding, rank),
        per_axis("dilation", dilation, rank, 1),
        whole_number("groups", groups, 1),
    )


@_keep
def _resolve_to(
    input_shape: Any, weight_shape: Any, output_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Geometry:
    """Return the geometry of a transposed convolution whose output is given."""
    inputs, weights = shape("input_shape", input_shape), shape("weight_shape", weight_shape)
    outputs = shape("output_shape", output_shape)
    rank = len(weights) - 2
    check_shapes(inputs, weights, rank, "in_channels, out_channels // groups")
    if len(outputs) != len(inputs):
        raise ShapeError("{output_is}: expected as many dimensions as {input} has", rank, input=inputs, output=outputs)
    pads = per_axis_padding(padding, rank)
    named = isinstance(pads, str) and pads != "valid"
    geometry = _conv_transpose(
        inputs,
        weights,
        per_axis("stride", stride, rank, 1),
        pads,
        (0,) * rank,
        whole_number("groups", groups, 1),
        per_axis("dilation", dilation, rank, 1),
        None if named else outputs,
        any_extra=True,
    )
    return check_output(geometry, outputs)


def _output_size(output_size: Any, rank: int, inputs: tuple[int, ...], weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return a wished spatial size or whole shape."""
    if not is_sequence(output_size):
        return spatial_size(output_size, rank)
    values = shape("output_size", output_size)
    if len(values) not in (rank, len(inputs)):
        # Only such as may be whole shapes are in another order than the caller's.
        given = "{output}" if len(values) in (rank + 1, rank + 2) else f"output_size={output_size!r}"
        raise ShapeError(
            f"{given}: expected {counted(rank, 'spatial size')} or a shape of {len(inputs)} dimensions, as "
            "{input} has",
            rank,
            input=inputs,
            output=values,
        )
    if min(values[-rank:]) < 1:
        raise ShapeError("{output}: each spatial size must be at least 1", rank, output=values)
    return values


@lru_cache(maxsize=4096)
def _conv_transpose(
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    output_padding: tuple[int, ...],
    groups: int,
    dilation: tuple[int, ...],
    output: tuple[int, ...] | None,
    any_extra: bool = False,
) -> Geometry:
    rank = len(stride)
    channels = inputs[-rank - 1]
    if channels != weights[0]:
        raise channels_differ(
            inputs, weights, rank, f"takes {weights[0]}", lambda of_map, rows, _: of_map == rows and not of_map % groups
        )
    if channels % groups:
        raise ShapeError(
            f"groups={groups} does not divide the {counted(channels, 'channel')} of {{input}}", rank, input=inputs
        )
    for extra, step, spread in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(step, spread):
            raise ValueError(
                f"output_padding={output_padding}: must be smaller than stride or dilation on each axis, "
                f"which are {stride} and {dilation}"
            )
    made = (*inputs[: -rank - 1], weights[1] * groups)
    if output is not None and len(output) > rank and output[:-rank] != made:
        raise another_output(inputs, weights, rank, groups, output, made)
    axes = conv_transpose_axes(inputs, weights, stride, padding, output_padding, dilation, output, any_extra)
    return _possible(Geometry(True, rank, _batch(inputs, rank), channels, made[-1], groups, _three(axes)))


@lru_cache(maxsize=4096)
def _conv(
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    groups: int,
) -> Geometry:
    rank = len(stride)
    channels = inputs[-rank - 1]
    if channels != weights[1] * groups:
        raise channels_differ(
            inputs,
            weights,
            rank,
            f"with groups={groups} takes {weights[1] * groups}",
            lambda of_map, rows, columns: of_map == columns * groups and not rows % groups,
            groups,
        )
    if weights[0] % groups:
        raise ShapeError(
            f"groups={groups} does not divide the {counted(weights[0], 'output channel')} of {{weight}}",
            rank,
            weight=weights,
        )
    axes = conv_axes(inputs, weights, stride, padding, dilation)
    return _possible(Geometry(False, rank, _batch(inputs, rank), weights[0], channels, groups, _three(axes)))


def _possible(geometry: Geometry) -> Geometry:
    """Return a geometry whose maps can exist, or raise a ShapeError."""
    inputs, weights, made = geometry.input_shape, geometry.weight_shape, geometry.output_shape
    if why := too_many(inputs):
        raise ShapeError(f"{{input_is}}: {why}", geometry.rank, input=inputs)
    if why := too_many(weights):
        raise ShapeError(f"{{weight_is}}: {why}", geometry.rank, weight=weights)
    if why := too_many(made):
        options = options_of(geometry.axes[-geometry.rank :])
        raise ShapeError(
            f"{{makes}}, {why}: {{input}} and {{weight}} with {options}",
            geometry.rank,
            input=inputs,
            weight=weights,
            made=made,
        )
    return geometry


def _batch(inputs: tuple[int, ...], rank: int) -> int | None:
    return inputs[0] if len(inputs) == rank + 2 else None


def _three(axes: tuple[Axis, ...]) -> tuple[Axis, Axis, Axis]:
    depth, height, width = (Axis(),) * (AXES - len(axes)) + axes
    return depth, height, width
