"""Measures the prices by which the NumPy engine chooses between forms (`SECONDS` in cupy_kst/cpu/choice.py)."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
import numpy as np
from scipy.optimize import nnls

from cupy_kst import Geometry, cpu
from cupy_kst.cpu.choice import SECONDS, Work, work
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import Role
from experiments import console, devices, layers
from experiments.timing import CpuClock, Rounds, time_in_turn

# What layers of networks lack: large maps of few channels.
IMAGES = tuple(
    layers.Layer(
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
FORMS = ("fold", "columns", "compiled", "compiled_fold")
# Seconds for all forms of a layer, and the batch that they are measured with beside single samples.
BUDGET, BATCH = 0.3, 4
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
    amounts: list[Work] = []
    times: list[float] = []
    with devices.limited(threads), console.progress() as bar:
        task = bar.add_task("", total=len(chosen))
        for layer in chosen:
            bar.update(task, description=layer.label)
            for batch in (1,) if quick else (1, BATCH):
                of_layer = _measured(layer, batch)
                amounts += [work(form, geometry, prepared=False) for form, (geometry, _) in of_layer.items()]
                times += [seconds for _, seconds in of_layer.values()]
            bar.advance(task)
    scale = np.array(times)[:, None]
    # Of relative errors the least squares: short calls count as much as long ones.
    prices, _ = nnls(np.array(amounts) / scale, np.ones(len(times)))
    found = Work(*prices.tolist())
    for name, prices_ in (("now in cupy_kst/cpu/choice.py", SECONDS), ("measured here", found)):
        right = _share_right(amounts, times, prices_)
        say.print(f"{name}: the quicker form, or one that takes at most 1.1 times as long, in {right:.0%} of layers")
    fields = ", ".join(f"{name}={price:.2g}" for name, price in found._asdict().items())
    say.print(f"SECONDS = Work({fields})", soft_wrap=True)


def _measured(layer: layers.Layer, batch: int) -> dict[str, tuple[Geometry, float]]:
    """Return for each form the geometry, and the median of its times in seconds."""
    draw = np.random.default_rng(0).standard_normal
    x, w = draw(layer.input_shape(batch), np.float32), draw(layer.weight_shape, np.float32)
    geometry = Geometry.conv_transpose(x.shape, w.shape, **layer.options)
    arrays: dict[Role, Any] = {"small": x, "weight": w, "large": np.empty(geometry.output_shape, np.float32)}
    calls = {form: partial(cpu.run, "ks_deconv", geometry, DTYPES["float32"], arrays, form=form) for form in FORMS}
    timings = time_in_turn(calls, CpuClock(), Rounds(60, 3, BUDGET))[0]
    return {form: (geometry, timings[form].median) for form in FORMS}


def _share_right(amounts: list[Work], times: list[float], prices: Work) -> float:
    estimates = np.array(amounts) @ np.array(prices)
    pairs, measured = estimates.reshape(-1, len(FORMS)), np.array(times).reshape(-1, len(FORMS))
    taken = np.take_along_axis(measured, pairs.argmin(axis=1)[:, None], axis=1)[:, 0]
    return float(np.mean(taken <= 1.1 * measured.min(axis=1)))
