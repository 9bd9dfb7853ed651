"""Calls on NumPy arrays: of a problem once, and of a prepared weight many times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays, cpu
from ..methods import Role
from ..problem import Choice, Problem
from ..weight_cache import WeightCache


def run(problem: Problem, choice: Choice, given: Mapping[Role, Any], cache: WeightCache | None = None) -> None:
    """Write what a problem's arrays give; maps lie in the problem's layout, and `cache` is as `cpu.run` has it."""
    rank, data_format = problem.geometry.rank, problem.data_format
    first = {
        role: arrays.channels_first(array, rank, data_format) if role in ("small", "large") else array
        for role, array in given.items()
    }
    cpu.run(problem, choice, first, cache)


class Call:
    """A prepared weight's calls on inputs of one shape, which take no workspace.

    Parameters
    ----------
    problem, choice
        What is computed, and how.
    weight, bias : ndarray
        C-contiguous; the bias may be None.
    cache : WeightCache
        Keeps what is made of the weight, for calls of all shapes.
    """

    workspace_bytes = 0

    def __init__(self, problem: Problem, choice: Choice, weight: Any, bias: Any, cache: WeightCache) -> None:
        self._problem, self._choice, self._cache = problem, choice, cache
        self._shape, self._dtype = problem.output_shape, problem.dtype.storage
        self._rank, self._data_format = problem.geometry.rank, problem.data_format
        self._weight: dict[Role, Any] = {"weight": weight, "bias": bias}
        self._read, self._written = problem.roles.inputs[0], problem.roles.output

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        """Write the result into `out`, or into an array made for it, and return that."""
        if workspace is not None:
            arrays.check_workspace(np, workspace, self.workspace_bytes, 1, {"x": x, "out": out})
        out = arrays.output_for(np, out, self._shape, self._dtype, (("x", x),), self._rank, self._data_format)
        if out.size:
            run(self._problem, self._choice, {self._read: x, **self._weight, self._written: out}, self._cache)
        return out
