"""Sums of rounded multiples in closed form, so that taps are counted without a loop over them."""

from __future__ import annotations


def floor_sum(first: int, stop: int, slope: int, offset: int, divisor: int) -> int:
    """Return the sum of ``(slope*k + offset) // divisor`` over ``k`` from `first` to ``stop - 1``; 0 if there are none.

    The sum counts the points of a lattice below a line. Whole slopes are triangles; below the rest of the slope the two
    axes are exchanged, as in Euclid's algorithm, so that the steps are logarithmic in `divisor`.
    """
    total, count, offset = 0, max(0, stop - first), offset + slope * first
    while count:
        whole, slope = divmod(slope, divisor)
        total += whole * (count * (count - 1) // 2)
        whole, offset = divmod(offset, divisor)
        total += whole * count
        # The rows that the line passes are the columns of the exchanged axes.
        count, offset = divmod(slope * count + offset, divisor)
        slope, divisor = divisor, slope
    return total
