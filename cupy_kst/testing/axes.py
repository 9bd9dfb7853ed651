"""Strategies for one spatial axis: sizes and options that fit each other, by construction."""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import NamedTuple

from hypothesis import strategies as st

from .restrictions import PaddingForm

# Most axes are at most as long: longer rows hold nothing new but the edges of blocks.
USUAL = 40


class Limits(NamedTuple):
    """What one axis may be; `extent` is the most that input and output may have.

    A long axis is past the last edge of a block where `past` says so, its input as well.
    """

    max_kernel: int
    max_stride: int
    max_dilation: int
    padding: PaddingForm
    output_padding: bool
    extent: int
    past: bool


class Axis(NamedTuple):
    """Sizes and options of one axis; pads are `lo` and `hi`."""

    in_size: int
    out_size: int
    kernel: int
    stride: int
    dilation: int
    lo: int
    hi: int
    output_padding: int

    @property
    def size(self) -> int:
        """The larger of both sizes."""
        return max(self.in_size, self.out_size)


def conv_transpose_axis(draw: st.DrawFn, limits: Limits) -> Axis:
    """Draw an axis of a transposed convolution; it is long if the extent is above the usual one."""
    extent = limits.extent
    longest = extent if limits.padding == "none" else extent + extent // 2
    target = _long_size(draw, limits) if extent > USUAL else 0
    # What is past an edge of the input is so of the output as well, but not the other way round.
    by_input = bool(target) and (limits.past or draw(st.booleans()))
    if by_input:
        limits = limits._replace(max_stride=max(1, min(limits.max_stride, longest // target)))
    kernel, stride, dilation = _steps(draw, limits)
    span = dilation * (kernel - 1) + 1
    most = min(extent, 1 + (longest - span) // stride)
    if target:
        in_size = min(most, target if by_input else 1 + max(0, target - span) // stride)
    else:
        in_size = draw(st.integers(1, most))
    full = (in_size - 1) * stride + span
    most_extra = max(stride, dilation) - 1 if limits.output_padding else 0
    if limits.padding == "none":
        most_extra = min(most_extra, extent - full)
    extra = draw(st.integers(0, most_extra)) if most_extra else 0
    lo, hi = _crop(draw, limits, full + extra)
    return Axis(in_size, full + extra - lo - hi, kernel, stride, dilation, lo, hi, extra)


def conv_axis(draw: st.DrawFn, limits: Limits) -> Axis:
    """Draw an axis of a convolution; it is long if the extent is above the usual one."""
    extent = limits.extent
    target = _long_size(draw, limits) if extent > USUAL else 0
    if target and (limits.past or draw(st.booleans())):
        # The output is as long as the input then.
        limits = limits._replace(max_stride=1)
    kernel, stride, dilation = _steps(draw, limits)
    span = dilation * (kernel - 1) + 1
    in_size = target or draw(st.integers(span if limits.padding == "none" else 1, extent))
    # The pads that the filter needs to fit, and those that leave `extent` outputs.
    least, most = max(0, span - in_size), (extent - 1) * stride + span - in_size
    most = min(most, 2 * extent)
    if limits.padding == "none":
        lo = hi = 0
    elif limits.padding == "symmetric":
        lo = hi = _often_small(draw, -(-least // 2), max(-(-least // 2), most // 2))
    else:
        lo = _often_small(draw, 0, most)
        hi = _often_small(draw, max(0, least - lo), max(0, least - lo, most - lo))
    out_size = (in_size + lo + hi - span) // stride + 1
    return Axis(in_size, out_size, kernel, stride, dilation, lo, hi, 0)


def _steps(draw: st.DrawFn, limits: Limits) -> tuple[int, int, int]:
    """Draw kernel, stride and dilation, which often share a factor: some residue classes have no taps then."""
    stride = draw(st.integers(1, limits.max_stride))
    most = min(limits.max_kernel, limits.extent)
    kernel = preferred(draw, most, _sharing(stride, most), 1)
    # The span of the filter fits the output, so that outputs inside have all their taps.
    most = max(1, min(limits.max_dilation, (limits.extent - 1) // max(1, kernel - 1)))
    return kernel, stride, preferred(draw, most, _sharing(stride, most), 2)


@cache
def _sharing(number: int, most: int) -> tuple[int, ...]:
    return tuple(each for each in range(2, most + 1) if gcd(number, each) > 1)


def preferred(draw: st.DrawFn, most: int, some: tuple[int, ...], weight: int) -> int:
    """Draw from 1 to `most`, or `weight` times as often one of `some`; in one draw, as each takes Hypothesis long."""
    if most == 1:
        return 1
    # The same range whether there are some or not, so that a failure's other numbers can shrink and leave this one.
    drawn = draw(st.integers(0, (1 + weight) * most - 1))
    if drawn < most or not some:
        return drawn % most + 1
    return some[(drawn - most) % len(some)]


def _crop(draw: st.DrawFn, limits: Limits, uncropped: int) -> tuple[int, int]:
    """Draw pads that leave between 1 and `extent` outputs."""
    needed = max(0, uncropped - limits.extent)
    if limits.padding == "none":
        return 0, 0
    if limits.padding == "symmetric":
        most = -(-needed // 2) + 1 if limits.extent > USUAL else uncropped
        pad = _often_small(draw, -(-needed // 2), min(most, (uncropped - 1) // 2))
        return pad, pad
    most = min(uncropped - 1, needed + 2) if limits.extent > USUAL else uncropped - 1
    lo = _often_small(draw, 0, most)
    return lo, _often_small(draw, max(0, needed - lo), most - lo)


def _often_small(draw: st.DrawFn, lowest: int, highest: int) -> int:
    """Draw a size, half the time one of the lowest four."""
    size = highest - lowest + 1
    if size <= 4:
        return draw(st.integers(lowest, highest)) if size > 1 else lowest
    drawn = draw(st.integers(0, 2 * size - 1))
    return lowest + (drawn if drawn < size else (drawn - size) % 4)


def _long_size(draw: st.DrawFn, limits: Limits) -> int:
    """Draw a size above the usual: any, or at the edge of a block of 64, 128 and so on, or past the last such edge."""
    extent = limits.extent
    sizes = _edges(extent)
    last = max((size for size in sizes if size & (size - 1) == 0), default=USUAL)
    if limits.past:
        # With some room for what pads leave of it.
        return draw(st.integers(min(last + 8, extent), extent))
    at_edge = draw(st.booleans())
    return draw(st.sampled_from(sizes)) if sizes and at_edge else draw(st.integers(USUAL + 1, extent))


@cache
def _edges(extent: int) -> tuple[int, ...]:
    blocks = [2**power for power in range(6, extent.bit_length())]
    return tuple(size for block in blocks for size in (block - 1, block, block + 1) if size <= extent)
