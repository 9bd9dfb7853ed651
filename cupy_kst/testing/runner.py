"""The run of a check: cases are put to a function until it is wrong, and then the smallest such case is looked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, Verbosity, errors, find, reject, settings
from hypothesis import strategies as st

from .arrays import Arrays
from .cases import Case
from .concurrent import fault_at_once
from .judging import Fault
from .program import Failure, name
from .progress import Progress
from .simplest import simplest
from .summary import Example, Tried
from .trial import Demand, Function, Way, fault_of
from .ways_out import ways_out

# Cases that are put to a function from two threads at once.
_AT_ONCE = 4
# Cases that are tried after a failure, so that no option is named that leaves it out by chance.
_FURTHER = 100
# One case in so many is drawn by each strategy after the first.
_RARE = 18
_NOW_AND_THEN = "it is not so whenever it is called again"


class Runner:
    """A function put to drawn cases, and what came of it."""

    def __init__(
        self,
        fn: Function,
        strategies: list[st.SearchStrategy[Any]],
        demand: Demand,
        max_examples: int,
        seed: int,
        quiet: bool,
    ) -> None:
        self._fn, self._strategies, self._demand = fn, strategies, demand
        self._max_examples, self._seed = max_examples, seed
        self._first: Case | None = None
        self._last = Fault("values", _NOW_AND_THEN)
        self._tried, self._progress = Tried(), Progress(name(fn), max_examples, quiet)

    def run(self, at_once: bool) -> Tried:
        """Return what was tried, or raise an AssertionError that shows the smallest failure."""
        usual, *rare = self._strategies
        few = -(-self._max_examples // _RARE)
        try:
            self._in_turn(usual, max(1, self._max_examples - few * len(rare)))
            for strategy in rare[: self._max_examples - 1]:
                self._in_turn(strategy, few)
            self._enough_compared()
            if at_once:
                self._at_once()
        finally:
            self._progress.end()
        return self._tried

    def _in_turn(self, strategy: st.SearchStrategy[Any], max_examples: int) -> None:
        tried = self._tried
        try:
            (case, arrays), way = self._smallest(strategy, self._is_wrong, max_examples)
        except (errors.NoSuchExample, errors.Unsatisfiable):
            return
        except errors.Flaky:
            fault = replace(self._last, text=_NOW_AND_THEN)
            raise AssertionError(self._report(*tried.wrong[-1], fault)) from fault.error
        # What a function remembers is there yet when it is called again, but not where the program runs.
        if tried.remembers or tried.was_right(case, way):
            way = Way(way.layout, 2)
        if not tried.remembers:
            arrays = simplest(arrays, lambda simpler: self._fault(case, simpler, way) is not None)
        fault = self._fault(case, arrays, way) or replace(self._last, text=_NOW_AND_THEN)
        if not tried.remembers:
            self._look_further(strategy)
        raise AssertionError(self._report(case, arrays, way, fault)) from fault.error

    def _look_further(self, strategy: st.SearchStrategy[Any]) -> None:
        """Put more cases to the function, whatever it makes of them: the smallest failures are all alike."""

        def note(example: Any) -> bool:
            self._is_wrong(example)
            return False

        with suppress(errors.NoSuchExample, errors.Unsatisfiable, errors.Flaky):
            self._smallest(strategy, note, min(_FURTHER, self._max_examples), further=True)
        self._tried.remembers = False

    def _is_wrong(self, example: Any) -> bool:
        (case, arrays), way = example
        tried = self._tried
        self._first = self._first or case
        if case == self._first:
            # What a function remembers from its first call shows before anything else does.
            way = Way(way.layout, 2)
        try:
            fault = self._fault(case, arrays, way)
        except NotImplementedError:
            tried.passed_over.append(case)
            reject()
        (tried.wrong if fault else tried.right).append((case, arrays, way))
        if fault:
            self._last = fault
            tried.remembers |= fault.call == 2
        self._progress.step(tried.compared, bool(tried.wrong))
        return fault is not None

    def _fault(self, case: Case, arrays: Arrays, way: Way) -> Fault | None:
        return fault_of(self._fn, case, arrays, way, self._demand)

    def _enough_compared(self) -> None:
        tried = self._tried
        if len(tried.passed_over) > 9 * tried.compared:
            raise AssertionError(
                f"{name(self._fn)} raised NotImplementedError in {len(tried.passed_over)} of "
                f"{len(tried.passed_over) + tried.compared} cases: restrict the cases to those that it supports, "
                f"unlike {tried.passed_over[-1]}"
            )

    def _at_once(self) -> None:
        """Put some cases to the function from two threads at once, spread over those that it was right in by size."""
        some = sorted((each for each in self._tried.right if _size(each) and 0 not in each[0].input_shape), key=_size)
        for case, arrays, _ in some[:: -(-len(some) // _AT_ONCE) or 1]:
            if fault_at_once(self._fn, case, arrays, self._demand):
                self._fail_at_once(case, arrays)
            self._tried.at_once += 1
            self._progress.step(self._tried.compared, False)

    def _fail_at_once(self, case: Case, arrays: Arrays) -> NoReturn:
        faults: dict[bytes, Fault | None] = {}

        def is_wrong(example: Any) -> bool:
            (case, arrays), _ = example
            key = repr(case).encode() + b"".join(each.tobytes() for each in arrays if each is not None)
            # What was wrong once is called so again, so that a scheduler's whims do not stop the search.
            if key not in faults:
                faults[key] = fault_at_once(self._fn, case, arrays, self._demand)
            self._progress.step(self._tried.compared + len(faults), True)
            return faults[key] is not None

        with suppress(errors.NoSuchExample, errors.Unsatisfiable, errors.Flaky):
            (case, arrays), _ = self._smallest(self._strategies[0], is_wrong, 4 * _AT_ONCE)
        fault = fault_at_once(self._fn, case, arrays, self._demand) or Fault("values", _NOW_AND_THEN)
        report = self._report(case, arrays, Way("contiguous", 1), fault, at_once=True)
        raise AssertionError(report) from fault.error

    def _smallest(
        self,
        strategy: st.SearchStrategy[Any],
        is_wrong: Callable[[Any], bool],
        max_examples: int,
        further: bool = False,
    ) -> Any:
        """Return the smallest example that is wrong; `further` draws others than before."""
        # All that a profile of the caller's could set.
        how = settings(
            max_examples=max_examples,
            derandomize=False,
            database=None,
            verbosity=Verbosity.quiet,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            deadline=None,
            print_blob=False,
        )
        return find(strategy, is_wrong, settings=how, random=Random(self._seed + further))

    def _report(self, case: Case, arrays: Arrays, way: Way, fault: Fault, at_once: bool = False) -> str:
        later = self._tried.remembers and fault.kind != "first result" and fault.text != _NOW_AND_THEN
        again = "on its second call, with other numbers in the same arrays, " if later else ""
        failure = Failure(self._fn, case, arrays, way, self._demand, fault)
        lines = [f"{failure.name} is wrong: {again}{fault.text}", "", failure.program(at_once)]
        options = ["threads=1 leaves it out"] if at_once else ways_out(case, way, self._tried)
        return "\n".join([*lines, *([""] if options else []), *(f"# {option}" for option in options)])


def _size(example: Example) -> int:
    return sum(each.size for each in example[1] if each is not None)
