"""The four calls that the CUDA engine makes of whatever runs its kernels, and CuPy's answer to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...install import from_extra
from ..select.device import Device

Grid = tuple[int, int, int]

# CuPy compiles an empty program for every new tuple of options, so there is only this one.
OPTIONS = ("-std=c++17",)
_STATIC_SHARED_BYTES = 48 * 1024
_KERNELS = 1024
_INSTALL = f"{from_extra('cuda13', 'cupy-cuda13x[ctk]')} (for CUDA 12: cuda12, cupy-cuda12x)"


class Runtime(Protocol):
    """Whatever can hold arrays, compile CUDA text and launch it: CuPy in use, the emulator in tests."""

    def limits(self) -> Device:
        """Return the limits of the device."""

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """Return an uninitialised C-contiguous array on the device."""

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Any:
        """Return the kernel `name` of `text`, ready for launches with `shared_bytes` of dynamic shared memory.

        `feature` is the suffix of an architecture-specific target ("a" for sm_90a), or nothing. Asking again for the
        same kernel costs a look-up.
        """

    def launch(self, kernel: Any, grid: Grid, block: Grid, args: Sequence[Any]) -> None:
        """Run a kernel of this runtime over arrays, NumPy scalars and structured arrays of shape (1,)."""


class _Compiled(NamedTuple):
    kernel: Any
    shared_bytes: int


class _Entry:
    def __init__(self) -> None:
        self.lock = Lock()
        self.compiled: _Compiled | None = None


class CuPyRuntime:
    """CuPy on one device. Calls but `compile` are made with that device current; launches go to its current stream.

    Parameters
    ----------
    device : int
        Number of the device.
    """

    def __init__(self, device: int = 0) -> None:
        self._cupy = load_cupy()
        self._device = device
        self._kernels: OrderedDict[tuple[str, str, int, str], _Entry] = OrderedDict()
        self._lock = Lock()

    def limits(self) -> Device:
        """Return the limits of the device."""
        return _limits(self._device)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """Return an uninitialised C-contiguous array on the device."""
        return self._cupy.empty(tuple(shape), dtype)

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> _Compiled:
        """Return the kernel `name` of `text`; the same object for the same arguments, as long as it is in use."""
        key = (text, name, shared_bytes, feature)
        with self._lock:
            entry = self._kernels.setdefault(key, _Entry())
            self._kernels.move_to_end(key)
            if len(self._kernels) > _KERNELS:
                self._kernels.popitem(last=False)
        # A lock of its own, so that threads that ask for one text compile it once and hold up no other text.
        with entry.lock:
            if entry.compiled is None:
                entry.compiled = self._compile(text, name, shared_bytes, feature)
            return entry.compiled

    def _compile(self, text: str, name: str, shared_bytes: int, feature: str) -> _Compiled:
        major, minor = self.limits().capability
        options = (*OPTIONS, f"-arch=sm_{major}{minor}{feature}") if feature else OPTIONS
        # The thread may be one that was made to compile, where another device is current.
        with self._cupy.cuda.Device(self._device):
            kernel = self._cupy.RawKernel(text, name, options)
            kernel.compile()
            if shared_bytes > _STATIC_SHARED_BYTES:
                kernel.max_dynamic_shared_size_bytes = shared_bytes
        return _Compiled(kernel, shared_bytes)

    def launch(self, kernel: _Compiled, grid: Grid, block: Grid, args: Sequence[Any]) -> None:
        """Run a kernel on the current stream."""
        kernel.kernel(grid, block, args, shared_mem=kernel.shared_bytes)


@cache
def load_cupy() -> Any:
    """Return the cupy module, or raise a RuntimeError that says what is missing."""
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(f"CuPy is not installed: {_INSTALL}") from error
    if cupy.cuda.runtime.is_hip:
        raise RuntimeError("this CuPy is built for ROCm, where our kernels with their PTX do not run: NVIDIA only")
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"CuPy found no usable NVIDIA GPU or driver: {error}") from error
    if devices == 0:
        raise RuntimeError("CuPy found no NVIDIA GPU")
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # what is raised depends on CuPy's version and on where it looked
        raise RuntimeError(f"NVRTC, which compiles CUDA kernels, was not found: {_INSTALL}") from error
    return cupy


@lru_cache(maxsize=64)
def _limits(device: int) -> Device:
    cuda = load_cupy().cuda
    attributes, capability = cuda.Device(device).attributes, cuda.Device(device).compute_capability
    # CuPy leaves out what a driver does not tell.
    shared_bytes = attributes["MaxSharedMemoryPerBlock"]
    return Device(
        name=cuda.runtime.getDeviceProperties(device)["name"].decode(),
        capability=(int(capability[:-1]), int(capability[-1])),
        multiprocessors=attributes["MultiProcessorCount"],
        l2_bytes=attributes["L2CacheSize"],
        shared_bytes=shared_bytes,
        shared_bytes_optin=max(shared_bytes, attributes.get("MaxSharedMemoryPerBlockOptin", 0)),
        max_threads=attributes["MaxThreadsPerBlock"],
        max_block=tuple(attributes[f"MaxBlockDim{axis}"] for axis in "XYZ"),
        max_grid=tuple(attributes[f"MaxGridDim{axis}"] for axis in "XYZ"),
    )
