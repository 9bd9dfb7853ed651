"""The table every comparison of methods prints, and the legend below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from cupy_kst import cpu
from experiments.harness.rows import COSTS_NOTE, Row
from experiments.render.console import TABLE_BOX, count, milliseconds, quantity

FULL_WIDTH = 110


class Column(NamedTuple):
    heading: str
    cell: Callable[[Any], str]


OUTPUT = Column("output", lambda row: " x ".join(map(str, row["output_shape"][2:])))
TIMES = (
    Column("median\nms", lambda row: milliseconds(row["median_s"])),
    Column("quartiles\nms", lambda row: f"{milliseconds(row['q1_s'])} - {milliseconds(row['q3_s'])}"),
    Column("speed-\nup", lambda row: f"{row['speedup']:.2f}x"),
)
COSTS = (
    Column("MACs", lambda row: quantity(row["macs"])),
    Column("workspace", lambda row: quantity(row["workspace_bytes"], "B")),
    Column("launches", lambda row: count(row["launches"])),
    Column("extra\nthreads", lambda row: "-" if row["extra_threads"] is None else count(row["extra_threads"])),
)
ERROR = Column("largest\nerror", lambda row: f"{row['max_abs_error']:.1e}")


def comparison_tables(rows: Sequence[Row], width: int) -> list[Table]:
    """Return the harness's rows as one table, or as two where `width` is too small for one."""
    if width >= FULL_WIDTH:
        return [_table(rows, (*TIMES, *COSTS, ERROR))]
    return [_table(rows, (*TIMES, ERROR)), _table(rows, COSTS)]


def method_label(row: Row) -> str:
    """Return the method, with a star where Numba compiled it."""
    return f"{row['method']}*" if _is_compiled(row) else str(row["method"])


def compiled_note(rows: Sequence[Row]) -> str:
    """Return what the stars mean, if there are any."""
    return "*: compiled by Numba; the other methods are NumPy's." if any(map(_is_compiled, rows)) else ""


def _is_compiled(row: Row) -> bool:
    return cpu.is_compiled(row["method"], row["form"])


def legend(kind: str, rows: Sequence[Row]) -> str:
    """Return the lines below the table for a device of `kind`."""
    lines = [
        "Speed-up: over zero_insertion. Quartiles: half of the samples lie between them.",
        "Largest error: of the output that was timed, against a float64 reference.",
        COSTS_NOTE if kind == "cpu" else "",
        compiled_note(rows),
    ]
    return "\n".join(line for line in lines if line)


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    table = Table(
        "case", OUTPUT.heading, "method", box=TABLE_BOX, show_edge=False, collapse_padding=True, pad_edge=False
    )
    for column in columns:
        table.add_column(column.heading, justify="right", overflow="fold")
    shown = None
    for row in rows:
        # A case is named on its first row only.
        named = ("", "") if row["case"] == shown else (row["case"], OUTPUT.cell(row))
        table.add_row(*named, method_label(row), *(column.cell(row) for column in columns))
        shown = row["case"]
    return table
