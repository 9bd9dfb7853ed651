"""Strategies for the shapes and options of valid calls, by construction, without filtering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

import ml_dtypes
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..cpu import reference
from ..dtypes import supported
from ..methods import Op

PaddingForm = Literal["pairs", "symmetric", "none"]


@dataclass(frozen=True)
class Case:
    """Shapes and options of one valid call; what they mean is in `cupy_kst.conv_transpose2d` and `cupy_kst.conv2d`.

    Shapes are those of the convolution or transposed convolution, also where the operation is one of its gradients.

    Attributes
    ----------
    op : str
        The operation.
    input_shape, weight_shape : tuple of int
        Shapes of the arrays; the input of an unbatched call has one dimension less than the weight.
    bias : bool
        Whether there is a bias; gradients have none.
    dtype : str
        Element type of all arrays.
    stride, output_padding, dilation : tuple of int
        One per spatial axis. Of convolutions the output padding is zero; gradients are not told of it.
    padding : tuple
        One int per spatial axis where both ends have equal pads on each axis, else one ``(lo, hi)`` per axis.
    groups : int
        Number of groups.
    output_sizes : tuple of int
        Spatial size of the output.
    """

    op: Op
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    bias: bool
    dtype: str
    stride: tuple[int, ...]
    padding: tuple[int, ...] | tuple[tuple[int, int], ...]
    output_padding: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    output_sizes: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.weight_shape) - 2

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias, whether there is one or not."""
        return (self.out_channels,)

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution, or a gradient of one."""
        return self.op.startswith("conv_transpose")

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.weight_shape[1] * self.groups if self.transposed else self.weight_shape[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output, and of its gradient."""
        return (*self.input_shape[: -self.rank - 1], self.out_channels, *self.output_sizes)

    @property
    def terms(self) -> int:
        """Products that one element of the result may sum at most."""
        if self.op.endswith("_weight"):
            samples = prod(self.input_shape[: -self.rank - 1])
            return max(1, samples * prod(self.input_shape[-self.rank :] if self.transposed else self.output_sizes))
        by_rows = self.op in ("conv_transpose", "conv_input")
        channels = self.weight_shape[0] // self.groups if by_rows else self.weight_shape[1]
        return channels * prod(self.weight_shape[2:])

    @property
    def options(self) -> dict[str, Any]:
        """The options by name, in the order in which the operation takes them."""
        return {name: getattr(self, name) for name in OPERATIONS[self.op].options}


def cases(
    op: Op = "conv_transpose",
    *,
    ranks: Sequence[int] = (1, 2, 3),
    dtypes: Sequence[str] = ("float32",),
    batches: Sequence[int | None] = (1, None, 2, 0, 3),
    max_kernel: int = 5,
    max_stride: int = 4,
    max_dilation: int = 4,
    max_groups: int = 3,
    max_channels: int = 4,
    padding: PaddingForm = "pairs",
    output_padding: bool = True,
    bias: bool = True,
    max_elements: int = 400,
) -> st.SearchStrategy[Case]:
    """Draw valid calls: odd and even sizes, strides above the kernel, dilations that share a factor with the stride.

    Nothing is filtered out, and draws shrink towards one short axis, one channel and options that do nothing.

    Parameters
    ----------
    op : str
        ``"conv_transpose"``, ``"conv"``, or a gradient of either's input or weight: ``"conv_input"`` and so on.
    ranks : sequence of int
        Numbers of spatial axes.
    dtypes : sequence of str
        Element types.
    batches : sequence of int or None
        Batch sizes; None is an input without a batch dimension.
    max_kernel, max_stride, max_dilation : int
        Largest values on any axis; ``max_dilation=1`` draws no dilation.
    max_groups, max_channels : int
        Most groups, and most channels of one group; ``max_groups=1`` draws no groups.
    padding : {"pairs", "symmetric", "none"}
        ``"pairs"`` draws different pads at the two ends of an axis as well, also pads beyond the kernel's span;
        ``"symmetric"`` one pad per axis, as torch takes it.
    output_padding, bias : bool
        Whether these are drawn.
    max_elements : int
        Most elements of the input, and of the output.

    Returns
    -------
    SearchStrategy of Case

    Examples
    --------
    >>> from hypothesis import given
    >>> from cupy_kst import Geometry
    >>> from cupy_kst.testing import cases
    >>> @given(cases(ranks=(2,), padding="none"))
    ... def test_unpadded_output_reaches_past_the_last_input(case):
    ...     geometry = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)
    ...     assert geometry.axes[2].large >= (geometry.axes[2].small - 1) * case.stride[1] + 1
    >>> test_unpadded_output_reaches_past_the_last_input()
    """
    if op not in OPERATIONS:
        raise ValueError(f"op={op!r}: there is {', '.join(map(repr, OPERATIONS))}")
    if not set(ranks) <= {1, 2, 3}:
        raise ValueError(f"ranks={ranks!r}: there are 1, 2 and 3")
    for dtype in dtypes:
        supported(dtype)
    if op.endswith("_weight"):
        # So that sums of whole numbers over all samples and positions can be exact.
        max_elements = min(max_elements, *(largest_exact(dtype) - 1 for dtype in dtypes))
    limits = _Limits(max_kernel, max_stride, max_dilation, padding, output_padding, extent=max_elements)
    return _cases(op, ranks, dtypes, batches, limits, max_groups, max_channels, bias, max_elements)


