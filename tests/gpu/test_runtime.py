"""CuPy's side of the runtime protocol, against a CuPy that notes what is asked of it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from cupy_kst.gpu.build import runtime
from cupy_kst.gpu.build.runtime import CuPyRuntime


class Kernel:
    made: ClassVar[list[Kernel]] = []

    def __init__(self, text: str, name: str, options: tuple[str, ...]) -> None:
        self.text, self.name, self.options = text, name, options
        self.compiled = 0
        self.calls: list[Any] = []
        self.max_dynamic_shared_size_bytes = 0
        Kernel.made.append(self)

    def compile(self) -> None:
        assert Device.current == [3]
        self.compiled += 1

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
        self.calls.append((grid, block, args, shared_mem))


class Device:
    attributes = dict.fromkeys(
        [
            *("MultiProcessorCount", "L2CacheSize", "MaxSharedMemoryPerBlock", "MaxSharedMemoryPerBlockOptin"),
            *("MaxThreadsPerBlock", *(f"Max{what}Dim{axis}" for what in ("Block", "Grid") for axis in "XYZ")),
        ],
        7,
    )
    compute_capability = "120"

    current: ClassVar[list[int]] = []

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.current.append(self.number)

    def __exit__(self, *error: object) -> None:
        self.current.pop()


@pytest.fixture
def cupy_runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            is_hip=False,
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda number: {"name": f"device {number}".encode()},
            CUDARuntimeError=RuntimeError,
        ),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        Device=Device,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda, RawKernel=Kernel, empty=np.empty))
    Kernel.made.clear()
    runtime.load_cupy.cache_clear()
    runtime._limits.cache_clear()
    yield CuPyRuntime(3)
    runtime.load_cupy.cache_clear()
    runtime._limits.cache_clear()


def test_limits(cupy_runtime: CuPyRuntime) -> None:
    limits = cupy_runtime.limits()
    assert (limits.name, limits.capability) == ("device 3", (12, 0))
    assert limits.max_grid == (7, 7, 7)


def test_a_driver_may_not_tell_of_opting_in(cupy_runtime: CuPyRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Device.attributes, "MaxSharedMemoryPerBlockOptin")
    limits = cupy_runtime.limits()
    assert limits.shared_bytes_optin == limits.shared_bytes == 7


def test_options_are_constant_but_for_a_feature(cupy_runtime: CuPyRuntime) -> None:
    cupy_runtime.compile("text", "one")
    cupy_runtime.compile("text", "two", feature="a")
    assert [kernel.options for kernel in Kernel.made] == [("-std=c++17",), ("-std=c++17", "-arch=sm_120a")]


def test_threads_that_ask_for_one_text_compile_it_once(cupy_runtime: CuPyRuntime) -> None:
    with ThreadPoolExecutor(8) as pool:
        kernels = list(pool.map(lambda _: cupy_runtime.compile("text", "one"), range(64)))
    assert len(Kernel.made) == 1
    assert Kernel.made[0].compiled == 1
    assert all(kernel is kernels[0] for kernel in kernels)


def test_kernels_in_use_are_kept_and_the_oldest_go(cupy_runtime: CuPyRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_KERNELS", 2)
    for name in ("one", "two", "one", "three", "one", "two"):
        cupy_runtime.compile("text", name)
    assert [kernel.name for kernel in Kernel.made] == ["one", "two", "three", "two"]


def test_more_shared_memory_than_static_is_opted_into(cupy_runtime: CuPyRuntime) -> None:
    small = cupy_runtime.compile("text", "small", shared_bytes=48 * 1024)
    large = cupy_runtime.compile("text", "large", shared_bytes=48 * 1024 + 16)
    assert [kernel.max_dynamic_shared_size_bytes for kernel in Kernel.made] == [0, 48 * 1024 + 16]
    for kernel in (small, large):
        cupy_runtime.launch(kernel, (2, 1, 1), (3, 1, 1), ("x",))
    assert [kernel.calls for kernel in Kernel.made] == [
        [((2, 1, 1), (3, 1, 1), ("x",), 48 * 1024)],
        [((2, 1, 1), (3, 1, 1), ("x",), 48 * 1024 + 16)],
    ]


def test_arrays_are_cupys(cupy_runtime: CuPyRuntime) -> None:
    assert cupy_runtime.empty([2, 3], np.dtype("f2")).shape == (2, 3)
