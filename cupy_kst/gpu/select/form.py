"""The form of a launcher's plan: on what its micro-kernel multiplies, by which tiles, in how many parts."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from .microkernel import MicroKernel
from .tiles import Tile, tiles

Variant = Literal["trimmed", "interleaved"]

# Blocks of a grid along y.
_MOST_SPLITS = 65535


class Form(NamedTuple):
    """How a tiled method computes; as a string its public name, such as ``"f32/128x64/trimmed"``.

    Attributes
    ----------
    micro : MicroKernel
        What multiplies.
    tile : Tile
        What a block computes of a product.
    trimmed : bool
        Whether a block's rows are of one position, with the taps that meet the map there.
    splits : int
        Parts of the depth, whose sums are added in their order.
    interleaved : bool
        Whether a block makes all residue classes along a row, and writes their outputs in the row's order. Its rows
        are of many positions, and its depth is not split.
    """

    micro: MicroKernel
    tile: Tile
    trimmed: bool = False
    splits: int = 1
    interleaved: bool = False

    def __str__(self) -> str:
        trimmed = "/trimmed" if self.trimmed else ""
        split = f"/split{self.splits}" if self.splits > 1 else ""
        interleaved = "/interleaved" if self.interleaved else ""
        return f"{self.micro.name}/{self.tile}{trimmed}{split}{interleaved}"


def names(micro_kernels: tuple[MicroKernel, ...], variants: frozenset[Variant]) -> tuple[str, ...]:
    """Return the names of all forms, where N stands for a number of parts, of methods that have these variants."""
    ends = ["", "/splitN"]
    if "trimmed" in variants:
        ends += ["/trimmed", "/trimmed/splitN"]
    if "interleaved" in variants:
        ends += ["/interleaved"]
    return tuple(f"{micro.name}/{tile}{end}" for micro in micro_kernels for tile in tiles(micro) for end in ends)


_PLAIN, _TRIMMED, _SPLIT = r"(?P<plain>\w+/\d+x\d+)", "(?P<trimmed>/trimmed)?", r"(?:/split(?P<splits>[1-9]\d{0,4}))?"
_NAME = re.compile(f"{_PLAIN}(?:(?P<interleaved>/interleaved)|{_TRIMMED}{_SPLIT})")


def parse(name: str, micro_kernels: tuple[MicroKernel, ...], variants: frozenset[Variant]) -> Form | None:
    """Return the form of a name, or None if there is none such."""
    parts = _NAME.fullmatch(name)
    if parts is None or any(parts[each] and each not in variants for each in get_args(Variant)):
        return None
    splits = int(parts["splits"] or 1)
    if splits > _MOST_SPLITS or parts["splits"] == "1":
        return None
    for micro in micro_kernels:
        for tile in tiles(micro):
            if parts["plain"] == f"{micro.name}/{tile}":
                return Form(micro, tile, bool(parts["trimmed"]), splits, bool(parts["interleaved"]))
    return None
