"""Compiles on all cores what calls will launch, before any of them is timed or watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cupy_kst import gpu
from cupy_kst.gpu.engine import Engine
from experiments.devices import logical_cores

# What `Runtime.compile` is asked for.
Request = tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]


class Recorder:
    """A runtime that launches nothing and notes what it would compile."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.requests: dict[Request, None] = {}

    def limits(self) -> Any:
        return self._runtime.limits()

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self._runtime.empty(shape, dtype)

    def compile(self, *args: Any, **kwargs: Any) -> Any:
        self.requests[args, tuple(sorted(kwargs.items()))] = None

    def launch(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


@contextmanager
def recorded(cupy: Any) -> Iterator[dict[Request, None]]:
    """Let calls on the current GPU launch nothing; what they would compile is in the dict."""
    recorder = Recorder(gpu.engine(cupy.cuda.Device().id).runtime)
    engine = Engine(recorder)
    with mock.patch.object(gpu, "engine", lambda device: engine):
        yield recorder.requests


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
