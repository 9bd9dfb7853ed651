"""The table of methods: which paper each comes from, what it supports, and which one "auto" takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from .arrays import Engine
from .geometry import Geometry
from .geometry.options import check_choice, shape_or_array, size_in_front
from .geometry.refusals import too_many
from .hints.words import bias_gradient, question
from .labels import DataFormat, Labels, resolve

Operation = Literal["conv_transpose", "conv", "conv_weight"]
Op = Literal["conv_transpose", "conv", "conv_input", "conv_weight", "conv_transpose_input", "conv_transpose_weight"]
Role = Literal["small", "large", "weight", "bias"]

# A gradient of an input is the other operation on the same geometry.
OPERATION_OF: dict[Op, Operation] = {
    "conv_transpose": "conv_transpose",
    "conv": "conv",
    "conv_input": "conv_transpose",
    "conv_weight": "conv_weight",
    "conv_transpose_input": "conv",
    "conv_transpose_weight": "conv_weight",
}


class Roles(NamedTuple):
    """What an operation reads, in the order in which engines take it, and what it writes."""

    inputs: tuple[Role, ...]
    output: Role


OPERATIONS: dict[Operation, Roles] = {
    "conv_transpose": Roles(("small", "weight", "bias"), "large"),
    "conv": Roles(("large", "weight", "bias"), "small"),
    "conv_weight": Roles(("small", "large"), "weight"),
}


def _nothing(geometry: Geometry) -> str:
    del geometry
    return ""


def _too_large(what: str, shape: tuple[int, ...]) -> str:
    """Return why an array can't be, "" where it can."""
    why = too_many(shape)
    return why and f"its {what} would have shape {shape}, {why}"


def _inserted(geometry: Geometry) -> str:
    return _too_large("zero-inserted map", geometry.zero_inserted_shape)


def _dilated(geometry: Geometry) -> str:
    sizes = tuple(axis.dilated_size for axis in geometry.axes)
    return _too_large("dilated gradient", (geometry.samples, geometry.small_channels, *sizes))


