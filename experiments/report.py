"""``report``: the tables of README and docs and the papers' pages, from the files under experiments/results alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from experiments.bench.cpu import tables as cpu_tables
from experiments.bench.gpu import tables as gpu_tables
from experiments.bench.gpu.parts import PARTS
from experiments.errors import EXIT_CHECK, ExperimentError, reason
from experiments.harness.files import write
from experiments.harness.places import ROOT
from experiments.harness.results import RESULTS, Result, lacking, newest, writable_folder
from experiments.quickstart.tables import quickstart_table
from experiments.render import paper_pages
from experiments.render.console import output

# What turns a result of an experiment into Markdown.
Markdown = Callable[[Result], str]

README: dict[str, Markdown] = {
    "quickstart": quickstart_table,
    "cpu_bench": cpu_tables.markdown,
    "gpu_bench_core": gpu_tables.markdown,
}
MEASURED: dict[str, Markdown] = {
    "cpu_bench": cpu_tables.layers_markdown,
    **{f"gpu_bench_{part}": gpu_tables.layers_markdown for part in PARTS},
}


@click.command("report")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=RESULTS,
    help="Folder of result files; by default experiments/results.",
)
@click.option(
    "--readme",
    type=click.Path(path_type=Path),
    default=ROOT / "README.md",
    help="File to rewrite; by default the README of this checkout.",
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    default=ROOT / "docs" / "measured.md",
    help="File to rewrite with the tables by layer; by default docs/measured.md of this checkout.",
)
@click.option(
    "--pages",
    type=click.Path(path_type=Path),
    default=ROOT / "docs" / "results",
    help="Folder to write the papers' pages and charts to; by default docs/results of this checkout.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs from what would be written.")
def report(results: Path, readme: Path, measured: Path, pages: Path, check: bool) -> None:
    """Write the tables and pages of the documentation from measured results.

    In the README and in docs/measured.md a table stands between the lines `<!-- NAME table: begin -->` and
    `<!-- NAME table: end -->`, NAME being the experiment, and shows the newest result of each device. Where nothing
    stands yet, results may be missing. Under docs/results each experiment of a paper has a page, and a chart for each
    device.
    """
    texts: dict[Path, str] = {}
    for path, markdowns in ((readme, README), (measured, MEASURED)):
        texts[path] = _text(path)
        for experiment, markdown in markdowns.items():
            texts[path] = _rewritten(texts[path], experiment, markdown, results, path)
    written = paper_pages.pages(pages, results)
    texts |= written.texts
    stale = [path for path, text in texts.items() if not path.exists() or _text(path) != text]
    if check:
        stale += [picture.path for picture in written.pictures if not picture.path.exists()]
        if stale:
            raise ExperimentError(
                f"{' and '.join(map(str, stale))} are not those of the results; run: python -m experiments report",
                EXIT_CHECK,
            )
    else:
        if written.texts:
            writable_folder(pages)
        for path in stale:
            write(path, texts[path])
        for picture in written.pictures:
            picture.draw(picture.path)
    for path in texts:
        output().print(f"{path}: {'rewritten' if path in stale else 'up to date'}", soft_wrap=True)


def tables(folder: Path, experiment: str, markdown: Markdown) -> list[str]:
    """Return an experiment's tables, the newest result of each device, GPUs first."""
    found = []
    for path, run in newest(folder, experiment):
        try:
            found.append(markdown(run))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise lacking(path, error) from None
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ExperimentError(f"{path}: {reason(error)}") from None


def _rewritten(text: str, experiment: str, markdown: Markdown, folder: Path, path: Path) -> str:
    """Return `text`, in which the experiment's tables stand between their markers."""
    begin, end = f"<!-- {experiment} table: begin -->", f"<!-- {experiment} table: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ExperimentError(f"{path} needs these two markers once, in this order: {begin} and {end}")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    found = tables(folder, experiment, markdown)
    if not found:
        if text.partition(begin)[2].partition(end)[0].strip():
            raise ExperimentError(f"no results: {folder} has no {experiment}-*.json")
        return text
    body = "\n\n".join(found)
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"
