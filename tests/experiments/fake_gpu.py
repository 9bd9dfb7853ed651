"""A CuPy whose arrays are NumPy's and whose kernels run on the emulator, or are only noted, and a machine with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from cupy_kst import gpu
from cupy_kst.gpu.build import runtime
from experiments.bench.gpu.machine import Graph, Machine
from tests.emulator import DEVICE, Emulator, require

NAME = "fake GPU"


class FakeDevice:
    """Device 0, which is always the current one."""

    id = 0
    compute_capability = "{}{}".format(*DEVICE.capability)
    attributes: ClassVar = {
        "MultiProcessorCount": DEVICE.multiprocessors,
        "L2CacheSize": DEVICE.l2_bytes,
        "MaxSharedMemoryPerBlock": DEVICE.shared_bytes,
        "MaxSharedMemoryPerBlockOptin": DEVICE.shared_bytes_optin,
        "MaxThreadsPerBlock": DEVICE.max_threads,
        **{f"MaxBlockDim{axis}": most for axis, most in zip("XYZ", DEVICE.max_block, strict=True)},
        **{f"MaxGridDim{axis}": most for axis, most in zip("XYZ", DEVICE.max_grid, strict=True)},
    }

    def __init__(self, number: int = 0) -> None:
        assert number == 0

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeDevice)

    def __hash__(self) -> int:
        return 0


class Array:
    """What is used of `cupy.ndarray`, over a NumPy array."""

    device = FakeDevice()

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.values.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        return _wrapped(getattr(self.values, name))

    def __getitem__(self, key: Any) -> Any:
        return _wrapped(self.values[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = _unwrapped(value)

    def __ixor__(self, bits: Any) -> Array:
        self.values ^= bits
        return self


def _wrapped(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return Array(value)
    if callable(value):
        return lambda *args, **options: _wrapped(value(*map(_unwrapped, args), **options))
    return value


def _unwrapped(value: Any) -> Any:
    return value.values if isinstance(value, Array) else value


class Noting:
    """Compiles and launches nothing, and notes the kernels, by text and name."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, str]] = []
        self.launched: list[tuple[str, str]] = []

    def compile(self, text: str, name: str) -> tuple[str, str]:
        self.compiled.append((text, name))
        return text, name

    def launch(self, kernel: tuple[str, str], grid: Any, block: Any, args: Any, shared_mem: int) -> None:
        del grid, block, args, shared_mem
        self.launched.append(kernel)


class Emulated(Noting):
    """Compiles and launches on the emulator, too."""

    def __init__(self) -> None:
        super().__init__()
        require()
        self._emulator = Emulator()

    def launch(self, kernel: tuple[str, str], grid: Any, block: Any, args: Any, shared_mem: int) -> None:
        compiled = self._emulator.compile(*kernel, shared_mem)
        self._emulator.launch(compiled, grid, block, [_unwrapped(arg) for arg in args])


def _raw_kernel(kernels: Noting) -> type:
    class RawKernel:
        def __init__(self, text: str, name: str, options: Any) -> None:
            del options
            self._text, self._name = text, name

        def compile(self) -> None:
            self._compiled = kernels.compile(self._text, self._name)

        def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
            kernels.launch(self._compiled, grid, block, args, shared_mem)

    return RawKernel


def fake_cupy(kernels: Noting) -> ModuleType:
    """Return the module."""
    module: Any = ModuleType("cupy")
    module.__version__ = "0"
    module.ndarray = Array
    module.RawKernel = _raw_kernel(kernels)
    module.asarray = module.ascontiguousarray = lambda array: Array(np.ascontiguousarray(_unwrapped(array)))
    module.asnumpy = _unwrapped
    module.empty = lambda shape, dtype: Array(np.empty(shape, dtype))
    module.empty_like = lambda array: Array(np.empty_like(_unwrapped(array)))
    module.zeros_like = lambda array, shape: Array(np.zeros_like(_unwrapped(array), shape=shape))
    module.may_share_memory = lambda a, b: np.may_share_memory(_unwrapped(a), _unwrapped(b))
    properties = {"name": NAME.encode(), "major": 9, "minor": 0, "multiProcessorCount": 132, "l2CacheSize": 1}
    module.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            is_hip=False,
            CUDARuntimeError=RuntimeError,
            getDevice=lambda: 0,
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda number: properties,
            runtimeGetVersion=lambda: 13000,
            driverGetVersion=lambda: 13000,
        ),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        Device=FakeDevice,
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
        Stream=SimpleNamespace(null=SimpleNamespace(synchronize=lambda: None)),
        set_allocator=lambda allocator: None,
    )
    return module


@contextmanager
def installed(kernels: Noting) -> Iterator[Any]:
    """Let the library find this CuPy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake_cupy(kernels))
        _forget()
        try:
            yield sys.modules["cupy"]
        finally:
            _forget()


def _forget() -> None:
    for remembered in (runtime.load_cupy, runtime._limits, gpu.engine):
        remembered.cache_clear()


class FakeMachine(Machine):
    """A machine without a GPU: PyTorch computes on the CPU, and a graph is its first call."""

    device = "cpu"

    def __init__(self, cupy: Any, torch: Any, l2_bytes: int = 2**14) -> None:
        self.cupy, self.torch, self.l2_bytes = cupy, torch, l2_bytes
        self.allowed: list[str] = []
        self.free_now = 2**40

    @property
    def versions(self) -> dict[str, str]:
        return {"torch": self.torch.__version__, "cudnn": "90000"}

    @contextmanager
    def current(self) -> Iterator[None]:
        with self.torch.no_grad():
            yield

    def view(self, tensor: Any) -> Array:
        if tensor.dtype == self.torch.bfloat16:
            return Array(tensor.view(self.torch.int16).numpy().view("bfloat16"))
        return Array(tensor.numpy())

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def capture(self, call: Callable[[int], object], calls: int) -> Graph:
        # A few are enough: the emulator is slow, and nobody looks at these times.
        for number in range(min(3, calls)):
            call(number)
        return Graph(calls, lambda: call(0) and None)

    capture_torch = capture

    def device_seconds(self, work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def allow(self, precision: str) -> None:
        self.allowed.append(precision)

    def free_bytes(self) -> int:
        return self.free_now

    def free(self) -> None:
        """There are no pools."""
