"""The quickstart's table for the README."""

from __future__ import annotations

from experiments.harness import environment
from experiments.harness.results import Result
from experiments.harness.rows import COSTS_NOTE, samples
from experiments.render.comparison_tables import compiled_note, method_label
from experiments.render.console import count, milliseconds, quantity


def quickstart_table(run: Result) -> str:
    """Return a result of the quickstart as Markdown: a line that names device and versions, then the table."""
    first = run.rows[0]
    costs = COSTS_NOTE if run.environment["device"]["kind"] == "cpu" else ""
    note = "".join(f" {each}" for each in (costs, compiled_note(run.rows)) if each)
    lines = [
        f"**{run.device}**: median of {samples(run.rows)}, first and third quartile in brackets; "
        f"{first['dtype']}, input {_shape(first['input_shape'])}, stride {first['stride']}; "
        f"{environment.versions_label(run.environment)}; {run.date[:10]}.{note}",
        "",
        "| kernel | output | method | time (ms) | speed-up | MACs | workspace | launches | extra threads | error |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in run.rows:
        cells = [
            row["case"],
            _shape(row["output_shape"]),
            f"`{method_label(row)}`",
            f"{milliseconds(row['median_s'])} ({milliseconds(row['q1_s'])} to {milliseconds(row['q3_s'])})",
            f"{row['speedup']:.2f}x",
            quantity(row["macs"]),
            quantity(row["workspace_bytes"], "B"),
            count(row["launches"]),
            "-" if row["extra_threads"] is None else count(row["extra_threads"]),
            f"{row['max_abs_error']:.1e}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape[1:]))
