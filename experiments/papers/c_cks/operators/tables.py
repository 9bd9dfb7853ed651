"""The operators' tables: where trimming pays, and the work and times of each operator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.papers.c_cks.operators.backends import (
    BASELINE,
    CALLED,
    CHANNELS,
    NO_PEER,
    PEER,
    SAMPLES,
    TRIMMED,
    WHOLE,
)
from experiments.render.console import milliseconds
from experiments.render.sheets import Sheet

# Samples without which quartiles say nothing.
FEWEST = 3


def sheets(result: Result) -> list[Sheet]:
    """Return where trimming pays, then a table for each operator."""
    return [_trimming(result), *(_operator(title, rows) for title, rows in by_operator(result.rows))]


def by_operator(rows: Iterable[Row]) -> list[tuple[str, list[list[Row]]]]:
    """Return the titles of the operators and, for each, the rows of its layers, layer by layer."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault(f"{row['operator']}, stride {row['stride']}", {}).setdefault(row["unit"], []).append(row)
    return [(title, list(of_layers.values())) for title, of_layers in found.items()]


def of_role(rows: Iterable[Row], role: str) -> Row | None:
    """Return the row of a role, None where it was not measured."""
    return next((row for row in rows if row["role"] == role), None)


def ratio(rows: Sequence[Row], over: str, under: str) -> float | None:
    """Return the time of one role over that of another."""
    a, b = of_role(rows, over), of_role(rows, under)
    return a["median_s"] / b["median_s"] if a and b else None


def _trimming(result: Result) -> Sheet:
    """Return the maps that are trimmed by the rules there are, and those where it was seen to pay."""
    rows = []
    for title, of_layers in by_operator(result.rows):
        for taps in dict.fromkeys(layer[0]["kernel"][0] for layer in of_layers):
            chosen = [layer for layer in of_layers if layer[0]["kernel"][0] == taps]
            first = [layer[0] for layer in chosen]
            rows.append(
                [
                    title,
                    f"{taps}x{taps}",
                    *(_up_to(first, f"code_{version}_trims") for version in ("1.0", "1.2")),
                    _up_to(first, "library_trims"),
                    _where_faster(chosen),
                ]
            )
    return Sheet(
        f"Where trimming pays: maps X, which the convolution reads, of side {_listed(result.rows)}",
        ["operator", "filter", "author's code 1.0", "author's code 1.2", "cupy_kst on a GPU", "faster here on"],
        rows,
        [
            "The author's code trims where zero padding makes the map seem larger by a factor above 1.05 to 1.15 "
            f"(version 1.0) or 1.08 to 1.118 (1.2), given {SAMPLES} samples and channels; with stride 1, version 1.2 "
            "decides by the speed of another kernel. These are facts of that code, not of the paper.",
            "cupy_kst trims from 64 samples on, if that skips 1 product of 13.5 or more; Sk-dilated always does.",
            "Faster here: the sides of X where trimming saves more than the times scatter (three of four times with it "
            "are below three of four without), and by what factor. Sk-dilated has no form without.",
            *([] if any(row["role"] == PEER for row in result.rows) else [NO_PEER]),
        ],
    )


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(map(str, dict.fromkeys(row["input_shape"][-1] for row in rows)))


def _up_to(rows: Sequence[Row], field: str) -> str:
    """Return the largest map that is trimmed."""
    if any(row[field] is None for row in rows):
        return "-"
    trimmed = [row["input_shape"][-1] for row in rows if row[field]]
    return f"up to {max(trimmed)}" if trimmed else "never"


def _where_faster(of_layers: Sequence[Sequence[Row]]) -> str:
    """Return the maps on which trimming saves more time than the times scatter."""
    faster = []
    for of_layer in of_layers:
        whole, trimmed = of_role(of_layer, WHOLE), of_role(of_layer, TRIMMED)
        if whole is None or trimmed is None:
            return "not measured"
        is_known = min(whole["repeats"], trimmed["repeats"]) >= FEWEST
        if is_known and trimmed["q3_s"] < whole["q1_s"]:
            faster.append(f"{whole['input_shape'][-1]} ({whole['median_s'] / trimmed['median_s']:.1f}x)")
    return ", ".join(faster) or "none"


def _operator(title: str, of_layers: Sequence[Sequence[Row]]) -> Sheet:
    """Return the work and the times of an operator, a line for each layer."""
    first = of_layers[0]
    roles = {role: words for role, words in _HEADINGS.items() if of_role(first, role)}
    rivals = [role for role in (BASELINE, PEER) if role in roles]
    methods = {row["role"]: row["method"] for row in first}
    rows = []
    for of_layer in of_layers:
        row = of_layer[0]
        times = {each["role"]: milliseconds(each["median_s"]) for each in of_layer}
        ratios = (ratio(of_layer, role, CALLED) for role in rivals)
        rows.append(
            [
                f"{row['kernel'][0]}x{row['kernel'][0]}",
                f"{row['input_shape'][-1]}->{row['output_shape'][-1]}",
                *(f"{100 * row[name]:.1f}%" for name in ("skipped_by_rule", "skipped_counted", "trimmed_counted")),
                *(times[role] for role in roles),
                *(f"{value:.2f}x" for value in ratios if value),
            ]
        )
    columns = ["filter", "X->Y", "skipped", "counted", "by trimming", *roles.values()]
    columns += [f"{roles[role]} / called" for role in rivals]
    return Sheet(
        f"{title}: {_WHAT[first[0]['operator']]}; times in ms",
        columns,
        rows,
        [
            f"Skipped: the share of the baseline's products, {methods[BASELINE]}'s, by the rule of the author's code, "
            "and as cupy_kst counts it; by trimming: the share that trimming alone saves.",
            f"Called: method={methods[CALLED]!r} as a user calls it, in the form {_forms(of_layers, CALLED)}. Other "
            f"forms: of the baseline {_forms(of_layers, BASELINE)}, of the whole or trimmed operator "
            f"{_forms(of_layers, WHOLE, TRIMMED)}.",
            f"Medians of {samples(list(chain(*of_layers)))}, all in turn; {first[0]['dtype']}, "
            f"{SAMPLES} samples, {CHANNELS} channels in and out.",
        ],
    )


def _forms(of_layers: Sequence[Sequence[Row]], *roles: str) -> str:
    return " or ".join(dict.fromkeys(each["form"] for each in chain(*of_layers) if each["role"] in roles))


_HEADINGS = {
    BASELINE: "baseline",
    WHOLE: "whole",
    TRIMMED: "trimmed",
    CALLED: "called",
    PEER: "PyTorch",
}
_WHAT = {
    "ConvV2": "the forward pass, from map X to map Y",
    "KS-deconv": "the gradient of X from that of Y",
    "Sk-dilated": "the gradient of the filter",
}
