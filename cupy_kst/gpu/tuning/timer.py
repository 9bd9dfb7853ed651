"""What tuning asks of a device beside launches: arrays with given values, and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Protocol

from numpy.typing import NDArray

# Calls of one sample at least, but no more than take so many seconds; samples of one time.
_CALLS = 20
_SECONDS = 0.05
_SAMPLES = 10


class Timer(Protocol):
    """Whatever fills arrays and measures time: CuPy in use."""

    def put(self, array: NDArray[Any]) -> Any:
        """Return a new array on the device with these elements."""

    def get(self, array: Any) -> NDArray[Any]:
        """Return the elements of an array on the device."""

    def seconds(self, calls: Sequence[Callable[[], None]]) -> float:
        """Return how long one of some calls takes that only launch, and that differ in their arrays alone."""


class CuPyTimer:
    """CuPy on its current device: the median of samples, each a CUDA graph of all calls in turn between two events.

    So neither Python nor the time of a launch counts, and calls find nothing of their arrays in caches, if there are
    enough of them.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def put(self, array: NDArray[Any]) -> Any:
        """Return a new array on the device with these elements."""
        return self._cupy.array(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Return the elements of an array on the device."""
        found: NDArray[Any] = self._cupy.asnumpy(array)
        return found

    def seconds(self, calls: Sequence[Callable[[], None]]) -> float:
        """Return how long one of some calls takes that only launch, and that differ in their arrays alone."""
        cuda = self._cupy.cuda
        # What made the arrays ran on the current stream.
        cuda.get_current_stream().synchronize()
        stream = cuda.Stream(non_blocking=True)
        with stream:
            calls[0]()
            once = self._between_events(stream, calls[-1])
            turns = [*calls] * -(-_CALLS // len(calls))
            # Events may tell no time at all between them.
            del turns[max(1, int(_SECONDS / max(once, 1e-6))) :]
            stream.begin_capture()
            for call in turns:
                call()
            graph = stream.end_capture()
            graph.launch()
            return median(self._between_events(stream, graph.launch) / len(turns) for _ in range(_SAMPLES))

    def _between_events(self, stream: Any, work: Callable[[], None]) -> float:
        start, stop = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record(stream)
        work()
        stop.record(stream)
        stop.synchronize()
        seconds: float = self._cupy.cuda.get_elapsed_time(start, stop) / 1e3
        return seconds
