"""One tool of compute-sanitizer over all cases: started again after a case that ends it, its reports read by case."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.harness import processes

TOOLS = ("memcheck", "racecheck", "synccheck")

# What it exits with where it found something and the program did not fail by itself.
_FOUND = 66
_OPTIONS = {
    # What a kernel does out of bounds ends the kernel, not the context, so that the next case runs. CuPy looks at what
    # each call returns, and some calls are made to see whether they fail.
    "memcheck": ("--destroy-on-device-error", "kernel", "--padding", "64", "--report-api-errors", "no"),
    "racecheck": (),
    "synccheck": (),
}
# Stacks of the host are Python's, long and slow to print.
_COMMON = ("--error-exitcode", str(_FOUND), "--launch-timeout", "0", "--show-backtrace", "no", "--print-limit", "1000")
# Tools that run at one time need ports of their own.
_PORT, _PORTS = 49152, 10
# Between the last case that may begin and the end.
_CASE_SECONDS = 10.0

_CASE = re.compile(r"case (\d+) of (\d+): (.*)")
# A report begins where no indented line of another goes on.
_REPORT = re.compile(r"========= (?! )(.+)")
_BANNERS = ("COMPUTE-SANITIZER", "ERROR SUMMARY", "RACECHECK SUMMARY", "LEAK SUMMARY", "Target application")
ALL_RAN, OUT_OF_TIME = "all cases have run", "out of time"


@dataclass
class Findings:
    """What is known of the cases of one tool.

    Attributes
    ----------
    name : str
        The tool, or "cases" without one.
    ran, all_cases : int
        Cases that were begun, and that there are.
    ended, out_of_time : bool
        Whether all have run, or the time was over before.
    by_case : dict of str to list of str
        What was reported, by the name of the case.
    said : list of str
        All that the processes printed.
    seconds : float
        What it took.
    """

    name: str
    ran: int = 0
    all_cases: int = 0
    ended: bool = False
    out_of_time: bool = False
    by_case: dict[str, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all cases have run and nothing was found."""
        return self.ended and not self.by_case

    def read(self, lines: Iterable[str]) -> None:
        """Add what a process printed."""
        case = "before the first case"
        for line in lines:
            self.said.append(line)
            if begun := _CASE.match(line):
                self.ran, self.all_cases, case = int(begun[1]), int(begun[2]), begun[3]
            elif line == ALL_RAN:
                self.ended = True
            elif line == OUT_OF_TIME:
                self.out_of_time = True
            elif line.startswith("wrong: "):
                self._add(case, line)
            elif (report := _REPORT.match(line)) and not report[1].startswith(_BANNERS):
                self._add(case, report[1])

    def end_of_process(self, code: int | None) -> None:
        """Note a process that ended before all cases had run, though it had time: the case it was at is to blame."""
        self.out_of_time |= code is None
        if not self.ended and not self.out_of_time:
            last = next((line for line in reversed(self.said) if _CASE.match(line)), "")
            case = _CASE.match(last)
            self._add(case[3] if case else "before the first case", f"the process ended with exit code {code}")

    def _add(self, case: str, line: str) -> None:
        self.by_case.setdefault(case, []).append(line)


def watch(tool: str, program: str, end: float, folder: Path) -> Findings:
    """Run all cases under a tool, or without one for ``""``, until `end`; what is printed goes to a log as well."""
    found, begun = Findings(tool or "cases"), time.monotonic()
    log = folder / f"{found.name}.log"
    log.write_text("", encoding="utf-8")
    while not (found.ended or found.out_of_time) and end - time.monotonic() > _CASE_SECONDS:
        before = found.ran
        code = _process(found, command(tool, program, found.ran, end - time.monotonic() - _CASE_SECONDS), end, log)
        found.end_of_process(code)
        # It does not start, or somebody wants it to end.
        if found.ran == before or code == -signal.SIGKILL:
            break
    found.seconds = time.monotonic() - begun
    return found


def command(tool: str, program: str, start: int, seconds: float) -> list[str]:
    """Return the command line of the cases from number `start` on."""
    cases = [sys.executable, "-m", "experiments.checks.gpu_cases", "--start", str(start), "--seconds", f"{seconds:.0f}"]
    if not tool:
        return [*cases, "--compile"]
    port = str(_PORT + _PORTS * TOOLS.index(tool))
    return [program, "--tool", tool, *_OPTIONS[tool], *_COMMON, "--port", port, *cases]


def _process(found: Findings, arguments: list[str], end: float, log: Path) -> int | None:
    """Run one process and read what it prints; return its exit code, or None if it had to be killed."""
    with log.open("ab") as file:
        offset = file.tell()
        code = processes.wait(processes.start(arguments, file), end)
    text = log.read_bytes()[offset:].decode("utf-8", "replace")
    found.read(text.splitlines())
    return code
