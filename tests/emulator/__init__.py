"""Runs the project's CUDA text on the CPU: g++ compiles it, a fiber stands for each thread, sanitizers watch."""

from __future__ import annotations

import os

from .build import available
from .errors import EmulatorError
from .poison import check_written
from .runtime import DEVICE, Emulator, Kernel

__all__ = ["DEVICE", "Emulator", "EmulatorError", "Kernel", "available", "check_written", "require"]


def require() -> None:
    """Skip the running test where the emulator cannot run; in continuous integration fail it."""
    import pytest

    ok, reason = available()
    if not ok and os.environ.get("CI"):
        pytest.fail(reason)
    if not ok:
        pytest.skip(reason)
