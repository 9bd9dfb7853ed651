"""One spatial axis of a convolution and of its transpose: the rule that all methods stand on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd
from typing import NamedTuple


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
    """One spatial axis: tap ``k`` joins ``i`` and ``o`` where ``o = i*stride + k*dilation - pad_lo``.

    A transposed convolution reads ``i`` of the small map and writes ``o`` of the large one. A convolution reads the
    large map and writes the small one. Residue classes are of the former, so there ``i`` is called the input.
    """

    small: int = 1
    large: int = 1
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
        return self.large + self.dilation * (self.kernel - 1)

    @property
    def dilated_size(self) -> int:
        """Extent of the small map with zeros inserted between its elements, as many as the stride leaves."""
        return (self.small - 1) * self.stride + 1

    @property
    def classes(self) -> tuple[AxisClass, ...]:
        """The classes that have outputs, by their first one."""
        return _axis_classes(self)

    @property
    def sub_taps(self) -> int:
        """Taps of each of the equal sub-filters that split deconvolution makes of the expanded filter."""
        return ceil(self.kernel / self.stride)

    @property
    def leading_zeros(self) -> int:
        """Expansion zeros in front of the filter; the rest of them, up to ``sub_taps * stride`` taps, are behind it.

        With ``-pad_lo mod stride`` of them the first output is the first sub-filter's, so that nothing is cropped in
        front; there may be fewer.
        """
        return min(-self.pad_lo % self.stride, self.sub_taps * self.stride - self.kernel)

    @property
    def sub_positions(self) -> range:
        """Positions of the sub-filters' convolutions that outputs are made of.

        Sub-filter ``r`` at position ``q`` gives output ``q*stride + r - pad_lo - leading_zeros``, and its tap ``u``,
        element ``u*stride + r`` of the expanded filter, meets input ``q - u``.
        """
        first = self.pad_lo + self.leading_zeros
        return range(first // self.stride, (first + self.large - 1) // self.stride + 1)

    def meetings(self, tap: int) -> tuple[range, range]:
        """Return the inputs whose product with `tap` lands on an output, and those outputs."""
        return self._landings(tap * self.dilation - self.pad_lo, self.large)

    def standings(self) -> tuple[range, range]:
        """Return the inputs that the padding leaves on the zero-inserted map, and where they stand on it."""
        return self._landings((self.kernel - 1) * self.dilation - self.pad_lo, self.zero_inserted_size)

    def _landings(self, shift: int, extent: int) -> tuple[range, range]:
        """Return the inputs ``i`` with ``0 <= i*stride + shift < extent``, and those places."""
        first = max(0, -(shift // self.stride))
        end = max(first, min(self.small, (extent - 1 - shift) // self.stride + 1))
        return range(first, end), range(first * self.stride + shift, end * self.stride + shift, self.stride)


@lru_cache(maxsize=4096)
def _axis_classes(axis: Axis) -> tuple[AxisClass, ...]:
    classes = []
    for first in range(min(axis.stride, axis.large)):
        residue = (first + axis.pad_lo) % axis.stride
        positions = ceil((axis.large - first) / axis.stride)
        first_tap = residue // axis.common * axis.inverse % axis.tap_step
        taps = 0 if residue % axis.common else max(0, -((first_tap - axis.kernel) // axis.tap_step))
        start = (first + axis.pad_lo - first_tap * axis.dilation) // axis.stride if taps else 0
        classes.append(AxisClass(residue, first, positions, first_tap, taps, start))
    return tuple(classes)
