"""The table of methods: which paper each comes from, what it supports, and which one "auto" takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .geometry import Geometry

Operation = Literal["conv_transpose"]


@dataclass(frozen=True)
class Method:
    """An algorithm of a paper, or a baseline, under its public name.

    Attributes
    ----------
    name : str
        Name that callers pass as `method`.
    operation : str
        What it computes.
    paper : str
        Where it comes from; empty for a baseline.
    summary : str
        What it does, in one line.
    non_finite : str
        ``"exact"``: a non-finite weight or input reaches just the outputs it touches. ``"border"``: it may also make
        outputs at the border NaN, and inside too where the method multiplies inserted zeros.
    """

    name: str
    operation: Operation
    paper: str
    summary: str
    non_finite: Literal["exact", "border"]

    def supports(self, geometry: Geometry) -> tuple[bool, str]:
        """Return whether the method can compute `geometry`, and why not."""
        del geometry
        return True, ""


_TABLE = (
    Method(
        "zero_insertion", "conv_transpose", "", "insert zeros between inputs, then convolve: the baseline", "border"
    ),
    Method(
        "segregated",
        "conv_transpose",
        "arXiv 2209.03704",
        "one dense convolution per residue class, a launch each",
        "exact",
    ),
    Method(
        "unified", "conv_transpose", "arXiv 2502.20493", "every output finds its residue class in one launch", "exact"
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _TABLE}


def choose(name: str, operation: Operation, geometry: Geometry) -> Method:
    """Return the method called `name`, or the one that "auto" takes, or raise a ValueError with the reason."""
    if name == "auto":
        return METHODS["unified"]
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None or method.operation != operation:
        names = [each.name for each in _TABLE if each.operation == operation]
        raise ValueError(f"method={name!r}: {operation} has 'auto', {', '.join(map(repr, names))}")
    able, reason = method.supports(geometry)
    if not able:
        raise ValueError(f"method={name!r}: {reason}")
    return method
