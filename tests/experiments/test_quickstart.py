"""The experiments package: what the quickstart measures and writes, the report, and every error as one line."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import cupy_kst
from cupy_kst import cpu
from experiments import registry
from experiments.errors import guarded
from experiments.harness import results
from experiments.quickstart import filters
from experiments.render.comparison_tables import comparison_tables, compiled_note, method_label
from experiments.workloads import images

from .running import THREADS, Run, Runner, spawn

METHODS = {"zero_insertion", "segregated", "unified", "ks_deconv", "split"}


class Quickstart(NamedTuple):
    folder: Path
    run: Run
    result: results.Result


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    """One real quickstart, piped."""
    folder = tmp_path_factory.mktemp("run") / "new" / "out"
    process = spawn("quickstart", "--device", "cpu", "--threads", THREADS, "--repeat", 3, "--out", folder)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return Quickstart(folder, Run(0, out, err), results.read(folder / "quickstart.json"))


def row_of(result: results.Result, case: str, method: str) -> dict[str, Any]:
    (row,) = (row for row in result.rows if (row["case"], row["method"]) == (case, method))
    return row


# What a run writes


def test_result_has_every_case_and_method(done: Quickstart) -> None:
    expected = set(cupy_kst.costs((1, 3, 224, 224), (3, 3, 3, 3), stride=2, padding=1))
    assert expected >= METHODS
    assert [(row["case"], row["method"]) for row in done.result.rows] == [
        (case, method)
        for case in ("3x3", "4x4", "5x5")
        for method in cupy_kst.costs((1, 3, 9, 9), (3, 3, 3, 3), stride=2)
    ]


def test_result_shapes(done: Quickstart) -> None:
    for case, kernel, padding, side in (("3x3", 3, 1, 447), ("4x4", 4, 1, 448), ("5x5", 5, 2, 447)):
        for row in (row for row in done.result.rows if row["case"] == case):
            assert row["input_shape"] == [1, 3, 224, 224]
            assert row["output_shape"] == [1, 3, side, side]
            assert (row["kernel"], row["stride"], row["padding"]) == ([kernel, kernel], 2, padding)


def test_result_times_and_errors(done: Quickstart) -> None:
    for row in done.result.rows:
        assert 0 < row["min_s"] <= row["q1_s"] <= row["median_s"] <= row["q3_s"] <= row["max_s"] < 10
        assert row["repeats"] == 3
        assert row["calls_per_sample"] == 1
        baseline = row_of(done.result, row["case"], "zero_insertion")
        assert row["speedup"] == pytest.approx(baseline["median_s"] / row["median_s"])
        # float32 rounds these sums; an error of exactly nothing would mean that nothing was compared.
        assert 0 < row["max_abs_error"] <= row["tolerance"] < 1e-5


def test_result_costs_are_those_of_the_papers(done: Quickstart) -> None:
    """The figures of PAPER A for 224 x 224 x 3 (arXiv 2209.03704) that follow from its definitions."""
    memory = {"3x3": 2_419_212, "4x4": 2_440_812, "5x5": 2_440_812}
    extra = {"3x3": 3 * 895, "4x4": 0, "5x5": 3 * 895}
    for case in memory:
        baseline, segregated, unified = (
            row_of(done.result, case, method) for method in ("zero_insertion", "segregated", "unified")
        )
        assert baseline["workspace_bytes"] == memory[case]
        assert (segregated["launches"], segregated["extra_threads"]) == (4, extra[case])
        assert (unified["launches"], unified["extra_threads"]) == (1, 0)
        assert segregated["nominal_macs"] == unified["nominal_macs"]
    assert row_of(done.result, "5x5", "zero_insertion")["nominal_macs"] == 9 * 4_995_225
    assert row_of(done.result, "5x5", "unified")["nominal_macs"] == 9 * 1_249_924


def test_result_says_where_it_was_measured(done: Quickstart) -> None:
    document = json.loads((done.folder / "quickstart.json").read_text(encoding="utf-8"))
    assert list(document) == ["schema", "experiment", "date", "commit", "environment", "parameters", "rows", "complete"]
    assert document["schema"] == 1
    assert document["date"].endswith("+00:00")
    where = document["environment"]
    assert where["device"]["kind"] == "cpu"
    assert where["device"]["name"]
    assert where["device"]["logical_cores"] == len(os.sched_getaffinity(0))
    assert where["versions"]["numpy"] == np.__version__
    numba = {"numba"} if find_spec("numba") else set()
    assert set(where["versions"]) == {"cupy_kst", "python", "numpy", "scipy"} | numba
    assert where["threads"] == where["blas"]["num_threads"] == THREADS
    assert where["blas"]["architecture"]
    assert document["parameters"] == {"image": "flower.jpg of scikit-learn", "enlarged": False, "repeat": 3}


def test_piped_output_is_plain_and_complete(done: Quickstart) -> None:
    assert done.run.err == ""
    assert "\x1b" not in done.run.out
    assert "…" not in done.run.out
    table = [line for line in done.run.out.splitlines() if re.search(rf" ({'|'.join(METHODS)})\*? ", line)]
    assert len(table) == len(done.result.rows)
    assert max(map(len, table)) <= 110
    for name in ("quickstart.json", "quickstart.png"):
        assert f"written: {done.folder / name}" in done.run.out.splitlines()
    assert "CUDA" in done.run.out


def test_chart_is_a_picture(done: Quickstart) -> None:
    with Image.open(done.folder / "quickstart.png") as image:
        assert image.format == "PNG"
        assert image.width == 1650
        assert 1000 < image.height < 3000
        assert np.asarray(image.convert("L")).std() > 20


@pytest.mark.parametrize("width", [80, 110, 200])
def test_tables_fit_their_width(done: Quickstart, width: int) -> None:
    stream = StringIO()
    Console(file=stream, width=width).print(*comparison_tables(done.result.rows, width))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for heading in ("median", "quartiles", "MACs", "workspace", "launches", "threads", "error"):
        assert sum(heading in line for line in lines) == 1
    assert sum("zero_insertion" in line for line in lines) == (3 if width >= 110 else 6)


# The upsampling


@pytest.mark.parametrize(
    ("size", "taps"), [(3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25]), (5, [0.2, 0.5, 0.6, 0.5, 0.2])]
)
def test_triangle(size: int, taps: list[float]) -> None:
    np.testing.assert_allclose(filters.triangle(size), taps, rtol=1e-15)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
def test_taps_of_each_class_sum_to_one(size: int, stride: int) -> None:
    taps = filters.triangle(size, stride)
    assert [taps[r::stride].sum() for r in range(stride)] == pytest.approx([1] * stride)
    assert (taps > 0).all()
    np.testing.assert_allclose(taps, taps[::-1])


@pytest.mark.parametrize("size", [3, 4, 5])
def test_weight_is_dense_in_memory_and_diagonal_over_channels(size: int) -> None:
    weight = filters.upsampling_weight(size)
    assert weight.shape == (3, 3, size, size)
    assert weight.flags.c_contiguous
    assert not weight[~np.eye(3, dtype=bool)].any()
    assert (weight[np.eye(3, dtype=bool)] == weight[0, 0]).all()


def test_upsampling_keeps_even_grey_even() -> None:
    for case in filters.cases(np.full((20, 20, 3), 0.5, np.float32)):
        output = cupy_kst.conv_transpose2d(case.input, case.weight, **case.options)
        np.testing.assert_allclose(output[..., 2:-2, 2:-2], 0.5, rtol=1e-6)


def test_upsampled_photograph_resembles_the_photograph() -> None:
    pixels = images.load(None, 224).pixels
    source = pixels.transpose(2, 0, 1)
    assert source.std() > 0.1
    for case in filters.cases(pixels):
        output = cupy_kst.conv_transpose2d(case.input, case.weight, **case.options)[0]
        # In 447 pixels every other one lies on an input pixel; in 448 an input pixel lies amid four.
        halved = (output[:, ::2, ::2] + output[:, 1::2, 1::2]) / 2 if case.label == "4x4" else output[:, ::2, ::2]
        difference = np.abs(halved - source)[:, 2:-2, 2:-2].mean()
        assert difference < (1e-7 if case.label == "3x3" else 0.03)


# Own pictures


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_pictures_of_all_kinds(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (300, 250), (255, 255, 255)).convert(mode).save(path)
    photo = images.load(path, 224)
    assert photo.pixels.shape == (224, 224, 3)
    assert photo.pixels.dtype == np.float32
    assert not photo.enlarged
    assert (photo.pixels == 1).all()


def test_picture_of_16_bits_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((224, 224), 32896, np.uint16)).save(tmp_path / "a.png")
    assert images.load(tmp_path / "a.png", 224).pixels == pytest.approx(128 / 255)


def test_picture_is_turned_upright(tmp_path: Path) -> None:
    turned = Image.new("RGB", (224, 224))
    turned.paste((255, 255, 255), (0, 0, 224, 112))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    pixels = images.load(tmp_path / "a.png", 224).pixels
    assert pixels[:, 112:].min() == 1
    assert pixels[:, :112].max() == 0


def test_centre_is_cropped(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 300))
    image.paste((255, 255, 255), (88, 38, 312, 262))
    image.save(tmp_path / "a.png")
    assert (images.load(tmp_path / "a.png", 224).pixels == 1).all()


def test_small_picture_is_enlarged_and_the_program_says_so(tmp_path: Path, run: Runner) -> None:
    # Square brackets: rich would take them for markup.
    path = tmp_path / "[red]small.png"
    Image.new("RGB", (100, 60), (255, 128, 0)).save(path)
    code, out, err = run("quickstart", "--image", path, "--device", "cpu", "--repeat", 1, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "[red]small.png, 100 x 60, central 60 x 60 enlarged, as it is small, to 224 x 224" in out
    result = results.read(tmp_path / "quickstart.json")
    assert result.parameters["enlarged"] is True
    assert result.environment["threads"] == 1


@pytest.mark.long
def test_save_keeps_the_result_by_device(tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "kept")
    assert run("quickstart", "--device", "cpu", "--repeat", 1, "--out", tmp_path, "--save").code == 0
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == results.read(kept).file_name
    assert kept.read_text() == (tmp_path / "quickstart.json").read_text()


# Errors


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    """A folder of things that are no picture."""
    (tmp_path / "text.jpg").write_text("no picture")
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1000])
    yield tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("quickstart --image {}/none.jpg", "does not exist"),
        ("quickstart --image {}", "is a directory"),
        ("quickstart --image {}/text.jpg", "not an image that Pillow can read"),
        ("quickstart --image {}/cut.png", "--image"),
        ("quickstart --device tpu", "'tpu' is not one of"),
        ("quickstart --device cuda", "'cuda' is not one of 'cpu', 'gpu', 'auto'; is 'gpu' meant?"),
        ("quickstart --threads 0", "not in the range"),
        ("quickstart --repeat 0", "not in the range"),
        ("quickstart --repeat many", "'many' is not a valid"),
        ("quickstart --repeat", "requires an argument"),
        ("quickstart --out {}/text.jpg", "cannot write to"),
        ("quickstart --out {}/text.jpg/below", "cannot write to"),
        ("quickstart --out /proc/none", "cannot write to"),
        ("quickstart --bogus", "No such option"),
        ("quickstart more", "unexpected extra argument"),
        ("bogus", "No such command 'bogus'"),
        ("b_dataset", "No such command 'b_dataset'; is 'b_datasets' meant?"),
        ("CPU-bench", "No such command 'CPU-bench'; is 'cpu_bench' meant?"),
        ("--bogus", "No such option"),
        ("report --readme {}/none.md", "no such file"),
        ("report --readme {}", "is a directory"),
    ],
)
def test_errors_are_one_line(broken: Path, run: Runner, arguments: str, words: str) -> None:
    code, out, err = run(*arguments.format(broken).split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert words in err
    assert "Usage" not in err


def test_errors_leave_the_process_with_2() -> None:
    process = spawn("quickstart", "--device", "tpu")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)


@pytest.mark.long(but=lambda module: module == "PIL")
@pytest.mark.parametrize("module", ["click", "sklearn", "matplotlib", "PIL", "rich", "threadpoolctl"])
def test_missing_dependency_is_one_line(tmp_path: Path, module: str) -> None:
    process = spawn("quickstart", "--device", "cpu", "--out", tmp_path, code=f"sys.modules[{module!r}] = None")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == f"error: {module} is not installed; install it with: pip install -e '.[experiments]'\n"


def test_other_missing_modules_are_no_users_fault() -> None:
    def main() -> int:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    with pytest.raises(ModuleNotFoundError):
        guarded(main)


@pytest.mark.long
def test_interrupt_is_one_line(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with spawn("quickstart", "--device", "cpu", "--repeat", 10_000, "--out", tmp_path, code=code) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Photograph")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", [1e-3, np.nan])
def test_wrong_output_is_an_error_and_no_result(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch, harm: float
) -> None:
    right = cupy_kst.conv_transpose2d

    def wrong(*arguments: Any, method: str, **options: Any) -> Any:
        output = right(*arguments, method=method, **options)
        if method == "unified":
            output[0, 1, 2, 3] += harm
        return output

    monkeypatch.setattr(cupy_kst, "conv_transpose2d", wrong)
    code, _, err = run("quickstart", "--device", "cpu", "--repeat", 1, "--out", tmp_path)
    assert code == 1
    assert "unified 3x3" in err
    assert "segregated" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_and_list_name_every_experiment(run: Runner) -> None:
    for arguments in ([], ["--help"], ["list"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert all(entry.name in out for entry in registry.EXPERIMENTS)
    for entry in registry.EXPERIMENTS:
        assert run(entry.name, "--help").out.startswith("Usage: python -m experiments")


# What tables tell of forms


@pytest.mark.parametrize("method", cpu.FORMS)
def test_a_star_for_each_form_that_numba_compiles(method: str) -> None:
    for name, form in cpu.FORMS[method].items():
        row = {"method": method, "form": name}
        assert method_label(row) == (f"{method}*" if form.compiled else method)
        assert bool(compiled_note([row])) == form.compiled
    for form in ("f32/128x64", None):
        assert method_label({"method": method, "form": form}) == method
    assert method_label({"method": "of another", "form": "jit_implicit_gemm"}) == "of another"
