"""A CuPy without a device: its arrays are in the host's memory, its kernels run on the emulator or nowhere.

It has what `cupy_kst` asks of CuPy, and notes what a CUDA graph could not capture: arrays made, waiting, compiling.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np

from .emulator import DEVICE
from .emulator.arguments import offset


class Kernels(Protocol):
    """What a fake allocates, compiles and launches by, such as the emulator."""

    def empty(self, shape: Sequence[int], dtype: Any) -> Any: ...

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Any: ...

    def launch(self, kernel: Any, grid: Any, block: Any, args: Sequence[Any]) -> None: ...


class NoKernels:
    """Compiles and launches nothing."""

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Any:
        return name

    def launch(self, kernel: Any, grid: Any, block: Any, args: Sequence[Any]) -> None:
        pass


class Device:
    """A device, which is current inside a `with` statement."""

    attributes: ClassVar = {
        "MultiProcessorCount": DEVICE.multiprocessors,
        "L2CacheSize": DEVICE.l2_bytes,
        "MaxSharedMemoryPerBlock": DEVICE.shared_bytes,
        "MaxSharedMemoryPerBlockOptin": DEVICE.shared_bytes_optin,
        "MaxThreadsPerBlock": DEVICE.max_threads,
        **{f"MaxBlockDim{axis}": most for axis, most in zip("XYZ", DEVICE.max_block, strict=True)},
        **{f"MaxGridDim{axis}": most for axis, most in zip("XYZ", DEVICE.max_grid, strict=True)},
    }
    compute_capability = "{}{}".format(*DEVICE.capability)
    _local = threading.local()

    def __init__(self, number: int) -> None:
        self.id = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._stack().append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack().pop()

    @classmethod
    def current(cls) -> int:
        return cls._stack()[-1]

    @classmethod
    def _stack(cls) -> list[int]:
        if not hasattr(cls._local, "stack"):
            cls._local.stack = [0]
        return cls._local.stack


class Array:
    """An array in the host's memory that says it is on a device."""

    def __init__(self, host: Any, cupy: FakeCuPy, device: Device) -> None:
        self.host, self._cupy, self.device = host, cupy, device
        self.shape, self.dtype, self.ndim, self.size = host.shape, host.dtype, host.ndim, host.size
        self.nbytes, self.strides, self.flags = host.nbytes, host.strides, host.flags
        # On a device the memory of an array that is no view begins at a multiple of 512.
        self.data = SimpleNamespace(ptr=offset(host))

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> Array:
        self._note("empty")
        return self._like(self.host.astype(dtype, order=order, copy=copy))

    def reshape(self, *shape: Any) -> Array:
        return self._like(self.host.reshape(*shape))

    def view(self, dtype: Any) -> Array:
        return self._like(self.host.view(dtype))

    def transpose(self, *axes: int) -> Array:
        return self._like(self.host.transpose(*axes))

    def __getitem__(self, key: Any) -> Array:
        return self._like(self.host[key])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: tuple[Array]) -> Array:
        self._note(ufunc.__name__)
        getattr(ufunc, method)(*(each.host for each in inputs), out=out[0].host)
        return out[0]

    def _note(self, what: str) -> None:
        assert Device.current() == self.device.id
        self._cupy.log.append(what)

    def _like(self, host: Any) -> Array:
        return Array(host, self._cupy, self.device)


class FakeCuPy:
    """Stands in `sys.modules` for cupy.

    Parameters
    ----------
    kernels : Kernels
        What compiles and launches.

    Attributes
    ----------
    log : list of str
        What happened, in order: ``"empty"``, ``"synchronize"``, ``"compile NAME"``, ``"launch NAME"``.
    """

    ndarray = Array

    def __init__(self, kernels: Kernels) -> None:
        self.log: list[str] = []
        self._kernels = kernels
        stream = SimpleNamespace(synchronize=lambda: self.log.append("synchronize"))
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                is_hip=False,
                getDeviceCount=lambda: 2,
                getDevice=Device.current,
                getDeviceProperties=lambda number: {"name": DEVICE.name.encode()},
                CUDARuntimeError=OSError,
            ),
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            Device=Device,
            get_current_stream=lambda: stream,
        )
        log = self.log

        class RawKernel:
            """A kernel of the device that is current when it is compiled."""

            def __init__(self, text: str, name: str, options: tuple[str, ...]) -> None:
                self.text, self.name = text, name

            def compile(self) -> None:
                log.append(f"compile {self.name}")
                self.device = Device.current()
                self.kernel = kernels.compile(self.text, self.name)

            def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
                log.append(f"launch {self.name}")
                for each in args:
                    assert not isinstance(each, Array) or each.device.id == self.device == Device.current()
                hosts = [each.host if isinstance(each, Array) else each for each in args]
                kernels.launch(self.kernel, grid, block, hosts)

        self.RawKernel = RawKernel

    def asarray(self, host: Any) -> Array:
        """Return an array on the current device with the elements of a NumPy array, whose memory it shares."""
        return Array(host, self, Device(Device.current()))

    def empty(self, shape: Any, dtype: Any) -> Array:
        self.log.append("empty")
        return self.asarray(self._kernels.empty(shape, dtype))

    def ascontiguousarray(self, array: Array) -> Array:
        return array if array.flags.c_contiguous else array.astype(array.dtype, order="C")

    def may_share_memory(self, one: Array, other: Array) -> bool:
        return one.device == other.device and np.may_share_memory(one.host, other.host)
