"""Threads that share out the tasks of one call."""

from __future__ import annotations

import os
from _thread import start_new_thread
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Words of a helper's line: two cache lines, since processors read them by pairs.
_WORDS = 16
_MOST_HELPERS = 255


def count() -> int:
    """Return the threads of a call: ``CUPY_KST_THREADS``, else ``OMP_NUM_THREADS``, else one for each processor."""
    for name in ("CUPY_KST_THREADS", "OMP_NUM_THREADS"):
        # OpenMP takes a list as well, whose first number is for the outermost loops.
        value = os.environ.get(name, "").partition(",")[0].strip()
        if value.isdecimal() and int(value) > 0:
            return min(int(value), _MOST_HELPERS + 1)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, _MOST_HELPERS + 1)


def parallel_for(record: NDArray[Any], threads: int) -> None:
    """Do the work of a record in up to `threads` threads, one of them the caller's, until all have returned.

    In the record `pending` is 0, and `function` is the address of a compiled function. It is called with the record's
    address and the number of the thread, and takes tasks until none is left. Threads that are busy with another call do
    not help.
    """
    from .pool import lead

    if len(_helpers.wakes) < threads - 1:
        _helpers.hire(threads - 1)
    helpers = min(threads - 1, len(_helpers.wakes))
    _helpers.wake(helpers)
    lead(_helpers.mail, helpers, record)


class _Helpers:
    """Threads of this process, and the mail in which compiled code finds what to do (see `pool`)."""

    def __init__(self) -> None:
        self.mail = np.zeros((_MOST_HELPERS, _WORDS), np.int64)
        self.wakes: list[SimpleQueue[None]] = []
        self._lock = Lock()

    def hire(self, helpers: int) -> None:
        """Start threads until there are as many, or the process may have no more."""
        with self._lock:
            while len(self.wakes) < helpers:
                wake: SimpleQueue[None] = SimpleQueue()
                try:
                    # Unlike those of `threading`, these are not waited for when the interpreter ends.
                    start_new_thread(_help, (self.mail, len(self.wakes), wake))
                except RuntimeError:
                    return
                self.wakes.append(wake)

    def wake(self, helpers: int) -> None:
        """Wake those of the first `helpers` that sleep."""
        for row in range(helpers):
            if not self.mail[row, 1]:
                self.wakes[row].put(None)


def _help(mail: NDArray[Any], row: int, wake: SimpleQueue[None]) -> None:
    from .pool import serve

    while True:
        wake.get()
        while not wake.empty():
            wake.get()
        serve(mail, row)


_helpers = _Helpers()


def _renew() -> None:
    global _helpers
    _helpers = _Helpers()


# A child process has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
