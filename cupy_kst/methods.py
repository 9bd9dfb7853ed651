"""The table of methods: which paper each comes from, what it supports, and which one "auto" takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from .geometry import Geometry

Operation = Literal["conv_transpose"]


def _nothing(geometry: Geometry) -> str:
    del geometry
    return ""


def _dilation(geometry: Geometry) -> str:
    dilation = tuple(axis.dilation for axis in geometry.axes[-geometry.rank :])
    return "" if set(dilation) == {1} else f"its sub-filters have no dilation, which here is {dilation}"


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
        outputs at the border NaN, and inside too where the method multiplies inserted zeros or a filter's expansion
        zeros.
    refusal : callable
        Returns why the method cannot compute a Geometry, or ``""``.
    """

    name: str
    operation: Operation
    paper: str
    summary: str
    non_finite: Literal["exact", "border"]
    refusal: Callable[[Geometry], str] = field(default=_nothing, repr=False)

    def supports(self, geometry: Geometry) -> tuple[bool, str]:
        """Return whether the method can compute `geometry`, and why not."""
        reason = self.refusal(geometry)
        return not reason, reason


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
    Method(
        "split",
        "conv_transpose",
        "arXiv 1907.01773",
        "equal sub-filters as one ordinary convolution, whose channels are interleaved",
        "border",
        _dilation,
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _TABLE}


def methods(op: str | None = None) -> dict[str, Method]:
    """Return the table of methods by name.

    Parameters
    ----------
    op : str, optional
        The operation, so far ``"conv_transpose"``; without it the methods of all operations.

    Returns
    -------
    dict of str to Method
        A dict of its own, in the table's order.

    Raises
    ------
    ValueError
        If there is no such operation; the message lists those there are.

    Examples
    --------
    >>> from cupy_kst import Geometry, methods
    >>> methods("conv_transpose")["split"].paper
    'arXiv 1907.01773'
    >>> dilated = Geometry.conv_transpose((1, 1, 8, 8), (1, 1, 3, 3), stride=2, dilation=2)
    >>> [name for name, method in methods().items() if method.supports(dilated)[0]]
    ['zero_insertion', 'segregated', 'unified']
    """
    if op is not None and op not in get_args(Operation):
        raise ValueError(f"op={op!r}: there is {', '.join(map(repr, get_args(Operation)))}")
    return {name: method for name, method in METHODS.items() if op in (None, method.operation)}


def choose(name: str, operation: Operation, geometry: Geometry) -> Method:
    """Return the method called `name`, or the one that "auto" takes, or raise a ValueError with the reason."""
    if name == "auto":
        return METHODS["unified"]
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None or method.operation != operation:
        raise ValueError(f"method={name!r}: {operation} has 'auto', {', '.join(map(repr, methods(operation)))}")
    able, reason = method.supports(geometry)
    if not able:
        can = [each.name for each in methods(operation).values() if each.supports(geometry)[0]]
        raise ValueError(f"method={name!r}: {reason}; use one of 'auto', {', '.join(map(repr, can))}")
    return method
