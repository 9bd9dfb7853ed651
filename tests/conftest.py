"""Settings that every test shares: how many cases Hypothesis draws, and which tests need a GPU."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import signature
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from cupy_kst import gpu
from cupy_kst.gpu.build import runtime

from . import emulator
from .support.fake_cupy import Fake, FakeCuPy, Kernels
from .support.poison import poison

# Compiling a kernel for the emulator takes seconds, once: neither a deadline nor "too slow" tells anything here. One
# failure is shown as it is, whereas "2 distinct failures" are a group that names the cause of none.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None, print_blob=True)
# What the user tuned would change what these tests see.
os.environ["CUPY_KST_TUNED"] = "0"
PROFILE = "ci" if os.environ.get("CI") else "local"
settings.load_profile(PROFILE)


# Tests of the experiments cannot be imported without these. Where CI is set, that is an error.
_NEEDED = ("PIL", "click", "matplotlib", "rich", "threadpoolctl")
_MISSING = [] if os.environ.get("CI") else [name for name in _NEEDED if find_spec(name) is None]
collect_ignore_glob = ["experiments/*"] if _MISSING else []


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divide the tests as `scheduling` says, unless `--dist` asks for another way."""
    if config.getoption("dist") != "load":
        return None
    # Not there without pytest-xdist.
    from .support.scheduling import Scheduling

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not even collected."""
    if _MISSING:
        terminalreporter.write_line(f"tests of the experiments are left out: {', '.join(_MISSING)} not installed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options by which what takes long is run as well, or, as continuous integration does, by itself."""
    parser.addoption("--long", action="store_true", help="run what is left out because it takes long as well")
    parser.addoption("--long-only", action="store_true", help="run nothing but what is left out because it takes long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long unless asked for, and skip tests marked `gpu` where there is no usable GPU."""
    wanted = config.getoption("long_only")
    if wanted or not config.getoption("long"):
        left_out = [item for item in items if _takes_long(item) != wanted]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _takes_long(item) == wanted]
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = _no_gpu() if marked else ""
    for item in marked if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def _takes_long(item: pytest.Item) -> bool:
    """Return whether a test is marked `long`, and its parameters are not those that the marker excepts."""
    given = item.callspec.params if hasattr(item, "callspec") else {}

    def applies(marker: pytest.Mark) -> bool:
        excepts = marker.kwargs.get("but", lambda: False)
        return not excepts(**{name: given[name] for name in signature(excepts).parameters if name in given})

    return any(map(applies, item.iter_markers("long")))


def _no_gpu() -> str:
    from cupy_kst.gpu.build.runtime import load_cupy

    # What CuPy warns of when it is imported, such as two of its packages, is not to end the session.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            load_cupy()
        except RuntimeError as error:
            return str(error)
    return ""


@pytest.fixture(autouse=True, scope="session")
def _poisoned() -> Iterator[None]:
    """Outputs and memory that a call forgets to set are NaN in every run."""
    with pytest.MonkeyPatch.context() as patch:
        poison(patch)
        yield


@pytest.fixture(name="fake")
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    caches = (runtime.load_cupy, runtime._limits, gpu.engine)

    def install(kernels: Kernels) -> FakeCuPy:
        cupy = FakeCuPy(kernels)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        # Hypothesis looks into all modules, and so would load this one, if it is to be loaded on its first use.
        monkeypatch.setitem(sys.modules, "cupyx", ModuleType("cupyx"))
        for cache in caches:
            cache.cache_clear()
        return cupy

    yield install
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(name="emulated")
def _emulated(fake: Fake) -> FakeCuPy:
    emulator.require()
    return fake(emulator.Emulator("asan"))
