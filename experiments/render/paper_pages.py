"""The pages under docs/results: one for each paper's experiment, made from its results, and their index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from experiments.errors import ExperimentError
from experiments.harness import environment
from experiments.harness.frame import Paper
from experiments.harness.results import Result, lacking, newest
from experiments.registry import PAPERS
from experiments.render.sheets import markdown


class Picture(NamedTuple):
    """A chart that a page shows: where it belongs, and what draws it there."""

    path: Path
    draw: Callable[[Path], None]


class Pages(NamedTuple):
    """What belongs under docs/results."""

    texts: dict[Path, str]
    pictures: list[Picture]


def papers() -> Iterator[Paper]:
    """Import the papers' experiments."""
    for entry in PAPERS:
        yield import_module(entry.module).PAPER


def pages(folder: Path, results: Path) -> Pages:
    """Return the pages that belong into `folder`, made from the result files in `results`; none for no results."""
    texts: dict[Path, str] = {}
    pictures: list[Picture] = []
    lines = []
    for paper in papers():
        found = newest(results, paper.name)
        if found:
            texts[folder / f"{paper.name}.md"] = _page(paper, found)
            pictures += [Picture(folder / _picture(run), partial(paper.draw, run)) for _, run in found]
            measured = "; ".join(f"{run.device} ({run.date[:10]})" for _, run in found)
            lines.append(f"| [`{paper.name}`]({paper.name}.md) | {paper.title} | {paper.source} | {measured} |")
    if lines:
        texts[folder / "README.md"] = _INDEX + "\n".join(lines) + "\n"
    return Pages(texts, pictures)


_WRITTEN = "Written by `python -m experiments report` from the files under `experiments/results`; do not edit.\n\n"

_INDEX = (
    "# The papers' experiments\n\n"
    "Each is one command, `python -m experiments NAME`; `python -m experiments all` runs all of them, with `--quick` "
    "in a few minutes.\n\n" + _WRITTEN + "| experiment | what it is | paper | measured on |\n|---|---|---|---|\n"
)


def _page(paper: Paper, found: list[tuple[Path, Result]]) -> str:
    about = paper.about.strip().partition("\n")[2].strip()
    blocks = [f"# {paper.name}: {paper.title}", f"Paper {paper.source}.", about, _WRITTEN.strip()]
    for path, run in found:
        try:
            blocks += [f"## {run.device}", _where(run), *(markdown(sheet) for sheet in paper.sheets(run))]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise lacking(path, error) from None
        blocks.append(f"![Chart of {paper.name} on {run.device}]({_picture(run)})")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _where(run: Result) -> str:
    options = f"--device {run.environment['device']['kind']} --threads {run.parameters['threads']}"
    options += " --data DIR" if run.parameters["data"] else ""
    if run.parameters["quick"]:
        raise ExperimentError(f"{run.file_name} is of a --quick run, which measures nothing")
    command = f"`python -m experiments {run.experiment} {options}`"
    return f"{command}; {environment.versions_label(run.environment)}; {run.date[:10]}."


def _picture(run: Result) -> str:
    return Path(run.file_name).with_suffix(".png").name
