"""The form of a launcher's plan: on what its micro-kernel multiplies, by which tiles, in how many parts."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..dtypes import DType
from .tiles import Tile, tiles

# What a launcher's forms differ in, beside the tile.
TRIMMED = "trimmed"
SPLIT = "split"
# Blocks of a grid along y.
_MOST_SPLITS = 65535


class Form(NamedTuple):
    """How a tiled method computes; as a string its public name, such as ``"f32/128x64/trimmed"``.

    Attributes
    ----------
    element : str
        Short name of the element type that the micro-kernel multiplies.
    tile : Tile
        What a block computes of a product.
    trimmed : bool
        Whether a block's rows are of one position, with the taps that meet the map there.
    splits : int
        Parts of the depth, whose sums are added in their order.
    """

    element: str
    tile: Tile
    trimmed: bool = False
    splits: int = 1

    def __str__(self) -> str:
        trimmed = f"/{TRIMMED}" if self.trimmed else ""
        split = f"/{SPLIT}{self.splits}" if self.splits > 1 else ""
        return f"{self.element}/{self.tile}{trimmed}{split}"


def names(dtype: DType, option: str) -> tuple[str, ...]:
    """Return the names of all forms whose `option`, TRIMMED or SPLIT, may be taken or not; N stands for parts."""
    each = {TRIMMED: ("", f"/{TRIMMED}"), SPLIT: ("", f"/{SPLIT}N")}[option]
    return tuple(f"{dtype.short}/{tile}{more}" for tile in tiles(dtype) for more in each)


def parse(name: str, dtype: DType, option: str) -> Form | None:
    """Return the form of a name, or None if there is none such."""
    for tile in tiles(dtype):
        plain = f"{dtype.short}/{tile}"
        if name == plain:
            return Form(dtype.short, tile)
        if option == TRIMMED and name == f"{plain}/{TRIMMED}":
            return Form(dtype.short, tile, trimmed=True)
        parts = re.fullmatch(rf"{plain}/{SPLIT}([0-9]{{1,5}})", name)
        if option == SPLIT and parts and 1 < int(parts[1]) <= _MOST_SPLITS:
            return Form(dtype.short, tile, splits=int(parts[1]))
    return None
