"""Terminal output: consoles, progress and the way numbers are written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

TABLE_BOX = box.SIMPLE_HEAD

# Wide enough that no cell of any table here wraps in a file or a pipe, which have no width of their own.
PIPE_WIDTH = 120


def output() -> Console:
    """Return a console on standard output, where results go."""
    return _console(stderr=False)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show a progress bar on standard error, in a terminal only, so that logs and pipes stay clean."""
    console = _console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    if bar.disable:
        # Not entered: older versions of rich end even a disabled bar with an empty line.
        yield bar
    else:
        with bar:
            yield bar


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    # Without markup and highlighting: a path may hold square brackets, and digits in it are no numbers to colour.
    return Console(stderr=stderr, width=width, markup=False, highlight=False)


def milliseconds(seconds: float) -> str:
    """Write a time in milliseconds to three significant digits, never in exponent form."""
    value = seconds * 1e3
    decimals = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def quantity(value: float, unit: str = "") -> str:
    """Write a count or a number of bytes with a decimal prefix: ``quantity(2440812, "B")`` is ``2.44 MB``."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{_three_digits(value / factor)} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def count(value: int | None) -> str:
    """Write a whole number with separators; a figure that does not exist is a dash."""
    return "-" if value is None else f"{value:,}"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
