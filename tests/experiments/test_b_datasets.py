"""Unified kernel segregation on sets of images: what is measured, odd and even outputs, array of sizes, bad data."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cupy_kst import gpu
from cupy_kst.cpu import reference
from experiments.harness import results
from experiments.harness.devices import Device
from experiments.harness.timing import CpuClock, Rounds
from experiments.papers.b_unified.datasets import experiment as b_datasets
from experiments.papers.b_unified.measurements import allocated
from experiments.peers.libraries import Peers
from experiments.render import charts, paper_pages
from experiments.render.sheets import Sheet, markdown
from tests.emulator import Emulator, require

from .running import Runner

CPU = ("--device", "cpu", "--threads", 1)
METHODS = ["zero_insertion", "segregated", "unified", "unified_loop", "unified_table"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b_datasets, "QUICK", (12, 2, 3))


def rows_in(folder: Path) -> list[dict[str, Any]]:
    document = json.loads((folder / "b_datasets.json").read_text(encoding="utf-8"))
    assert document["complete"] is True
    found: list[dict[str, Any]] = document["rows"]
    return found


def test_a_run(run: Runner, tmp_path: Path) -> None:
    code, out, err = run("b_datasets", *CPU, "--quick", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert (tmp_path / "b_datasets.png").stat().st_size > 10_000
    rows = rows_in(tmp_path)
    assert [row["method"] for row in rows] == METHODS * 10
    cases = rows[:: len(METHODS)]
    assert [row["output_shape"] for row in cases] == [
        *([2, 3, side, side] for side in (23, 24, 24, 23, 24)),
        *([3, 1, side, side] for side in (15, 16, 16, 15, 16)),
    ]
    assert [row["kernel"] for row in cases] == [[side, side] for side in (3, 3, 4, 5, 5)] * 2
    for row in rows:
        images, channels, side, _ = row["output_shape"]
        extra = images * channels * (2 * side + 1) if side % 2 else 0
        if row["method"] in METHODS[:3]:
            assert row["extra_threads"] == (extra if row["method"] == "segregated" else 0)
        assert row.get("table_bytes") == {"unified_loop": 0, "unified_table": 32}.get(row["method"])
        assert row["max_abs_error"] <= row["tolerance"] < 1e-3
    for words in ("2.03x", "3.89x", "Odd and even outputs", "Memory per image", "The array has 32 bytes"):
        assert words in out


def test_all_images_of_a_set_are_taken(run: Runner) -> None:
    sets = b_datasets.image_sets(settings(quick=True))
    assert {name: images.shape for name, images in sets.items()} == {
        "photographs": (2, 3, 12, 12),
        "digits": (3, 1, 8, 8),
    }
    full = b_datasets.image_sets(settings(quick=False))
    assert {name: images.shape for name, images in full.items()} == {
        "photographs": (2, 3, 224, 224),
        "digits": (256, 1, 8, 8),
    }
    photographs = full["photographs"]
    assert 0 <= photographs.min() < 0.1
    assert 0.9 < photographs.max() <= 1
    assert not np.array_equal(photographs[0], photographs[1])


def settings(device: Device | None = None, quick: bool = True, data: Path | None = None) -> Any:
    return b_datasets.Settings(device or Device(), CpuClock(), Rounds.exactly(1), quick, data, 1, Peers())


def test_an_own_folder_of_classes(run: Runner, tmp_path: Path) -> None:
    for name, count in (("daisy", 3), ("rose", 1)):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (20, 15), (number, 100, 200)).save(tmp_path / "flowers" / name / f"{number}.png")
    code, out, err = run("b_datasets", *CPU, "--quick", "--data", tmp_path / "flowers", "--out", tmp_path)
    assert (code, err) == (0, "")
    rows = rows_in(tmp_path)
    assert {row["case"]: row["input_shape"] for row in rows} == {"daisy": [2, 3, 12, 12], "rose": [1, 3, 12, 12]}
    assert "daisy" in out


@pytest.mark.parametrize("broken", ["empty", "truncated"])
def test_bad_data_is_one_line(run: Runner, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if broken == "truncated":
        path = folder / "a.png"
        Image.effect_noise((50, 50), 50).save(path)
        path.write_bytes(path.read_bytes()[:500])
    code, _, err = run("b_datasets", *CPU, "--quick", "--data", folder, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert str(folder) in err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.long
def test_a_broken_run_goes_on(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(case: Any, settings: Any) -> Any:
        measured.append(f"{case.label} {case.weight.shape[-1]}")
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(case, settings)

    measured: list[str] = []
    measure = b_datasets.measure
    monkeypatch.setattr(b_datasets, "measure", interrupted)
    assert run("b_datasets", *CPU, "--quick", "--out", tmp_path).code == 130
    assert run("b_datasets", *CPU, "--quick", "--out", tmp_path, "--resume").code == 0
    # The fourth twice, every other once.
    sets = [f"{name} {kernel}" for name in ("photographs", "digits") for kernel in (3, 3, 4, 5, 5)]
    assert measured == [*sets[:4], *sets[3:]]
    assert len(rows_in(tmp_path)) == 50


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device whose arrays are NumPy's, and on which only the kernel of this experiment runs, on the emulator."""
    require()
    emulator = Emulator()
    runtime = SimpleNamespace(getDevice=lambda: 3)
    cupy: Any = SimpleNamespace(asarray=np.asarray, asnumpy=np.asarray, empty=emulator.empty)
    cupy.cuda = SimpleNamespace(runtime=runtime)
    engines = {3: SimpleNamespace(runtime=emulator)}
    monkeypatch.setattr(gpu, "engine", engines.__getitem__)
    monkeypatch.setattr(Device, "form", lambda *_: "f32/threads")
    monkeypatch.setattr(
        "experiments.papers.b_unified.measurements.allocated", lambda device, call: allocated(Device(), call)
    )
    return Device(cupy)


