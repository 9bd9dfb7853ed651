"""Settings that every test shares: how many cases Hypothesis draws, and which tests need a GPU."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Compiling a kernel for the emulator takes seconds, once: neither a deadline nor "too slow" tells anything here.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None, print_blob=True)
PROFILE = "ci" if os.environ.get("CI") else "local"
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu`, with the reason, where there is no usable GPU."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = _no_gpu() if marked else ""
    for item in marked if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    from cupy_kst.gpu.runtime import load_cupy

    try:
        load_cupy()
    except RuntimeError as error:
        return str(error)
    return ""
