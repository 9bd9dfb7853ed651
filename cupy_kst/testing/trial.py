"""One case put to a function: called once or twice, on arrays of some layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import scaling
from .arrays import Arrays, arguments
from .cases import Case
from .judging import Fault, Numbers, Wanted, wanted
from .layouts import LAYOUTS

Function = Callable[..., Any]


class Way(NamedTuple):
    """How a case is put to a function."""

    layout: str
    calls: Literal[1, 2]


class Demand(NamedTuple):
    """What numbers the arrays hold, and how exact the results must be."""

    numbers: Numbers
    max_error: float


def fault_of(fn: Function, case: Case, arrays: Arrays, way: Way, demand: Demand) -> Fault | None:
    """Return what is wrong with a function, None if it is right; a NotImplementedError goes through.

    The second call gets the same arrays, with other numbers in them.
    """
    right = wanted(case, arrays, *demand)
    given = Arrays(*(None if each is None else LAYOUTS[way.layout].lay_out(each) for each in arrays))
    result, fault = _judged(fn, case, given, right)
    if fault or way.calls == 1:
        return fault
    before = np.array(result)
    scaling.scale(given)
    _, fault = _judged(fn, case, given, right.scaled(scaling.OF_RESULT))
    if fault:
        return replace(fault, call=2)
    if not np.array_equal(result, before, equal_nan=True):
        return Fault("first result", "its second call overwrites the result of the first", 2)
    return None


def called(fn: Function, case: Case, arrays: Arrays) -> NDArray[Any]:
    """Return what a function makes of a case."""
    return np.asarray(fn(*arguments(case, arrays).values(), *case.options.values()))


def raised(error: Exception) -> Fault:
    """Return the fault that an exception of a function is."""
    return Fault("raises", f"it raises {type(error).__name__}: {error}", error=error)


def _judged(fn: Function, case: Case, given: Arrays, right: Wanted) -> tuple[Any, Fault | None]:
    before = Arrays(*(None if each is None else each.copy() for each in given))
    try:
        got = called(fn, case, given)
    except NotImplementedError:
        # By this a function says that it does not support the case: the run passes it over.
        raise
    except Exception as error:
        return None, raised(error)
    return got, right.fault(got) or _overwritten(before, given)


def _overwritten(before: Arrays, after: Arrays) -> Fault | None:
    for name, old, new in zip(before._fields, before, after, strict=True):
        if old is not None and not np.array_equal(old, new):
            place = tuple(map(int, np.argwhere(old != new)[0]))
            return Fault("overwritten", f"it overwrites its {name}: {old[place]} at {place} became {new[place]}")
    return None
