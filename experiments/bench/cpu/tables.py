"""The CPU benchmark's tables: of times and ratios for the terminal, of ratios for the README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Table

from experiments.bench.cpu.ratios import Summary, groups, ratio, rivals, summaries
from experiments.harness import environment
from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.peers.backends import OURS, PREPARED, UNPREPARED
from experiments.render.comparison_tables import Column
from experiments.render.console import PIPE_WIDTH, TABLE_BOX, milliseconds, quantity
from experiments.workloads.operations import Operation

# Quartiles of an idle machine lie a few percent apart.
WIDE = 1.5

WORDS = {"forward": "transposed convolution", "input": "gradient of the input", "weight": "gradient of the weight"}

# Short enough for all columns of a row to stand side by side.
_HEADINGS = {
    "onnxruntime": "ONNX\nRT",
    "zero_insertion": "zero\nins.",
    "zero_dilation": "zero\ndil.",
    "prepared": "pre-\npared",
}

LEGEND = (
    "auto: this library as it comes; prepared: its weight packed beforehand, as ONNX Runtime packs its own; then its "
    "baseline method.\n"
    "Ratios: time of the other over ours; above 1 ours is faster. Error: of auto, against float64, over the largest "
    "element.\n"
    "* PyTorch cannot say the padding: it computes more and crops."
)


def terminal(rows: Sequence[Row], width: int) -> Iterator[Table]:
    """Return tables for each operation and batch, two where `width` is too small for one, then one of all ratios."""
    for operation, batch, group in groups(rows):
        title = f"{WORDS[operation]}, batch {batch}"
        times, ratios = list(_time_columns(operation, group)), list(_ratio_columns(operation, group))
        for columns in [times + ratios] if width >= PIPE_WIDTH else [times, ratios]:
            yield _table(title, [_LAYER, *columns, _ERROR], group)
    yield _table("over all layers", _SUMMARY, list(summaries(rows)))


def _time_columns(operation: Operation, rows: Sequence[Row]) -> Iterator[Column]:
    for name in (*OURS, *rivals(operation, rows)):
        if any(name in row["sides"] for row in rows):
            yield Column(f"{_HEADINGS.get(name, name)}\nms", partial(_median, name))


def _ratio_columns(operation: Operation, rows: Sequence[Row]) -> Iterator[Column]:
    for ours in OURS:
        for name in rivals(operation, rows):
            if any(ratio(row, ours, name) for row in rows):
                heading = f"{_HEADINGS.get(name, name)}\n/{'auto' if ours == UNPREPARED else 'prep.'}"
                yield Column(heading, partial(_ratio, ours, name))


def _median(name: str, row: Row) -> str:
    return milliseconds(row["sides"][name]["median_s"]) if name in row["sides"] else "-"


def _ratio(ours: str, name: str, row: Row) -> str:
    return _times(ratio(row, ours, name))


def _layer(row: Row) -> str:
    return f"{row['layer']}" + ("*" if any("note" in backend for backend in row["sides"].values()) else "")


_LAYER = Column("layer", _layer)
_ERROR = Column("error", lambda row: f"{row['sides'][UNPREPARED]['max_relative_error']:.0e}")
_SUMMARY = (
    Column("operation", lambda each: each.operation),
    Column("batch", lambda each: str(each.batch)),
    Column("layers", lambda each: str(len(each.ratios))),
    Column("ours", lambda each: each.ours),
    Column("against", lambda each: environment.PEERS.get(each.rival, each.rival)),
    Column("geom.\nmean", lambda each: _times(each.geometric_mean)),
    Column("median", lambda each: _times(each.median)),
    Column("least", lambda each: _times(min(each.ratios))),
    Column("most", lambda each: _times(max(each.ratios))),
)


def spread_note(rows: Sequence[Row]) -> str:
    """Return a sentence on how many times scatter so widely that other programs must have had a share in them."""
    backends = [backend for row in rows for backend in row["sides"].values()]
    wide = sum(backend["q3_s"] > WIDE * backend["q1_s"] for backend in backends)
    return f"Of {wide} of {len(backends)} times the quartiles are more than a factor of {WIDE} apart."


def products_note(rates: Mapping[str, float]) -> str:
    """Return a sentence on how fast NumPy's BLAS makes large products, by the names of its kernels."""
    listed = ", ".join(f"{name} {quantity(rate, 'FLOP/s')}" for name, rate in rates.items())
    return f"Large products by the kernels of NumPy's BLAS: {listed}."


