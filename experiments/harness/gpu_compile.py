"""Compiles on all cores what calls will launch, before any of them is timed or watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any
from unittest import mock

from cupy_kst import gpu
from cupy_kst.gpu.build.runtime import CuPyRuntime, load_cupy
from experiments.harness.devices import logical_cores

# What `Runtime.compile` is asked for.
Request = tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]


@contextmanager
def recorded() -> Iterator[dict[Request, None]]:
    """Let calls on GPUs launch nothing; what they would compile is in the dict."""
    found: dict[Request, None] = {}

    def note(runtime: CuPyRuntime, *args: Any, **kwargs: Any) -> None:
        del runtime
        found[args, tuple(sorted(kwargs.items()))] = None

    def nothing(runtime: CuPyRuntime, *args: Any, **kwargs: Any) -> None:
        del runtime, args, kwargs

    # Engines remember kernels, and here these are none.
    gpu.engine.cache_clear()
    try:
        with mock.patch.object(CuPyRuntime, "compile", note), mock.patch.object(CuPyRuntime, "launch", nothing):
            yield found
    finally:
        gpu.engine.cache_clear()


def processes() -> Executor:
    """Return a pool of as many processes as cores: NVRTC 12.8 and 13.0 compile one text at a time in each."""
    return ProcessPoolExecutor(logical_cores(), mp_context=get_context("spawn"))


def compile_all(
    found: Sequence[Request], pool: Executor, device: int = 0, tick: Callable[[], object] = lambda: None
) -> list[str]:
    """Compile into CuPy's cache, where other processes find it; return a line for each kernel that failed."""
    failed = []
    for line in pool.map(partial(_compile, device), found):
        failed += [line] if line else []
        tick()
    return failed


def _compile(device: int, request: Request) -> str:
    args, kwargs = request
    try:
        with load_cupy().cuda.Device(device):
            gpu.engine(device).runtime.compile(*args, **dict(kwargs))
    except Exception as error:
        return f"{args[1]}: {' '.join(str(error).split())}"
    return ""
