"""Measures the prices by which the NumPy engine chooses between forms (`PRICES` in cupy_kst/cpu/cost_model.py)."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
import numpy as np
from scipy.optimize import nnls

from cupy_kst import Geometry, cpu
from cupy_kst.cpu.cost_model import PRICES, WorkCounts
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import Role
from cupy_kst.problem import Choice, Problem
from experiments.harness import devices
from experiments.harness.timing import CpuClock, Rounds, time_in_turn
from experiments.render import console
from experiments.workloads import layers

# What layers of networks lack: large maps of few channels.
IMAGES = tuple(
    layers.LayerSpec(
        names=(f"photograph {kernel}",),
        in_channels=3,
        out_channels=3,
        groups=1,
        in_size=(224, 224),
        kernel=(kernel, kernel),
        stride=(2, 2),
        padding=((kernel // 2, kernel // 2),) * 2,
        output_padding=(0, 0),
        out_size=(447, 447),
    )
    for kernel in (3, 5, 7)
)
# Seconds for one form of a layer in its turn, and until the threads of a BLAS have come to rest before it; turns of
# each, and the batches that they are measured with.
TURN, LEAD, TURNS = 0.05, 0.12, 3
BATCHES = (1, 4)
QUICK = ("DiscoGAN 4", "SD-DCGAN 3", "DiscoGAN 2", "GP-GAN 1", "Grouped 1")


@click.command("cpu_calibrate")
@click.option(
    "--threads",
    type=click.IntRange(1, devices.logical_cores()),
    default=min(2, devices.logical_cores()),
    show_default="2",
    help="Threads of matrix products.",
)
@click.option("--quick", is_flag=True, help="A few small layers: proves that it runs.")
def command(threads: int, quick: bool) -> None:
    """Measure what the choice between forms of KS-deconv assumes, and print it as the line to put there.

    Weights are not prepared. It needs Numba (the extra `fast`).
    """
    chosen = [layer for layer in (*layers.unique(), *IMAGES) if not quick or set(layer.names) & set(QUICK)]
    say = console.output()
    measured: list[list[tuple[WorkCounts, float]]] = []
    with devices.limited(threads), console.progress() as bar:
        task = bar.add_task("", total=len(chosen))
        for layer in chosen:
            bar.update(task, description=layer.label)
            for batch in BATCHES[:1] if quick else BATCHES:
                measured.append(_measured(layer, batch))
            bar.advance(task)
    amounts = np.array([amount for forms in measured for amount, _ in forms])
    times = np.array([seconds for forms in measured for _, seconds in forms])
    # Relative errors are squared, so that short calls count as much as long ones.
    prices, _ = nnls(amounts / times[:, None], np.ones(len(times)))
    found = WorkCounts(*prices.tolist())
    for name, prices_ in (("now in cupy_kst/cpu/cost_model.py", PRICES), ("measured here", found)):
        right = np.mean([_is_right(forms, prices_) for forms in measured])
        say.print(f"{name}: the quicker form, or one that takes at most 1.1 times as long, in {right:.0%} of layers")
    fields = ", ".join(f"{name}={price:.2g}" for name, price in found._asdict().items())
    say.print(f"PRICES = WorkCounts({fields})", soft_wrap=True)


def _measured(layer: layers.LayerSpec, batch: int) -> list[tuple[WorkCounts, float]]:
    """Return for each form what it does, and the median of its times in seconds."""
    draw = np.random.default_rng(0).standard_normal
    x, w = draw(layer.input_shape(batch), np.float32), draw(layer.weight_shape, np.float32)
    geometry = Geometry.conv_transpose(x.shape, w.shape, **layer.options)
    arrays: dict[Role, Any] = {"small": x, "weight": w, "large": np.empty(geometry.output_shape, np.float32)}
    problem = Problem("conv_transpose", geometry, DTYPES["float32"])
    forms = cpu.form_names(problem, "ks_deconv")
    calls = {form: partial(cpu.run, problem, Choice("ks_deconv", form), arrays) for form in forms}
    timings = time_in_turn(calls, CpuClock(LEAD), Rounds(TURNS, TURNS, 0.0, turn=TURN))[0]
    work = {name: form.work for name, form in cpu.FORMS["ks_deconv"].items() if form.work is not None}
    return [(work[name](geometry, False), timings[name].median) for name in forms]


def _is_right(forms: list[tuple[WorkCounts, float]], prices: WorkCounts) -> bool:
    """Return whether these prices choose the quicker form, or one that takes little longer."""
    taken = min(forms, key=lambda form: float(np.dot(form[0], prices)))
    return taken[1] <= 1.1 * min(seconds for _, seconds in forms)
