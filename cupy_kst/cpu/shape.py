"""What microkernels multiply at once, and how far apart they find numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Shape:
    """What a form's microkernels multiply at once: `scalars` by `vectors` of `lanes` numbers."""

    positions_in_lanes: bool
    scalars: int
    vectors: int
    lanes: int

    @property
    def block(self) -> int:
        """Output channels that are made at once."""
        return self.scalars if self.positions_in_lanes else self.vectors * self.lanes


def odd_lines(size: int, itemsize: int) -> int:
    """Return a size in an odd number of cache lines, so that the same place of many channels meets many sets."""
    line = 64 // itemsize
    lines = ceil(size / line)
    return (lines + 1 - lines % 2) * line
