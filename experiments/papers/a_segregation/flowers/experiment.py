"""Photographs by zero insertion and by the segregated kernels.

The paper (arXiv 2209.03704) inserts zeros between the pixels of photographs of flowers and convolves them, the
conventional way, and against that sets a kernel that is segregated into four sub-kernels, which meet no zeros. Its
abstract names a speed-up of 3.02x on a dual-core Intel CPU and of 3.09x on a Titan X, for a flower dataset of Kaggle.

Here every picture is a square of 224 pixels with 3 channels, upsampled by a stride of 2 with square kernels of 3, 4 and
5 taps and a padding factor, of the map with zeros, of 1 and 2: neither sizes nor code of the paper are known to us. The
kernels lead from 3 channels to 3 and are drawn at random. Pictures are computed one by one. Both methods convolve with
the same code, so that their ratio is that of the algorithms. By default the pictures are the two photographs of
scikit-learn; `--data` takes Kaggle's flowers, a folder for each class.

Our segregated method launches one CUDA kernel for each of the s * s = 4 sub-kernels. The paper, as we read it, has one
thread for each square of 2 x 2 outputs and so one launch, but computes outputs past the border where the size is odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import cupy_kst
from cupy_kst.cpu import reference
from experiments.harness import frame
from experiments.harness.comparison import BASELINE, Case
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import cost_fields, time_fields
from experiments.harness.timing import Timing, time_in_turn
from experiments.papers.a_segregation.flowers import chart
from experiments.papers.a_segregation.flowers.tables import sheets
from experiments.workloads.data import PICTURES_HELP, Images, photographs

METHODS = (BASELINE, "segregated")
STRIDE, CHANNELS = 2, 3

# Kernel size and the paper's padding factor, which is that of the map with zeros.
SIZES = tuple((kernel, factor) for kernel in (3, 4, 5) for factor in (1, 2))

SIDE, MOST = 224, 8
QUICK_SIDE, QUICK_MOST = 64, 2

_SEED = 0


def units(settings: Settings) -> list[Unit]:
    """Return a unit for each class, kernel and padding factor."""
    side, most = (QUICK_SIDE, QUICK_MOST) if settings.quick else (SIDE, MOST)
    return [
        Unit(
            f"{name} {kernel}x{kernel} P{factor}",
            f"{name}, {kernel}x{kernel} kernel, padding factor {factor}",
            partial(measure, name, pictures, kernel, factor, settings),
        )
        for name, pictures in photographs(settings.data, side, most).items()
        for kernel, factor in SIZES
    ]


def measure(name: str, pictures: Images, kernel: int, factor: int, settings: Settings) -> list[dict[str, Any]]:
    """Return a row for each method: the times are of one picture."""
    device, padding = settings.device, kernel - 1 - factor
    weight = np.random.default_rng(_SEED).uniform(-1, 1, (CHANNELS, CHANNELS, kernel, kernel)).astype(np.float32)
    cases = [Case(name, picture[np.newaxis], weight, {"stride": STRIDE, "padding": padding}) for picture in pictures]
    options, shape, dtype = cases[0].options, cases[0].input.shape, weight.dtype.name
    costs = cupy_kst.costs(shape, weight.shape, dtype=dtype, **options)
    geometry = cupy_kst.Geometry.conv_transpose(shape, weight.shape, **options)
    inputs, w = [device.put(case.input) for case in cases], device.put(weight)

    def all_by(method: str) -> list[Any]:
        return [cupy_kst.conv_transpose2d(x, w, method=method, **options) for x in inputs]

    calls = {method: partial(all_by, method) for method in METHODS}
    timings, outputs = time_in_turn(calls, settings.clock, settings.rounds)
    times = {name: Timing(tuple(each / len(cases) for each in timing.samples)) for name, timing in timings.items()}
    exact = [reference.conv_transpose(case.input, case.weight, **options) for case in cases]
    return [
        {
            "class": name,
            "images": len(cases),
            "method": method,
            "form": device.form(method, geometry, dtype),
            "kernel": kernel,
            "factor": factor,
            **options,
            "input_shape": list(shape),
            "output_shape": list(exact[0].shape),
            "dtype": dtype,
            **time_fields(times[method], settings.clock.calls_per_sample),
            "speedup": times[BASELINE].median / times[method].median,
            **cost_fields(costs[method]),
            "max_abs_error": _largest_error([device.get(output) for output in outputs[method]], exact),
            "tolerance": max(case.tolerance for case in cases),
        }
        for method in METHODS
    ]


def _largest_error(outputs: Sequence[Any], exact: Sequence[Any]) -> float:
    # NumPy's maximum, unlike Python's, does not pass over NaN.
    return float(np.max([np.abs(one - other).max() for one, other in zip(outputs, exact, strict=True)]))


PAPER = Paper(
    name="a_flowers",
    source="A, arXiv 2209.03704",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=chart.draw,
    data=PICTURES_HELP,
)
command = frame.command(PAPER)
