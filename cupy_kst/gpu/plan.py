"""What a launcher hands to the engine: launches as plain data, so that they are tested without a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from . import params


@dataclass(frozen=True, eq=False)
class Launches:
    """Launches of one kernel that differ in their params alone.

    Attributes
    ----------
    stem, kernel : str
        The .cu file without its ending, and the kernel in it.
    grid, block : tuple of int
        Thread blocks, and threads of a block.
    arrays : tuple of str
        What its pointers are: "input", "weight", "bias", "output" or "workspace".
    params : ndarray
        The params struct of each launch, shape (launches,).
    """

    stem: str
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arrays: tuple[str, ...]
    params: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Plan:
    """Launches in their order, and the shape of the workspace that they share, if any."""

    steps: tuple[Launches, ...]
    workspace: tuple[int, ...] | None = None


def per_position(
    geometry: Geometry,
    wide: bool,
    stem: str,
    kernel: str,
    arrays: tuple[str, ...],
    channels: int,
    grid: params.Axes,
    firsts: Sequence[params.Axes] = ((0, 0, 0),),
) -> Launches:
    """Return launches with one thread per position of `grid` in each of `channels` of every sample."""
    blocks = -(-geometry.samples * channels * prod(grid) // params.THREADS)
    structs = params.build(geometry, wide, grid, firsts)
    return Launches(stem, kernel, (blocks, 1, 1), (params.THREADS, 1, 1), arrays, structs)
