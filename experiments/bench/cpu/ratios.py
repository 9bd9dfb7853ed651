"""Ratios of times over many layers: their geometric mean, median and extremes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.harness.rows import Row
from experiments.peers.backends import OURS
from experiments.workloads.operations import BASELINES, OPERATIONS, Operation

# What ours are compared with, in the order of tables and charts; `None` stands for the operation's baseline method.
RIVALS = ("torch", "onnxruntime", None)


@dataclass(frozen=True)
class Summary:
    """The ratios of one operation and batch: times of `rival` over ours, so that above 1 ours is faster."""

    operation: Operation
    batch: int
    ours: str
    rival: str
    ratios: tuple[float, ...]

    @property
    def geometric_mean(self) -> float:
        return float(np.exp(np.log(self.ratios).mean()))

    @property
    def median(self) -> float:
        return float(np.median(self.ratios))


def groups(rows: Sequence[Row]) -> Iterator[tuple[Operation, int, list[Row]]]:
    """Return the rows by operation and batch."""
    for operation in OPERATIONS:
        for batch in sorted({row["batch"] for row in rows}):
            found = [row for row in rows if (row["operation"], row["batch"]) == (operation, batch)]
            if found:
                yield operation, batch, found


def rivals(operation: Operation, rows: Sequence[Row]) -> list[str]:
    """Return the names of the backends that ours are compared with in `rows`."""
    names = [name or BASELINES[operation] for name in RIVALS]
    return [name for name in names if any(name in row["sides"] for row in rows)]


def ratio(row: Row, ours: str, rival: str) -> float | None:
    """Return the time of `rival` over that of `ours`, None where one of them was not measured."""
    found: float | None = row["ratios"].get(ours, {}).get(rival)
    return found


def summaries(rows: Sequence[Row]) -> Iterator[Summary]:
    """Return a summary for each operation, batch, backend of ours and rival that have figures."""
    for operation, batch, group in groups(rows):
        for rival in rivals(operation, group):
            for ours in OURS:
                found = [value for row in group if (value := ratio(row, ours, rival)) is not None]
                if found:
                    yield Summary(operation, batch, ours, rival, tuple(found))
