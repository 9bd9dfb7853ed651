"""The process that runs one kernel: started by a launch, again after a failure, and ended when too many live."""

from __future__ import annotations

import atexit
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from .errors import EmulatorError, describe

# Processes that stay alive for further launches. ThreadSanitizer takes 0.8 MB for each thread of two blocks.
LIVE = {"plain": 32, "asan": 16, "tsan": 4}

_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:redzone=2048:quarantine_size_mb=8:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:history_size=4:atexit_sleep_ms=0",
    "LC_ALL": "C",
}


class Parameter(NamedTuple):
    """What the kernel takes: `kind` is "integer", "floating", "record", "pointer" or "const_pointer"."""

    kind: str
    size: int


class Products(NamedTuple):
    """Multiply-adds, and those of them in which neither factor was zero; of complex numbers each takes four."""

    all: int
    without_zeros: int


KINDS = ("integer", "floating", "record", "pointer", "const_pointer")


class Worker:
    """A program of `build.program` and, while it lives, its process. Calls from several threads take turns."""

    # Learnt once: whether ThreadSanitizer needs address randomisation off to start on this kernel.
    _prefix: tuple[str, ...] = ()

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._told = 0
        self._parameters: tuple[Parameter, ...] = ()
        _ALL.add(self)

    def __del__(self) -> None:
        # A thread that holds a worker which has just been ended may have started it again.
        self._end(kill=True)

    def parameters(self) -> tuple[Parameter, ...]:
        """Return what the kernel takes."""
        with self._lock:
            self._start()
            return self._parameters

    def launch(self, request: Sequence[bytes | memoryview], answers: Sequence[memoryview], seconds: float) -> Products:
        """Send the request and read the bytes of the arrays that come back into `answers`."""
        with self._lock:
            self._start()
            deadline = time.monotonic() + seconds
            try:
                for part in request:
                    self._send(part)
                products = Products(*struct.unpack("QQ", self._receive(16, deadline)))
                for answer in answers:
                    self._receive_into(answer, deadline)
            except (EOFError, BrokenPipeError):
                raise EmulatorError(self._post_mortem()) from None
            except TimeoutError:
                self._end(kill=True)
                raise EmulatorError(f"kernel {self.name} did not finish within {seconds:g} s") from None
            except BaseException:
                self._end(kill=True)
                raise
            self._forward_prints()
        return products

    def close(self) -> None:
        """End the process; a later launch starts it again."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        if self._process is not None:
            return
        self._spawn()
        try:
            self._read_parameters()
        except EOFError:
            report = self._post_mortem()
            if "unexpected memory mapping" not in report or Worker._prefix:
                raise EmulatorError(report) from None
            Worker._prefix = ("setarch", "-R")
            self._start()

    def _spawn(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._told = 0
        self._process = subprocess.Popen(
            [*Worker._prefix, str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env={**os.environ, **_ENVIRONMENT},
        )

    def _read_parameters(self) -> None:
        deadline = time.monotonic() + 60
        (count,) = struct.unpack("I", self._receive(4, deadline))
        pairs = struct.iter_unpack("II", self._receive(8 * count, deadline))
        self._parameters = tuple(Parameter(KINDS[kind], size) for kind, size in pairs)

    def _send(self, part: bytes | memoryview) -> None:
        assert self._process is not None and self._process.stdin is not None
        view = memoryview(part)
        while view:
            view = view[self._process.stdin.write(view) :]

    def _receive(self, size: int, deadline: float) -> bytes:
        buffer = bytearray(size)
        self._receive_into(memoryview(buffer), deadline)
        return bytes(buffer)

    def _receive_into(self, view: memoryview, deadline: float) -> None:
        assert self._process is not None and self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while view:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            got = os.readv(descriptor, [view])
            if not got:
                raise EOFError
            view = view[got:]

    def _post_mortem(self) -> str:
        assert self._process is not None and self._stderr is not None
        status = self._process.wait()
        self._stderr.seek(self._told)
        text = self._stderr.read().decode(errors="replace")
        self._end()
        return describe(self.name, text, status)

    def _forward_prints(self) -> None:
        assert self._stderr is not None
        size = os.fstat(self._stderr.fileno()).st_size
        if size > self._told:
            sys.stderr.write(os.pread(self._stderr.fileno(), size - self._told, self._told).decode(errors="replace"))
            self._told = size

    def _end(self, kill: bool = False) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None and self._stderr is not None
        if kill:
            self._process.kill()
        # End of input is the process's signal to leave.
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._stderr.close()
        self._process = self._stderr = None


_ALL: weakref.WeakSet[Worker] = weakref.WeakSet()
_LIVE: dict[str, OrderedDict[Path, Worker]] = {build: OrderedDict() for build in LIVE}
_LIVE_LOCK = threading.Lock()


def worker(path: Path, name: str, build: str) -> Worker:
    """Return the one worker of a program; when too many of its build live, end the one that was used longest ago."""
    with _LIVE_LOCK:
        live = _LIVE[build]
        found = live.get(path)
        if found is None:
            found = live[path] = Worker(path, name)
        live.move_to_end(path)
        old = live.popitem(last=False)[1] if len(live) > LIVE[build] else None
    if old is not None:
        old.close()
    return found


@atexit.register
def _close_all() -> None:
    for one in list(_ALL):
        one.close()
