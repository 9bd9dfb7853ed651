"""Errors against bounds: a failure shows the worst element."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_within(result: Any, exact: Any, bound: Any) -> None:
    """See each element as near to `exact` as `bound` says, both parts of complex ones; NaN is near to nothing.

    Parameters
    ----------
    result, exact : ndarray
        Arrays of one shape.
    bound : ndarray or float
        The largest error of each element, or of all.
    """
    assert np.shape(result) == np.shape(exact)
    error = np.asarray(result).astype(np.complex128) - exact
    larger = np.asarray(np.maximum(np.abs(error.real), np.abs(error.imag)))
    bounds = np.broadcast_to(bound, larger.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(larger == 0, 0, larger / bounds)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    if (ratio > 1).any():
        worst = tuple(map(int, np.unravel_index(np.argmax(ratio), ratio.shape)))
        raise AssertionError(
            f"{np.count_nonzero(ratio > 1)} of {ratio.size} errors are above their bound; the largest is "
            f"{ratio[worst]:.3g} times its bound, {larger[worst]:.3g} over {bounds[worst]:.3g} at {worst}: "
            f"{np.asarray(result)[worst]}, not {np.asarray(exact)[worst]}"
        )