def test_on_a_gpu_the_kernel_reads_the_array(fake_gpu: Device) -> None:
    images = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)
    case = b_datasets._case("noise", images, 5, 2, 0)
    rows = b_datasets.measure(case, settings(fake_gpu))
    assert [row["method"] for row in rows] == [*METHODS[:3], "unified_table"]
    assert all(row["max_abs_error"] <= row["tolerance"] < 1e-3 for row in rows)
    assert np.abs(reference.conv_transpose(images, case.weight, **case.options)).max() > 1


def made_result(kind: str) -> results.Result:
    """A result that was not measured, of two sets: times are a place's number of milliseconds."""
    rows = []
    methods = METHODS if kind == "cpu" else [*METHODS[:3], "unified_table"]
    for unit, case, side in (("a 3", "a", 9), ("a 4", "a", 10), ("b 3", "b", 9)):
        for place, method in enumerate(methods, start=1):
            seconds = place * 1e-3 * (2 if case == "b" and method == "unified" else 1)
            rows.append(
                {
                    "unit": unit,
                    "case": case,
                    "method": method,
                    "kernel": [3, 3],
                    "input_shape": [2, 1, 5, 5],
                    "output_shape": [2, 1, side, side],
                    "dtype": "float32",
                    "median_s": seconds,
                    "speedup": 1e-3 / seconds * 8,
                    "repeats": 7,
                    "calls_per_sample": 1,
                    "extra_threads": 2 * (2 * side + 1) if method == "segregated" and side % 2 else 0,
                    "gross": 2000,
                    "net_of_padded": 1000,
                    "net_of_input": 500,
                    "peak_bytes": 4000 * place,
                    **({"table_bytes": 32} if method == "unified_table" else {}),
                }
            )
    where = {
        "device": {"kind": kind, "name": "Device Y"},
        "threads": 2,
        "blas": None,
        "versions": {"cupy_kst": "0", "numpy": "2", "python": "3", "scipy": "1", "cupy": "14", "cuda_runtime": "13"}
        | {"driver": None},
    }
    parameters = {"threads": 2, "quick": False, "data": None}
    return results.Result(
        experiment="b_datasets", environment=where, parameters=parameters, rows=rows, date="2026-01-02"
    )


