"""The libraries that this one is compared with: PyTorch (oneDNN) and ONNX Runtime, each if it is installed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from typing import Any

from experiments.harness.environment import PEERS
from experiments.peers.backends import Backend
from experiments.peers.onnx_runtime import onnxruntime_backend
from experiments.peers.pytorch import torch_backend
from experiments.workloads.operations import LayerOperation

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

    def backends(self, work: LayerOperation, threads: int) -> list[Backend]:
        """Return the backends of the peers that have this operation."""
        backends = [torch_backend(self.modules["torch"], work)] if "torch" in self.modules else []
        if "onnxruntime" in self.modules and work.operation == "forward":
            backends.append(onnxruntime_backend(self.modules["onnxruntime"], work, threads))
        return backends


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
