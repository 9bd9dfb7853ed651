"""What is made of a weight alone, kept for the calls that a prepared weight will see."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

# Things that one weight keeps: a layout for each form, and on a GPU for each shape. The oldest goes first.
_MOST = 32


class WeightCache:
    """What was made of one weight, for calls to come. Calls from several threads are safe.

    Parameters
    ----------
    synchronize : callable
        Called after something was made and before anyone may use it: on a GPU it waits until the device has made it, so
        that calls on other streams may read it.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._made: dict[object, Any] = {}
        self._lock = Lock()
        self._synchronize = synchronize

    def get(self, key: object, make: Callable[[], Any]) -> Any:
        """Return what `make` returned for `key` the first time."""
        found = self._made.get(key)
        if found is not None:
            return found
        with self._lock:
            found = self._made.get(key)
            if found is None:
                found = make()
                # Calls that look without the lock find what the device has made.
                self._synchronize()
                if len(self._made) >= _MOST:
                    del self._made[next(iter(self._made))]
                self._made[key] = found
            return found
