"""ONNX Runtime as a backend, and models run by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.peers import onnx_models
from experiments.peers.backends import Backend
from experiments.workloads.operations import LayerOperation


def onnxruntime_backend(runtime: Any, work: LayerOperation, threads: int) -> Backend:
    """Return ONNX Runtime's backend: a model of one node, its weight a constant, which may be packed beforehand."""
    return Backend("onnxruntime", bound_session(runtime, onnx_models.native(work), work.input, threads), fetch_bound)


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
