"""The report: the README's tables come from the result files, whole, the newest of each device, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from experiments import report
from experiments.errors import ExperimentError
from experiments.harness import results

from .running import Runner


def made_result(**changes: Any) -> results.Result:
    """A result that was not measured, for the report's own tests."""
    row = {
        "case": "3x3",
        "method": "unified",
        "form": "numpy_col2im",
        "input_shape": [1, 3, 5, 5],
        "output_shape": [1, 3, 9, 9],
        "stride": 2,
        "dtype": "float32",
        "median_s": 2.5e-3,
        "q1_s": 2e-3,
        "q3_s": 3e-3,
        "speedup": 2.0,
        "macs": 16_183_881,
        "workspace_bytes": 2_419_212,
        "launches": 4,
        "extra_threads": 2685,
        "max_abs_error": 1e-7,
        "repeats": 7,
        "calls_per_sample": 1,
    }
    where = {
        "device": {"kind": "cpu", "name": "CPU Y"},
        "threads": 2,
        "blas": None,
        "versions": {"cupy_kst": "0", "numpy": "2", "python": "3", "scipy": "1", "numba": "0.6"},
    }
    fields = {"experiment": "quickstart", "environment": where, "parameters": {}, "rows": [row], "date": "2026-01-02"}
    return results.Result(**(fields | changes))


def empty_tables(experiments: Iterable[str]) -> str:
    """The markers of tables that wait for results."""
    return "".join(f"<!-- {name} table: begin -->\n<!-- {name} table: end -->\n" for name in experiments)


README = "# Title\n\n<!-- quickstart table: begin -->\nold\n<!-- quickstart table: end -->\n\nRest.\n" + empty_tables(
    name for name in report.README if name != "quickstart"
)


@pytest.fixture
def reported(tmp_path: Path) -> tuple[Path, list[object]]:
    """A README and one result, and the arguments that name them."""
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "measured.md").write_text(empty_tables(report.MEASURED))
    made_result().write(tmp_path / "quickstart-a.json")
    files = ("--readme", tmp_path / "README.md", "--measured", tmp_path / "measured.md")
    files += ("--pages", tmp_path / "pages")
    return tmp_path, ["report", "--results", tmp_path, *files]


def test_report_writes_the_table_and_nothing_else(reported: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = reported
    assert run(*arguments, "--check").code == 1
    assert (folder / "README.md").read_text() == README
    assert run(*arguments).code == 0
    written = (folder / "README.md").read_text()
    assert written.startswith(README.partition("old")[0])
    assert written.endswith(README.partition("old")[2])
    assert "**CPU Y, 2 threads**: median of 7 samples, " in written
    assert "; 2026-01-02." in written
    assert (
        "| 3x3 | 3 x 9 x 9 | `unified` | 2.50 (2.00 to 3.00) | 2.00x | 16.2 M | 2.42 MB | 4 | 2,685 | 1.0e-07 |\n"
        in written
    )
    assert run(*arguments).code == run(*arguments, "--check").code == 0
    assert (folder / "README.md").read_text() == written
    (folder / "README.md").write_text(written.replace("2.50", "2.40"))
    code, _, err = run(*arguments, "--check")
    assert (code, err.count("\n")) == (1, 1)


def test_report_takes_the_newest_of_each_device(reported: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = reported
    gpu = {"kind": "gpu", "name": "Z"}
    versions = {"cupy_kst": "0", "numpy": "2", "python": "3", "cupy": "14", "cuda_runtime": "13.0", "driver": None}
    made_result(date="2026-03-01").write(folder / "quickstart-b.json")
    made_result(date="2026-02-01").write(folder / "quickstart-c.json")
    made_result(environment={"device": gpu, "versions": versions}).write(folder / "quickstart-d.json")
    assert run(*arguments).code == 0
    written = (folder / "README.md").read_text()
    assert "2026-03-01" in written
    assert "2026-02-01" not in written
    assert written.count("MACs, workspace, launches and extra threads are those of the CUDA kernels") == 1
    assert written.index("**Z**") < written.index("**CPU Y, 2 threads**")


@pytest.mark.parametrize(
    "readme",
    [
        "nothing",
        README + README,
        README + "<!-- quickstart table: begin -->",
        README + "<!-- quickstart table: end -->",
        README.replace("begin", "x").replace("end", "begin").replace("x", "end"),
    ],
)
def test_report_needs_its_markers(reported: tuple[Path, list[object]], run: Runner, readme: str) -> None:
    folder, arguments = reported
    (folder / "README.md").write_text(readme)
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "needs these two markers once" in err
    assert (folder / "README.md").read_text() == readme


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "schema None"),
        ('{"schema": 2}', "schema 2"),
        ('{"schema": 1}', "does not hold a result"),
        ('{"schema": 1, "experiment": "a", "environment": {}, "parameters": {}, "rows": []}', "lacks a figure"),
    ],
)
def test_report_names_a_broken_result(reported: tuple[Path, list[object]], run: Runner, text: str, words: str) -> None:
    folder, arguments = reported
    (folder / "quickstart-z.json").write_text(text)
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert "quickstart-z.json" in err


def test_report_needs_results(reported: tuple[Path, list[object]], run: Runner) -> None:
    folder, arguments = reported
    (folder / "quickstart-a.json").unlink()
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "no results" in err


def test_readme_of_the_checkout_is_up_to_date(run: Runner) -> None:
    assert run("report", "--check").code == 0


def test_failed_write_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="cannot write"):
        made_result().write(tmp_path / "none" / "a.json")
