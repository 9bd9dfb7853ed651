"""The frame of the papers' experiments: what a run writes, how it goes on, what it refuses, and its pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from experiments import cli, registry, report
from experiments.errors import ExperimentError
from experiments.harness import frame, results
from experiments.harness.frame import Paper, Settings, Unit
from experiments.harness.results import Result
from experiments.render import charts, paper_pages, sheets
from experiments.render.sheets import Sheet

from .running import Runner

ABOUT = """A toy that measures nothing.

The paper did this.

Here that differs.
"""


class Toy:
    """An experiment of four units, one row each; `measured` lists the units that were run."""

    def __init__(self, name: str = "toy") -> None:
        self.measured: list[str] = []
        self.settings: list[Settings] = []
        self.fails: dict[str, BaseException] = {}
        self.error = 0.0
        self.paper = Paper(
            name=name,
            source="Z, arXiv 0",
            about=ABOUT,
            units=self.units,
            sheets=self.sheets,
            draw=self.draw,
            data="A folder.",
        )

    def units(self, settings: Settings) -> list[Unit]:
        self.settings.append(settings)
        return [Unit(key, f"unit {key}", partial(self.rows, key)) for key in "abcd"]

    def rows(self, key: str) -> list[dict[str, Any]]:
        if key in self.fails:
            raise self.fails[key]
        self.measured.append(key)
        return [{"method": "m", "value": len(self.measured), "max_abs_error": self.error, "tolerance": 0.5}]

    def sheets(self, result: Result) -> list[Sheet]:
        rows = [[row["unit"], f"{row['value']}.5 ms"] for row in result.rows]
        return [Sheet("Values", ["unit", "value"], rows, ["A note."])]

    def draw(self, result: Result, path: Path) -> None:
        charts.save(Figure(), path)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The only experiment of a paper that the command line knows."""
    made = Toy()
    register(monkeypatch, made)
    return made


def register(monkeypatch: pytest.MonkeyPatch, *toys: Toy) -> None:
    entries = []
    for each in toys:
        module: Any = ModuleType(each.paper.name)
        module.PAPER, module.command = each.paper, frame.command(each.paper)
        monkeypatch.setitem(sys.modules, each.paper.name, module)
        entries.append(registry.Entry(each.paper.name, each.paper.name, "A toy.", "Z"))
    monkeypatch.setattr(cli, "EXPERIMENTS", tuple(entries))
    monkeypatch.setattr(cli, "PAPERS", tuple(entries))
    monkeypatch.setattr(paper_pages, "PAPERS", tuple(entries))


def document(folder: Path, name: str = "toy") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


CPU = ("--device", "cpu", "--threads", 1)


# A run


