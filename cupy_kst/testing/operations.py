"""What strategies and `check` know of each operation: its definition, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..cpu import reference


class Operation(NamedTuple):
    """An operation's definition, and the names of its arguments and of its options, in that order."""

    definition: Callable[..., NDArray[Any]]
    arguments: tuple[str, ...]
    options: tuple[str, ...]


_OF_CONV = ("stride", "padding", "dilation", "groups")
_FORWARD = ("input", "weight", "bias")
_INPUT = ("input_size", "weight", "grad_output")
_WEIGHT = ("input", "weight_size", "grad_output")

OPERATIONS: dict[str, Operation] = {
    "conv_transpose": Operation(
        reference.conv_transpose, _FORWARD, ("stride", "padding", "output_padding", "groups", "dilation")
    ),
    "conv": Operation(reference.conv, _FORWARD, _OF_CONV),
    "conv_input": Operation(reference.conv_input, _INPUT, _OF_CONV),
    "conv_weight": Operation(reference.conv_weight, _WEIGHT, _OF_CONV),
    "conv_transpose_input": Operation(reference.conv_transpose_input, _INPUT, _OF_CONV),
    "conv_transpose_weight": Operation(reference.conv_transpose_weight, _WEIGHT, _OF_CONV),
}
