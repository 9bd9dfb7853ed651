"""How far a long check is, told on standard error."""

from __future__ import annotations

import sys
from time import monotonic

# Seconds before the first line and between lines: on a terminal, and in a file, where each line stays.
_TERMINAL_S = (1.0, 0.5)
_FILE_S = (30.0, 30.0)


class Progress:
    """Says how many cases there were, once a check takes long."""

    def __init__(self, name: str, total: int, quiet: bool) -> None:
        self._name, self._total, self._quiet = name, total, quiet
        self._terminal = sys.stderr.isatty()
        self._first, self._every = _TERMINAL_S if self._terminal else _FILE_S
        self._next = monotonic() + self._first
        self._shown = False

    def step(self, cases: int, failing: bool) -> None:
        """Tell the number of cases, if it is time to."""
        if self._quiet or monotonic() < self._next:
            return
        self._next = monotonic() + self._every
        self._shown = True
        text = (
            f"{cases} cases, looking for the smallest that is wrong" if failing else f"{cases} of {self._total} cases"
        )
        line = f"{self._name}: {text}"
        print(
            f"\r{line:<79}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        """Clear what stands on the terminal."""
        if self._shown and self._terminal:
            print(f"\r{'':<79}\r", end="", file=sys.stderr, flush=True)
