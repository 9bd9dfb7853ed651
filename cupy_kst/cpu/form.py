"""What the engine knows of a form: how NumPy, or code that Numba compiled, carries out a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..geometry import Geometry
from ..methods import Operation
from .arguments import Setting
from .cost_model import WorkCounts

Array = NDArray[Any]


@dataclass(frozen=True)
class Form:
    """One form of a method.

    Attributes
    ----------
    name : str
        Its name, which is its own among those of the method.
    run : callable
        Takes a Geometry, what its operation reads, and what it writes, all of it: also outputs that no tap reaches. All
        are C-contiguous and in the compute dtype, with the channels divided into groups: maps (samples, groups,
        channels, depth, height, width), the weight (groups, small_channels, large_channels, depth, height, width) or
        what `pack` makes of it, bias (groups, channels, 1, 1, 1).
    workspace : callable
        Takes a Geometry and a Setting, and returns the bytes that `run` and `pack` hold at once beside these arrays, at
        most, where all values and sums are finite: what a thread keeps for its next call counts, the tables that the
        process keeps of a geometry do not.
    pack : callable, optional
        Makes of a weight what `run` takes; without it `run` takes the weight as it is.
    compiled : bool
        Whether Numba compiles it, and not NumPy carries it out.
    exact : bool
        Whether a weight that is not finite reaches those outputs alone that it is multiplied for, because none of its
        elements is multiplied by zeros that are not of the input.
    combines : bool
        Whether it combines inputs, and weights, before they are multiplied, so that its sums may overflow where those
        of other forms do not. Then `run` returns whether one did.
    suits : callable
        Takes a Geometry and its operation, and tells whether the form can compute it.
    work : callable, optional
        Takes a Geometry and whether the weight is prepared, and returns the `WorkCounts` by which forms of a method
        are compared.
    """

    name: str
    run: Callable[..., bool | None]
    workspace: Callable[[Geometry, Setting], int]
    pack: Callable[[Array], Any] | None = None
    compiled: bool = False
    exact: bool = False
    combines: bool = False
    suits: Callable[[Geometry, Operation], bool] = lambda geometry, operation: True
    work: Callable[[Geometry, bool], WorkCounts] | None = None
