"""What the tests of the emulator share: how they run a kernel, and what they run it with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from . import Emulator, EmulatorError
from .planted import ALL

ORDERS = ("forward", "reversed", "shuffled")
ONE = (1, 1, 1)
WARP = (32, 1, 1)
INT = np.int32

every_build = pytest.mark.parametrize("kind", ALL)
every_order = pytest.mark.parametrize("order", ORDERS)


def run(
    emulator: Emulator, text: str, grid: tuple[int, int, int], block: tuple[int, int, int], *args: Any, shared: int = 0
) -> None:
    """Compile and launch the kernel of a text, which is always called k."""
    emulator.launch(emulator.compile(text, "k", shared), grid, block, args)


def fails(message: str) -> Any:
    return pytest.raises(EmulatorError, match=message)
