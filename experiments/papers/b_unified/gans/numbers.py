"""What the tables and the chart of b_gans both take from its rows, and the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.harness.comparison import BASELINE
from experiments.harness.rows import Row
from experiments.papers.b_unified.measurements import of_method

NETWORKS = ("DCGAN", "DiscoGAN", "ArtGAN", "GP-GAN", "EB-GAN")
METHODS = (BASELINE, "segregated", "unified", "split", "ks_deconv")

# From the paper's abstract: an average over layers, and "up to", in EB-GAN's.
PAPER_SPEEDUP, PAPER_BYTES = 3.5, 35e6

COUNTS = {"gross": "gross", "net_of_padded": "net of padded input", "net_of_input": "net of input"}


def of_network(rows: Sequence[Row], network: str) -> list[Row]:
    """Return the rows of a network's layers."""
    return [row for row in rows if any(name.rpartition(" ")[0] == network for name in row["layers"])]


def seconds(rows: Sequence[Row], method: str) -> float:
    """Return the time of a method, of all layers in `rows` together."""
    return float(sum(row["median_s"] for row in of_method(rows, method)))


def speedup(rows: Sequence[Row], method: str) -> float:
    """Return the time of zeros inserted over that of a method, each of all layers in `rows` together."""
    return seconds(rows, BASELINE) / seconds(rows, method)


def saved(rows: Sequence[Row]) -> dict[str, int]:
    """Return the bytes saved by each count, of all layers in `rows` together."""
    return {count: sum(row[count] for row in of_method(rows, BASELINE)) for count in COUNTS}
