"""Threads that share out NumPy's own loops, which run without the interpreter's lock; BLAS has threads of its own."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

from .jit import threads

Task = TypeVar("Task")


def parallel_for(tasks: Iterable[Task], do: Callable[[Task], None]) -> None:
    """Do all tasks, in the caller's thread and in helpers, and return when they are done.

    Helpers that are busy with another call do not help.
    """
    left = deque(tasks)
    helpers = min(threads.count(), len(left)) - 1

    def work() -> None:
        # Helpers do not inherit the caller's state.
        with np.errstate(all="ignore"):
            while left:
                try:
                    task = left.popleft()
                except IndexError:
                    return
                do(task)

    try:
        helping = [_pool(helpers).submit(work) for _ in range(helpers)]
    except RuntimeError:  # there are no new threads: at the interpreter's end, or where the system allows no more
        helping = []
    try:
        work()
    finally:
        left.clear()
        for future in helping:
            if not future.cancel():
                future.result()


@cache
def _pool(helpers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(helpers, thread_name_prefix="cupy_kst")


# A child process has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
