"""Tables that look the same in the terminal and in Markdown: written once, as words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from experiments.render.console import TABLE_BOX

# A number with its unit and, in brackets, its spread; or a dash where there is none. "3x3" and "3 x 224" are words.
_NUMBER = re.compile(r"-|[-+<>~]?\d[\d,.]*(e[-+]?\d+)?( ?(x|%|[kMGT]?B|[kMGT]|[mu]?s))?( \([^()]*\))?")


@dataclass(frozen=True)
class Sheet:
    """A table and what is to be said of it.

    Attributes
    ----------
    title : str
        What stands above it.
    columns : sequence of str
        Headings; a column of numbers is set flush right.
    rows : sequence of sequences of str
        Its cells.
    notes : sequence of str
        Sentences below it: the paper's figure, why ours differs, what is missing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells for {len(self.columns)} columns: {row}")

    def is_right(self, column: int) -> bool:
        """Whether all that stands in the column is numbers."""
        cells = [row[column] for row in self.rows if row[column]]
        return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def terminal(sheet: Sheet) -> Iterator[Table | str]:
    """Return what rich prints: the table, then each note."""
    table = Table(title=sheet.title, title_justify="left", box=TABLE_BOX, show_edge=False, pad_edge=False)
    for number, heading in enumerate(sheet.columns):
        table.add_column(heading, justify="right" if sheet.is_right(number) else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*row)
    yield table
    yield from sheet.notes


def markdown(sheet: Sheet) -> str:
    """Return the sheet as Markdown, its title a heading of the third level."""
    rules = ["--:" if sheet.is_right(number) else "---" for number in range(len(sheet.columns))]
    lines = [_line(sheet.columns), f"|{'|'.join(rules)}|", *map(_line, sheet.rows)]
    return "\n\n".join([f"### {sheet.title}", "\n".join(lines), *sheet.notes])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("*", r"\*") for cell in cells) + " |"
