"""The emulator's one exception, and the one clear line that it draws from what a dying process wrote."""

from __future__ import annotations

import re
import signal

# What programs call the emulator's own folder: they serve every checkout with the same files.
OWN = "tests/emulator"
# The runtimes print "#0 f(int) file:12" or "#0 0x1 in f(int) file:12:3".
_FRAME = re.compile(r"^\s+#\d+ .*?(\S+\.\w+:\d+)", re.MULTILINE)
_ACCESS = re.compile(
    r"^  (?:Previous )?((?:atomic )?(?:read|write) of size \d+) at \S+ by (?:main )?thread ?(T\d+)?",
    re.MULTILINE | re.IGNORECASE,
)


class EmulatorError(RuntimeError):
    """A kernel, a launch or a compilation is wrong. The first line says what; what the tools reported follows."""


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""


def _frame(text: str, start: int) -> str:
    """Return "file:line" of the innermost frame of the stack printed after `start` that is not the emulator's own."""
    end = text.find("\n\n", start)
    places = [found.group(1) for found in _FRAME.finditer(text, start, end if end >= 0 else len(text))]
    theirs = [place for place in places if not place.startswith(OWN)]
    return (theirs or places or ["an unknown line"])[0]


def _race(text: str, name: str) -> str:
    accesses = []
    for found in _ACCESS.finditer(text):
        what, number = found.groups()
        thread = _search(rf"^  Thread {number} '(.*?)'", text) or "the host"
        accesses.append(f"{what.lower()} by {thread} at {_frame(text, found.end())}")
    return f"data race in kernel {name}: " + ", against ".join(accesses)


def describe(name: str, stderr: str, status: int) -> str:
    """Return the text of the error for kernel `name`, whose process ended with `status` (negative: a signal)."""
    if told := _search(r"^kst: (.*)$", stderr):
        first = f"{told} [kernel {name}]"
    elif "ThreadSanitizer: data race" in stderr:
        first = _race(stderr, name)
    elif kind := _search(r"ERROR: AddressSanitizer: ([\w-]+)", stderr):
        access = _search(r"^((?:READ|WRITE) of size \d+)", stderr)
        place = _frame(stderr, stderr.index("ERROR: AddressSanitizer"))
        first = f"{' '.join(filter(None, (kind, access)))} in kernel {name} at {place}"
    elif fault := _search(r"^(\S+: runtime error: .*)$", stderr):
        what = fault.partition(": runtime error: ")[2]
        place = _frame(stderr, stderr.index(fault))
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
