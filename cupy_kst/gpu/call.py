"""Calls on CuPy arrays: of a problem once, and of a prepared weight many times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import arrays
from ..methods import Role
from ..problem import Choice, Problem
from ..weight_cache import WeightCache
from . import engine
from .build.runtime import load_cupy
from .executable import ALIGNMENT, Executable
from .select.tiles import ACCESS


def run(problem: Problem, choice: Choice, given: Mapping[Role, Any]) -> None:
    """Write what a problem's arrays give, on their device and its current stream.

    What is read may have any strides; what is written is C-contiguous.
    """
    out = given[problem.roles.output]
    with out.device as device:
        aligned = {role: None if array is None else _readable(array) for role, array in given.items()}
        aligned[problem.roles.output] = written = _writable(out)
        engine(device.id).run(problem, choice, aligned)
        if written is not out:
            out[...] = written


def store_for(weight: Any) -> WeightCache:
    """Return a store of what is made of a weight, which calls on any stream may read from here on."""
    with weight.device:
        _wait()
    return WeightCache(_wait)


def _wait() -> None:
    load_cupy().cuda.get_current_stream().synchronize()


def _readable(array: Any) -> Any:
    """Return an array as kernels read it: C-contiguous, and aligned to their widest access."""
    contiguous = load_cupy().ascontiguousarray(array)
    return contiguous.copy() if contiguous.data.ptr % ACCESS else contiguous


def _writable(out: Any) -> Any:
    """Return an array, or another if it is not aligned to the widest access of kernels."""
    return load_cupy().empty_like(out) if out.data.ptr % ACCESS else out


class Call:
    """A prepared weight's calls on inputs of one shape: they look at their arrays and launch, and nothing else.

    Made once per shape: kernels are compiled, in the build of their own, and the weight is packed, on the current
    stream. Calls then run on the current stream of the weight's device, and neither allocate nor wait if they are given
    `out`, and `workspace` where one is needed, and if arrays begin at a multiple of 16 bytes.

    Parameters
    ----------
    problem, choice
        What is computed, and how.
    weight, bias : cupy.ndarray
        C-contiguous, on one device; the bias may be None.
    cache : WeightCache
        Keeps what is made of the weight, for calls of all shapes.

    Attributes
    ----------
    workspace_bytes : int
        Bytes that a workspace has at least.
    """

    def __init__(self, problem: Problem, choice: Choice, weight: Any, bias: Any, cache: WeightCache) -> None:
        self._cupy = load_cupy()
        self._device, self._weight = weight.device.id, weight
        self._shape, self._dtype = problem.output_shape, problem.dtype.storage
        self._rank, self._data_format = problem.geometry.rank, problem.data_format
        self._from_small = "small" in problem.roles.inputs
        self._executable: Executable | None = None
        self.workspace_bytes = 0
        # An empty batch has nothing to launch.
        if problem.geometry.samples:
            with weight.device:
                self._executable = engine(self._device).bind(problem, choice, "specialised")
                self.workspace_bytes = self._executable.workspace_bytes
                self._of_weight = self._executable.of_weight(weight, bias, cache)

    def __call__(self, x: Any, out: Any, workspace: Any) -> Any:
        """Write the result into `out`, or into an array made for it, and return that."""
        cupy, device = self._cupy, self._device
        if x.device.id != device or (out is not None and out.device.id != device):
            arrays.check_devices({"x": x, "out": out, "weight": self._weight})
        out = arrays.output_for(cupy, out, self._shape, self._dtype, (("x", x),), self._rank, self._data_format)
        if workspace is not None:
            arrays.check_workspace(cupy, workspace, self.workspace_bytes, ALIGNMENT, {"x": x, "out": out})
        if self._executable is None:
            return out
        if cupy.cuda.runtime.getDevice() == device:
            self._launch(self._executable, x, out, workspace)
        else:
            with self._weight.device:
                self._launch(self._executable, x, out, workspace)
        return out

    def _launch(self, executable: Executable, x: Any, out: Any, workspace: Any) -> None:
        x, written = _readable(x), _writable(out)
        small, large = (x, written) if self._from_small else (written, x)
        executable(small, large, self._of_weight, workspace)
        if written is not out:
            out[...] = written
