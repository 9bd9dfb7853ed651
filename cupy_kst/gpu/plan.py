"""What a launcher hands to the engine: launches as plain data, so that they are tested without a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import Axis, Geometry
from .build import params
from .select.cost_model import Product
from .select.form import Form

# Among a launch's arrays: none.
NULL = "null"


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
        What its pointers are: "small", "large", "weight", "bias", the name of one of the plan's workspaces, or NULL.
    params : ndarray
        The params struct of each launch, shape (launches,).
    defines : tuple of (str, str)
        What the text needs beside the lines that all have: names and values.
    shared_bytes : int
        Shared memory of a block beyond what every block may have.
    axes : tuple of Axis, optional
        Whose filter, stride and dilation the text has as literals, if it has any; without it, the call's.
    """

    stem: str
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arrays: tuple[str, ...]
    params: NDArray[Any]
    defines: tuple[tuple[str, str], ...] = ()
    shared_bytes: int = 0
    axes: tuple[Axis, Axis, Axis] | None = None


class Workspace(NamedTuple):
    """An array that a plan's launches hand on from one to the next; without a dtype it is of the storage type."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """What carries a method out.

    Attributes
    ----------
    steps : tuple of Launches
        In their order.
    workspaces : mapping of str to Workspace
        What launches hand on from one to the next, by name.
    form : Form, optional
        The form taken; None where a thread computes an output, of which there is one form.
    """

    steps: tuple[Launches, ...]
    workspaces: Mapping[str, Workspace] = field(default_factory=dict)
    form: Form | None = None

    def packs(self, step: Launches) -> bool:
        """Return whether a step makes a workspace of the weight alone, so that it need not be repeated."""
        return step.arrays[0] == "weight" and all(name in self.workspaces for name in step.arrays[1:])

    @property
    def packed(self) -> frozenset[str]:
        """The workspaces that are made of the weight alone."""
        return frozenset(step.arrays[1] for step in self.steps if self.packs(step))


def per_position(
    geometry: Geometry,
    wide: bool,
    stem: str,
    kernel: str,
    arrays: tuple[str, ...],
    channels: int,
    grid: params.Axes,
    firsts: ArrayLike = ((0, 0, 0),),
    samples: int | None = None,
    defines: tuple[tuple[str, str], ...] = (),
) -> Launches:
    """Return launches with one thread per position of `grid` in each of `channels` of every sample.

    `samples` is their number where launches are not over the batch.
    """
    structs = params.build(geometry, wide, grid, firsts, samples)
    samples = geometry.samples if samples is None else samples
    blocks = -(-samples * channels * prod(grid) // params.THREADS)
    return Launches(stem, kernel, (blocks, 1, 1), (params.THREADS, 1, 1), arrays, structs, defines)


def of_weight(
    geometry: Geometry,
    wide: bool,
    stem: str,
    kernel: str,
    arrays: tuple[str, ...],
    defines: tuple[tuple[str, str], ...],
    first: params.Axes = (0, 0, 0),
) -> Launches:
    """Return a launch with one thread per element of the weight, where the small map's channels are the samples."""
    samples, channels, depth, height, width = geometry.full_weight_shape
    return per_position(
        geometry, wide, stem, kernel, arrays, channels, (depth, height, width), (first,), samples, defines
    )


def tiled(
    geometry: Geometry,
    wide: bool,
    stem: str,
    kernel: str,
    arrays: tuple[str, ...],
    product: Product,
    form: Form,
    defines: tuple[tuple[str, str], ...],
    shared_bytes: int,
) -> Launches:
    """Return a launch of one block per tile of a product, and per part of its depth."""
    structs = params.build(geometry, wide, (0, 0, 0))
    grid, block = (product.blocks(form.tile), form.splits, 1), (form.tile.threads, 1, 1)
    # Kernels take a zero from it that no compiler knows, see cuda/tile_fma.cuh.
    assert grid[2] == 1
    return Launches(stem, kernel, grid, block, arrays, structs, defines, shared_bytes)


def added(
    geometry: Geometry,
    wide: bool,
    stem: str,
    arrays: tuple[str, ...],
    shape: tuple[int, ...],
    splits: int,
    channels_last: bool,
    defines: tuple[tuple[str, str], ...],
) -> Launches:
    """Return a launch that adds the parts of an array of ``(samples, channels, depth, height, width)``."""
    samples, channels, depth, height, width = shape
    firsts = ((int(channels_last), channels, splits),)
    grid = (depth, height, width)
    return per_position(geometry, wide, stem, "add_partials", arrays, channels, grid, firsts, samples, defines)
