"""Timing: calls taken in turn, each sample one interval of the right clock, summed up by median and quartiles."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary, ref

import numpy as np

Call = Callable[[], Any]

WARM_UP = 3

# Seconds between calls of different libraries: ONNX Runtime's threads were seen to spin for 35 ms after a call,
# PyTorch's for 8 ms, OpenBLAS' for 90 ms, but these yield to others.
LEAD = 0.04


@dataclass(frozen=True)
class Timing:
    """Seconds per call, by sample."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return self._percentile(50)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile: half of the samples lie between them."""
        return self._percentile(25), self._percentile(75)

    def _percentile(self, percent: float) -> float:
        return float(np.percentile(self.samples, percent))


@dataclass(frozen=True)
class Rounds:
    """How many turns each call has: `most`, or as many as fit into `seconds`, but not fewer than `least`.

    Calls that are so slow that these take longer than `limit` seconds get fewer, but always one. In a turn of its own a
    call is sampled until its samples sum to `turn` seconds, so once if it is slow.
    """

    most: int
    least: int
    seconds: float
    limit: float = math.inf
    turn: float = 0.0

    @classmethod
    def exactly(cls, number: int) -> Rounds:
        return cls(number, number, 0.0)


class Clock(Protocol):
    """Takes one sample: seconds per call, and what the last call returned."""

    calls_per_sample: int

    def sample(self, call: Call) -> tuple[float, Any]: ...


class CpuClock:
    """Wall time of one call.

    Parameters
    ----------
    lead : float
        Seconds before a sample, unless the last one was of the same call. Threads of other libraries, which spin for a
        while after their last call, come to rest in it. The call itself is repeated meanwhile, so that its own threads
        are awake; one that takes longer than that is not.
    """

    calls_per_sample = 1

    def __init__(self, lead: float = 0.0) -> None:
        self._lead = lead
        self._shortest: WeakKeyDictionary[Call, float] = WeakKeyDictionary()
        self._last: Callable[[], Call | None] = lambda: None
        # glibc gives every block of more than its largest freed one (up to 32 MB) fresh pages, so that the first
        # cases of a run would pay for page faults, up to twice the time, and later ones would not.
        np.empty(30 * 2**20, np.uint8)

    def sample(self, call: Call) -> tuple[float, Any]:
        if self._lead and self._last() is not call:
            self._wait(call)
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
        self._shortest[call] = min(seconds, self._shortest.get(call, math.inf))
        self._last = ref(call)
        return seconds, result

    def _wait(self, call: Call) -> None:
        if self._shortest.get(call, math.inf) > self._lead:
            time.sleep(self._lead)
            return
        # The sample is the call after these: the one that ends the time is more often a long one than a short one.
        end = time.perf_counter() + self._lead
        while time.perf_counter() < end:
            call()


class GpuClock:
    """Device time of one call among many on the current stream, by a pair of CUDA events.

    A call may take the host longer to submit than the device to run; events would then measure Python. So the device
    is given filler work first, long enough for the whole batch to be queued before its first kernel starts.

    Parameters
    ----------
    cupy : module
        CuPy.
    calls_per_sample : int
        Calls between the two events.
    """

    _FILLER_BYTES = 64 * 2**20
    _ATTEMPTS = 5

    def __init__(self, cupy: Any, calls_per_sample: int = 20) -> None:
        self.calls_per_sample = calls_per_sample
        self._cupy = cupy
        self._filler_array = cupy.zeros(self._FILLER_BYTES // 4, dtype=np.float32)
        self._lead = 0.0
        self._filler()
        seconds, _, _ = self._between_events(self._filler, 10)
        self._filler_seconds = seconds

    def sample(self, call: Call) -> tuple[float, Any]:
        for _ in range(self._ATTEMPTS):
            for _ in range(int(self._lead / self._filler_seconds) + 1):
                self._filler()
            seconds, submit, result = self._between_events(call, self.calls_per_sample)
            if submit <= self._lead:
                break
            # What is returned after the last attempt still includes submission: an upper bound, never flattering.
            self._lead = 2 * submit
        return seconds, result

    def _filler(self) -> None:
        self._cupy.add(self._filler_array, 1, out=self._filler_array)

    def _between_events(self, call: Call, calls: int) -> tuple[float, float, Any]:
        start, stop = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record()
        submit = time.perf_counter()
        for _ in range(calls):
            result = call()
        submit = time.perf_counter() - submit
        stop.record()
        stop.synchronize()
        return self._cupy.cuda.get_elapsed_time(start, stop) / 1e3 / calls, submit, result


def time_in_turn(
    calls: Mapping[str, Call], clock: Clock, rounds: Rounds, tick: Callable[[], object] = lambda: None
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Time several calls against each other, one sample of each per round, so that drift of the machine hits all alike.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time, by name.
    clock : Clock
        CpuClock or GpuClock.
    rounds : Rounds
        How many turns each call has, and how long they are.
    tick : callable
        Called after every round, for progress.

    Returns
    -------
    timings : dict of str to Timing
    results : dict of str to object
        What each call returned when it was timed last.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    results: dict[str, Any] = {}
    for call in calls.values():
        start = time.perf_counter()
        for turn in range(WARM_UP):
            if turn and time.perf_counter() - start > rounds.limit / len(calls):
                break
            clock.sample(call)
    with _no_garbage_collection():
        start = time.perf_counter()
        for turn in range(rounds.most):
            spent = time.perf_counter() - start
            if turn and spent > (rounds.seconds if turn >= rounds.least else rounds.limit):
                break
            # Every other round runs backwards, so that no call always inherits the same neighbour's caches.
            for name in list(calls)[:: -1 if turn % 2 else 1]:
                sampled = 0.0
                while True:
                    seconds, results[name] = clock.sample(calls[name])
                    samples[name].append(seconds)
                    sampled += seconds
                    if sampled >= rounds.turn:
                        break
            tick()
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}, results


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