class _Limits(NamedTuple):
    """What one axis may be; `extent` is the most that input and output may have."""

    max_kernel: int
    max_stride: int
    max_dilation: int
    padding: PaddingForm
    output_padding: bool
    extent: int


class _Axis(NamedTuple):
    in_size: int
    out_size: int
    kernel: int
    stride: int
    dilation: int
    lo: int
    hi: int
    output_padding: int


@st.composite
def _cases(
    draw: st.DrawFn,
    op: Op,
    ranks: Sequence[int],
    dtypes: Sequence[str],
    batches: Sequence[int | None],
    limits: _Limits,
    max_groups: int,
    max_channels: int,
    bias: bool,
    max_elements: int,
) -> Case:
    rank, dtype, batch = draw(st.sampled_from(ranks)), draw(st.sampled_from(dtypes)), draw(st.sampled_from(batches))
    samples = max(1, batch or 0)
    if limits.padding == "pairs" and draw(st.booleans()):
        limits = limits._replace(padding="symmetric")
    # Sizes first, channels from what is left: faults are more often in sizes.
    limits = limits._replace(extent=_extent(max_elements // samples, rank))
    transposed = op.startswith("conv_transpose")
    axes = [draw(_conv_transpose_axis(limits) if transposed else _conv_axis(limits)) for _ in range(rank)]
    room = max_elements // samples // max(prod(axis.in_size for axis in axes), prod(axis.out_size for axis in axes))
    groups = draw(st.integers(1, max(1, min(max_groups, room))))
    most = max(1, min(max_channels, room // groups))
    # So that sums of whole numbers can be exact, with room for a bias.
    summed = (largest_exact(dtype) - 1) // prod(axis.kernel for axis in axes)
    rows = draw(st.integers(1, max(1, min(most, summed)))) * groups
    columns = draw(st.integers(1, max(1, min(most, summed))))
    pads = tuple((axis.lo, axis.hi) for axis in axes)
    return Case(
        op,
        (
            *(() if batch is None else (batch,)),
            rows if transposed else columns * groups,
            *(axis.in_size for axis in axes),
        ),
        (rows, columns, *(axis.kernel for axis in axes)),
        bias and "bias" in OPERATIONS[op].arguments and draw(st.booleans()),
        dtype,
        tuple(axis.stride for axis in axes),
        tuple(lo for lo, _ in pads) if all(lo == hi for lo, hi in pads) else pads,
        tuple(axis.output_padding for axis in axes),
        groups,
        tuple(axis.dilation for axis in axes),
        tuple(axis.out_size for axis in axes),
    )


def largest_exact(dtype: str) -> int:
    """Return up to where an element type, or each part of a complex one, can tell all whole numbers apart."""
    return int(2 / ml_dtypes.finfo(dtype).eps)


def _extent(elements: int, rank: int) -> int:
    """Return the edge of a cube of `elements`; at most 40, as longer rows hold nothing new."""
    extent = 2
    while extent < 40 and (extent + 1) ** rank <= elements:
        extent += 1
    return extent


@st.composite
def _conv_transpose_axis(draw: st.DrawFn, limits: _Limits) -> _Axis:
    extent = limits.extent
    kernel = draw(st.integers(1, min(limits.max_kernel, extent)))
    stride = draw(st.integers(1, limits.max_stride))
    # The span of the filter fits the output, so that outputs inside have all their taps.
    dilation = draw(st.integers(1, max(1, min(limits.max_dilation, (extent - 1) // max(1, kernel - 1)))))
    span = dilation * (kernel - 1) + 1
    longest = extent if limits.padding == "none" else extent + extent // 2
    in_size = draw(st.integers(1, min(extent, 1 + (longest - span) // stride)))
    full = (in_size - 1) * stride + span
    most_extra = max(stride, dilation) - 1 if limits.output_padding else 0
    if limits.padding == "none":
        most_extra = min(most_extra, extent - full)
    extra = draw(st.integers(0, most_extra))
    lo, hi = draw(_pads(limits, full + extra))
    return _Axis(in_size, full + extra - lo - hi, kernel, stride, dilation, lo, hi, extra)


@st.composite
def _conv_axis(draw: st.DrawFn, limits: _Limits) -> _Axis:
    extent = limits.extent
    kernel = draw(st.integers(1, min(limits.max_kernel, extent)))
    stride = draw(st.integers(1, limits.max_stride))
    dilation = draw(st.integers(1, max(1, min(limits.max_dilation, (extent - 1) // max(1, kernel - 1)))))
    span = dilation * (kernel - 1) + 1
    in_size = draw(st.integers(span if limits.padding == "none" else 1, extent))
    # The pads that the filter needs to fit, and those that leave `extent` outputs.
    least, most = max(0, span - in_size), (extent - 1) * stride + span - in_size
    if limits.padding == "none":
        lo = hi = 0
    elif limits.padding == "symmetric":
        lo = hi = draw(_often_small(-(-least // 2), max(-(-least // 2), min(most, 2 * extent) // 2)))
    else:
        lo = draw(_often_small(0, min(most, 2 * extent)))
        hi = draw(_often_small(max(0, least - lo), max(0, least - lo, min(most, 2 * extent) - lo)))
    out_size = (in_size + lo + hi - span) // stride + 1
    return _Axis(in_size, out_size, kernel, stride, dilation, lo, hi, 0)


@st.composite
def _pads(draw: st.DrawFn, limits: _Limits, uncropped: int) -> tuple[int, int]:
    """Draw pads that leave between 1 and `extent` outputs."""
    needed = max(0, uncropped - limits.extent)
    if limits.padding == "none":
        return 0, 0
    if limits.padding == "symmetric":
        pad = draw(_often_small(-(-needed // 2), (uncropped - 1) // 2))
        return pad, pad
    lo = draw(_often_small(0, uncropped - 1))
    return lo, draw(_often_small(max(0, needed - lo), uncropped - 1 - lo))


def _often_small(lowest: int, highest: int) -> st.SearchStrategy[int]:
    return st.integers(lowest, min(highest, lowest + 3)) | st.integers(lowest, highest)


class _Operation(NamedTuple):
    """What strategies and `check` know of an operation: its definition, and what it takes, in that order."""

    definition: Callable[..., NDArray[Any]]
    arguments: tuple[str, ...]
    options: tuple[str, ...]


_OF_CONV = ("stride", "padding", "dilation", "groups")
_FORWARD = ("input", "weight", "bias")
_INPUT = ("input_size", "weight", "grad_output")
_WEIGHT = ("input", "weight_size", "grad_output")

OPERATIONS: dict[str, _Operation] = {
    "conv_transpose": _Operation(
        reference.conv_transpose, _FORWARD, ("stride", "padding", "output_padding", "groups", "dilation")
    ),
    "conv": _Operation(reference.conv, _FORWARD, _OF_CONV),
    "conv_input": _Operation(reference.conv_input, _INPUT, _OF_CONV),
    "conv_weight": _Operation(reference.conv_weight, _WEIGHT, _OF_CONV),
    "conv_transpose_input": _Operation(reference.conv_transpose_input, _INPUT, _OF_CONV),
    "conv_transpose_weight": _Operation(reference.conv_transpose_weight, _WEIGHT, _OF_CONV),
}
