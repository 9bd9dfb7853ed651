"""What microkernels multiply at once, and how far apart they find numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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


def odd_lines(size: Any, itemsize: int) -> Any:
    """Return sizes in odd numbers of cache lines, so that the same place of many channels meets many sets."""
    line = 64 // itemsize
    return (-(-size // line) | 1) * line
