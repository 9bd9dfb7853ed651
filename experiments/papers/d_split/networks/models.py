"""ONNX Runtime's models of each layer: of ordinary convolutions alone, and of the native operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from experiments.peers import onnx_models
from experiments.peers.backends import Backend
from experiments.peers.onnx_runtime import bound_session, fetch_bound
from experiments.workloads.operations import LayerOperation

MODELS: dict[str, Callable[[LayerOperation], bytes]] = {
    "zero_insertion": onnx_models.zero_inserted,
    "split": onnx_models.split,
    "native": onnx_models.native,
}


def on_onnxruntime(works: Sequence[LayerOperation], name: str, runtime: Any, threads: int) -> list[Backend]:
    """Return a backend of ONNX Runtime for each layer, by the model of this name."""
    return [
        Backend(name, bound_session(runtime, MODELS[name](work), work.input, threads), fetch_bound) for work in works
    ]
