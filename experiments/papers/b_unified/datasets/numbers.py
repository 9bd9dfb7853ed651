"""What the tables and the chart of b_datasets both take from its rows, and the paper's figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.harness.comparison import BASELINE
from experiments.harness.rows import Row
from experiments.papers.b_unified.measurements import of_method

METHODS = (BASELINE, "segregated", "unified")

# The variant that reads an array of sizes, and what it is compared with: the loop where there is one.
TABLE, WITHOUT = "unified_table", ("unified_loop", "unified")

# From the paper's abstract, by kind of device.
PAPER_SPEEDUP = {"gpu": ("RTX 2070 GPU", 2.03), "cpu": ("Intel Xeon CPU", 3.89)}


def by_case(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Return the rows of each set and filter."""
    for unit in dict.fromkeys(row["unit"] for row in rows):
        yield [row for row in rows if row["unit"] == unit]


def table_ratio(rows: Sequence[Row]) -> tuple[Row, Row, float]:
    """Return of one case the row with the array of sizes, that without, and the time of the former over the latter."""
    (with_table,) = of_method(rows, TABLE)
    without = next(row for method in WITHOUT for row in of_method(rows, method))
    return with_table, without, with_table["median_s"] / without["median_s"]
