"""A case put to a function from two threads at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from . import scaling
from .arrays import Arrays
from .cases import Case
from .judging import Fault, Wanted, wanted
from .threads import at_once
from .trial import Demand, Function, called, raised


def fault_at_once(fn: Function, case: Case, arrays: Arrays, demand: Demand) -> Fault | None:
    """Return what is wrong with two calls at once, on arrays of one shape with different numbers; None if nothing."""
    right = wanted(case, arrays, *demand)
    others = Arrays(*(None if each is None else each.copy() for each in arrays))
    scaling.scale(others)
    try:
        results = at_once(_caller(fn, case, arrays), _caller(fn, case, others))
    except TimeoutError as error:
        return raised(error)
    return _first_fault(results[0], right) or _first_fault(results[1], right.scaled(scaling.OF_RESULT))


def _caller(fn: Function, case: Case, arrays: Arrays) -> Callable[[], Any]:
    def call() -> Any:
        return called(fn, case, Arrays(*(None if each is None else each.copy() for each in arrays)))

    return call


def _first_fault(results: list[Any], right: Wanted) -> Fault | None:
    for result in results:
        # By this a function says that it does not support the case, which is no fault.
        if isinstance(result, NotImplementedError):
            continue
        fault = raised(result) if isinstance(result, Exception) else right.fault(np.asarray(result))
        if fault:
            return replace(fault, text=f"called from two threads at once, {fault.text}")
    return None
