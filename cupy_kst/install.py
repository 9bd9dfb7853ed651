"""What to install where a package is missing that a feature needs."""

from __future__ import annotations


def from_extra(extra: str, package: str) -> str:
    """Return how to install the package of an extra: from a checkout as README does, or beside an installed wheel."""
    return f"pip install '.[{extra}]' in a checkout of cupy_kst, or pip install '{package}'"
