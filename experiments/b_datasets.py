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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cupy_kst import Geometry, gpu
from experiments import b_datasets_chart, size_table
from experiments.b_datasets_figures import METHODS, PAPER_SPEEDUP, TABLE, by_case, table_ratio
from experiments.harness import frame
from experiments.harness.comparison import Case
from experiments.harness.devices import Device
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.results import Result
from experiments.harness.rows import samples
from experiments.render.console import count, milliseconds, quantity
from experiments.render.sheets import Sheet
from experiments.segregation import Extra, geometric_mean, of_method, rows_of, saved_bytes
from experiments.workloads import data

Row = dict[str, Any]
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


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: the paper's figures beside ours, times, odd and even outputs, memory, the array of sizes."""
    return [_beside(result), _times(result), _odd_and_even(result), _memory(result), _table(result)]


def _beside(result: Result) -> Sheet:
    def means(rows: Sequence[Row]) -> list[str]:
        return [f"{geometric_mean(row['speedup'] for row in of_method(rows, each)):.2f}x" for each in METHODS[1:]]

    here = result.environment["device"]["kind"]
    rows = [
        (f"average speed-up, {name}", f"{paper}x", *(means(result.rows) if kind == here else ("-", "-")))
        for kind, (name, paper) in PAPER_SPEEDUP.items()
    ]
    sets = dict.fromkeys(row["case"] for row in result.rows)
    rows += [(f"of this: {name}", "-", *means([row for row in result.rows if row["case"] == name])) for name in sets]
    return Sheet(
        "Beside the paper",
        ("speed-up over inserted zeros", "paper: unified", *(f"here: {each}" for each in METHODS[1:])),
        rows,
        (
            f"Here: {result.device}, geometric means over sets and filters. The paper's figures are from its abstract; "
            "its images, filters and paddings are not known, and ratios differ with the device and with how both sides "
            "are written: on a GPU ours share one inner loop, on a CPU both are matrix products by NumPy's BLAS. A "
            "quarter of the multiplications are left, but with one to three channels a call moves much beside what it "
            "multiplies, which pulls ratios towards 1; `b_gans` has layers of many channels.",
        ),
    )


def _times(result: Result) -> Sheet:
    table = []
    for rows in by_case(result.rows):
        base, *others = (_one(rows, each) for each in METHODS)
        images = base["input_shape"][0]
        cells = [f"{milliseconds(row['median_s'] / images)} ({row['speedup']:.2f}x)" for row in others]
        table.append((base["case"], str(images), *_shapes(base), milliseconds(base["median_s"] / images), *cells))
    return Sheet(
        "Time per image (ms), speed-up over zero_insertion in brackets",
        ("set", "images", "input", "filter", "output", *METHODS),
        table,
        (f"Medians of {samples(result.rows)}, the methods in turn; quartiles are in the JSON file.",),
    )


def _odd_and_even(result: Result) -> Sheet:
    table = []
    for rows in by_case(result.rows):
        segregated, unified = _one(rows, "segregated"), _one(rows, "unified")
        images, *shape = segregated["output_shape"]
        extra = segregated["extra_threads"] // images
        table.append(
            (
                segregated["case"],
                *_shapes(segregated),
                "odd" if shape[-1] % 2 else "even",
                count(extra),
                f"{100 * extra / np.prod(shape):.2g} %",
                count(unified["extra_threads"]),
                f"{segregated['median_s'] / unified['median_s']:.2f}x",
            )
        )
    return Sheet(
        "Odd and even outputs",
        ("set", "input", "filter", "output", "size", "extra: segregated", "share", "extra: unified", "time ratio"),
        table,
        (
            "Extra: threads per image of the CUDA kernels whose output lies outside the map, 2M + 1 per channel where "
            "the output has M x M pixels and M is odd; share: of all outputs. The paper says that its authors' earlier "
            "method computes such elements; here these threads return at once. Time ratio: segregated over unified.",
            *([_NO_THREADS] if result.environment["device"]["kind"] == "cpu" else []),
        ),
    )


def _memory(result: Result) -> Sheet:
    table = []
    for rows in by_case(result.rows):
        base, *others = (_one(rows, each) for each in METHODS)
        images = base["input_shape"][0]
        counted = (base[name] // images for name in ("gross", "net_of_padded", "net_of_input"))
        peaks = (row["peak_bytes"] / images for row in (base, *others))
        table.append((base["case"], *_shapes(base), *(quantity(int(each), "B") for each in (*counted, *peaks))))
    return Sheet(
        "Memory per image: counted, and measured of each method",
        ("set", "input", "filter", "output", "gross", "net, padded", "net", *METHODS),
        table,
        (
            "Gross: the zero-inserted, padded map, which only zero_insertion has. Net: less the input, with half the "
            "padding or without. These three are counted from shapes. Measured, the output left out: on a CPU NumPy's "
            "peak during a call, which has copies and blocks for matrix products in it as well, on a GPU what a call "
            "allocates.",
        ),
    )


def _table(result: Result) -> Sheet:
    table = []
    for rows in by_case(result.rows):
        with_table, without, ratio = table_ratio(rows)
        images = with_table["input_shape"][0]
        times = (milliseconds(row["median_s"] / images) for row in (without, with_table))
        table.append((with_table["case"], *_shapes(with_table), *times, f"{ratio:.3f}x"))
    mean = geometric_mean(table_ratio(rows)[2] for rows in by_case(result.rows))
    kind = result.environment["device"]["kind"]
    first = of_method(result.rows, TABLE)[0]
    return Sheet(
        "Sizes of sub-kernels in an array, and without it: time per image (ms)",
        ("set", "input", "filter", "output", "computed", "from the array", "ratio"),
        table,
        (
            f"The array has {first['table_bytes']} bytes. Geometric mean of the ratios: {mean:.3f}x; above 1, leaving "
            f"the array out is faster. {_WITHOUT[kind]}",
        ),
    )


_NO_THREADS = (
    "On a CPU NumPy computes no extra elements by either method, and there is no launch to save. `segregated` makes a "
    "matrix product for each class, of windows of the input; `unified` makes products of taps and inputs and adds them "
    "up, which with few channels takes longer than multiplying."
)

_WITHOUT = {
    "cpu": "Both are a loop of this experiment over the classes, not `unified` itself. As NumPy handles all outputs of "
    "a class at once, sizes are looked up four times a call: what differs from 1 is noise.",
    "gpu": "Computed: the library's `unified`. In both kernels filter and stride are literals, so that without the "
    "array the compiler knows how long the loops over the taps are, too.",
}


def _one(rows: Sequence[Row], method: str) -> Row:
    (row,) = of_method(rows, method)
    return row


def _shapes(row: Row) -> Iterator[str]:
    yield "x".join(map(str, row["input_shape"][1:]))
    yield "x".join(map(str, row["kernel"]))
    yield "x".join(map(str, row["output_shape"][2:]))


PAPER = Paper(
    name=NAME,
    source="B, arXiv 2502.20493",
    about=__doc__,
    units=units,
    sheets=sheets,
    draw=b_datasets_chart.draw,
    data=data.PICTURES_HELP,
)
command = frame.command(PAPER)
