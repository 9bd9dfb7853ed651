"""Runs the project's CUDA text on the CPU: g++ compiles it, a fiber stands for each thread, sanitizers watch.

One thread runs at a time, up to a barrier, a collective or its end, and one block after another. What that cannot show:

- A thread that waits for another by reading memory in a loop, or for a later block, runs into the time limit.
- A barrier is known by the line that calls it: two paths into one helper function look like one barrier.
- Races are what ThreadSanitizer finds between threads that no barrier, collective or __threadfence() orders; it keeps
  a few accesses to each place. It sees races between two blocks if one runs an odd number of blocks after the other.
- An array mapped from a file has only the pages around it watched, and nothing tells whether it was written.
- Memory that was never read or never changed by a fault shows nothing; poison.py says what uninitialised memory shows.
- Arithmetic is x86's: float32 subnormals are kept, and functions such as expf differ from a device's in the last bits.
- Time, occupancy, bank conflicts and the number of registers have no meaning here.
"""

from __future__ import annotations

from tests.support.skips import skip_or_fail

from .build import available
from .errors import EmulatorError
from .poison import check_written
from .runtime import DEVICE, Emulator, Kernel
from .worker import Products

__all__ = ["DEVICE", "Emulator", "EmulatorError", "Kernel", "Products", "available", "check_written", "require"]


def require() -> None:
    """Skip the running test where the emulator cannot run; in continuous integration fail it."""
    ok, reason = available()
    if not ok:
        skip_or_fail(reason)
