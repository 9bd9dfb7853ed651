"""Skips that continuous integration does not accept."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test for `reason`; where CI is set, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"must run in continuous integration: {reason}")
    pytest.skip(reason)
