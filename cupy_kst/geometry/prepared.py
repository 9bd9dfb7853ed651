"""The shapes of a prepared weight's calls: their geometry, and the smallest input that they take.

`cupy_kst.prepared` is what users call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..labels import Labels, ShapeError, resolve, shape_in_format
from .geometry import Geometry
from .options import counted, is_sequence, per_axis, per_axis_padding, size_in_front, spatial_size, whole_number
from .refusals import check_weight

Sizes = tuple[int, ...]
# What errors call an input that no caller passed.
SMALLEST = "the smallest input"


@dataclass(frozen=True)
class PreparedGeometry:
    """Resolves the geometry of calls that read one map, called ``x``, and have all else prepared.

    Attributes
    ----------
    op : str
        ``"conv_transpose"``, ``"conv"``, ``"conv_input"`` or ``"conv_transpose_input"``.
    weight_shape : tuple of int
        Shape of the weight.
    options : mapping of str to Any
        ``stride``, ``padding``, ``output_padding``, ``output_size``, ``groups`` and ``dilation``, as callers give them.
    data_format : str
        Layout of ``x``, of the result and of a whole shape as ``output_size``.
    """

    op: str
    weight_shape: Sizes
    options: Mapping[str, Any]
    data_format: str

    def of(self, input_shape: Sizes, name: str = "x") -> Geometry:
        """Return the geometry for an ``x`` of this shape, or raise an error that names the rule and calls it `name`."""
        make = {"conv": self._conv, "conv_transpose_input": self._conv_of_gradient}.get(self.op, self._conv_transpose)
        return resolve(make, self._labels._replace(input=name), self._rank, input_shape)

    def smallest_input(self) -> Sizes:
        """Return the shape of the smallest ``x``, or raise what every call would raise."""
        try:
            check_weight(self.weight_shape, "in_channels, out_channels // groups")
        except ShapeError as error:
            raise ValueError(error.told(self._labels)) from None
        rank, kernel = self._rank, self.weight_shape[2:]
        dilation = per_axis("dilation", self.options["dilation"], rank, 1)
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        # Where a rule makes the pads, any size will do.
        padding = per_axis_padding(self.options["padding"], rank)
        rests = [1] * rank if isinstance(padding, str) and padding != "valid" else spans
        if not isinstance(padding, str):
            rests = [span - lo - hi for span, (lo, hi) in zip(spans, padding, strict=True)]
        if self.op == "conv":
            return self._smallest_large(rests)
        small = self._smallest_small(rests)
        if self.op != "conv_transpose_input":
            return shape_in_format(small, rank, self.data_format)
        large = resolve(
            self._conv_transpose, self._labels._replace(input=SMALLEST, data_format="channels_first"), rank, small
        )
        return shape_in_format(large.output_shape, rank, self.data_format)

    @property
    def _rank(self) -> int:
        return len(self.weight_shape) - 2

    @property
    def _labels(self) -> Labels:
        return Labels("x", "weight", "output_size", self.data_format)

    def _smallest_large(self, rests: list[int]) -> Sizes:
        """Return the smallest input of a convolution; `rests` has how much more the filter spans than the pads."""
        if np.any(self.options["output_padding"]):
            raise ValueError("op='conv': a convolution takes no output_padding")
        if self.options["output_size"] is not None:
            raise ValueError("op='conv': a convolution takes no output_size")
        channels = self.weight_shape[1] * whole_number("groups", self.options["groups"], 1)
        return shape_in_format((channels, *(max(1, rest) for rest in rests)), self._rank, self.data_format)

    def _smallest_small(self, rests: list[int]) -> Sizes:
        """Return the smallest input of a transposed convolution that has an output, or that of the wished size."""
        rank = self._rank
        strides = per_axis("stride", self.options["stride"], rank, 1)
        extras = per_axis("output_padding", self.options["output_padding"], rank, 0)
        wished = self._output_size
        if wished is None:
            sizes = [
                max(1, -((rest + extra - 1) // s) + 1) for rest, extra, s in zip(rests, extras, strides, strict=True)
            ]
            return (self.weight_shape[0], *sizes)
        whole = wished if is_sequence(wished) else ()
        if whole and len(whole) not in (rank, rank + 1, rank + 2):
            raise ValueError(
                f"output_size={self.options['output_size']!r}: expected {counted(rank, 'spatial size')}, or a shape of "
                f"{rank + 2} dimensions, or of {rank + 1} without the batch"
            )
        spatial = spatial_size(whole[-rank:] or wished, rank)
        if any(size < rest for size, rest in zip(spatial, rests, strict=True)):
            wish = self.options["output_size"]
            raise ValueError(f"output_size={wish!r}: the smallest output, that of one input, has size {tuple(rests)}")
        # The largest input that gives no more; whether it gives as much the geometry tells.
        sizes = [(size - rest) // s + 1 for size, rest, s in zip(spatial, rests, strides, strict=True)]
        batch = tuple(whole[:1]) if len(whole) == rank + 2 else ()
        return (*batch, self.weight_shape[0], *sizes)

    @property
    def _output_size(self) -> Any:
        return size_in_front(self.options["output_size"], self._rank, self.data_format)

    def _conv_transpose(self, shape: Sizes) -> Geometry:
        options = {**self.options, "output_size": self._output_size}
        return Geometry.conv_transpose(shape, self.weight_shape, **options)

    def _conv(self, shape: Sizes) -> Geometry:
        options = {name: self.options[name] for name in ("stride", "padding", "dilation", "groups")}
        return Geometry.conv(shape, self.weight_shape, **options)

    def _conv_of_gradient(self, shape: Sizes) -> Geometry:
        """Return the geometry of the gradient of a transposed convolution's input, for that of its output."""
        geometry, rank = self._conv(shape), self._rank
        wished = self._output_size
        if wished is not None:
            sizes = tuple(wished) if is_sequence(wished) else (wished,) * rank
            if sizes != (shape[-rank:] if len(sizes) == rank else shape):
                raise ShapeError("{input_is}, but was prepared for {output}", rank, input=shape, output=sizes)
            return geometry
        extras = per_axis("output_padding", self.options["output_padding"], rank, 0)
        if not any(extras) or self.options["padding"] in ("same", "same_lower"):
            return geometry
        # Without the rows that output padding added, the sizes say what the forward call's input was.
        sizes = tuple(
            (axis.large - extra + axis.pad_lo + axis.pad_hi - axis.dilation * (axis.kernel - 1) - 1) // axis.stride + 1
            for axis, extra in zip(geometry.axes[-rank:], extras, strict=True)
        )
        small = (*shape[: -rank - 1], self.weight_shape[0], *sizes)
        options = {name: self.options[name] for name in ("stride", "padding", "dilation", "groups")}
        if min(sizes) >= 1:
            try:
                forward = Geometry.conv_transpose_to(small, self.weight_shape, shape, **options)
            except ShapeError:
                pass
            else:
                return replace(forward, transposed=False)
        raise ShapeError(
            f"{{input_is}}: no input gives an output of this size with output_padding={extras}", rank, input=shape
        )
