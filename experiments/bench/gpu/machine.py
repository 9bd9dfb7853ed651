"""The thin layer over CuPy and PyTorch: one GPU, one stream that both use, graphs, events and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build.runtime import load_cupy
from experiments.errors import ExperimentError


@dataclass(frozen=True)
class Graph:
    """A captured graph of `calls` calls."""

    calls: int
    replay: Callable[[], None]


class Machine:
    """CuPy and PyTorch on the current GPU. PyTorch owns all arrays, so that there is one pool of memory to look after.

    Parameters
    ----------
    cupy, torch : module
        Both with a usable GPU.
    """

    device = "cuda"

    def __init__(self, cupy: Any, torch: Any) -> None:
        self.cupy, self.torch = cupy, torch
        # Neither library captures on the null stream, nor may the null stream wait for a captured one.
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._torch_stream = torch.cuda.ExternalStream(self._stream.ptr)
        self._device = cupy.cuda.Device().id
        properties = cupy.cuda.runtime.getDeviceProperties(self._device)
        self.l2_bytes = int(properties["l2CacheSize"])

    @property
    def versions(self) -> dict[str, str]:
        """What a record of the environment has beside CuPy's and the driver's."""
        return {"torch": str(self.torch.__version__), "cudnn": str(self.torch.backends.cudnn.version())}

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make one stream the current one of both libraries; cuDNN's search for the fastest algorithm is on."""
        self.torch.backends.cudnn.benchmark = True
        with self.torch.no_grad(), self.torch.cuda.stream(self._torch_stream), self._stream:
            yield

    def view(self, tensor: Any) -> Any:
        """Return a C-contiguous tensor as a CuPy array of the same memory."""
        size = tensor.numel() * tensor.element_size()
        memory = self.cupy.cuda.UnownedMemory(tensor.data_ptr(), size, tensor, self._device)
        dtype = DTYPES[str(tensor.dtype).rpartition(".")[2]].storage
        return self.cupy.ndarray(tuple(tensor.shape), dtype, self.cupy.cuda.MemoryPointer(memory, 0))

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def capture(self, call: Callable[[int], object], calls: int) -> Graph:
        """Return a graph of `calls` calls of CuPy, numbered from 0. They must have run before, outside of it."""
        self._stream.begin_capture()
        try:
            for number in range(calls):
                call(number)
        except BaseException:
            self._abandon(self._stream.end_capture)
            raise
        graph = self._stream.end_capture()
        return Graph(calls, lambda: graph.launch(self._stream))

    def capture_torch(self, call: Callable[[int], object], calls: int) -> Graph:
        """Return a graph of `calls` calls of PyTorch. They must have run before, so that cuDNN has searched."""
        graph = self.torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="relaxed")
        try:
            for number in range(calls):
                call(number)
        except BaseException:
            self._abandon(graph.capture_end)
            raise
        graph.capture_end()
        return Graph(calls, graph.replay)

    @staticmethod
    def _abandon(end: Callable[[], object]) -> None:
        """End a capture in which something failed; that it ends in an error too tells nothing."""
        try:
            end()
        except Exception:
            return

    def device_seconds(self, work: Callable[[], object]) -> float:
        """Return the device's time between what comes before `work` on the stream and its end."""
        start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record(self._stream)
        work()
        stop.record(self._stream)
        stop.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(start, stop)) / 1e3

    def wall_seconds(self, work: Callable[[], object]) -> float:
        """Return the wall time until the device has finished `work`."""
        self.synchronize()
        start = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - start

    def allow(self, precision: str) -> None:
        """Say what PyTorch may compute float32 in: "ieee" or "tf32"."""
        cudnn, products = self.torch.backends.cudnn, self.torch.backends.cuda.matmul
        if hasattr(cudnn, "conv") and hasattr(cudnn.conv, "fp32_precision"):
            # Never `allow_tf32` beside these: PyTorch refuses to read a mixture of both.
            cudnn.conv.fp32_precision = products.fp32_precision = precision
        else:
            cudnn.allow_tf32 = products.allow_tf32 = precision == "tf32"

    @contextmanager
    def without_cudnn(self) -> Iterator[None]:
        """Compute PyTorch's convolutions by its own matrix products."""
        self.torch.backends.cudnn.enabled = False
        try:
            yield
        finally:
            self.torch.backends.cudnn.enabled = True

    def free_bytes(self) -> int:
        """Return the device memory that is free, or kept free by the pools."""
        self.free()
        return int(self.torch.cuda.mem_get_info()[0])

    def free(self) -> None:
        """Return what both libraries' pools keep. No graph that is still replayed may write to it."""
        self.synchronize()
        self.cupy.get_default_memory_pool().free_all_blocks()
        self.torch.cuda.empty_cache()


def find_machine(experiment: str) -> Machine:
    """Return the machine, or raise one line on what is missing."""
    try:
        cupy = load_cupy()
    except RuntimeError as error:
        raise ExperimentError(f"{experiment} needs a GPU: {error}") from None
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise ExperimentError(f"{experiment} compares with PyTorch, which cannot be imported: {error}") from None
    if not torch.cuda.is_available():
        raise ExperimentError(f"{experiment} compares with PyTorch, but this build ({torch.__version__}) finds no GPU")
    return Machine(cupy, torch)


def check_device(machine: Machine, what: str) -> None:
    """Raise one line that begins with `what` if the device has failed: nothing else can be measured then."""
    try:
        machine.synchronize()
    except Exception as error:
        raise ExperimentError(f"the GPU no longer answers ({type(error).__name__}) after this: {what}") from None
