"""Importing is quick and loads nothing that it may not need; each failure of a GPU says what is missing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import cupy_kst
from cupy_kst.gpu.build import runtime
from tests.support.checkout import ROOT


def test_import_loads_no_array_library_but_numpy() -> None:
    heavy = ("cupy", "torch", "numba", "hypothesis", "scipy", "matplotlib")
    script = f"import sys, cupy_kst; print(*[name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_import_takes_less_than_twice_as_long_as_that_of_numpy() -> None:
    script = """if True:
        from time import process_time
        start = process_time()
        import numpy
        middle = process_time()
        import cupy_kst
        print((process_time() - middle) / (middle - start))
    """
    runs = (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in range(5)
    )
    # Its own time beside NumPy's, and the best of a few: neither the machine nor other processes on it count much.
    assert any(float(run.stdout) < 2 for run in runs)


def test_public_names_are_there_and_typed() -> None:
    for name in cupy_kst.__all__:
        assert getattr(cupy_kst, name).__doc__
    assert (Path(cupy_kst.__file__).parent / "py.typed").is_file()


def test_testing_says_that_it_needs_hypothesis() -> None:
    script = "import sys; sys.modules['hypothesis'] = None; import cupy_kst.testing"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    way_out = "pip install '.[testing]' in a checkout of cupy_kst, or pip install 'hypothesis'"
    assert f"ImportError: cupy_kst.testing needs Hypothesis: {way_out}" in ran.stderr


class CUDARuntimeError(RuntimeError):
    pass


def _raising(error: Exception) -> Any:
    def call() -> None:
        raise error

    return call


def _cupy(*, is_hip: bool = False, devices: Any = lambda: 1, version: Any = lambda: (13, 0)) -> Any:
    of_runtime = SimpleNamespace(is_hip=is_hip, getDeviceCount=devices, CUDARuntimeError=CUDARuntimeError)
    return SimpleNamespace(cuda=SimpleNamespace(runtime=of_runtime, nvrtc=SimpleNamespace(getVersion=version)))


INSTALL = re.escape(
    "pip install '.[cuda13]' in a checkout of cupy_kst, or pip install 'cupy-cuda13x[ctk]' "
    "(for CUDA 12: cuda12, cupy-cuda12x)"
)
FAILURES = {
    "not installed": (None, f"^CuPy is not installed: {INSTALL}$"),
    "no driver": (
        _cupy(devices=_raising(CUDARuntimeError("cudaErrorNoDevice"))),
        "^CuPy found no usable NVIDIA GPU or driver: cudaErrorNoDevice$",
    ),
    "no GPU": (_cupy(devices=lambda: 0), "^CuPy found no NVIDIA GPU$"),
    "no NVRTC": (
        _cupy(version=_raising(RuntimeError("libnvrtc.so.13"))),
        f"^NVRTC, which compiles CUDA kernels, was not found: {INSTALL}$",
    ),
    "ROCm": (
        _cupy(is_hip=True),
        "^this CuPy is built for ROCm, where our kernels with their PTX do not run: NVIDIA only$",
    ),
}


@pytest.fixture
def unloaded() -> Any:
    runtime.load_cupy.cache_clear()
    yield
    runtime.load_cupy.cache_clear()


@pytest.mark.parametrize("failure", FAILURES)
def test_what_a_gpu_needs(failure: str, unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module, message = FAILURES[failure]
    monkeypatch.setitem(sys.modules, "cupy", module)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message):
            runtime.load_cupy()


def test_a_cupy_that_works_is_loaded_once(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    working = _cupy()
    monkeypatch.setitem(sys.modules, "cupy", working)
    assert runtime.load_cupy() is working
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert runtime.load_cupy() is working


def test_a_cupy_array_meets_the_same_sentence(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice:
        dtype, ndim, shape = SimpleNamespace(), 4, (1, 1, 4, 4)

    import numpy as np

    OnDevice.dtype = np.dtype("f4")
    broken: Any = ModuleType("cupy")
    broken.ndarray, broken.cuda = OnDevice, _cupy(devices=lambda: 0).cuda
    monkeypatch.setitem(sys.modules, "cupy", broken)
    with pytest.raises(RuntimeError, match="CuPy found no NVIDIA GPU"):
        cupy_kst.conv_transpose2d(OnDevice(), OnDevice())


def test_the_cuda_text_is_found() -> None:
    from cupy_kst.gpu.build import source

    assert (source.directory() / "common.cuh").is_file()
    assert not (source.directory() / "__init__.py").exists()
    assert find_spec("cupy_kst.gpu.build.source")


def _defines(modules: dict[str, Path], module: str, name: str) -> bool:
    """Return whether the text of a module defines a function of this name."""
    return module in modules and f"\ndef {name}(" in modules[module].read_text(encoding="utf-8")


def _imported(path: Path, module: str, modules: dict[str, Path]) -> set[str]:
    """Return which of `modules` a file imports, wherever it does."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            # What is no module, or also a function of the package, is a name in the package.
            own = {name for name in names & modules.keys() if _defines(modules, base, name.rpartition(".")[2])}
            found |= names & modules.keys()
            found |= {base} if own or not names <= modules.keys() else set()
    return found & modules.keys() - {module}


@pytest.mark.parametrize("root", [Path(cupy_kst.__file__).parent, ROOT / "experiments"], ids=lambda root: root.name)
def test_no_modules_import_each_other(root: Path) -> None:
    modules = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in root.rglob("*.py")
    }
    graph = {name: _imported(path, name, modules) for name, path in modules.items()}
    # An order in which each comes behind what it imports, or a CycleError that shows the circle.
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)
