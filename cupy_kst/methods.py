"""The table of methods: which paper each comes from, what it supports, and which one "auto" takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .geometry import Geometry

Operation = Literal["conv_transpose", "conv", "conv_weight"]
Role = Literal["small", "large", "weight", "bias"]


class Roles(NamedTuple):
    """What an operation reads, in the order in which engines take it, and what it writes."""

    inputs: tuple[Role, ...]
    output: Role


# The gradients of a convolution's and of a transposed convolution's input are operations of the other.
OPERATIONS: dict[Operation, Roles] = {
    "conv_transpose": Roles(("small", "weight", "bias"), "large"),
    "conv": Roles(("large", "weight", "bias"), "small"),
    "conv_weight": Roles(("small", "large"), "weight"),
}


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
        "ks_deconv",
        "conv_transpose",
        "arXiv 2306.15951",
        "the filter split and rotated once, then a matrix product per residue class, all in one launch",
        "border",
    ),
    Method(
        "split",
        "conv_transpose",
        "arXiv 1907.01773",
        "equal sub-filters as one ordinary convolution, whose channels are interleaved",
        "border",
        _dilation,
    ),
    Method("direct", "conv", "", "one dense convolution, with bounds tests: the baseline", "exact"),
    Method(
        "conv_v2", "conv", "arXiv 2306.15951", "a matrix product by the filter trimmed to what meets input", "border"
    ),
    Method(
        "zero_dilation", "conv_weight", "", "insert zeros into the gradient, then correlate: the baseline", "border"
    ),
    Method(
        "sk_dilated",
        "conv_weight",
        "arXiv 2306.15951",
        "matrix products that step over the input by the stride, trimmed to what meets it",
        "border",
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _TABLE}


def methods(op: str | None = None) -> dict[str, Method]:
    """Return the table of methods by name.

    Parameters
    ----------
    op : str, optional
        ``"conv_transpose"``, ``"conv"`` or ``"conv_weight"`` (the gradient of the weight of either); without it the
        methods of all. The gradient of a convolution's input is a ``"conv_transpose"``, and the reverse.

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
    >>> [name for name, method in methods("conv_transpose").items() if method.supports(dilated)[0]]
    ['zero_insertion', 'segregated', 'unified', 'ks_deconv']
    """
    if op is not None and op not in OPERATIONS:
        raise ValueError(f"op={op!r}: there is {', '.join(map(repr, OPERATIONS))}")
    return {name: method for name, method in METHODS.items() if op in (None, method.operation)}


_AUTO: dict[Operation, str] = {"conv_transpose": "unified", "conv": "direct", "conv_weight": "sk_dilated"}


def choose(name: str, operation: Operation, geometry: Geometry) -> Method:
    """Return the method called `name`, or the one that "auto" takes, or raise a ValueError with the reason."""
    if name == "auto":
        return METHODS[_AUTO[operation]]
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None or method.operation != operation:
        raise ValueError(f"method={name!r}: {operation} has 'auto', {', '.join(map(repr, methods(operation)))}")
    able, reason = method.supports(geometry)
    if not able:
        can = [each.name for each in methods(operation).values() if each.supports(geometry)[0]]
        raise ValueError(f"method={name!r}: {reason}; use one of 'auto', {', '.join(map(repr, can))}")
    return method
