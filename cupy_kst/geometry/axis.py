"""One spatial axis of a convolution and of its transpose: the rule that all methods stand on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, gcd
from typing import NamedTuple

from .floor_sums import floor_sum

# Axes that engines see, whatever the rank: those of size 1 stand in front.
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
    def class_count(self) -> int:
        """Number of the classes that have outputs."""
        return min(self.stride, self.large)

    @cached_property
    def classes_with_taps(self) -> int:
        """Number of the classes that have outputs and taps."""
        # The first taps are all of different classes.
        return self._pairs(self.class_count, min(self.kernel, self.tap_step))

    @cached_property
    def taps_of_classes(self) -> int:
        """Taps of the classes that have outputs."""
        return self._pairs(self.class_count, self.kernel)

    @cached_property
    def class_taps(self) -> int:
        """Pairs of an output and a tap of its class, whether on the input or not."""
        return self._pairs(self.large, self.kernel)

    def _pairs(self, outputs: int, taps: int) -> int:
        """Return the pairs of one of the first outputs and one of the first taps that belongs to its class."""
        below = floor_sum(0, taps, -self.dilation, self.pad_lo + outputs - 1, self.stride)
        return below - floor_sum(0, taps, -self.dilation, self.pad_lo - 1, self.stride)

    @cached_property
    def met_taps(self) -> int:
        """Pairs of an input and a tap whose product lands on an output."""
        first, fewer, whole, stop = self._meeting_taps
        last = floor_sum(fewer, stop, -self.dilation, self.large - 1 + self.pad_lo, self.stride) + stop - fewer
        missed = floor_sum(first, whole, self.dilation, -self.pad_lo, self.stride)
        return self.small * (fewer - first) + last + missed

    @cached_property
    def most_met(self) -> int:
        """The most inputs that one tap meets outputs with."""
        first, fewer, whole, stop = self._meeting_taps
        if whole < fewer:
            return self.small
        # Before `fewer` taps meet more, one after the other; from `whole` on they meet less.
        most = max((len(self.valid_pairs(tap)[0]) for tap in (fewer - 1, whole) if first <= tap < stop), default=0)
        if fewer == whole:
            return most
        # Between them outputs end the run of inputs on both sides: it is one longer where it begins early enough.
        runs, rest = divmod(self.large, self.stride)
        early = floor_sum(fewer, whole, self.dilation, -self.pad_lo, self.stride)
        early -= floor_sum(fewer, whole, self.dilation, -self.pad_lo - rest, self.stride)
        return max(most, runs + (early > 0))

    @property
    def _meeting_taps(self) -> tuple[int, int, int, int]:
        """Return the first tap that meets an output, and the end of those that do.

        Between them stand the first tap that misses outputs behind the last input, and the first one that meets an
        output with the first input.
        """

        def reaching(place: int) -> int:
            """Return the first tap whose product with the first input lands at `place` or behind it."""
            return min(self.kernel, max(0, -((-self.pad_lo - place) // self.dilation)))

        first, stop = reaching((1 - self.small) * self.stride), reaching(self.large)
        return first, min(stop, max(first, reaching(self.large - self.small * self.stride))), reaching(0), stop

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

    def valid_pairs(self, tap: int) -> tuple[range, range]:
        """Return the inputs whose product with `tap` lands on an output, and those outputs."""
        return self._landings(tap * self.dilation - self.pad_lo, self.large)

    def zero_inserted_positions(self) -> tuple[range, range]:
        """Return the inputs that the padding leaves on the zero-inserted map, and where they stand on it."""
        return self._landings((self.kernel - 1) * self.dilation - self.pad_lo, self.zero_inserted_size)

    def _landings(self, shift: int, extent: int) -> tuple[range, range]:
        """Return the inputs ``i`` with ``0 <= i*stride + shift < extent``, and those places."""
        first = max(0, -(shift // self.stride))
        end = max(first, min(self.small, (extent - 1 - shift) // self.stride + 1))
        return range(first, end), range(first * self.stride + shift, end * self.stride + shift, self.stride)


@lru_cache(maxsize=4096)
def _axis_classes(axis: Axis) -> tuple[AxisClass, ...]:
    stride, common, tap_step, inverse = axis.stride, axis.common, axis.tap_step, axis.inverse
    classes = []
    for first in range(axis.class_count):
        residue = (first + axis.pad_lo) % stride
        positions = ceil((axis.large - first) / stride)
        first_tap = residue // common * inverse % tap_step
        taps = 0 if residue % common else max(0, -((first_tap - axis.kernel) // tap_step))
        start = (first + axis.pad_lo - first_tap * axis.dilation) // stride if taps else 0
        classes.append(AxisClass(residue, first, positions, first_tap, taps, start))
    return tuple(classes)
