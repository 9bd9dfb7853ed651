"""The search for the fastest form of a call: every form checked, timed, and the best one kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import Geometry
from ...methods import METHODS, Operation, Role
from ...problem import Choice, Problem
from ..engine import Engine, form_names
from ..executable import Executable
from ..methods import REGISTRY
from . import tuned_forms
from .timer import Timer

# Numbers of parts that are tried where a form has any number.
_PARTS = (2, 4, 8, 16, 32, 64)
# Bytes of workspace that a form may take, or so many times those of its arrays.
_WORKSPACE, _TIMES = 256 * 2**20, 4
# Another form than that of the estimate has to take less time than this share of its.
_BETTER = 0.98
# Copies of the arrays that calls are timed on: as many as hold four times what the L2 cache does, within reason.
_CACHES = 4
_MOST_COPIES = 256
# Values are drawn once and repeated, with a period that no shape has.
_PERIOD = 65537


class Tuning(NamedTuple):
    """What `tune` found.

    Attributes
    ----------
    method : str
        The method whose forms were tried.
    form : str
        The one that calls take from now on.
    estimated : str
        The one that they take without tuning.
    seconds : dict of str to float
        Time of a call by form, the least first.
    """

    method: str
    form: str
    estimated: str
    seconds: dict[str, float]


def search(engine: Engine, bench: Timer, store: tuned_forms.Store, problem: Problem, method: str) -> Tuning:
    """Time all forms of a method, keep the fastest in `store` if there is more than one, and return all."""
    estimated = _estimated(engine, problem, method)
    candidates = (Choice(method, form) for form in _candidates(problem, method) if form != estimated)
    # What calls take is timed in any case, however much memory it needs.
    choices = [Choice(method, estimated), *(each for each in candidates if _is_possible(engine, problem, each))]
    names = [estimated, *(str(each.form) for each in choices[1:])]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        executable = pool.map(lambda choice: engine.bind(problem, choice, "specialised"), choices)
        executables = dict(zip(names, executable, strict=True))
    right = set(_right(engine, bench, problem, executables))
    for wrong in (name for name in names if name not in right):
        warnings.warn(f"{method}/{wrong} gives wrong results here and is left out: please report it", stacklevel=2)
    timed = _times(
        engine, bench, problem, {name: executable for name, executable in executables.items() if name in right}
    )
    seconds = dict(sorted(timed.items(), key=lambda each: each[1]))
    best = next(iter(seconds), estimated)
    if estimated in seconds and seconds[best] > _BETTER * seconds[estimated]:
        best = estimated
    if best in seconds and REGISTRY[method].has_forms:
        _keep(store, tuned_forms.key(engine.runtime.limits(), method, problem), best, seconds[best])
    return Tuning(method, best, estimated, seconds)


def _estimated(engine: Engine, problem: Problem, method: str) -> str:
    form = engine.estimated(problem, method).form
    # A thread per output is the first form of the methods that have it.
    return form_names(method, problem.dtype)[0] if form is None else str(form)


def _is_possible(engine: Engine, problem: Problem, choice: Choice) -> bool:
    """Return whether the device has a form, and it takes no more than a few times the memory of the call's arrays."""
    try:
        needed = engine.workspace_bytes(problem, choice)
    except ValueError:
        return False
    elements = (prod(shape) for shape in _shapes(problem.geometry).values())
    return needed <= max(_WORKSPACE, _TIMES * problem.dtype.storage.itemsize * sum(elements))


def _candidates(problem: Problem, method: str) -> Iterator[str]:
    """Yield the forms that calls may take, with some numbers of parts where a form has any number."""
    if not REGISTRY[method].has_forms:
        return
    for name in form_names(method, problem.dtype, problem.channels_last, problem.precision):
        yield from (name.replace("splitN", f"split{parts}") for parts in (_PARTS if "splitN" in name else (1,)))


def _right(engine: Engine, bench: Timer, problem: Problem, executables: Mapping[str, Executable]) -> Iterator[str]:
    """Yield the forms that give the reference's results: of whole numbers, whose sums are exact in any order."""
    output = problem.roles.output
    given = _arrays(problem, lambda draw, size: draw.integers(-2, 3, size))
    reference = Choice(_judge(problem.operation))

    def computed(executable: Executable) -> NDArray[Any]:
        arrays = {role: bench.put(np.full_like(each, np.nan) if role == output else each) for role, each in given}
        executable(arrays["small"], arrays["large"], executable.of_weight(arrays["weight"], None, None))
        return bench.get(arrays[output])

    expected = computed(engine.bind(problem, reference, "specialised"))
    yield from (name for name, executable in executables.items() if np.array_equal(computed(executable), expected))


def _judge(operation: Operation) -> str:
    """Return the method, of a thread per output, by whose results forms of the others are judged."""
    of_operation = (name for name, method in METHODS.items() if method.operation == operation)
    return next(name for name in of_operation if REGISTRY[name].judges_forms)


def _times(engine: Engine, bench: Timer, problem: Problem, executables: Mapping[str, Executable]) -> dict[str, float]:
    """Return the seconds of a call by form."""
    given = _arrays(problem, lambda draw, size: draw.standard_normal(size))
    copies = -(-_CACHES * engine.runtime.limits().l2_bytes // sum(each.nbytes for _, each in given))
    sets = [{role: bench.put(each) for role, each in given} for _ in range(min(copies, _MOST_COPIES))]

    def seconds(executable: Executable) -> float:
        size = executable.workspace_bytes
        workspace = bench.put(np.zeros(size, np.uint8)) if size else None

        def call_on(arrays: Mapping[Role, Any]) -> Callable[[], None]:
            weight = executable.of_weight(arrays["weight"], None, None)
            return lambda: executable(arrays["small"], arrays["large"], weight, workspace)

        return bench.seconds([call_on(arrays) for arrays in sets])

    return {name: seconds(executable) for name, executable in executables.items()}


def _arrays(
    problem: Problem, draw: Callable[[np.random.Generator, int], NDArray[Any]]
) -> list[tuple[Role, NDArray[Any]]]:
    """Return maps and a weight with drawn values; how pixels and channels lie does not matter to them."""
    generator = np.random.default_rng(0)
    return [
        (role, np.resize(draw(generator, _PERIOD), prod(shape)).astype(problem.dtype.storage).reshape(shape))
        for role, shape in _shapes(problem.geometry).items()
    ]


def _shapes(geometry: Geometry) -> dict[Role, tuple[int, ...]]:
    return {
        "small": geometry.full_small_shape,
        "large": geometry.full_large_shape,
        "weight": geometry.full_weight_shape,
    }


def _keep(store: tuned_forms.Store, key: str, form: str, seconds: float) -> None:
    try:
        store.put(key, form, seconds)
    except OSError as error:
        warnings.warn(f"what was tuned is lost with this process: {error}", stacklevel=2)
