"""What the tables and the chart of d_arrays both take, and the paper's figures."""

from __future__ import annotations

from collections.abc import Callable

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.d_split.arrays.models import Array, DotProducts, Grid

SIDES = (8, 16, 32)

KINDS: dict[str, Callable[[int, int], Array]] = {"dot products": DotProducts, "2-D grid": Grid}

# The size that tables and chart show in full.
SHOWN = 16

# The paper's abstract: speed over prior schemes, and energy saved, percent.
PAPER_SPEED, PAPER_SAVING = (2.41, 4.34), (27.7, 54.5)


def cycles_on(result: Result, kind: str, side: int) -> list[Row]:
    rows = (row for row in result.rows if row["kind"] == "cycles")
    return [row for row in rows if (row["array"], row["side"]) == (kind, side)]