def _split(geometry: Geometry) -> str:
    dilation = tuple(axis.dilation for axis in geometry.axes[-geometry.rank :])
    if set(dilation) != {1}:
        return f"its sub-filters have no dilation, which here is {dilation}"
    weight = _too_large("expanded filter", geometry.split_weight_shape)
    return weight or _too_large("map before it is interleaved", geometry.split_output_shape)


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
        "zero_insertion",
        "conv_transpose",
        "",
        "insert zeros between inputs, then convolve: the baseline",
        "border",
        _inserted,
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
        _split,
    ),
    Method("direct", "conv", "", "one dense convolution, with bounds tests: the baseline", "exact"),
    Method(
        "conv_v2", "conv", "arXiv 2306.15951", "a matrix product by the filter trimmed to what meets input", "border"
    ),
    Method(
        "zero_dilation",
        "conv_weight",
        "",
        "insert zeros into the gradient, then correlate: the baseline",
        "border",
        _dilated,
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
        ``"conv_transpose"``, ``"conv"``, or a gradient of either: ``"conv_input"``, ``"conv_weight"``,
        ``"conv_transpose_input"``, ``"conv_transpose_weight"``. Without it the methods of all. The gradient of a
        convolution's input has the methods of a transposed convolution, and the reverse.

    Returns
    -------
    dict of str to Method
        A dict of its own, in the table's order.

    Raises
    ------
    ValueError
        If there is no such operation; the message lists the operations.

    Examples
    --------
    >>> from cupy_kst import Geometry, methods
    >>> methods("conv_transpose")["split"].paper
    'arXiv 1907.01773'
    >>> dilated = Geometry.conv_transpose((1, 1, 8, 8), (1, 1, 3, 3), stride=2, dilation=2)
    >>> [name for name, method in methods("conv_transpose").items() if method.supports(dilated)[0]]
    ['zero_insertion', 'segregated', 'unified', 'ks_deconv']
    """
    return dict(METHODS) if op is None else methods_of(op)


def methods_of(op: Any) -> dict[str, Method]:
    """Return the methods of an operation by name, or raise a ValueError that lists the operations."""
    if not isinstance(op, str) or op not in OPERATION_OF:
        known = ", ".join(map(repr, OPERATION_OF))
        raise ValueError(f"op={op!r}: there is {known}{bias_gradient(op) or question(op, OPERATION_OF)}")
    return {name: method for name, method in METHODS.items() if method.operation == OPERATION_OF[op]}


def geometry_of(
    op: Op,
    input_shape: Any,
    weight_shape: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    output_size: Any,
    data_format: DataFormat,
) -> Geometry:
    """Return the geometry of an operation, or of the forward call that it is a gradient of.

    Shapes, in place of which there may be arrays, are in the layout of `data_format`.
    """
    methods_of(op)
    check_choice("data_format", data_format, DataFormat)
    inputs = shape_or_array("input_shape", input_shape)
    weights = shape_or_array("weight_shape", weight_shape)
    # Without a spatial axis there is no layout, and the weight is refused.
    rank = max(len(weights) - 2, 0)
    labels = Labels("input_shape", "weight_shape", "output_size", data_format)
    if op.startswith("conv_transpose"):
        options = (stride, padding, output_padding, groups, dilation)
        wished = size_in_front(output_size, rank, data_format)
        return resolve(Geometry.conv_transpose, labels, rank, inputs, weights, *options, output_size=wished)
    if output_size is not None or np.any(output_padding):
        raise ValueError(f"op={op!r}: a convolution takes no output_padding and no output_size")
    return resolve(Geometry.conv, labels, rank, inputs, weights, stride, padding, dilation, groups)


class Auto(NamedTuple):
    """The method that "auto" takes, and why."""

    name: str
    reason: str


_PER_OUTPUT = "a thread per output, as groups of few channels leave most of a tile empty"
_TILES = "matrix products without inserted zeros"
_PRODUCT = "matrix products without inserted zeros; {} for non-finite weights"
_NO_ZEROS = "no map with zeros is built"
AUTO: dict[Operation, Auto] = {
    "conv_transpose": Auto("ks_deconv", _PRODUCT.format("unified")),
    "conv": Auto("conv_v2", _PRODUCT.format("direct")),
    "conv_weight": Auto("sk_dilated", _NO_ZEROS),
}
_AUTO_PER_OUTPUT: dict[Operation, str] = {"conv_transpose": "unified", "conv": "direct"}

# Depth and columns of the smallest tiles, and how many products of such a tile are to be real ones.
_DEPTH, _COLUMNS, _REAL = 8, 16, 16


def auto(operation: Operation, geometry: Geometry, engine: Engine) -> Auto:
    """Return the method that "auto" takes for a geometry, and why."""
    if engine == "numpy":
        return AUTO[operation]
    small, large = (count // geometry.groups for count in (geometry.small_channels, geometry.large_channels))
    deep, columns = (small, large) if operation == "conv_transpose" else (large, small)
    if operation in _AUTO_PER_OUTPUT and min(deep, _DEPTH) * min(columns, _COLUMNS) < _REAL:
        return Auto(_AUTO_PER_OUTPUT[operation], _PER_OUTPUT)
    return AUTO[operation]._replace(reason=_NO_ZEROS if operation == "conv_weight" else _TILES)


def choose(name: str, operation: Operation, geometry: Geometry, engine: Engine) -> Method:
    """Return the method called `name`, or the one that "auto" takes, or raise a ValueError with the reason."""
    if name == "auto":
        return METHODS[auto(operation, geometry, engine).name]
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None or method.operation != operation:
        there = ("auto", *methods_of(operation))
        asked = f"; {name!r} is of {method.operation}" if method is not None else question(name, there)
        raise ValueError(f"method={name!r}: {operation} has {', '.join(map(repr, there))}{asked}")
    able, reason = method.supports(geometry)
    if not able:
        can = [each.name for each in methods(operation).values() if each.supports(geometry)[0]]
        raise ValueError(f"method={name!r}: {reason}; use one of 'auto', {', '.join(map(repr, can))}")
    return method
