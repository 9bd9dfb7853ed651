"""The choice between NumPy on the CPU and CuPy on the GPU, and how arrays get there and back."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.timing import Clock, CpuClock, GpuClock

CHOICES = ("cpu", "gpu", "auto")


@dataclass(frozen=True)
class Device:
    """Where an experiment runs; `cupy` is None on the CPU."""

    cupy: ModuleType | None = None

    @property
    def kind(self) -> str:
        return "cpu" if self.cupy is None else "gpu"

    def put(self, array: NDArray[Any]) -> Any:
        """Return `array` on the device."""
        return array if self.cupy is None else self.cupy.asarray(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Return an array of the device as a NumPy array."""
        return np.asarray(array if self.cupy is None else self.cupy.asnumpy(array))

    def clock(self) -> Clock:
        """Return the clock that measures this device."""
        return CpuClock() if self.cupy is None else GpuClock(self.cupy)


def select(choice: str) -> Device:
    """Return the device for "cpu", "gpu" or "auto"; "auto" is the GPU if CuPy and a CUDA device are there."""
    if choice == "cpu":
        return Device()
    cupy, problem = _probe()
    if cupy is not None:
        return Device(cupy)
    if choice == "auto":
        return Device()
    raise ExperimentError(f"--device gpu: {problem}")


def _probe() -> tuple[ModuleType | None, str]:
    try:
        import cupy
    except ImportError as error:
        if error.name == "cupy":
            return None, "CuPy is not installed; install it with: pip install 'cupy_kst[cuda13]' (CUDA 12: cuda12)"
        return None, f"CuPy cannot be imported: {error}"
    if not cupy.is_available():
        return None, "CuPy finds no CUDA device, or no driver for it"
    if cupy.cuda.runtime.is_hip:
        return None, "this CuPy is built for ROCm, and the kernels are CUDA"
    return cupy, ""
