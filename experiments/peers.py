"""The libraries that the CPU benchmark compares with: PyTorch (oneDNN) and ONNX Runtime, each if it is installed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from typing import Any

from experiments import onnx_models
from experiments.harness.environment import PEERS
from experiments.sides import Side, Work

_INSTALL = "pip install -e '.[bench]'"


@dataclass(frozen=True)
class Peers:
    """The libraries found: modules by name, their record for a result's environment, a line on each that is missing."""

    modules: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in (*self.modules, *(["onnx"] if "onnxruntime" in self.modules else []))}

    @property
    def builds(self) -> dict[str, dict[str, Any]]:
        """What stands behind PyTorch's operators, and the threads they use; ONNX Runtime does not tell."""
        if "torch" not in self.modules:
            return {}
        torch = self.modules["torch"]
        onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
        capability = torch.backends.cpu.get_cpu_capability()
        return {
            "torch": {
                "onednn": onednn.group(1) if onednn else None,
                "cpu_capability": capability,
                "threads": torch.get_num_threads(),
            }
        }

    def use(self, threads: int) -> None:
        """Let PyTorch use as many threads as the others; ONNX Runtime is told with each session."""
        if "torch" in self.modules:
            self.modules["torch"].set_num_threads(threads)

    def sides(self, work: Work, threads: int) -> list[Side]:
        """Return the sides of the peers that have this operation."""
        sides = [_torch(self.modules["torch"], work)] if "torch" in self.modules else []
        if "onnxruntime" in self.modules and work.operation == "forward":
            sides.append(_onnxruntime(self.modules["onnxruntime"], work, threads))
        return sides


def load() -> Peers:
    """Import the peers that are there."""
    peers = Peers()
    for name, needs in (("torch", ["torch"]), ("onnxruntime", ["onnxruntime", "onnx"])):
        try:
            for module in needs:
                found = import_module(module)
                peers.modules.setdefault(name, found)
        except ImportError as error:
            peers.modules.pop(name, None)
            absent = isinstance(error, ModuleNotFoundError) and error.name == module
            why = f"{module} is not installed ({_INSTALL})" if absent else f"{module} cannot be imported: {error}"
            peers.missing.append(f"{PEERS[name]} is left out: {why}")
    return peers


def _torch(torch: Any, work: Work) -> Side:
    """Return PyTorch's side.

    Its transposed convolution has one padding for both ends of an axis. Where that, with its output padding, cannot
    say what the layer crops, its users compute more and crop that, and so does this side; the crop is a view.
    """
    layer = work.layer
    pads, extras, crops = zip(*map(symmetric, layer.padding, layer.output_padding, layer.stride), strict=True)
    cropped = any(map(any, crops))
    note = f"computed with padding {pads} and cropped, as one padding holds for both ends" if cropped else ""
    x, w, g = map(torch.from_numpy, (work.input, work.weight, work.grad_output))
    inside = (..., *(slice(lo, -hi or None) for lo, hi in crops))
    # The last axis comes first in what `pad` takes.
    outside = [amount for crop in reversed(crops) for amount in crop]

    def forward() -> Any:
        function = getattr(torch.nn.functional, f"conv_transpose{layer.rank}d")
        return function(x, w, None, layer.stride, pads, extras, layer.groups)[inside]

    def gradient(of: int) -> Any:
        # What autograd calls, told to make the one gradient alone.
        return torch.ops.aten.convolution_backward(
            torch.nn.functional.pad(g, outside) if cropped else g,
            x,
            w,
            None,
            layer.stride,
            pads,
            [1] * layer.rank,
            True,
            extras,
            layer.groups,
            [of == 0, of == 1, False],
        )[of]

    calls: dict[str, Callable[[], Any]] = {
        "forward": forward,
        "input": lambda: gradient(0),
        "weight": lambda: gradient(1),
    }
    return Side("torch", calls[work.operation], lambda tensor: tensor.numpy(), note)


def symmetric(pads: tuple[int, int], extra: int, stride: int) -> tuple[int, int, tuple[int, int]]:
    """Return PyTorch's padding and output padding of an axis, and what is to be cropped of the result."""
    lo, hi = pads
    if 0 <= extra + lo - hi < stride:
        return lo, extra + lo - hi, (0, 0)
    least = min(lo, hi)
    return least, extra, (lo - least, hi - least)


def _onnxruntime(runtime: Any, work: Work, threads: int) -> Side:
    """Return ONNX Runtime's side: a model of one node, its weight a constant, so that it may be packed beforehand."""
    return Side("onnxruntime", bound_session(runtime, onnx_models.native(work), work.input, threads), fetch_bound)


def bound_session(runtime: Any, model: bytes, x: Any, threads: int) -> Callable[[], Any]:
    """Return the call that runs an ONNX model of one input `x` and one output `y`, and what it returns.

    Input and output are bound, which spares ONNX Runtime the copies of its NumPy interface.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", runtime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y", "cpu")

    def call() -> Any:
        session.run_with_iobinding(binding)
        return binding

    return call


def fetch_bound(bound: Any) -> Any:
    """Return the array that such a call computed."""
    return bound.copy_outputs_to_cpu()[0]
