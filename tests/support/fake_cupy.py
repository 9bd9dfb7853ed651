"""A CuPy without a device: its arrays are in the host's memory, its kernels run on the emulator or nowhere.

It has what `cupy_kst` asks of CuPy, and notes what a CUDA graph could not capture: arrays made, waiting, compiling.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np

from tests.emulator import DEVICE
from tests.emulator.arguments import offset

from .poison import poisoned


class Kernels(Protocol):
    """What a fake allocates, compiles and launches by, such as the emulator."""

    def empty(self, shape: Sequence[int], dtype: Any) -> Any: ...

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Any: ...

    def launch(self, kernel: Any, grid: Any, block: Any, args: Sequence[Any]) -> None: ...


class NoKernels:
    """Compiles and launches nothing."""

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        return poisoned(np.empty(shape, dtype))

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
        # On a device the memory of an array that is no view begins at a multiple of 512. No two are closer than here.
        self.data = SimpleNamespace(ptr=512 * (host.ctypes.data - offset(host)) + offset(host))

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> Array:
        self._note("empty")
        return self._like(self.host.astype(dtype, order=order, copy=copy))

    def reshape(self, *shape: Any) -> Array:
        reshaped = self.host.reshape(*shape)
        if self.size and not np.shares_memory(reshaped, self.host):
            self._note("copy")
        return self._like(reshaped)

    def view(self, dtype: Any) -> Array:
        return self._like(self.host.view(dtype))

    def transpose(self, *axes: int) -> Array:
        return self._like(self.host.transpose(*axes))

    def __getitem__(self, key: Any) -> Array:
        return self._like(self.host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._note("fill")
        self.host[key] = value

    def __ixor__(self, bits: Any) -> Array:
        self._note("flip bits")
        self.host ^= bits
        return self

    def sum(self, axis: Any, dtype: Any, out: Array | None = None) -> Array:
        total = self.host.sum(axis=axis, dtype=dtype, out=None if out is None else out.host)
        self._note(f"sum {self.size} to {total.size}")
        return self._like(total) if out is None else out

    def _note(self, what: str) -> None:
        assert Device.current() == self.device.id
        self._cupy.log.append(what)

    def _like(self, host: Any) -> Array:
        return Array(host, self._cupy, self.device)


class Graph:
    """Launches that a stream captured."""

    def __init__(self) -> None:
        self.launches: list[Callable[[], None]] = []

    def launch(self) -> None:
        for launch in self.launches:
            launch()


class Stream:
    """A stream, which notes that somebody waits for it; all are one in what they do."""

    def __init__(self, cupy: FakeCuPy) -> None:
        self._cupy = cupy

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def synchronize(self) -> None:
        self._cupy.log.append("synchronize")

    def begin_capture(self) -> None:
        self._cupy.capturing = Graph()

    def end_capture(self) -> Graph:
        captured, self._cupy.capturing = self._cupy.capturing, None
        assert captured is not None
        return captured


class Event:
    """A point in the time of the fake: a launch takes a millisecond."""

    def __init__(self, cupy: FakeCuPy) -> None:
        self._cupy, self.time = cupy, 0

    def record(self, stream: Stream) -> None:
        self.time = self._cupy.time

    def synchronize(self) -> None:
        self._cupy.log.append("synchronize")


class FakeCuPy:
    """Stands in `sys.modules` for cupy.

    Parameters
    ----------
    kernels : Kernels
        What compiles and launches.

    Attributes
    ----------
    log : list of str
        What happened, in order: ``"empty"``, ``"synchronize"``, ``"compile NAME"``, ``"launch NAME"``,
        ``"sum NUMBERS to RESULTS"``, ``"copy"`` of an array that cannot be reshaped where it is.
    time : int
        Launches that ran.
    capturing : Graph or None
        What takes launches instead of the device.
    """

    ndarray = Array

    def __init__(self, kernels: Kernels) -> None:
        self.log: list[str] = []
        self._kernels = kernels
        self.time = 0
        self.capturing: Graph | None = None
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
            get_current_stream=lambda: Stream(self),
            Stream=lambda non_blocking: Stream(self),
            Event=lambda: Event(self),
            get_elapsed_time=lambda start, stop: stop.time - start.time,
        )
        cupy = self

        class RawKernel:
            """A kernel of the device that is current when it is compiled."""

            def __init__(self, text: str, name: str, options: tuple[str, ...]) -> None:
                self.text, self.name = text, name

            def compile(self) -> None:
                cupy.log.append(f"compile {self.name}")
                self.device = Device.current()
                self.kernel = kernels.compile(self.text, self.name)

            def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
                cupy.log.append(f"launch {self.name}")
                for each in args:
                    assert not isinstance(each, Array) or each.device.id == self.device == Device.current()
                kernel = kernels.compile(self.text, self.name, shared_mem) if shared_mem else self.kernel
                hosts = [each.host if isinstance(each, Array) else each for each in args]

                def launch() -> None:
                    cupy.time += 1
                    kernels.launch(kernel, grid, block, hosts)

                launch() if cupy.capturing is None else cupy.capturing.launches.append(launch)

        self.RawKernel = RawKernel

    def asarray(self, host: Any) -> Array:
        """Return an array on the current device with the elements of a NumPy array, whose memory it shares."""
        return Array(host, self, Device(Device.current()))

    def array(self, host: Any) -> Array:
        """Return a new array on the current device with the elements of a NumPy array."""
        made = self.empty(host.shape, host.dtype)
        made.host[...] = host
        return made

    def asnumpy(self, array: Array) -> Any:
        return array.host.copy()

    def empty(self, shape: Any, dtype: Any) -> Array:
        self.log.append("empty")
        return self.asarray(self._kernels.empty(shape, dtype))

    def zeros(self, shape: Any, dtype: Any) -> Array:
        made = self.empty(shape, dtype)
        made.host[...] = 0
        return made

    def ascontiguousarray(self, array: Array) -> Array:
        return array if array.flags.c_contiguous else array.astype(array.dtype, order="C")

    def may_share_memory(self, one: Array, other: Array) -> bool:
        return one.device == other.device and np.may_share_memory(one.host, other.host)


Fake = Callable[[Kernels], FakeCuPy]