def markdown(run: Result) -> str:
    """Return a result as Markdown: a line that names device and versions, then the ratios over all layers."""
    backends = [backend for row in run.rows for backend in row["sides"].values()]
    builds = run.environment["builds"].get("torch", {})
    onednn = f", oneDNN {builds['onednn']}" if builds.get("onednn") else ""
    lines = [
        f"**{run.device}**: time of the other over ours, above 1 ours is faster; each time the median of "
        f"{samples(backends)}, the sides in turn; {run.rows[0]['dtype']}; "
        f"{environment.versions_label(run.environment)}{onednn}; {run.date[:10]}. "
        + f"{products_note(run.environment['product_flops_per_s'])} {spread_note(run.rows)}",
        "",
        "| | batch | layers | against | unprepared: geometric mean | median | least to most "
        "| prepared: geometric mean | median | least to most |",
        "|---|--:|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    both: dict[tuple[str, int, str], dict[str, Summary]] = {}
    for summary in summaries(run.rows):
        both.setdefault((summary.operation, summary.batch, summary.rival), {})[summary.ours] = summary
    for (operation, batch, rival), by_ours in both.items():
        first = by_ours[UNPREPARED]
        cells = [WORDS[operation], str(batch), str(len(first.ratios)), environment.PEERS.get(rival, f"`{rival}`")]
        cells += _cells(first) + (_cells(by_ours[PREPARED]) if PREPARED in by_ours else ["-"] * 3)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def layers_markdown(run: Result) -> str:
    """Return a result as Markdown, a table of times and ratios for each operation and batch."""
    blocks = []
    for operation, batch, group in groups(run.rows):
        others = rivals(operation, group)
        names = [name for name in (*OURS, *others) if any(name in row["sides"] for row in group)]
        titles = [environment.PEERS.get(name, f"`{name}`" if name not in OURS else name) for name in names]
        heading = ["layer", *(f"{title} (ms)" for title in titles)]
        heading += [f"{titles[names.index(name)]} / {UNPREPARED}" for name in others] + ["error"]
        lines = [
            f"**{run.device}, {WORDS[operation]}, batch {batch}** ({run.date[:10]})",
            "",
            "| " + " | ".join(heading) + " |",
            "|---" + "|--:" * (len(heading) - 1) + "|",
        ]
        for row in group:
            cells = [_layer(row).replace("*", r"\*"), *(_spread(row["sides"].get(name)) for name in names)]
            cells += [_times(ratio(row, UNPREPARED, name)) for name in others]
            cells.append(f"{max(backend['max_relative_error'] for backend in row['sides'].values()):.0e}")
            lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _spread(backend: Row | None) -> str:
    if backend is None:
        return "-"
    return f"{milliseconds(backend['median_s'])} ({milliseconds(backend['q1_s'])} to {milliseconds(backend['q3_s'])})"


def _cells(summary: Summary) -> list[str]:
    least, most = min(summary.ratios), max(summary.ratios)
    return [_times(summary.geometric_mean), _times(summary.median), f"{_times(least)} to {_times(most)}"]


def _table(title: str, columns: Sequence[Column], rows: Sequence[Any]) -> Table:
    table = Table(
        title=title, title_justify="left", box=TABLE_BOX, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        words = column.heading in ("layer", "operation", "ours", "against")
        table.add_column(column.heading, justify="left" if words else "right", no_wrap=words)
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    return table


def _times(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}x"