def test_a_run_writes_its_json_and_its_chart(toy: Toy, run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    code, out, err = run("toy", *CPU, "--out", folder)
    assert (code, err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["toy.json", "toy.png"]
    written = document(folder)
    assert written["complete"] is True
    assert written["parameters"] == {"threads": 1, "quick": False, "data": None}
    assert [(row["unit"], row["value"]) for row in written["rows"]] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    lines = out.splitlines()
    assert lines[:2] == ["toy: A toy that measures nothing", "Paper: Z, arXiv 0"]
    assert ["a", "1.5", "ms"] in [line.split() for line in lines]
    assert "A note." in lines
    assert lines[-2:] == [f"written: {folder / name}" for name in ("toy.json", "toy.png")]


def test_settings(toy: Toy, run: Runner, tmp_path: Path) -> None:
    assert run("toy", *CPU, "--out", tmp_path, "--data", tmp_path, "--quick").code == 0
    (settings,) = toy.settings
    assert (settings.device.kind, settings.threads, settings.quick, settings.data) == ("cpu", 1, True, tmp_path)
    assert settings.rounds == frame.QUICK
    assert document(tmp_path)["parameters"] == {"threads": 1, "quick": True, "data": tmp_path.name}
    assert run("toy", *CPU, "--out", tmp_path).code == 0
    assert toy.settings[1].rounds == frame.FULL


def test_help_is_the_docstring(toy: Toy, run: Runner) -> None:
    out = run("toy", "--help").out
    assert "Here that differs." in out
    assert "--data" in out


def test_save_keeps_the_result_by_device(
    toy: Toy, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "kept")
    assert run("toy", *CPU, "--out", tmp_path, "--save").code == 0
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.read_text() == (tmp_path / "toy.json").read_text()
    assert run("toy", "--quick", "--save", "--out", tmp_path / "other").code == 2
    assert not (tmp_path / "other").exists()


# Broken runs


def test_ctrl_c_leaves_what_is_finished_and_resume_goes_on(toy: Toy, run: Runner, tmp_path: Path) -> None:
    toy.fails["c"] = KeyboardInterrupt()
    code, _, err = run("toy", *CPU, "--out", tmp_path)
    assert code == 130
    assert err.split("\n")[-2:] == [
        f"interrupted; what is finished stands in {tmp_path / 'toy.json'}, --resume goes on from there",
        "",
    ]
    written = document(tmp_path)
    assert written["complete"] is False
    assert [row["unit"] for row in written["rows"]] == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]
    toy.fails.clear()
    assert run("toy", *CPU, "--out", tmp_path, "--resume").code == 0
    assert toy.measured == ["a", "b", "c", "d"]
    written = document(tmp_path)
    assert written["complete"] is True
    assert [(row["unit"], row["value"]) for row in written["rows"]] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_ctrl_c_in_the_first_unit_promises_nothing(toy: Toy, run: Runner, tmp_path: Path) -> None:
    toy.fails["a"] = KeyboardInterrupt()
    code, _, err = run("toy", *CPU, "--out", tmp_path)
    assert (code, err.strip()) == (130, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_resume_of_nothing_begins(toy: Toy, run: Runner, tmp_path: Path) -> None:
    assert run("toy", *CPU, "--out", tmp_path, "--resume").code == 0
    assert toy.measured == ["a", "b", "c", "d"]


def test_resume_keeps_the_order_and_drops_what_is_no_unit(toy: Toy, run: Runner, tmp_path: Path) -> None:
    assert run("toy", *CPU, "--out", tmp_path).code == 0
    path = tmp_path / "toy.json"
    before = document(tmp_path)
    before["rows"] = [row | {"unit": {"a": "z"}.get(row["unit"], row["unit"])} for row in before["rows"]]
    before["commit"] = "0123"
    path.write_text(json.dumps(before))
    assert run("toy", *CPU, "--out", tmp_path, "--resume").code == 0
    written = document(tmp_path)
    assert [row["unit"] for row in written["rows"]] == ["a", "b", "c", "d"]
    assert toy.measured == ["a", "b", "c", "d", "a"]
    assert written["commit"].startswith("0123 and ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema 2"),
        ({"experiment": "other"}, "its experiment is other"),
        ({"parameters": {"threads": 1, "quick": True, "data": None}}, "its quick is True"),
        ({"parameters": {"threads": 2, "quick": False, "data": None}}, "its threads is 2"),
        ({"environment": {}}, "its device is None"),
    ],
)
def test_resume_refuses_another_run(toy: Toy, run: Runner, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    assert run("toy", *CPU, "--out", tmp_path).code == 0
    (tmp_path / "toy.json").write_text(before := json.dumps(document(tmp_path) | change))
    code, _, err = run("toy", *CPU, "--out", tmp_path, "--resume")
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert (tmp_path / "toy.json").read_text() == before


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[]"])
def test_resume_of_a_broken_file_is_one_line(toy: Toy, run: Runner, tmp_path: Path, text: str) -> None:
    (tmp_path / "toy.json").write_text(text)
    code, _, err = run("toy", *CPU, "--out", tmp_path, "--resume")
    assert (code, err.count("\n")) == (2, 1)
    assert "toy.json" in err
    assert (tmp_path / "toy.json").read_text() == text


@pytest.mark.parametrize("error", [0.6, float("nan")])
def test_a_wrong_row_is_an_error_and_not_written(toy: Toy, run: Runner, tmp_path: Path, error: float) -> None:
    toy.error = error
    code, _, err = run("toy", *CPU, "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "unit a" in err
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_one_line(toy: Toy, run: Runner, tmp_path: Path) -> None:
    toy.fails["b"] = MemoryError("Unable to allocate 1 TiB")
    code, _, err = run("toy", *CPU, "--out", tmp_path)
    assert (code, err) == (2, "error: unit b: not enough memory: Unable to allocate 1 TiB\n")
    assert [row["unit"] for row in document(tmp_path)["rows"]] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("toy --device tpu", "'tpu' is not one of"),
        ("toy --threads 0", "not in the range"),
        ("toy --data {}/none", "does not exist"),
        ("toy --data {}/file", "is a file"),
        ("toy --out {}/file", "cannot write to"),
        ("toy --out /proc/none", "cannot write to"),
        ("toy --quick --save", "it takes no --save"),
        ("all --device tpu", "'tpu' is not one of"),
        ("all --out {}/file", "cannot write to"),
        ("toys", "No such command 'toys'"),
    ],
)
def test_bad_options_are_one_line(toy: Toy, run: Runner, tmp_path: Path, arguments: str, words: str) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = run(*arguments.format(tmp_path).split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert toy.measured == []


# All


def test_all_runs_what_it_can(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = [Toy("first"), Toy("second"), Toy("third"), Toy("fourth")]
    register(monkeypatch, *toys)
    assert run("all", *CPU, "--out", tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.glob("*.json")) == sorted(f"{each.paper.name}.json" for each in toys)
    toys[0].fails["b"] = ExperimentError("one line")
    toys[2].fails["a"] = RuntimeError("a fault")
    code, _, err = run("all", *CPU, "--out", tmp_path / "new")
    assert code == 2
    assert err.splitlines() == [
        "error: first: one line",
        "error: third: RuntimeError: a fault; python -m experiments third shows where",
    ]
    assert sorted(path.name for path in (tmp_path / "new").glob("*.png")) == ["fourth.png", "second.png"]
    toys[0].fails.clear()
    assert run("all", *CPU, "--out", tmp_path / "new").code == 1


def test_all_stops_at_ctrl_c(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = [Toy("first"), Toy("second")]
    register(monkeypatch, *toys)
    toys[0].fails["b"] = KeyboardInterrupt()
    assert run("all", *CPU, "--out", tmp_path).code == 130
    assert toys[1].measured == []
    toys[0].fails.clear()
    assert run("all", *CPU, "--out", tmp_path, "--resume").code == 0
    assert toys[0].measured == toys[1].measured == ["a", "b", "c", "d"]


def test_every_registered_paper_is_whole() -> None:
    entries = registry.PAPERS
    found = list(paper_pages.papers())
    assert [paper.name for paper in found] == [entry.name for entry in entries]
    for paper in found:
        assert paper.about.count("\n\n") >= 1
        assert "arXiv" in paper.source


# Tables


SHEET = Sheet(
    "Title",
    ["layer", "shape", "time (ms)", "ratio", "paper", "a|b"],
    [
        ["one", "3x3", "1.23 (1.10 to 1.40)", "2.00x", "-", "*"],
        ["two", "3 x 4", "12.3 (11.0 to 14.0)", "10.1x", "3.02x", "2"],
    ],
    ["First note.", "Second note."],
)


def test_sheet_as_markdown() -> None:
    assert sheets.markdown(SHEET) == (
        "### Title\n\n"
        "| layer | shape | time (ms) | ratio | paper | a\\|b |\n"
        "|---|---|--:|--:|--:|---|\n"
        "| one | 3x3 | 1.23 (1.10 to 1.40) | 2.00x | - | \\* |\n"
        "| two | 3 x 4 | 12.3 (11.0 to 14.0) | 10.1x | 3.02x | 2 |\n\n"
        "First note.\n\n"
        "Second note."
    )


def test_sheet_in_the_terminal() -> None:
    stream = StringIO()
    Console(file=stream, width=100, markup=False).print(*sheets.terminal(SHEET), sep="\n")
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines[0] == "Title"
    assert lines[-2:] == ["First note.", "Second note."]
    (one,) = (line for line in lines if line.startswith("one"))
    assert one.split() == ["one", "3x3", "1.23", "(1.10", "to", "1.40)", "2.00x", "-", "*"]


@pytest.mark.parametrize(
    "cell", ["1", "-1.5", "1,234", "2.4 MB", "0 B", "1.0e-07", "75 %", "3 ms", "<0.1", "2 (1 to 3)"]
)
def test_numbers_are_flush_right(cell: str) -> None:
    assert Sheet("", ["a"], [[cell], [""], ["-"]]).is_right(0)


@pytest.mark.parametrize("cell", ["3x3", "8 x 8", "x", "1 of 2", "", "2 apples"])
def test_words_are_flush_left(cell: str) -> None:
    assert not Sheet("", ["a"], [[cell]]).is_right(0)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Sheet("title", ["a"], [["1", "2"]])


# Pages


@pytest.fixture
def paged(toy: Toy, run: Runner, tmp_path: Path) -> Iterator[tuple[Path, list[object]]]:
    """A folder with one result of the toy, and the arguments of a report on it."""
    tables = "".join(
        f"<!-- {name} table: {end} -->\n" for name in {**report.README, **report.MEASURED} for end in ("begin", "end")
    )
    (tmp_path / "r.md").write_text(tables)
    (tmp_path / "m.md").write_text(tables)
    assert run("toy", *CPU, "--out", tmp_path).code == 0
    (tmp_path / "toy.json").replace(tmp_path / "toy-here.json")
    files = ("--readme", tmp_path / "r.md", "--measured", tmp_path / "m.md", "--pages", tmp_path / "pages")
    yield tmp_path, ["report", "--results", tmp_path, *files]


def test_report_writes_a_page_with_its_picture(paged: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = paged
    assert run(*arguments, "--check").code == 1
    assert not (folder / "pages").exists()
    assert run(*arguments).code == 0
    result = results.read(folder / "toy-here.json")
    picture = Path(result.file_name).with_suffix(".png").name
    assert sorted(path.name for path in (folder / "pages").iterdir()) == ["README.md", picture, "toy.md"]
    page = (folder / "pages" / "toy.md").read_text()
    assert page.startswith("# toy: A toy that measures nothing\n\nPaper Z, arXiv 0.\n\nThe paper did this.\n\nHere")
    assert f"\n\n## {result.device}\n\n`python -m experiments toy --device cpu --threads 1`; cupy_kst " in page
    assert "| a | 1.5 ms |\n" in page
    assert f"]({picture})\n" in page
    index = (folder / "pages" / "README.md").read_text()
    assert "| [`toy`](toy.md) | A toy that measures nothing | Z, arXiv 0 | " in index
    assert run(*arguments, "--check").code == 0


@pytest.mark.parametrize("lost", ["README.md", "toy.md", "*.png"])
def test_check_sees_what_is_lost(paged: tuple[Path, list[object]], run: Runner, lost: str) -> None:
    folder, arguments = paged
    assert run(*arguments).code == 0
    (path,) = (folder / "pages").glob(lost)
    path.unlink()
    code, _, err = run(*arguments, "--check")
    assert (code, err.count("\n")) == (1, 1)
    assert path.name in err


def test_two_devices_stand_on_one_page(paged: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = paged
    other = json.loads((folder / "toy-here.json").read_text())
    other["environment"]["device"] = {"kind": "gpu", "name": "GPU G"}
    other["environment"]["versions"] |= {"cupy": "14", "cuda_runtime": "13.0", "driver": None}
    (folder / "toy-there.json").write_text(json.dumps(other))
    assert run(*arguments).code == 0
    page = (folder / "pages" / "toy.md").read_text()
    assert page.index("## GPU G") < page.index(f"## {results.read(folder / 'toy-here.json').device}")
    assert (folder / "pages" / "toy-gpu-g.png").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"complete": False}, "did not come to its end"),
        ({"parameters": {"threads": 1, "quick": True, "data": None}}, "--quick"),
        ({"rows": [{"unit": "a"}]}, "lacks a figure: KeyError 'value'"),
        ({"schema": 7}, "schema 7"),
    ],
)
def test_report_refuses_what_is_no_measurement(
    paged: tuple[Path, list[object]], run: Runner, change: dict[str, Any], words: str
) -> None:
    folder, arguments = paged
    path = folder / "toy-here.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (folder / "pages").exists()
