"""The emulator's one exception, and the one clear line that it draws from what a dying process wrote."""

from __future__ import annotations

import re
import signal


class EmulatorError(RuntimeError):
    """A kernel, a launch or a compilation is wrong. The first line says what; what the tools reported follows."""


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""


def _frame(text: str, start: int = 0) -> str:
    """Return "file:line" of the innermost frame after `start`; the runtimes print "#0 f(int) file:12" or "#0 0x1 in f file:12"."""
    found = re.compile(r"^\s+#\d+ .*?(\S+\.\w+:\d+)", re.MULTILINE).search(text, start)
    return found.group(1) if found else "an unknown line"


def _race(text: str, name: str) -> str:
    accesses = [
        f"{found.group(1).strip().lower()} at {_frame(text, found.end())}"
        for found in re.finditer(r"^  (?:Previous )?((?:[Aa]tomic )?(?:[Rr]ead|[Ww]rite) of size \d+)", text, re.MULTILINE)
    ]
    return f"data race in kernel {name}: " + ", against ".join(accesses)


def describe(name: str, stderr: str, status: int) -> str:
    """Return the text of the error for kernel `name`, whose process ended with `status` (negative: a signal)."""
    if told := _search(r"^kst: (.*)$", stderr):
        first = f"{told} [kernel {name}]"
    elif "ThreadSanitizer: data race" in stderr:
        first = _race(stderr, name)
    elif kind := _search(r"ERROR: AddressSanitizer: ([\w-]+)", stderr):
        access = _search(r"^((?:READ|WRITE) of size \d+)", stderr)
        place = _frame(stderr, max(stderr.find("ERROR: AddressSanitizer"), 0))
        first = f"{' '.join(filter(None, (kind, access)))} in kernel {name} at {place}"
    elif fault := _search(r"^(\S+: runtime error: .*)$", stderr):
        place, _, what = fault.partition(": runtime error: ")
        first = f"runtime error: {what} in kernel {name} at {place}"
    elif status < 0:
        first = f"kernel {name} was ended by {signal.Signals(-status).name}"
    else:
        first = f"the process of kernel {name} ended with status {status}"
    if memory := _search(r"^memory: (.*)$", stderr):
        first += f"; {memory}"
    if thread := _search(r"^(in block .*)$", stderr):
        first += f"; {thread}"
    return f"{first}\n\n{stderr}".rstrip()
