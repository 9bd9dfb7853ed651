"""A plan with its kernels: a call lacks nothing but its arrays."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..weight_cache import WeightCache
from .build import params
from .build.runtime import Grid, Runtime
from .plan import NULL, Launches, Plan

# Bytes that the parts of a workspace begin at multiples of, and the workspace itself.
ALIGNMENT = 256

_NO_ARRAY = np.uintp(0)
# What stands in front of a plan's workspaces in the arrays of a call.
_ROLES = ("small", "large", "weight", "bias", NULL)

Weight = tuple[Any, ...]


class _Launch(NamedTuple):
    """A launch, where `pick` takes its arrays out of those of a call; `params` is the argument after them."""

    kernel: Any
    grid: Grid
    block: Grid
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    params: NDArray[Any]


class _Part(NamedTuple):
    """A workspace: what it is as an array, and where its bytes are among those of all that are not packed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    stop: int


class _Packing(NamedTuple):
    """A launch that makes a workspace of the weight alone; equal keys make equal ones."""

    key: tuple[object, ...]
    launch: _Launch
    part: _Part


class Executable:
    """The launches of one method for arrays of given shapes.

    Parameters
    ----------
    runtime : Runtime
        What launches.
    plan : Plan
        The launches, in their order; those that pack the weight may go first.
    kernels : sequence
        The runtime's kernel of each of the plan's steps.
    storage : dtype
        Element type of workspaces that name none.

    Attributes
    ----------
    workspace_bytes : int
        What `workspace_bytes` gives for the plan.
    """

    def __init__(self, runtime: Runtime, plan: Plan, kernels: tuple[Any, ...], storage: np.dtype[Any]) -> None:
        self._runtime = runtime
        parts, self.workspace_bytes = _parts(plan, storage)
        names = [name for name in parts if name in plan.packed]
        scratch = [name for name in parts if name not in plan.packed]
        self._parts = tuple(parts[name] for name in scratch)
        places = {name: place for place, name in enumerate((*_ROLES, *names, *scratch))}
        packings: dict[str, _Packing] = {}
        launches: list[_Launch] = []
        for step, kernel in zip(plan.steps, kernels, strict=True):
            if plan.packs(step):
                packings[step.arrays[1]] = _packing(step, kernel, parts[step.arrays[1]])
            else:
                pick = itemgetter(*(places[name] for name in step.arrays))
                structs = (step.params[number : number + 1] for number in range(len(step.params)))
                launches += (_Launch(kernel, step.grid, step.block, pick, each) for each in structs)
        self._packings = tuple(packings[name] for name in names)
        self._launches = tuple(launches)

    def of_weight(self, weight: Any, bias: Any, cache: WeightCache | None) -> Weight:
        """Return a weight for calls: with its bias, and with what is made of it, which `cache` keeps."""
        made = (self._pack(each, weight, cache) for each in self._packings)
        return (weight, _NO_ARRAY if bias is None else bias, _NO_ARRAY, *made)

    def __call__(self, small: Any, large: Any, weight: Weight, workspace: Any = None) -> None:
        """Launch everything; what `weight` is, `of_weight` says."""
        arrays = (small, large, *weight)
        if self._parts:
            arrays += self._scratch(workspace)
        launch = self._runtime.launch
        for kernel, grid, block, pick, struct in self._launches:
            launch(kernel, grid, block, (*pick(arrays), struct))

    def _pack(self, packing: _Packing, weight: Any, cache: WeightCache | None) -> Any:
        def make() -> Any:
            kernel, grid, block, pick, struct = packing.launch
            made = self._runtime.empty(packing.part.shape, packing.part.dtype)
            self._runtime.launch(kernel, grid, block, (*pick((weight, made)), struct))
            return made

        return make() if cache is None else cache.get(packing.key, make)

    def _scratch(self, workspace: Any) -> tuple[Any, ...]:
        if workspace is None:
            return tuple(self._runtime.empty(each.shape, each.dtype) for each in self._parts)
        return tuple(workspace[each.start : each.stop].view(each.dtype).reshape(each.shape) for each in self._parts)


def workspace_bytes(plan: Plan, storage: np.dtype[Any]) -> int:
    """Return the bytes of the workspaces of a plan that are not packed."""
    return _parts(plan, storage)[1]


def _parts(plan: Plan, storage: np.dtype[Any]) -> tuple[dict[str, _Part], int]:
    """Return the workspaces by name, and the bytes of those that are not packed, one behind the other."""
    parts, start = {}, 0
    for name, (shape, dtype) in plan.workspaces.items():
        element = dtype or storage
        stop = start + prod(shape) * element.itemsize
        parts[name] = _Part(shape, element, start, stop)
        if name not in plan.packed:
            start = -(-stop // ALIGNMENT) * ALIGNMENT
    return parts, start


def _packing(step: Launches, kernel: Any, part: _Part) -> _Packing:
    """Return the launch that packs the weight.

    Its parameters hold no sizes of maps, so that the packed weight serves maps of all sizes. It serves all forms, too,
    because a kernel that packs has no tiles.
    """
    structs = params.without_sizes(step.params)
    key = (step.stem, step.kernel, structs.tobytes())
    return _Packing(key, _Launch(kernel, step.grid, step.block, itemgetter(0, 1), structs), part)
