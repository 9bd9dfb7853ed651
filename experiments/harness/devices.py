"""The choice between NumPy on the CPU and CuPy on the GPU, and how arrays get there and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cupy_kst import Geometry, cpu, gpu
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build.runtime import load_cupy
from cupy_kst.gpu.engine import form_taken
from cupy_kst.methods import METHODS
from cupy_kst.problem import Choice, Problem
from experiments.errors import ExperimentError
from experiments.harness.timing import Clock, CpuClock, GpuClock

CHOICES = ("cpu", "gpu", "auto")


@dataclass(frozen=True)
class Device:
    """Where an experiment runs; `cupy` is None on the CPU, and `no_gpu` says why a GPU was not taken."""

    cupy: ModuleType | None = None
    no_gpu: str = ""

    @property
    def kind(self) -> str:
        return "cpu" if self.cupy is None else "gpu"

    @property
    def xp(self) -> Any:
        """The array module: NumPy or CuPy."""
        return np if self.cupy is None else self.cupy

    def put(self, array: NDArray[Any]) -> Any:
        """Return `array` on the device."""
        return array if self.cupy is None else self.cupy.asarray(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Return an array of the device as a NumPy array."""
        return np.asarray(array if self.cupy is None else self.cupy.asnumpy(array))

    def form(self, method: str, geometry: Geometry, dtype: str) -> str:
        """Return the name of the form by which the library carries a method out here."""
        problem = Problem(METHODS[method].operation, geometry, DTYPES[dtype])
        if self.cupy is None:
            return cpu.form_names(problem, method)[0]
        limits = gpu.engine(self.cupy.cuda.runtime.getDevice()).runtime.limits()
        return form_taken(problem, Choice(method), limits)

    def clock(self) -> Clock:
        """Return the clock that measures this device."""
        return CpuClock() if self.cupy is None else GpuClock(self.cupy)


def select(choice: str) -> Device:
    """Return the device for "cpu", "gpu" or "auto"; "auto" is the GPU if there is one that the library can use."""
    if choice == "cpu":
        return Device()
    try:
        return Device(load_cupy())
    except RuntimeError as error:
        problem = " ".join(str(error).split())
    if choice == "auto":
        return Device(no_gpu=problem)
    raise ExperimentError(f"--device gpu: {problem}")


_THREADS = "CUPY_KST_THREADS"


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let the libraries that NumPy calls, and what Numba compiled, use `threads` threads."""
    with threadpool_limits(threads), _compiled_limited(threads):
        yield


def logical_cores() -> int:
    """Return the number of logical cores this process may use."""
    return len(os.sched_getaffinity(0))


def free_bytes() -> int:
    """Return the memory that Linux says is available without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _compiled_limited(threads: int) -> Iterator[None]:
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before
