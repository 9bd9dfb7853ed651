"""The pool of threads: no order of steps in which a caller waits forever, or returns too soon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.skips import need_compiled

need_compiled()

from cupy_kst.cpu.jit import pool, threads
from cupy_kst.cpu.jit.pack import kernel
from cupy_kst.cpu.jit.task import COUNTER, PENDING

from .interleavings import Run, explore, steps_of


def _empty_record() -> Any:
    """Return a record without tasks."""
    numbers = dict.fromkeys(kernel.COMBINE.fields, 0)
    return kernel.RUN_COMBINE.record("f", {**dict.fromkeys(kernel.COMBINE.arrays), **numbers})


# Calls of each caller by the numbers of their records, helpers, and tasks of a call: a caller by itself, one whose
# records are at one place in memory or at two, two callers that both want a helper, and two helpers.
_SCENES: dict[str, tuple[Any, int, int]] = {
    "one call": ([[0]], 1, 2),
    "a record's memory is used again": ([[0, 0]], 1, 2),
    "two records": ([[0, 1]], 1, 2),
    "two callers": ([[0], [1]], 1, 1),
    "two helpers": ([[0]], 2, 1),
}


def _explore(scene: str, **changes: tuple[str, str]) -> int:
    calls, helpers, tasks = _SCENES[scene]
    serve, lead = (steps_of(getattr(pool, name), changes.get(name, ("", ""))) for name in ("serve", "lead"))
    return explore(lambda: Run(calls, helpers, tasks, serve, lead))


@pytest.mark.long(but=lambda scene: scene == next(iter(_SCENES)))
@pytest.mark.parametrize("scene", _SCENES)
def test_all_callers_return_when_all_is_done_in_every_order(scene: str) -> None:
    assert _explore(scene) > 200


# What would be wrong in the pool's text, and in which scene it shows.
_FAULTS = {
    "a busy helper is waited for": (
        "lead", "    fetch_add(address + _PENDING, -1)\n    call", "    pass\n    call", "two callers", "forever"
    ),
    "one that has not begun is waited for": (
        "lead", "SLOT, address, 0)", "SLOT, address, 0) and False", "one call", "forever"
    ),
    "nobody is waited for": ("lead", "!= 0:", "< 0:", "one call", "before all tasks|after its caller"),
    "a helper begins before it is counted": (
        "lead", "fetch_add(address + _PENDING, 1)", "pass", "one call", "more helpers end"
    ),
    "a helper begins without saying so": (
        "serve", "replace(line + _SLOT, record, record | 1)", "load(line + _SLOT)", "one call", "after|more|empty"
    ),
    "a helper is done before its work": (
        "serve",
        "            call(load(record + _FUNCTION), record, row + 1)",
        "            fetch_add(record + _PENDING, -1)\n            call(load(record + _FUNCTION), record, row + 1)\n"
        "            fetch_add(record + _PENDING, 1)",
        "one call",
        "before all tasks|after its caller",
    ),
    "a slot stays taken": ("serve", "store(line + _SLOT, 0)", "pass", "one call", "empty|after its caller"),
    "a helper says that it sleeps and does not": ("serve", "store(line + _AWAKE, 0)", "pass", "one call", "awake"),
}  # fmt: skip


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_fault_in_the_pool_shows(fault: str) -> None:
    function, right, wrong, scene, says = _FAULTS[fault]
    with pytest.raises(AssertionError, match=says):
        _explore(scene, **{function: (right, wrong)})


def test_a_caller_does_not_wait_for_helpers_that_do_something_else() -> None:
    """As they are compiled; a fault here is seen as the time limit of tests."""
    mail, record = np.zeros((3, 16), np.int64), _empty_record()
    # One is at work for another call, and one is about to be.
    mail[0, 0], mail[1, 0] = 4711, 4712
    before = mail.copy()
    before[2, 0] = 0
    pool.lead(mail, 3, record)
    np.testing.assert_array_equal(mail, before)
    assert record[PENDING] == 0


def test_a_call_needs_no_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process may have no more, or the interpreter ends, the caller does the work."""

    def refuse(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    monkeypatch.setattr(threads, "start_new_thread", refuse)
    record = _empty_record()
    threads.parallel_for(record, 4)
    assert record[COUNTER] == 1, "the caller has looked for a task"
