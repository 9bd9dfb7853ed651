"""The form of a launcher's plan: on what its micro-kernel multiplies, by which tiles, in how many parts."""

from __future__ import annotations

import re
from typing import NamedTuple

from .micro import Micro
from .tiles import Tile, tiles

# Blocks of a grid along y.
_MOST_SPLITS = 65535


class Form(NamedTuple):
    """How a tiled method computes; as a string its public name, such as ``"f32/128x64/trimmed"``.

    Attributes
    ----------
    micro : Micro
        What multiplies.
    tile : Tile
        What a block computes of a product.
    trimmed : bool
        Whether a block's rows are of one position, with the taps that meet the map there.
    splits : int
        Parts of the depth, whose sums are added in their order.
    """

    micro: Micro
    tile: Tile
    trimmed: bool = False
    splits: int = 1

    def __str__(self) -> str:
        trimmed = "/trimmed" if self.trimmed else ""
        split = f"/split{self.splits}" if self.splits > 1 else ""
        return f"{self.micro.name}/{self.tile}{trimmed}{split}"


def names(micros: tuple[Micro, ...], trims: bool) -> tuple[str, ...]:
    """Return the names of all forms, where N stands for a number of parts, of methods that trim or do not."""
    ends = ("", "/splitN", "/trimmed", "/trimmed/splitN") if trims else ("", "/splitN")
    return tuple(f"{micro.name}/{tile}{end}" for micro in micros for tile in tiles(micro) for end in ends)


def parse(name: str, micros: tuple[Micro, ...], trims: bool) -> Form | None:
    """Return the form of a name, or None if there is none such."""
    parts = re.fullmatch(r"(?P<plain>\w+/\d+x\d+)(?P<trimmed>/trimmed)?(?:/split(?P<splits>[1-9]\d{0,4}))?", name)
    if parts is None or (parts["trimmed"] and not trims):
        return None
    splits = int(parts["splits"] or 1)
    if splits > _MOST_SPLITS or parts["splits"] == "1":
        return None
    for micro in micros:
        for tile in tiles(micro):
            if parts["plain"] == f"{micro.name}/{tile}":
                return Form(micro, tile, bool(parts["trimmed"]), splits)
    return None
