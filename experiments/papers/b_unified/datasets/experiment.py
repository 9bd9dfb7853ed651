"""Unified kernel segregation on sets of images, to odd and even sizes.

The paper reports that unified kernel segregation is 2.03 times as fast as inserting zeros on an RTX 2070 and 3.89 times
on an Intel Xeon, on average over "specific datasets". Other than the same authors' earlier method, `segregated` here,
it computes no extra elements where the output's size is odd; a summary of the paper names as its price some
instructions and an array that holds the sizes of the sub-kernels.

What differs here, and why. Only the paper's abstract and a summary were at hand, and neither names the sets of images,
their size, the filters or the paddings. So the images are 224 x 224 pixels of the two photographs of scikit-learn, and
256 of its 8 x 8 digits; or with --data a folder of pictures, or of one folder of pictures per class, as Kaggle's
flowers are kept, and of each class 16 pictures, as the time does not depend on what they show. Filters are 3 x 3, 4 x 4
and 5 x 5 random numbers with as many output as input channels. With stride 2 and paddings of 1, 1 and 2 they give odd,
even and odd outputs, and an output padding of 1 makes the odd ones even. A call takes all images of a set at once.

The library's `unified` has no array of sizes, as its loops end with the filter. What that gains is measured beside it:
on a GPU with a kernel of this experiment in which every thread reads the sizes from memory, and which is otherwise the
library's; on a CPU, where NumPy handles all outputs of a class at once, with a loop over the classes that computes the
sizes of a class or looks them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_kst import Geometry, gpu
from experiments.harness import frame
from experiments.harness.comparison import Case
from experiments.harness.devices import Device
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.rows import Row
from experiments.papers.b_unified import size_table
from experiments.papers.b_unified.datasets import chart
from experiments.papers.b_unified.datasets.numbers import METHODS, TABLE
from experiments.papers.b_unified.datasets.tables import sheets
from experiments.papers.b_unified.measurements import Extra, rows_of, saved_bytes
from experiments.workloads import data

Images = NDArray[np.float32]

NAME = "b_datasets"

# Kernel, padding and output padding: outputs of 2N - 1, 2N, 2N, 2N - 1 and 2N pixels.
OPTIONS = ((3, 1, 0), (3, 1, 1), (4, 1, 0), (5, 2, 0), (5, 2, 1))
STRIDE = 2

# Pixels of a picture's edge, pictures of a class, digits.
FULL, QUICK = (224, 16, 256), (48, 2, 16)

_SEED = 0


def image_sets(settings: Settings) -> Mapping[str, Images]:
    """Return the images of each set, float32 (number, channels, height, width)."""
    side, pictures, digits = QUICK if settings.quick else FULL
    found = data.photographs(settings.data, side, pictures)
    if settings.data is not None:
        return found
    return {"photographs": np.concatenate(list(found.values())), "digits": data.digits(None).train.images[:digits]}


def units(settings: Settings) -> list[Unit]:
    """Return a unit for each set and filter."""
    return [
        Unit(f"{name} {kernel} {padding} {extra}", f"{name}, {kernel} x {kernel}", partial(measure, case, settings))
        for name, images in image_sets(settings).items()
        for kernel, padding, extra in OPTIONS
        for case in [_case(name, images, kernel, padding, extra)]
    ]


def measure(case: Case, settings: Settings) -> list[Row]:
    """Return a row for each method, and for what reads its sizes from an array."""
    device = settings.device
    geometry = Geometry.conv_transpose(case.input.shape, case.weight.shape, **case.options)
    saved = asdict(saved_bytes(geometry, case.input.itemsize))
    rows = rows_of(case, METHODS, device, settings.clock, settings.rounds, partial(_extras, device))
    return [{**row, **saved} for row in rows]


def _case(name: str, images: Images, kernel: int, padding: int, extra: int) -> Case:
    channels = images.shape[1]
    weight = 2 * np.random.default_rng(_SEED).random((channels, channels, kernel, kernel), np.float32) - 1
    return Case(name, images, weight, {"stride": STRIDE, "padding": padding, "output_padding": extra})


def _extras(device: Device, geometry: Geometry, x: Any, weight: Any) -> dict[str, Extra]:
    sizes = size_table.table(geometry)
    if device.cupy is None:
        computed, looked_up = size_table.computed(geometry), size_table.looked_up(sizes)
        return {
            "unified_loop": Extra(lambda: size_table.one_pass(geometry, x, weight, computed), 0),
            TABLE: Extra(lambda: size_table.one_pass(geometry, x, weight, looked_up), sizes.nbytes),
        }
    launch = size_table.launcher(gpu.engine(device.cupy.cuda.runtime.getDevice()).runtime, geometry, x.dtype.name)
    on_device = device.put(sizes)

    def call() -> Any:
        y = device.xp.empty(geometry.output_shape, x.dtype)
        launch(x, weight, y, on_device)
        return y

    return {TABLE: Extra(call, sizes.nbytes)}


PAPER = Paper(
    name=NAME,
    source="B, arXiv 2502.20493",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=chart.draw,
    data=data.PICTURES_HELP,
)
command = frame.command(PAPER)
