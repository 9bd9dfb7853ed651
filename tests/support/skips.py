"""Skips that continuous integration does not accept."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from cupy_kst.cpu import jit


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test, or the module that is being imported, for `reason`; where CI is set, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"must run in continuous integration: {reason}")
    pytest.skip(reason, allow_module_level=True)


def need_compiled() -> None:
    """Skip the running test, or the module that is being imported, where Numba compiles nothing; in CI fail it."""
    if reason := jit.problem():
        skip_or_fail(reason)