def titled(title: str, kind: str = "cpu") -> Sheet:
    return next(sheet for sheet in b_datasets.sheets(made_result(kind)) if sheet.title.startswith(title))


@pytest.mark.parametrize(("kind", "own", "other"), [("cpu", 1, 0), ("gpu", 0, 1)])
def test_a_device_stands_beside_the_papers_of_its_kind(kind: str, own: int, other: int) -> None:
    sheet = titled("Beside the paper", kind)
    assert [row[:2] for row in sheet.rows[:2]] == [
        ("average speed-up, RTX 2070 GPU", "2.03x"),
        ("average speed-up, Intel Xeon CPU", "3.89x"),
    ]
    # The ratios of unified are 8/3, 8/3 and 8/6.
    assert sheet.rows[own][2:] == ("4.00x", f"{8 / 3 / 2 ** (1 / 3):.2f}x")
    assert sheet.rows[other][2:] == ("-", "-")
    assert [row[0] for row in sheet.rows[2:]] == ["of this: a", "of this: b"]
    assert [row[3] for row in sheet.rows[2:]] == ["2.67x", "1.33x"]


def test_times_and_bytes_are_per_image() -> None:
    first, second, _ = titled("Time per image").rows
    assert first == ("a", "2", "1x5x5", "3x3", "9x9", "0.500", "1.00 (4.00x)", "1.50 (2.67x)")
    assert second[4] == "10x10"
    assert titled("Memory").rows[0][4:] == ("1.00 kB", "500 B", "250 B", "2.00 kB", "4.00 kB", "6.00 kB")


def test_extra_threads_of_odd_outputs() -> None:
    odd, even, _ = titled("Odd and even").rows
    assert odd[3:] == ("9x9", "odd", "19", "23 %", "0", "0.67x")
    assert even[3:] == ("10x10", "even", "0", "0 %", "0", "0.67x")


@pytest.mark.parametrize(
    ("kind", "times", "words"),
    [("cpu", ("2.00", "2.50", "1.250x"), "noise"), ("gpu", ("1.50", "2.00", "1.333x"), "the library's `unified`")],
)
def test_the_array_is_compared_with_its_twin(kind: str, times: tuple[str, ...], words: str) -> None:
    sheet = titled("Sizes of sub-kernels", kind)
    assert sheet.rows[0][4:] == times
    assert words in sheet.notes[0]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_page_and_chart(tmp_path: Path, kind: str) -> None:
    made_result(kind).write(tmp_path / "b_datasets-a.json")
    pages = paper_pages.pages(tmp_path / "pages", tmp_path)
    page = pages.texts[tmp_path / "pages" / "b_datasets.md"]
    assert all(markdown(sheet) in page for sheet in b_datasets.sheets(made_result(kind)))
    (picture,) = pages.pictures
    picture.draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(("kind", "paper"), [("cpu", 3.89), ("gpu", 2.03)])
def test_the_chart_has_a_panel_for_each_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, paper: float
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))
    b_datasets.PAPER.draw(made_result(kind), tmp_path / "a.png")
    panels = drawn[0].axes
    assert [panel.get_title().partition(",")[0] for panel in panels] == ["a", "b", "Sizes of sub-kernels from an array"]
    assert all(panel.get_visible() for panel in panels)
    first = panels[0]
    assert [bar.get_height() for bar in first.containers[1]] == pytest.approx([8 / 3, 8 / 3])
    assert any(paper == line.get_ydata()[0] for line in first.lines)
    assert first.get_ylim()[1] > paper
