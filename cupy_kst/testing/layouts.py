"""How the arrays of a call lie in memory, as functions and as the text that shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Layout(NamedTuple):
    """A function that copies an array into a layout, and an expression that does the same to an array's literal."""

    lay_out: Callable[[NDArray[Any]], NDArray[Any]]
    text: str


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    # No negative strides, which not all libraries take, and NaN between the elements.
    view: NDArray[Any] = np.stack([array, np.full_like(array, np.nan)], -1)[..., 0]
    return view


LAYOUTS: dict[str, _Layout] = {
    "contiguous": _Layout(lambda array: np.array(array, order="C"), "{}"),
    "fortran": _Layout(lambda array: np.array(array, order="F"), "np.asfortranarray({})"),
    "strided": _Layout(_strided, "(lambda array: np.stack([array, np.full_like(array, np.nan)], -1)[..., 0])({})"),
}
