"""The list of experiments: what each is called, where it lives and which paper's figures it is about."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One experiment; its module defines `command`, the click command of that name."""

    name: str
    module: str
    summary: str
    source: str


EXPERIMENTS = (
    Entry(
        "quickstart",
        "experiments.quickstart",
        "Upsample a photograph by every method; compare time, work and memory.",
        "arXiv 2209.03704, 2502.20493, 1907.01773",
    ),
    Entry(
        "cpu_bench",
        "experiments.cpu_bench",
        "Time the layers of published networks on the CPU against PyTorch and ONNX Runtime.",
        "the layers of arXiv 2209.03704, 2306.15951, 1907.01773",
    ),
    Entry(
        "gpu_bench",
        "experiments.gpu_bench",
        "Time the layers of published networks on a GPU against PyTorch's cuDNN.",
        "the layers of arXiv 2209.03704, 2306.15951, 1907.01773",
    ),
    Entry(
        "gpu_check",
        "experiments.gpu_check",
        "Run the tests on a GPU, and compute-sanitizer over every kernel.",
        "all methods",
    ),
    Entry(
        "cpu_calibrate",
        "experiments.cpu_calibrate",
        "Measure the prices by which NumPy's forms are chosen on the CPU.",
        "the layers of cpu_bench",
    ),
)
