"""Compiles on all cores what calls will launch, before any of them is timed or watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cupy_kst import gpu
from cupy_kst.gpu.runtime import CuPyRuntime
from experiments.devices import logical_cores

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


def compile_all(cupy: Any, found: Sequence[Request], tick: Callable[[], object] = lambda: None) -> list[str]:
    """Compile on all cores; return a line for each kernel that failed."""
    device = cupy.cuda.Device().id
    runtime = gpu.engine(device).runtime

    def one(request: Request) -> str:
        args, kwargs = request
        try:
            # The current device is each thread's own.
            with cupy.cuda.Device(device):
                runtime.compile(*args, **dict(kwargs))
        except Exception as error:
            return f"{args[1]}: {' '.join(str(error).split())}"
        finally:
            tick()
        return ""

    with ThreadPoolExecutor(logical_cores()) as pool:
        return [line for line in pool.map(one, found) if line]
