"""What a launcher hands to the engine: launches as plain data, so that they are tested without a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from . import params


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel.

    Attributes
    ----------
    stem, kernel : str
        The .cu file without its ending, and the kernel in it.
    grid, block : tuple of int
        Thread blocks, and threads of a block.
    arrays : tuple of str
        What its pointers are: "input", "weight", "bias", "output" or "workspace".
    params : ndarray
        The params struct, shape (1,).
    """

    stem: str
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arrays: tuple[str, ...]
    params: NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """Launches in their order, and the shape of the workspace that they share, if any."""

    launches: tuple[Launch, ...]
    workspace: tuple[int, ...] | None = None


def per_position(
    geometry: Geometry,
    wide: bool,
    stem: str,
    kernel: str,
    arrays: tuple[str, ...],
    channels: int,
    grid: params.Axes,
    first: params.Axes = (0, 0, 0),
) -> Launch:
    """Return a launch of one thread per position of `grid` in each of `channels` of every sample."""
    count = params.blocks(grid) * geometry.samples * channels
    struct = params.build(geometry, wide, grid, first)
    return Launch(stem, kernel, (count, 1, 1), (params.THREADS, 1, 1), arrays, struct)
