"""What d_quality measures, its tables and its chart all take."""

from __future__ import annotations

from experiments.harness.results import Result
from experiments.harness.rows import Row

# Grey levels: less than half of one cannot be seen in a picture of 8 bits.
VISIBLE = 0.5

MOVED = "moved by one pixel"


def detail_rows(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "detail"]


def picture_rows(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "picture"]
