"""Rows of results: what they tell of times and costs, and which of them are wrong."""

from __future__ import annotations

from typing import Any

import cupy_kst
from experiments.harness.timing import Timing

# The keys of a result's rows are told where they are made.
Row = dict[str, Any]

# Said wherever costs stand beside times measured on a CPU.
COSTS_NOTE = (
    "MACs, workspace, launches and extra threads are those of the CUDA kernels for the same call, "
    "as cupy_kst.costs counts them."
)


def wrong_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows whose error rounding cannot explain; NaN counts as wrong."""
    return [row for row in rows if not row["max_abs_error"] <= row["tolerance"]]


def samples(rows: list[dict[str, Any]]) -> str:
    """Say how many samples the medians are of, and of how many calls each where it is more than one."""
    least, most = min(row["repeats"] for row in rows), max(row["repeats"] for row in rows)
    calls = rows[0]["calls_per_sample"]
    return (f"{most}" if least == most else f"{least} to {most}") + (
        f" samples of {calls} calls" if calls > 1 else " samples"
    )


def time_fields(timing: Timing, calls_per_sample: int) -> dict[str, Any]:
    """Return what a row tells of a timing."""
    first, third = timing.quartiles
    return {
        "median_s": timing.median,
        "q1_s": first,
        "q3_s": third,
        "min_s": min(timing.samples),
        "max_s": max(timing.samples),
        "repeats": len(timing.samples),
        "calls_per_sample": calls_per_sample,
    }


def cost_fields(cost: cupy_kst.Cost) -> dict[str, int | None]:
    """Return what a row tells of a cost."""
    return {
        "nominal_macs": cost.nominal_macs,
        "useful_macs": cost.useful_macs,
        "macs": cost.macs,
        "workspace_bytes": cost.workspace_bytes,
        "launches": cost.launches,
        "extra_threads": cost.extra_threads,
    }
