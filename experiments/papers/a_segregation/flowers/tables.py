"""The tables of a_flowers, and the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.harness.comparison import BASELINE
from experiments.harness.results import Result
from experiments.harness.rows import COSTS_NOTE, Row, samples
from experiments.render.console import count, milliseconds, quantity
from experiments.render.sheets import Sheet

# By the abstract of arXiv 2209.03704: speed-up, and what it was measured on.
PAPER_SPEEDUP = {"cpu": (3.02, "a dual-core Intel CPU"), "gpu": (3.09, "a Titan X")}


def sheets(result: Result) -> list[Sheet]:
    """Return the times by class, kernel and padding factor, the speed-ups beside the paper's, and the work."""
    return [_times(result), _speedups(result), _work(result)]


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the rows of the conventional and the segregated method that belong together."""
    by_place: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        by_place.setdefault((row["class"], row["kernel"], row["factor"]), {})[row["method"]] = row
    return [(both[BASELINE], both["segregated"]) for both in by_place.values()]


def classes(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["class"] for row in rows))


def _times(result: Result) -> Sheet:
    rows = [
        [
            base["class"],
            str(base["images"]),
            f"{base['kernel']}x{base['kernel']}",
            str(base["factor"]),
            " x ".join(map(str, base["output_shape"][2:])),
            _spread(base),
            _spread(ours),
            f"{ours['speedup']:.2f}x",
            f"{max(base['max_abs_error'], ours['max_abs_error']):.1e}",
        ]
        for base, ours in pairs(result.rows)
    ]
    headings = ["class", "images", "kernel", "P", "output", "zero_insertion", "segregated", "speed-up", "error"]
    side = result.rows[0]["input_shape"][-1]
    note = (
        f"Milliseconds for one picture of {side} x {side} pixels, median of {samples(result.rows)}, quartiles in "
        "brackets. P: the paper's padding factor, zeros around the map that has zeros inserted. Error: the larger one "
        "of the two methods', against a float64 reference."
    )
    return Sheet("Time for one picture", headings, rows, [note])


def _speedups(result: Result) -> Sheet:
    kind = result.environment["device"]["kind"]
    figure, where = PAPER_SPEEDUP[kind]
    both = pairs(result.rows)
    rows = []
    for name in [*classes(result.rows), None]:
        chosen = [pair for pair in both if name in (None, pair[0]["class"])]
        base, ours = (sum(pair[side]["median_s"] for pair in chosen) for side in (0, 1))
        least, most = min(pair[1]["speedup"] for pair in chosen), max(pair[1]["speedup"] for pair in chosen)
        rows.append(
            [
                name or "all",
                milliseconds(base),
                milliseconds(ours),
                f"{base / ours:.2f}x",
                f"{least:.2f}x to {most:.2f}x",
                "" if name else f"{figure}x",
            ]
        )
    notes = [
        "Times: milliseconds for one picture, summed over kernels and padding factors. Paper: the speed-up that its "
        f"abstract names for {where}.",
        _why(result),
    ]
    headings = ["class", "zero_insertion", "segregated", "speed-up", "least to most", "paper"]
    return Sheet("Speed-up beside the paper's", headings, rows, notes)


def _why(result: Result) -> str:
    products = [base["macs"] / ours["macs"] for base, ours in pairs(result.rows)]
    bound = f"{min(products):.2f} to {max(products):.2f}"
    if result.environment["device"]["kind"] == "gpu":
        return (
            f"Without zeros {bound} times fewer products are made. For pictures this small launches count: our "
            "segregated method pays for four of them, the conventional one for two, the paper's for one."
        )
    return (
        f"Without zeros {bound} times fewer products are made; reading the picture and writing the outputs takes the "
        "same time in both methods. Sizes, code and processor of the paper are others, so the figures need not agree."
    )


def _work(result: Result) -> Sheet:
    first = classes(result.rows)[0]
    rows = [
        [
            f"{row['kernel']}x{row['kernel']}",
            str(row["factor"]),
            row["method"],
            quantity(row["macs"]),
            quantity(row["workspace_bytes"], "B"),
            str(row["launches"]),
            count(row["extra_threads"]),
        ]
        for pair in pairs([row for row in result.rows if row["class"] == first])
        for row in pair
    ]
    notes = [
        "For one picture. Memory: besides input, weight and output, so the map with zeros. Extra outputs: positions "
        "past an odd border, which the paper's scheme computes; ours has threads there, but they compute nothing.",
        *([COSTS_NOTE] if result.environment["device"]["kind"] == "cpu" else []),
    ]
    headings = ["kernel", "P", "method", "products", "memory", "launches", "extra outputs"]
    return Sheet("Work and memory", headings, rows, notes)


def _spread(row: Row) -> str:
    return f"{milliseconds(row['median_s'])} ({milliseconds(row['q1_s'])} to {milliseconds(row['q3_s'])})"
