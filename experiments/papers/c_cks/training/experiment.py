"""Training a small classifier with the C-K-S operators: the same losses as with zeros and PyTorch, in what time?

The abstract of the paper (arXiv 2306.15951) says that its operators were compared with PyTorch and cuDNN in speed and
convergence. With which networks, data and figures is not known here, for the paper's tables were not at hand, so no
number below is the paper's. The framework that the operators belong to, Dragon-Alpha, has a paper of its own (arXiv
2305.08819), which reports that training networks on CIFAR-10 with an RTX 3060 Ti takes 75 % to 97 % of PyTorch's time
and 29 % to 66 % of its GPU memory; that is the framework's doing as a whole, not these operators'.

Here a network of four convolutions of stride 2 and a fully connected layer, with LeakyReLU and Adam as in the
framework's experiments, trains three times from the same weights on the same batches: with the C-K-S operators (ConvV2
forward, KS-deconv for the input's gradient, Sk-dilated for the filter's), with the baselines that multiply by zeros,
and with PyTorch, if it is installed, on the CPU alone. That the losses coincide shows that the operators compute what
they should: in float32 until rounding, which differs, has taken hold, in float64 to the end. Time and memory are the
result.

Different here: CIFAR-10 is not downloaded. The images are 32 x 32 patches of two photographs that scikit-learn brings
along, and the classes the photograph and its quadrant: too few to say anything about accuracy, but the work per image
is the same. Times are of whole steps, to which the other layers and the optimiser contribute. On a CPU with Numba the
C-K-S operators are compiled and their baselines are not, so the time between these two is not the zeros' alone; the
table of products says what is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

import cupy_kst
from experiments.harness.frame import Paper, Settings, Unit, command
from experiments.harness.rows import Row
from experiments.harness.timing import LEAD
from experiments.papers.c_cks.training import chart, memory, patches, tables
from experiments.papers.c_cks.training.learners import (
    OURS,
    PEER,
    SEED,
    STRIDE,
    Design,
    Learner,
    exact_gradients,
    learner,
)
from experiments.papers.c_cks.training.memory import Job
from experiments.papers.c_cks.training.patches import ImageSets
from experiments.workloads.training.steps import batches

NAME = "c_training"

STAGES = ((32, 5), (64, 3), (128, 3), (128, 3))
BATCH = 128
# C-K-S trims from 64 samples on, quick or not.
QUICK_STAGES, QUICK_BATCH = ((8, 5), (16, 3), (16, 3)), 64

# By element type.
EPOCHS, QUICK_EPOCHS = {"float32": 30, "float64": 10}, {"float32": 3, "float64": 2}

# Images of an epoch: so a large folder takes no longer than the photographs.
MOST, QUICK_MOST = 3 * BATCH, QUICK_BATCH

# What rounding explains: of a gradient from float64's, over its largest element; of losses in float64.
GRADIENT_TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-6

MEMORY_STEPS, QUICK_MEMORY_STEPS = 6, 2

PASSES: tuple[tuple[Literal["conv", "conv_input", "conv_weight"], str, str], ...] = (
    ("conv", "conv_v2", "direct"),
    ("conv_input", "ks_deconv", "zero_insertion"),
    ("conv_weight", "sk_dilated", "zero_dilation"),
)


def units(settings: Settings) -> list[Unit]:
    """Return the network's work, the check of the first gradients, the training, and the memory of each side."""
    sets = patches.load(settings.data)
    stages, batch = (QUICK_STAGES, QUICK_BATCH) if settings.quick else (STAGES, BATCH)
    batch = min(batch, len(sets.train.images))
    channels, side = sets.train.images.shape[1:3]
    design = Design((channels, side), stages, sets.classes)
    sides = [*OURS, *([PEER] if "torch" in settings.peers.modules and settings.device.kind == "cpu" else [])]
    found = [
        Unit("work", "work", partial(work, design, batch)),
        Unit("gradients", "first gradients", partial(gradients, design, sets, batch, sides, settings)),
        Unit("training", "training", partial(train, design, sets, batch, sides, settings)),
        Unit("float64", "training in float64", partial(train_wide, design, sets, batch, sides, settings)),
    ]
    if memory.can_measure():
        data = str(settings.data.resolve()) if settings.data else None
        steps = QUICK_MEMORY_STEPS if settings.quick else MEMORY_STEPS
        jobs = (Job(each, design, settings.device.kind, settings.threads, data, batch, steps) for each in sides)
        found += [Unit(f"memory-{job.side}", f"memory, {job.side}", partial(memory_rows, job)) for job in jobs]
    return found


