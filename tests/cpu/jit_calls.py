"""What tests of compiled code share: fixtures, and small numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.support.skips import need_compiled

need_compiled()

from cupy_kst.cpu.jit import isa, launch, memory, template
from cupy_kst.cpu.jit.winograd import blocking


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in memory beforehand must not matter."""

    def scratch(size: int) -> tuple[Any, int]:
        # Bytes of ones are NaN in any element type.
        held = np.full(size + memory.LINES_BYTES, 255, np.uint8)
        return held, memory.aligned(held)

    monkeypatch.setattr(memory, "scratch", scratch)


@pytest.fixture
def several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are shared by three threads, however small they are."""
    monkeypatch.setenv("CUPY_KST_THREADS", "3")
    monkeypatch.setattr(launch, "ALONE_MACS", 0)


@contextmanager
def boxes_of_few_tiles(monkeypatch: pytest.MonkeyPatch, sums_bytes: int) -> Iterator[None]:
    """Divide maps of minimal filtering into boxes of few tiles, as those of many channels are."""
    monkeypatch.setattr(isa, "WINOGRAD_SUM_BYTES", sums_bytes)
    caches = blocking.space_of, template.winograd_tables, template.winograd
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def integers(*shape: int, dtype: str = "float32", seed: int = 0) -> Any:
    """Return small integers, whose sums are exact."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)
