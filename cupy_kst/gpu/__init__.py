"""The CUDA engine: one launcher per method, over a runtime that CuPy is in use and the emulator in tests."""

from __future__ import annotations

from functools import lru_cache

from .build.runtime import CuPyRuntime
from .engine import Engine


@lru_cache(maxsize=64)
def engine(device: int) -> Engine:
    """Return the engine of one CUDA device."""
    return Engine(CuPyRuntime(device))
