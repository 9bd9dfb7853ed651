"""What the C-K-S operators leave of a layer's work, by the index rules of the author's code, and where that code trims.

The code is public (Dragon-Alpha, versions 1.0 and 1.2, by the author of arXiv 2306.15951); its rules are restated here
and share nothing with `cupy_kst.costs`, which counts the same by residue classes. All is of one axis; a square map's
work is the square.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple


class Axis(NamedTuple):
    """One axis of a convolution: it reads `large` elements and writes `small` ones."""

    large: int
    small: int
    taps: int
    stride: int
    padding: int


def conv_v2(axis: Axis) -> int:
    """Return the taps that ConvV2 leaves, summed over the outputs: those that stand on the map."""
    left = 0
    for output in range(axis.small):
        first = output * axis.stride - axis.padding
        left += max(0, min(axis.taps, axis.large - first) - max(0, -first))
    return left


def ks_deconv(axis: Axis) -> int:
    """Return the taps that KS-deconv with trimming leaves, summed over what it writes: the larger map."""
    left = 0
    for phase in range(min(axis.stride, axis.taps)):
        taps = ceil((axis.taps - phase) / axis.stride)
        first = (phase - axis.padding) % axis.stride
        for output in range(first, axis.large, axis.stride):
            start = (output + axis.padding - phase) // axis.stride - (taps - 1)
            left += max(0, min(taps, axis.small - start) - max(0, -start))
    return left


def sk_dilated(axis: Axis) -> int:
    """Return the products that Sk-dilated leaves, summed over the taps."""
    left = 0
    for tap in range(axis.taps):
        shift = tap - axis.padding
        first = ceil(-shift / axis.stride) if shift < 0 else 0
        left += max(0, min(axis.small, ceil((axis.large - shift) / axis.stride)) - first)
    return left


def padding_scale_up(axis: Axis) -> float:
    """Return the code's `psu`: how much larger the part of the padded map that filters touch is than the map."""
    return ((axis.small - 1) * axis.stride + axis.taps) ** 2 / axis.large**2


def phase_scale_up(axis: Axis) -> float:
    """Return the code's `Q` of a transposed convolution of stride 2, `psu` for the mean of its four phases."""
    half = axis.large // 2
    rows = sum(half + taps - 1 for taps in (axis.taps // 2, ceil(axis.taps / 2)))
    return 0.25 * rows**2 / axis.small**2


class Rule(NamedTuple):
    """Above which figure a version of the author's code trims, given 64 samples and channels or more."""

    version: str
    above: float
    # With stride 1 version 1.2 compares with the speed of another kernel (Winograd's) instead.
    least_stride: int = 1

    def trims(self, scale_up: float, stride: int) -> bool | None:
        """Return what the version does; None where this figure alone does not say."""
        return scale_up > self.above if stride >= self.least_stride else None


# By operator; of ConvV2 for a filter that is repacked beforehand, as cupy_kst's is. Scale-ups of square maps
# are squares of fractions and none of these is: "more than" and "at least", as the code has it, make no difference.
RULES = {
    "ConvV2": (Rule("1.0", 1.05), Rule("1.2", 1.08, least_stride=2)),
    "KS-deconv": (Rule("1.0", 1.1), Rule("1.2", 1.08)),
    "Sk-dilated": (Rule("1.0", 1.15), Rule("1.2", 1.11803)),
}
