"""Cycles that a convolution takes on two arrays of multipliers: models of ours, simple enough to check by hand.

Both finish a layer in whole passes and never stall: memory is fast enough, and what does not fill a pass idles. They
differ in what they multiply at one time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1: `rows` x `columns` output positions, a dense filter of so many taps, channels."""

    rows: int
    columns: int
    taps: int
    in_channels: int
    out_channels: int

    @property
    def macs(self) -> int:
        return self.rows * self.columns * self.taps * self.in_channels * self.out_channels


class Array(Protocol):
    """An array of multipliers."""

    @property
    def name(self) -> str: ...

    @property
    def multipliers(self) -> int: ...

    def cycles(self, convolution: Convolution) -> int: ...


@dataclass(frozen=True)
class DotProducts:
    """`lanes` dot products at a time, of `length` input channels each, for as many output channels.

    A cycle is one output position, one tap. So a layer takes positions x taps x blocks of input channels x blocks of
    output channels, the last blocks not full.
    """

    length: int
    lanes: int

    @property
    def name(self) -> str:
        return f"dot products, {self.length} x {self.lanes}"

    @property
    def multipliers(self) -> int:
        return self.length * self.lanes

    def cycles(self, convolution: Convolution) -> int:
        blocks = _ceil(convolution.in_channels, self.length) * _ceil(convolution.out_channels, self.lanes)
        return convolution.rows * convolution.columns * convolution.taps * blocks


@dataclass(frozen=True)
class Grid:
    """A grid of processing elements, each of which sums one output: a cycle is one tap of one input channel.

    A map larger than the grid is cut into tiles; of smaller maps as many output channels stand side by side as fit.
    """

    height: int
    width: int

    @property
    def name(self) -> str:
        return f"2-D grid, {self.height} x {self.width}"

    @property
    def multipliers(self) -> int:
        return self.height * self.width

    def cycles(self, convolution: Convolution) -> int:
        tiles = _ceil(convolution.rows, self.height) * _ceil(convolution.columns, self.width)
        beside = max(1, self.height // convolution.rows) * max(1, self.width // convolution.columns)
        return tiles * _ceil(convolution.out_channels, beside) * convolution.taps * convolution.in_channels


def _ceil(length: int, step: int) -> int:
    return -(-length // step)
