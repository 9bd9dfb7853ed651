"""Strategies for the shapes and options of valid calls, by construction, without filtering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import ml_dtypes
from hypothesis import strategies as st

from ..methods import Op
from .axes import USUAL, Axis, Limits, conv_axis, conv_transpose_axis, preferred
from .operations import OPERATIONS
from .restrictions import LongAxis, PaddingForm, Restrictions, restricted

# Channels past two blocks of 64: with more, sums of products take the definition too long.
_MANY_CHANNELS = 130
_BLOCKS = tuple(block + past for block in (8, 16, 32, 64, 128) for past in (0, 1))
T = TypeVar("T")


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
        One per spatial axis. Convolutions have none; gradients are not told of it.
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
    ranks: int | Sequence[int] = (1, 2, 3),
    dtypes: Any = ("float32",),
    batches: int | Sequence[int | None] | None = (1, None, 2, 0, 3),
    max_kernel: int = 5,
    max_stride: int = 4,
    max_dilation: int = 4,
    max_groups: int = 3,
    max_channels: int = 4,
    padding: PaddingForm = "pairs",
    output_padding: bool = True,
    bias: bool = True,
    max_elements: int = 400,
    max_axis: int = 40,
    long_axis: LongAxis = "any",
) -> st.SearchStrategy[Case]:
    """Draw valid calls: odd and even sizes, strides above the kernel, dilations that share a factor with the stride.

    Nothing is filtered out, and draws shrink towards one short axis, one channel and options that do nothing.

    Parameters
    ----------
    op : str
        ``"conv_transpose"``, ``"conv"``, or a gradient of either's input or weight: ``"conv_input"`` and so on.
    ranks : int or sequence of int
        Numbers of spatial axes.
    dtypes : str, type or numpy.dtype, or sequence of them
        Element types.
    batches : int or None, or sequence of them
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
        Most elements of the input, and of the output, but for cases with a long axis.
    max_axis : int
        Longest axis. Above 40, every case is drawn with one long axis, of up to so many positions, at and past the
        edges of blocks of 64, 128 and so on, or unless ``max_channels=1`` up to 130 channels of a group. All other
        axes are no longer than 2 then, and only `max_axis` bounds the elements.
    long_axis : {"any", "last", "channels"}
        Which axis that is: any, the last one and past the last edge of a block, or the channels.

    Returns
    -------
    SearchStrategy of Case

    Raises
    ------
    ValueError, TypeError
        If a keyword is not what it can be, or `max_elements` is less than the largest batch.

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
    return _cases(
        restricted(
            op=op,
            ranks=ranks,
            dtypes=dtypes,
            batches=batches,
            max_kernel=max_kernel,
            max_stride=max_stride,
            max_dilation=max_dilation,
            max_groups=max_groups,
            max_channels=max_channels,
            padding=padding,
            output_padding=output_padding,
            bias=bias,
            max_elements=max_elements,
            max_axis=max_axis,
            long_axis=long_axis,
        )
    )


