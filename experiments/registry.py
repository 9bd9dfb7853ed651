"""The list of experiments: what each is called, where it lives and which paper's figures it is about."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One experiment; its module defines `command`, the click command of that name, and a paper's also `PAPER`."""

    name: str
    module: str
    summary: str
    source: str


# In the papers' order.
PAPERS: tuple[Entry, ...] = (
    Entry(
        "a_flowers",
        "experiments.papers.a_segregation.flowers.experiment",
        "Photographs by zero insertion and by the segregated kernels.",
        "arXiv 2209.03704",
    ),
    Entry(
        "a_mnist",
        "experiments.papers.a_segregation.mnist.experiment",
        "Training with one transposed convolution, by zero insertion and by segregated kernels.",
        "arXiv 2209.03704",
    ),
    Entry(
        "b_datasets",
        "experiments.papers.b_unified.datasets.experiment",
        "Sets of images by unified kernel segregation, to odd and even sizes.",
        "arXiv 2502.20493",
    ),
    Entry(
        "b_gans",
        "experiments.papers.b_unified.gans.experiment",
        "The layers of five GANs by unified kernel segregation and others: time and bytes.",
        "arXiv 2502.20493",
    ),
    Entry(
        "c_operators",
        "experiments.papers.c_cks.operators.experiment",
        "C-K-S's three operators: work skipped, time saved, and where trimming pays.",
        "arXiv 2306.15951",
    ),
    Entry(
        "c_training",
        "experiments.papers.c_cks.training.experiment",
        "Train a small classifier with the C-K-S operators: losses, time and memory against PyTorch.",
        "arXiv 2306.15951",
    ),
    Entry(
        "d_networks",
        "experiments.papers.d_split.networks.experiment",
        "Six networks by split deconvolution: work, and time against inserted zeros and native operators.",
        "arXiv 1907.01773",
    ),
    Entry(
        "d_arrays",
        "experiments.papers.d_split.arrays.experiment",
        "Split deconvolution on arrays of multipliers: cycles by two models, energy where it can be read.",
        "arXiv 1907.01773",
    ),
    Entry(
        "d_quality",
        "experiments.papers.d_split.quality.experiment",
        "Split deconvolution against the definition: error and SSIM on integers and on pictures.",
        "arXiv 1907.01773",
    ),
)

EXPERIMENTS = (
    Entry(
        "quickstart",
        "experiments.quickstart.experiment",
        "Upsample a photograph by every method; compare time, work and memory.",
        "arXiv 2209.03704, 2502.20493, 1907.01773",
    ),
    Entry(
        "cpu_bench",
        "experiments.bench.cpu.experiment",
        "Time the layers of published networks on the CPU against PyTorch and ONNX Runtime.",
        "the layers of arXiv 2209.03704, 2306.15951, 1907.01773",
    ),
    Entry(
        "gpu_floors",
        "experiments.bench.gpu.floors",
        "The least time of each layer by a GPU's data sheet, and what the choice of forms reckons with.",
        "the layers of cpu_bench",
    ),
    Entry(
        "gpu_bench",
        "experiments.bench.gpu.experiment",
        "Time the layers of published networks on a GPU against PyTorch's cuDNN.",
        "the layers of arXiv 2209.03704, 2306.15951, 1907.01773",
    ),
    Entry(
        "gpu_check",
        "experiments.checks.gpu_check",
        "Run the tests on a GPU, and compute-sanitizer over every kernel.",
        "all methods",
    ),
    Entry(
        "cpu_calibrate",
        "experiments.calibrate.cpu_calibrate",
        "Measure the prices by which NumPy's forms are chosen on the CPU.",
        "the layers of cpu_bench",
    ),
    *PAPERS,
)
