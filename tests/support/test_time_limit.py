"""A test that hangs is ended and named, whatever it hangs in, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from .checkout import ROOT
from .skips import need_compiled

# The caller of the pool waits in compiled code without the interpreter's lock, for a helper that there is not.
_WITHOUT_THE_LOCK = """
import numpy as np
from cupy_kst.cpu.jit import pool
from cupy_kst.cpu.jit.pack import kernel
from cupy_kst.cpu.jit.task import PENDING

fields = kernel.COMBINE.arrays | dict.fromkeys(kernel.COMBINE.fields, 0)
record = kernel.RUN_COMBINE.record("f", {**fields, **dict.fromkeys(kernel.COMBINE.arrays)})
record[PENDING] = 1

def hang():
    pool.lead(np.zeros((1, 16), np.int64), 0, record)
"""
# A library that does not give the lock back keeps all threads of Python from running.
_WITH_THE_LOCK = """
import ctypes

hang = ctypes.PyDLL(None).pause
"""
_HANGS = {"without the lock": _WITHOUT_THE_LOCK, "with the lock": _WITH_THE_LOCK}
_TESTS = """
def test_hangs():
    hang()

def test_passes():
    pass
"""


def _pytest(tmp_path: Path, hang: str, *options: str) -> tuple[int, str]:
    """Return the exit status and the output of the tests above, under our settings with another limit."""
    file = tmp_path / "test_hang.py"
    file.write_text(_HANGS[hang] + _TESTS)
    ours = ("-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}", "-p", "no:cacheprovider")
    limit = ("-o", "faulthandler_timeout=2", "-o", f"pythonpath={ROOT}")
    command = [sys.executable, "-m", "pytest", *ours, *limit, *options, str(file)]
    # Not what a worker of this session is told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_a_worker_that_hangs_is_a_failure_of_its_test(tmp_path: Path) -> None:
    need_compiled()
    status, output = _pytest(tmp_path, "without the lock", "-n", "1")
    assert status == 1
    assert "crashed while running 'test_hang.py::test_hangs'" in output
    assert "1 failed, 1 passed" in output


def test_one_process_that_hangs_ends_and_shows_where(tmp_path: Path) -> None:
    status, output = _pytest(tmp_path, "with the lock", "-n", "0")
    assert status == 1
    assert "Timeout (0:00:02)!" in output and "in test_hangs" in output


def test_every_test_has_a_limit(pytestconfig: pytest.Config) -> None:
    # Some of the tests compile for minutes where all cores are busy.
    assert 600 <= float(pytestconfig.getini("faulthandler_timeout")) <= 1800
    assert pytestconfig.getini("faulthandler_exit_on_timeout") is True


def test_a_failure_is_shown_as_it_is() -> None:
    assert not settings().report_multiple_bugs
