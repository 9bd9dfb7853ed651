"""Which of many combinations of parameters are run where all of them take long: some that have each value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def has_turn(*chosen: tuple[Any, Iterable[Any]]) -> bool:
    """Return whether values, each given with all that there are, have the same place in turn.

    Each value of the longest axis is then run once, and each of the others with one of these.
    """
    axes = [(list(values).index(value), len(list(values))) for value, values in chosen]
    longest = max(axes, key=lambda axis: axis[1])
    return all(place == longest[0] % length for place, length in axes)