def work(design: Design, batch: int) -> list[Row]:
    """Return a row for each pass of each convolution: its products with zeros, and those that C-K-S leaves."""
    rows = []
    for number, ((inputs, side), (outputs, taps)) in enumerate(zip(design.maps, design.stages, strict=False)):
        for op, method, baseline in PASSES:
            if number == 0 and op == "conv_input":
                continue
            shapes = (batch, inputs, side, side), (outputs, inputs, taps, taps)
            costs = cupy_kst.costs(*shapes, op=op, stride=STRIDE, padding=taps // 2)
            rows.append(
                {
                    "layer": number + 1,
                    "pass": op,
                    "method": method,
                    "baseline": baseline,
                    "kernel": [taps, taps],
                    "input_shape": list(shapes[0]),
                    "output_channels": outputs,
                    "output_side": design.maps[number + 1][1],
                    "macs_with_zeros": costs[baseline].nominal_macs,
                    "macs_left": costs[method].macs,
                }
            )
    return rows


def gradients(design: Design, sets: ImageSets, batch: int, sides: Sequence[str], settings: Settings) -> list[Row]:
    """Return how far the gradients of each side's first step are from those by the definition in float64.

    The error is the largest of all parameters: the largest difference over the largest element.
    """
    x, labels = sets.train.images[:batch], sets.train.labels[:batch]
    exact = exact_gradients(design, x, labels)
    rows = []
    for side in sides:
        first = _learner(side, design, settings)
        first.step(x, labels)
        errors = [
            float(np.abs(found - true).max() / np.abs(true).max())
            for found, true in zip(first.gradients(), exact, strict=True)
        ]
        # Not max(): it may pass over NaN.
        rows.append(
            {"side": side, "method": side, "max_abs_error": float(np.max(errors)), "tolerance": GRADIENT_TOLERANCE}
        )
    return rows


def train(design: Design, sets: ImageSets, batch: int, sides: Sequence[str], settings: Settings) -> list[Row]:
    """Return a row for each side and epoch, and one for what each side has learnt in the end."""
    learners = {side: _learner(side, design, settings) for side in sides}
    rows = _trained(learners, "float32", sets, batch, settings)
    most = QUICK_MOST if settings.quick else MOST
    x, labels = sets.test.images[:most], sets.test.labels[:most]
    for side, each in learners.items():
        right = float((each.scores(x).argmax(axis=1) == labels).mean())
        rows.append({"side": side, "accuracy": right, "tests": len(labels), "classes": design.classes})
    return rows


def train_wide(design: Design, sets: ImageSets, batch: int, sides: Sequence[str], settings: Settings) -> list[Row]:
    """Train in float64 and return the rows, and how far each side's losses are from the first one's.

    In float32 rounding makes the sides drift apart, as small differences grow from step to step. If that is all there
    is to it, they do not in float64.
    """
    learners = {side: _learner(side, design, settings, "float64") for side in sides}
    rows = _trained(learners, "float64", sets, batch, settings)
    losses = {side: np.concatenate([row["losses"] for row in rows if row["side"] == side]) for side in sides}
    for side, found in losses.items():
        apart = float(np.abs(found - losses[sides[0]]).max())
        rows.append({"side": side, "method": f"losses, {side}", "max_abs_error": apart, "tolerance": LOSS_TOLERANCE})
    return rows


def _trained(learners: Mapping[str, Learner], dtype: str, sets: ImageSets, batch: int, settings: Settings) -> list[Row]:
    """Train all sides in turn, an epoch each, and return a row for each side and epoch."""
    most, epochs = (QUICK_MOST, QUICK_EPOCHS) if settings.quick else (MOST, EPOCHS)
    order = np.random.default_rng(SEED).permutation(len(sets.train.labels))[:most]
    images, labels = sets.train.images[order].astype(dtype), sets.train.labels[order]
    rows: list[Row] = []
    for epoch in range(epochs[dtype]):
        # Every other epoch runs backwards, so that no side always follows the same one.
        for side in list(learners)[:: -1 if epoch % 2 else 1]:
            if settings.device.kind == "cpu":
                # The threads of other libraries come to rest.
                time.sleep(LEAD)
            seconds, losses = _epoch(learners[side], images, labels, batch, epoch)
            rows.append(
                {
                    "side": side,
                    "epoch": epoch + 1,
                    "seconds_per_step": seconds,
                    "losses": losses,
                    "dtype": dtype,
                    "images": len(images),
                    "batch": batch,
                    "data": sets.name,
                }
            )
    return rows


def _epoch(learner: Learner, images: Any, labels: Any, batch: int, epoch: int) -> tuple[float, list[float]]:
    """Train on all batches once; return seconds per step and the losses."""
    start = time.perf_counter()
    losses = [learner.step(images[places], labels[places]) for places in batches(len(images), batch, SEED + epoch)]
    # A GPU has done the last step when its loss is known.
    numbers = [learner.number(loss) for loss in losses]
    return (time.perf_counter() - start) / len(losses), numbers


def memory_rows(job: Job) -> list[Row]:
    """Return the memory that a side's training takes in a process of its own."""
    return [{"side": job.side, "steps": job.steps, "batch": job.batch, **memory.measure(job)}]


def _learner(side: str, design: Design, settings: Settings, dtype: str = "float32") -> Learner:
    return learner(side, design, settings.device, settings.peers.modules.get("torch"), dtype)


PAPER = Paper(
    name=NAME,
    source="C, arXiv 2306.15951",
    about=__doc__ or "",
    units=units,
    sheets=tables.sheets,
    draw=chart.draw,
    data=patches.HELP,
    peers=True,
)
command = command(PAPER)
