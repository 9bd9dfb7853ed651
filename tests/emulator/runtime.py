"""The emulator as a `cupy_kst.gpu.build.runtime.Runtime`: NumPy arrays are its device arrays."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cupy_kst.gpu.select.device import Device

from . import poison
from .arguments import Form, send
from .build import SANITIZE, program
from .errors import EmulatorError
from .worker import Products, worker

ORDERS = ("forward", "reversed", "shuffled")

# As of an H200.
DEVICE = Device(
    name="emulator",
    capability=(9, 0),
    multiprocessors=132,
    l2_bytes=50 * 2**20,
    shared_bytes_optin=227 * 1024,
)

# Compiled kernels, and launches, that one emulator remembers.
REMEMBERED = 512


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel: what `Emulator.compile` returns and `Emulator.launch` takes."""

    name: str
    path: Path
    build: str
    shared_bytes: int


class Emulator:
    """Runs CUDA kernels on the CPU, one thread after another; what a device would let pass is an `EmulatorError`.

    Parameters
    ----------
    build : {"plain", "asan", "tsan"}
        Plain; with AddressSanitizer and UndefinedBehaviorSanitizer; with ThreadSanitizer.
    order : {"forward", "reversed", "shuffled"}
        In which order blocks run, the warps of a block between two barriers, and the lanes of a warp.
    seed : int
        Seed of the shuffled order.
    device : Device
        The device whose limits are kept.
    time_limit : float
        Seconds after which a launch has failed.

    Attributes
    ----------
    products : collections.deque of (str, Products)
        The names of the last kernels that were launched, and the fused multiply-adds that each made.
    """

    def __init__(
        self,
        build: str = "plain",
        order: str = "forward",
        seed: int = 0,
        device: Device = DEVICE,
        time_limit: float = 60.0,
    ) -> None:
        if build not in SANITIZE or order not in ORDERS:
            raise EmulatorError(
                f"build is one of {tuple(SANITIZE)} and order one of {ORDERS}, not {build!r} and {order!r}"
            )
        self.build = build
        self.order = order
        self.seed = seed
        self.device = device
        self.time_limit = time_limit
        self.products: deque[tuple[str, Products]] = deque(maxlen=REMEMBERED)
        self._kernels: OrderedDict[tuple[str, str, int], Kernel] = OrderedDict()
        self._lock = threading.Lock()

    def limits(self) -> Device:
        """Return the limits of the device."""
        return self.device

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array whose elements all say that they were never written."""
        array = np.empty(shape, dtype)
        poison.fill(array)
        return array

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> Kernel:
        """Return the kernel `name` of `text`; `feature` changes nothing here."""
        del feature
        most = self.device.shared_bytes_optin
        if shared_bytes > most:
            raise EmulatorError(
                f"too much shared memory: kernel {name} asks for {shared_bytes} bytes; the device has {most}"
            )
        key = (text, name, shared_bytes)
        with self._lock:
            if key in self._kernels:
                self._kernels.move_to_end(key)
                return self._kernels[key]
        kernel = Kernel(name, program(text, name, self.build), self.build, shared_bytes)
        with self._lock:
            self._kernels[key] = kernel
            if len(self._kernels) > REMEMBERED:
                self._kernels.popitem(last=False)
        return kernel

    def launch(
        self,
        kernel: Kernel,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        blocks: range | None = None,
    ) -> None:
        """Run every thread of the launch, then look through the arrays that it may have written.

        A `numpy.memmap` is not copied but mapped from its file, which may be larger than memory. So that a sparse file
        stays sparse, nothing looks through it, and of its bounds only the pages around are watched.

        `blocks` are the numbers, in order and one after the other, of those that run; without it all do.
        """
        self._check_extents(kernel.name, grid, block)
        everything = range(prod(map(int, grid)))
        blocks = everything if blocks is None else blocks
        if not blocks or blocks.step != 1 or blocks.start < 0 or blocks.stop > len(everything):
            raise EmulatorError(f"{blocks} are no blocks of the {len(everything)} of kernel {kernel.name}")
        process = worker(kernel.path, kernel.name, kernel.build)
        sent = send(args, process.parameters(), kernel.name)
        dynamic = kernel.shared_bytes > 0
        request = struct.pack(
            "6IIIQQQQQ",
            *grid,
            *block,
            ORDERS.index(self.order),
            len(sent),
            self.seed,
            kernel.shared_bytes if dynamic else self.device.shared_bytes,
            dynamic,
            blocks.start,
            len(blocks),
        )
        headers = b"".join(one.header() for one in sent)
        data = [one.data for one in sent if one.form is not Form.ALIAS]
        written = [
            (i, one.answer, one.data) for i, one in enumerate(sent) if one.form is Form.ARRAY and one.answer is not None
        ]
        made = process.launch([request + headers, *data], [view for _, _, view in written], self.time_limit)
        with self._lock:
            self.products.append((kernel.name, made))
        for i, array, _ in written:
            poison.scan(array, f"argument {i} of kernel {kernel.name}")

    def check_written(self, array: npt.NDArray[Any]) -> None:
        """Raise unless every element of an array that `empty` made has been written since."""
        poison.check_written(array)

    def _check_extents(self, name: str, grid: Sequence[int], block: Sequence[int]) -> None:
        for what, extents, limits in (("grid", grid, self.device.max_grid), ("block", block, self.device.max_block)):
            if len(extents) != 3 or not all(isinstance(extent, int | np.integer) for extent in extents):
                raise EmulatorError(f"{what} of kernel {name} is {extents}, not three integers")
            for axis, extent, limit in zip("xyz", extents, limits, strict=True):
                if extent < 1:
                    raise EmulatorError(f"{what}.{axis} = {extent} of kernel {name} is less than 1")
                if extent > limit:
                    raise EmulatorError(f"{what}.{axis} = {extent} of kernel {name} exceeds {limit}")
        threads = block[0] * block[1] * block[2]
        if threads > self.device.max_threads:
            raise EmulatorError(f"{threads} threads per block of kernel {name} exceed {self.device.max_threads}")
