"""The command line as tests run it: in this process, or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from experiments import cli
from experiments.errors import guarded
from experiments.harness import devices
from tests.support.checkout import ROOT

THREADS = min(2, devices.logical_cores())


class Run(NamedTuple):
    code: int
    out: str
    err: str


Runner = Callable[..., Run]


def invoke(capsys: pytest.CaptureFixture[str], *arguments: object) -> Run:
    """Run the command line in this process."""
    code = guarded(lambda: cli.run([str(argument) for argument in arguments]))
    return Run(code, *capsys.readouterr())


def spawn(*arguments: object, code: str = "") -> subprocess.Popen[str]:
    """Start the command line in a process of its own, after running `code` there."""
    script = (
        f"import runpy, sys\n{code}\nsys.argv[0] = 'experiments'\nrunpy.run_module('experiments', run_name='__main__')"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