@st.composite
def _cases(draw: st.DrawFn, allowed: Restrictions) -> Case:
    is_long = allowed.max_axis > USUAL
    # An empty batch has no edge of a block.
    batches = tuple(size for size in allowed.batches if size != 0 or not is_long) or allowed.batches
    rank, dtype, batch = _one(draw, allowed.ranks), _one(draw, allowed.dtypes), _one(draw, batches)
    samples = max(1, batch or 0)
    room = _room(allowed, dtype) // samples
    # Sizes first, channels from what is left: faults are more often in sizes.
    long = _one(draw, _long_axes(allowed, rank)) if is_long else None
    axes = _axes(draw, allowed, rank, room, long)
    room //= max(prod(axis.in_size for axis in axes), prod(axis.out_size for axis in axes))
    groups = _up_to(draw, min(allowed.max_groups, room))
    # So that sums of whole numbers can be exact, with room for a bias.
    summed = (largest_exact(dtype) - 1) // prod(axis.kernel for axis in axes)
    rows, columns = _channels(draw, allowed, min(room // groups, summed), long == rank)
    transposed = allowed.op.startswith("conv_transpose")
    pads = tuple((axis.lo, axis.hi) for axis in axes)
    return Case(
        allowed.op,
        (
            *(() if batch is None else (batch,)),
            (rows if transposed else columns) * groups,
            *(axis.in_size for axis in axes),
        ),
        (rows * groups, columns, *(axis.kernel for axis in axes)),
        allowed.bias and "bias" in OPERATIONS[allowed.op].arguments and draw(st.booleans()),
        dtype,
        tuple(axis.stride for axis in axes),
        tuple(lo for lo, _ in pads) if all(lo == hi for lo, hi in pads) else pads,
        tuple(axis.output_padding for axis in axes),
        groups,
        tuple(axis.dilation for axis in axes),
        tuple(axis.out_size for axis in axes),
    )


def _long_axes(allowed: Restrictions, rank: int) -> tuple[int, ...]:
    """Return which axes may be long; the rank stands for channels."""
    if allowed.long_axis == "last" or (allowed.long_axis == "channels" and allowed.max_channels == 1):
        return (rank - 1,)
    return (rank,) if allowed.long_axis == "channels" else tuple(range(rank + (allowed.max_channels > 1)))


def _axes(draw: st.DrawFn, allowed: Restrictions, rank: int, room: int, long: int | None) -> list[Axis]:
    """Draw the spatial axes, one of them long where `long` is its index, and all short where `long` is the rank."""
    axis = conv_transpose_axis if allowed.op.startswith("conv_transpose") else conv_axis
    padding = allowed.padding
    if padding == "pairs" and draw(st.booleans()):
        padding = "symmetric"
    extent = _extent(room, rank, min(USUAL, allowed.max_axis))
    limits = Limits(
        allowed.max_kernel,
        allowed.max_stride,
        allowed.max_dilation,
        padding,
        allowed.output_padding,
        extent,
        allowed.long_axis == "last",
    )
    if long is None:
        return [axis(draw, limits) for _ in range(rank)]
    short = limits._replace(extent=min(extent, 2))
    if long == rank:
        return [axis(draw, short) for _ in range(rank)]
    axes = [axis(draw, short) for _ in range(rank - 1)]
    left = room // prod(each.size for each in axes)
    axes.insert(long, axis(draw, limits._replace(extent=min(allowed.max_axis, left))))
    return axes


def _channels(draw: st.DrawFn, allowed: Restrictions, room: int, long: bool) -> tuple[int, int]:
    """Draw the channels of a group, rows and columns of its weight; one of the two are many where `long` says so."""
    most = min(allowed.max_channels, room)
    if not long:
        rows, columns = _depth(draw, most), _depth(draw, most)
        return rows, columns
    many, few = _long_depth(draw, min(_MANY_CHANNELS, allowed.max_axis, room)), _up_to(draw, min(2, most))
    return (many, few) if draw(st.booleans()) else (few, many)


def _long_depth(draw: st.DrawFn, most: int) -> int:
    """Draw a number of channels above the usual, if they may be so many."""
    if most <= USUAL:
        return max(1, most)
    return USUAL + preferred(draw, most - USUAL, tuple(size - USUAL for size in _BLOCKS if USUAL < size <= most), 2)


def _depth(draw: st.DrawFn, most: int) -> int:
    """Draw a number of channels: two times in three, if they may be so many, those of whole blocks, or one more."""
    most = max(1, most)
    return preferred(draw, most, tuple(size for size in _BLOCKS if size <= most), 2)


def _one(draw: st.DrawFn, values: tuple[T, ...]) -> T:
    return draw(st.sampled_from(values)) if len(values) > 1 else values[0]


def _up_to(draw: st.DrawFn, most: int) -> int:
    return draw(st.integers(1, most)) if most > 1 else 1


def _room(allowed: Restrictions, dtype: str) -> int:
    """Return how many elements a map may have."""
    # With a long axis, 3 samples of 3 axes have other axes of at most 2.
    most = max(allowed.max_elements, 12 * allowed.max_axis) if allowed.max_axis > USUAL else allowed.max_elements
    # So that sums of whole numbers over all samples and positions can be exact.
    return min(most, largest_exact(dtype) - 1) if allowed.op.endswith("_weight") else most


def largest_exact(dtype: str) -> int:
    """Return up to where an element type, or each part of a complex one, can tell all whole numbers apart."""
    return int(2 / ml_dtypes.finfo(dtype).eps)


def _extent(elements: int, rank: int, most: int) -> int:
    """Return the edge of a cube of `elements`, at most `most`."""
    extent = 1
    while extent < most and (extent + 1) ** rank <= elements:
        extent += 1
    return extent
