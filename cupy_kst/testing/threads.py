"""Two calls at once, in threads of their own, at the moments at which they may meet in memory that they share.

First one call is stopped before each line of its Python code, and the other made meanwhile, from its beginning to its
end: that finds what a function keeps in memory of its own between two lines, whatever the scheduler does. Then both are
made again and again at the same time, with threads that take turns as often as the interpreter can: for what runs
without its lock.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Thread
from time import perf_counter
from types import CodeType, FrameType
from typing import Any

Call = Callable[[], Any]

# Lines at which a call is stopped at most, in one function and in all, and seconds to wait there: the other may wait
# for a lock of the first.
_STOPS_OF_ONE, _STOPS = 24, 96
_PATIENCE_S = 0.05
# Calls of each thread at the same time, and seconds after which there are no more.
_ROUNDS = 64
_ROUNDS_S = 0.002
# Seconds after which two calls are taken to wait for each other forever.
LIMIT_S = 60.0


def at_once(first: Call, second: Call) -> tuple[list[Any], list[Any]]:
    """Return what two calls return, or raise, each time that they run at once."""
    results: tuple[list[Any], list[Any]] = ([], [])
    _interrupt(first, second, results)
    _race((first, second), results)
    return results


def _outcome(call: Call) -> Any:
    try:
        return call()
    except Exception as error:
        return error


def _interrupt(first: Call, second: Call, results: tuple[list[Any], list[Any]]) -> None:
    others: list[Thread] = []
    seen: set[tuple[CodeType, str, int]] = set()
    stops: Counter[CodeType] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if _is_foreign(frame):
            return None
        place = (frame.f_code, event, frame.f_lineno)
        # The last of the others is at work yet where it waits for the first.
        waits = bool(others) and others[-1].is_alive()
        if place not in seen and stops[frame.f_code] < _STOPS_OF_ONE and len(seen) < _STOPS and not waits:
            seen.add(place)
            stops[frame.f_code] += 1
            others.append(_started(lambda: results[1].append(_outcome(second))))
            others[-1].join(_PATIENCE_S)
        return trace

    def traced() -> None:
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            results[0].append(_outcome(first))
        finally:
            sys.settrace(before)

    _wait_for([_started(traced)])
    _wait_for(others)


def _is_foreign(frame: FrameType) -> bool:
    """Return whether a frame is of a library that keeps nothing between lines, or of this package."""
    name = str(frame.f_globals.get("__name__", ""))
    package = name.partition(".")[0]
    return package == "numpy" or package in sys.stdlib_module_names or name.startswith("cupy_kst.testing.")


def _race(calls: tuple[Call, Call], results: tuple[list[Any], list[Any]]) -> None:
    barrier = Barrier(len(calls))

    def rounds(call: Call, kept: list[Any]) -> None:
        barrier.wait()
        end = perf_counter() + _ROUNDS_S
        for _ in range(_ROUNDS):
            kept.append(_outcome(call))
            if perf_counter() > end:
                break

    with _frequent_switches():
        _wait_for([_started(partial(rounds, *pair)) for pair in zip(calls, results, strict=True)])


@contextmanager
def _frequent_switches() -> Any:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _started(work: Callable[[], None]) -> Thread:
    # Not waited for when the interpreter ends: it may wait forever.
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def _wait_for(threads: list[Thread]) -> None:
    end = perf_counter() + LIMIT_S
    for thread in threads:
        thread.join(max(0.0, end - perf_counter()))
        if thread.is_alive():
            raise TimeoutError(f"two calls at once have not come back within {LIMIT_S:g} s")
