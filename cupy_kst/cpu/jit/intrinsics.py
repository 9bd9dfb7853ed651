"""Numba's `intrinsic` with a type, which Numba does not give it: what it decorates is called from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import extending


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled code call what `function` generates."""
    made: Callable[..., Any] = extending.intrinsic(function)
    return made
