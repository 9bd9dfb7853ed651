"""Threads that share out the tasks of one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache


def count() -> int:
    """Return how many threads a call uses: ``CUPY_KST_THREADS``, else ``OMP_NUM_THREADS``, else those there are."""
    for name in ("CUPY_KST_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def together(work: Callable[[], None], threads: int) -> None:
    """Run `work` at one time in `threads` threads, one of them the caller's, until all have returned."""
    helpers = [_pool(max(count(), threads) - 1).submit(work) for _ in range(threads - 1)] if threads > 1 else []
    try:
        work()
    finally:
        # One that has not begun by now would find no task left; what others still write to must not be given back.
        wait([each for each in helpers if not each.cancel()])
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


@lru_cache(maxsize=4)
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="cupy_kst")


# A child process has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
