"""What tests of the experiments share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what runs the command line in this process."""
    # Not at the top: pytest reads this file also where the experiments cannot be imported.
    from .running import invoke

    return partial(invoke, capsys)
