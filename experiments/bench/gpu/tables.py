"""The GPU benchmark's tables: a line for each row, the summary for terminal and README, all rows for docs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from experiments.bench.cpu.tables import WORDS
from experiments.bench.gpu.parts import KINDS
from experiments.harness import environment
from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.peers.backends import OURS, PREPARED, UNPREPARED
from experiments.render.console import TABLE_BOX, milliseconds
from experiments.workloads.operations import OPERATIONS

LEGEND = (
    "Ratios: time of PyTorch (cuDNN) over ours, above 1 ours is faster: geometric mean, least in brackets. same: in\n"
    "the layout that libraries are fastest in; best: in the faster layout of either. cold and warm: device time in a\n"
    "graph whose calls rotate over arrays of 4 times the L2 cache, or stay on one copy; eager: wall time of calls.\n"
    "floor: the least time that the device's ceilings leave, over that of the fastest of ours, cold."
)

# Baselines of ours that a row may have.
_BASELINE = "zero_insertion"


@dataclass(frozen=True)
class Summary:
    """The rows of one operation, batch and kind."""

    operation: str
    batch: int
    kind: str
    rows: tuple[Row, ...]

    def ratios(self, figure: str, ours: str, rival: str) -> list[float]:
        """Return the ratios of these rows that have been measured."""
        found = (row["ratios"][figure].get(ours, {}).get(rival) for row in self.rows)
        return [value for value in found if value is not None]

    @property
    def floor_shares(self) -> list[float]:
        best = (_fastest(row) for row in self.rows)
        return [backend["floor_share"] for backend in best if backend is not None]

    @property
    def data_format(self) -> str:
        return str(self.rows[0]["data_format"])


def summaries(rows: Sequence[Row]) -> Iterator[Summary]:
    """Return the rows by operation, batch and kind."""
    for operation in OPERATIONS:
        for batch in sorted({row["batch"] for row in rows}):
            for kind in KINDS:
                found = tuple(
                    row for row in rows if (row["operation"], row["batch"], row["kind"]) == (operation, batch, kind)
                )
                if found:
                    yield Summary(operation, batch, kind, found)


def line(row: Row) -> str:
    """Return a row in one short line."""
    title = f"{row['layer']}, batch {row['batch']}, {row['operation']}, {row['kind']}"
    cells = []
    for name, backend in row["sides"].items():
        cells.append(f"{name} failed" if "failed" in backend else f"{name} {milliseconds(backend['cold']['median_s'])}")
    best = _fastest(row)
    ratio = row["ratios"]["cold"].get(best["role"], {}).get("best") if best else None
    taken = f" [{best['explained']}]" if best else ""
    return f"{title}: {_times(ratio)}{taken} ({', '.join(cells)})"


def ceilings_line(ceilings: dict[str, Any]) -> str:
    """Return the ceilings as a sentence."""
    rates = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in ceilings["flops_per_s"].items())
    return f"Ceilings: {ceilings['bytes_per_s'] / 1e12:.2f} TB/s copied; matrix products in TFLOP/s: {rates}."


def summary_table(rows: Sequence[Row]) -> Table:
    """Return the summary for the terminal."""
    table = Table(box=TABLE_BOX, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, justify in _HEADINGS:
        table.add_column(heading, justify=justify, no_wrap=True)
    for summary in summaries(rows):
        table.add_row(*_cells(summary))
    return table


_HEADINGS: tuple[tuple[str, Any], ...] = (
    ("operation", "left"),
    ("batch", "right"),
    ("kind", "left"),
    ("layers", "right"),
    ("prepared\ncold, same", "right"),
    ("prepared\ncold, best", "right"),
    ("auto\ncold, best", "right"),
    ("prepared\nwarm, best", "right"),
    ("auto\neager, best", "right"),
    ("zero\nins.", "right"),
    ("floor", "right"),
)


def _cells(summary: Summary) -> list[str]:
    # Weights of weights' gradients are not read, so that none can be prepared.
    first = PREPARED if summary.ratios("cold", PREPARED, "best") else UNPREPARED
    shares = summary.floor_shares
    return [
        summary.operation,
        str(summary.batch),
        summary.kind,
        str(len(summary.rows)),
        _mean(summary.ratios("cold", first, "same")),
        _mean(summary.ratios("cold", first, "best")),
        _mean(summary.ratios("cold", UNPREPARED, "best")),
        _mean(summary.ratios("warm", first, "best")),
        _mean(summary.ratios("eager", UNPREPARED, "best")),
        _mean(summary.ratios("cold", UNPREPARED, _BASELINE)),
        f"{100 * _geometric(shares):.0f}%" if shares else "-",
    ]


def markdown(run: Result) -> str:
    """Return a result as Markdown: a line that names device and versions, then a line for each batch and kind."""
    lines = [
        f"**{run.device}**: time of PyTorch (cuDNN {run.environment['versions']['cudnn']}) over ours, above 1 ours is "
        "faster: geometric mean over layers, least to most in brackets; best of both layouts of either; device time in "
        "a CUDA graph whose calls rotate over arrays of four times the L2 cache (cold), or wall time of calls (eager); "
        f"{environment.versions_label(run.environment)}; {run.date[:10]}. "
        f"{ceilings_line(run.environment['ceilings'])}",
        "",
        "| | batch | arithmetic | layers | unprepared: cold | eager | prepared: cold | share of the device's floor |"
        " `zero_insertion` over unprepared |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for summary in summaries(run.rows):
        shares = summary.floor_shares
        cells = [
            WORDS[_operation(summary)],
            str(summary.batch),
            summary.kind,
            str(len(summary.rows)),
            _spread(summary.ratios("cold", UNPREPARED, "best")),
            _spread(summary.ratios("eager", UNPREPARED, "best")),
            _spread(summary.ratios("cold", PREPARED, "best")),
            f"{100 * _geometric(shares):.0f} %" if shares else "-",
            _spread(summary.ratios("cold", UNPREPARED, _BASELINE)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def layers_markdown(run: Result) -> str:
    """Return a result as Markdown, a table of times and ratios for each operation, batch and kind."""
    blocks = []
    for summary in summaries(run.rows):
        names = list(dict.fromkeys(name for row in summary.rows for name in row["sides"]))
        heading = ["layer", *(f"{name} (ms)" for name in names)]
        heading += [f"torch / {ours}, best" for ours in OURS] + ["floor (ms)", "method and form", "error"]
        lines = [
            f"**{run.device}, {WORDS[_operation(summary)]}, batch {summary.batch}, {summary.kind}** ({run.date[:10]}), "
            "cold",
            "",
            "| " + " | ".join(heading) + " |",
            "|---" + "|--:" * (len(names) + 3) + "|---|--:|",
        ]
        for row in summary.rows:
            best = _fastest(row)
            cells = [row["layer"], *(_median(row["sides"].get(name)) for name in names)]
            cells += [_times(row["ratios"]["cold"].get(ours, {}).get("best")) for ours in OURS]
            cells += [milliseconds(row["floor_s"]), f"`{best['explained']}`" if best else "-", _error(best)]
            lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _operation(summary: Summary) -> Any:
    return summary.operation


def _fastest(row: Row) -> Row | None:
    """Return the fastest of ours, the baseline aside."""
    ours = [backend for backend in row["sides"].values() if "failed" not in backend and backend["role"] in OURS]
    return min(ours, key=lambda backend: float(backend["cold"]["median_s"]), default=None)


def _error(backend: Row | None) -> str:
    return "-" if backend is None or backend["max_relative_error"] is None else f"{backend['max_relative_error']:.0e}"


def _median(backend: Row | None) -> str:
    if backend is None:
        return "-"
    return "failed" if "failed" in backend else milliseconds(backend["cold"]["median_s"])


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.log(values).mean()))


def _mean(values: Sequence[float]) -> str:
    return f"{_geometric(values):.2f} ({min(values):.2f})" if values else "-"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{_times(_geometric(values))} ({_times(min(values))} to {_times(max(values))})"


def _times(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}x"
