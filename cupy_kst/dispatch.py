"""From a problem to the engine that computes it: nothing else knows which engine runs a convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from . import arrays, cpu
from .arrays import Engine
from .cpu import call as cpu_call
from .gpu import call as gpu_call
from .gpu import engine as gpu_engine
from .gpu.build.runtime import load_cupy
from .gpu.engine import form_of
from .methods import Role
from .problem import Choice, Problem
from .weight_cache import WeightCache


class WeightCall(Protocol):
    """Calls by one weight on inputs of one shape, with a workspace of at least `workspace_bytes`."""

    workspace_bytes: int

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        """Return the result, which is `out` if that is given; this and the workspace may be None."""


def run(engine: Engine, problem: Problem, choice: Choice, given: Mapping[Role, tuple[str, Any]], out: Any) -> Any:
    """Return what a problem's arrays give, which is `out` if that is not None.

    Parameters
    ----------
    engine, problem, choice
        What is computed, by which engine, and how.
    given : mapping of role to (str, array)
        For each array that the operation reads the caller's name of it. The first array is not None. They are of the
        engine, the dtype, and the geometry's shapes in the problem's layout.
    out : array, optional
        Where to write the result.
    """
    geometry, written = problem.geometry, problem.roles.output
    module: Any = np
    if engine == "cupy":
        module = load_cupy()
        arrays.check_devices({**dict(given.values()), "out": out})
    layout = "" if written == "weight" else problem.data_format
    named = tuple(given.values())
    out = arrays.output_for(module, out, problem.output_shape, problem.dtype.storage, named, geometry.rank, layout)
    if out.size == 0:
        return out
    by_role: dict[Role, Any] = {**{role: array for role, (_, array) in given.items()}, written: out}
    if geometry.samples == 0:
        with arrays.device_of(out):
            out[...] = 0
    elif engine == "numpy":
        cpu_call.run(problem, choice, by_role)
    else:
        gpu_call.run(problem, choice, by_role)
    return out


def bind(engine: Engine, problem: Problem, choice: Choice, weight: Any, bias: Any, cache: WeightCache) -> WeightCall:
    """Return the calls by one weight; it and its bias are C-contiguous, and `cache` keeps what is made of it."""
    call = cpu_call.Call if engine == "numpy" else gpu_call.Call
    return call(problem, choice, weight, bias, cache)


def store_for(engine: Engine, weight: Any) -> WeightCache:
    """Return a store of what is made of a weight, which calls on any stream may read from here on."""
    return WeightCache() if engine == "numpy" else gpu_call.store_for(weight)


def check_form(engine: Engine, problem: Problem, choice: Choice) -> None:
    """Raise a ValueError that lists the forms of a method unless the one that is asked for is among them."""
    if choice.form is None:
        return
    if engine == "numpy":
        cpu.check_form(choice.method, problem.dtype, choice.form)
    else:
        form_of(choice.method, problem.dtype, choice.form, problem.channels_last, problem.precision)


def workspace_bytes(engine: Engine, problem: Problem, choice: Choice, weight: Any) -> int:
    """Return the bytes of workspace of calls that were not bound yet, on the device of a weight that is packed."""
    if engine == "numpy" or problem.geometry.samples == 0:
        return 0
    return gpu_engine(weight.device.id).workspace_bytes(problem, choice)
