"""The tables of b_datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.papers.b_unified.datasets.numbers import METHODS, PAPER_SPEEDUP, TABLE, by_case, table_ratio
from experiments.papers.b_unified.measurements import geometric_mean, of_method
from experiments.render.console import count, milliseconds, quantity
from experiments.render.sheets import Sheet


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
