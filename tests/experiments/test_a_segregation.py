"""The experiments on paper A: what they measure, that both sides agree, and the paper's figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cupy_kst
from cupy_kst import grad
from experiments.harness import frame, results
from experiments.harness.frame import Asked, Paper
from experiments.harness.results import Result
from experiments.papers.a_segregation.flowers import experiment as a_flowers
from experiments.papers.a_segregation.mnist import experiment as a_mnist
from experiments.papers.a_segregation.mnist.tables import METHODS
from experiments.render import paper_pages
from experiments.workloads.training.passes import ConvPasses

from .running import Runner

DRAW = np.random.default_rng(3)


def quick(paper: Paper, folder: Path) -> Result:
    frame.run(paper, Asked(device="cpu", threads=1, quick=True, out=folder, resume=False, save=False))
    return results.read(folder / f"{paper.name}.json")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return quick(a_flowers.PAPER, tmp_path_factory.mktemp("flowers"))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return quick(a_mnist.PAPER, tmp_path_factory.mktemp("mnist"))


# a_flowers


def test_flowers_have_a_row_for_every_picture_size_and_method(flowers: Result) -> None:
    places = [(row["class"], row["kernel"], row["factor"], row["method"]) for row in flowers.rows]
    assert places == [
        (name, kernel, factor, method)
        for name in ("china.jpg", "flower.jpg")
        for kernel in (3, 4, 5)
        for factor in (1, 2)
        for method in ("zero_insertion", "segregated")
    ]


def test_sizes_of_flowers_are_those_of_the_padding_factor(flowers: Result) -> None:
    """The map with zeros has 2N - 1 + 2P rows, of which a kernel of n leaves 2N + 2P - n."""
    for row in flowers.rows:
        n = row["input_shape"][-1]
        side = 2 * n + 2 * row["factor"] - row["kernel"]
        assert row["output_shape"] == [1, 3, side, side]
        if row["method"] == "zero_insertion":
            assert row["workspace_bytes"] == 4 * 3 * (2 * n - 1 + 2 * row["factor"]) ** 2
            assert row["launches"] == 2
        else:
            assert row["workspace_bytes"] == 0
            assert row["launches"] == 4
            assert row["extra_threads"] == (3 * (2 * side + 1) if side % 2 else 0)


def test_figures_of_flowers(flowers: Result) -> None:
    for row in flowers.rows:
        assert 0 < row["min_s"] <= row["q1_s"] <= row["median_s"] <= row["q3_s"] <= row["max_s"] < 10
        assert 0 < row["max_abs_error"] <= row["tolerance"] < 1e-3
        assert row["images"] == 1
    for base, ours in zip(flowers.rows[::2], flowers.rows[1::2], strict=True):
        assert ours["speedup"] == pytest.approx(base["median_s"] / ours["median_s"])
        assert base["speedup"] == 1


def test_speed_ups_stand_beside_the_papers(flowers: Result) -> None:
    _, speedups, _ = a_flowers.sheets(flowers)
    assert [row[0] for row in speedups.rows] == ["china.jpg", "flower.jpg", "all"]
    sums = [sum(row["median_s"] for row in flowers.rows if row["method"] == method) for method in a_flowers.METHODS]
    assert speedups.rows[-1][3] == f"{sums[0] / sums[1]:.2f}x"
    assert [row[-1] for row in speedups.rows] == ["", "", "3.02x"]
    assert "dual-core Intel CPU" in speedups.notes[0]


def test_a_gpu_stands_beside_the_papers_gpu(flowers: Result) -> None:
    flowers.environment["device"], before = {"kind": "gpu", "name": "G"}, flowers.environment["device"]
    try:
        _, speedups, _ = a_flowers.sheets(flowers)
    finally:
        flowers.environment["device"] = before
    assert speedups.rows[-1][-1] == "3.09x"
    assert "Titan X" in speedups.notes[0]
    assert "four" in speedups.notes[1]


def test_time_is_of_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten calls of a clock that says one second, of two pictures each."""

    class Clock:
        calls_per_sample = 1

        def sample(self, call: Callable[[], Any]) -> tuple[float, Any]:
            return 1.0, call()

    settings: Any = frame.Settings(frame.Device(), Clock(), frame.QUICK, True, None, 1, frame.Peers())
    rows = a_flowers.measure("a", DRAW.random((2, 3, 8, 8), dtype=np.float32), 4, 2, settings)
    assert [row["median_s"] for row in rows] == [0.5, 0.5]
    assert [row["images"] for row in rows] == [2, 2]


def test_flowers_by_class(tmp_path: Path, run: Runner) -> None:
    for name in ("rose", "tulip"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for place in range(3):
            Image.effect_noise((50, 40), 60).save(tmp_path / "data" / name / f"{place}.png")
    arguments = ("a_flowers", "--device", "cpu", "--threads", 1, "--quick", "--data", tmp_path / "data")
    code, out, err = run(*arguments, "--out", tmp_path)
    assert (code, err) == (0, "")
    found = results.read(tmp_path / "a_flowers.json")
    assert {(row["class"], row["images"]) for row in found.rows} == {("rose", 2), ("tulip", 2)}
    assert "measure nothing" in out


@pytest.mark.parametrize("name", ["a_flowers", "a_mnist"])
def test_an_empty_folder_is_one_line(tmp_path: Path, run: Runner, name: str) -> None:
    (tmp_path / "data").mkdir()
    code, _, err = run(name, "--device", "cpu", "--quick", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "--data" in err
    assert list((tmp_path / "out").iterdir()) == []


# a_mnist


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_conventional_passes_are_those_of_the_definition(size: int) -> None:
    """Small integers, so that equality is exact."""
    stride, padding = 2, (size - 1) // 2
    x, weight = (DRAW.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 3, 4, 5), (3, 2, size, size)))
    bias = np.array([1, -2], np.float32)
    passes = a_mnist.ThroughZeros()
    output = passes.forward(x, weight, bias, stride, padding)
    np.testing.assert_array_equal(output, cupy_kst.conv_transpose2d(x, weight, bias, stride, padding))
    gradient = DRAW.integers(-4, 5, output.shape).astype(np.float32)
    to_input = passes.input(x.shape, weight, gradient, stride, padding)
    np.testing.assert_array_equal(to_input, grad.conv_transpose2d_input(x.shape, weight, gradient, stride, padding))
    to_weight = passes.weight(x, weight.shape, gradient, stride, padding)
    np.testing.assert_array_equal(to_weight, grad.conv_transpose2d_weight(x, weight.shape, gradient, stride, padding))


def test_the_conventional_side_inserts_zeros() -> None:
    passes = a_mnist.ThroughZeros()
    x = np.ones((1, 1, 3, 3), np.float32)
    passes.forward(x, np.ones((1, 1, 4, 4), np.float32), np.zeros(1, np.float32), 2, 1)
    assert passes._map.shape == (1, 1, 9, 9)
    assert passes._map.sum() == 9
    assert (passes._map[:, :, 2:7:2, 2:7:2] == 1).all()


def test_network_has_one_transposed_convolution_of_each_side() -> None:
    for method, passes in zip(METHODS, (a_mnist.ThroughZeros, a_mnist.ConvTransposePasses), strict=True):
        model = a_mnist.network(a_mnist.Init(frame.Device(), 0), 8, method)
        assert [type(layer.passes) for layer in model.layers if hasattr(layer, "passes")] == [
            passes,
            ConvPasses,
        ]
        assert model.forward(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 1, 8, 8)


@pytest.mark.long
def test_rows_of_a_training(mnist: Result) -> None:
    layer = [row for row in mnist.rows if row["part"] == "layer"]
    assert [(row["pass"], row["method"]) for row in layer] == [
        (step, method) for step in ("forward", "input", "weight") for method in METHODS
    ]
    for row in layer:
        assert 0 < row["q1_s"] <= row["median_s"] <= row["q3_s"] < 10
        assert 0 < row["max_abs_error"] <= row["tolerance"] < 1e-3
    training = [row for row in mnist.rows if row["part"] == "epoch"]
    assert {(row["seed"], row["epoch"], row["method"]) for row in training} == {
        (0, epoch, method) for epoch in (1, 2, 3) for method in METHODS
    }
    assert all(0 < row["seconds"] < 100 for row in training)
    # The sides go first in turn.
    assert [row["method"] for row in training] == [*METHODS, *METHODS[::-1], *METHODS]


@pytest.mark.long
def test_losses_fall_and_coincide(mnist: Result) -> None:
    by_method = [
        {row["epoch"]: row for row in mnist.rows if row["part"] == "epoch" and row["method"] == method}
        for method in METHODS
    ]
    for rows in by_method:
        assert rows[3]["loss"] < 0.6 * rows[1]["loss"]
        assert rows[3]["test_loss"] < 0.7 * rows[1]["test_loss"]
    for epoch, row in by_method[0].items():
        for loss in ("loss", "test_loss"):
            assert by_method[1][epoch][loss] == pytest.approx(row[loss], rel=1e-5)


def test_training_stands_beside_the_papers(mnist: Result) -> None:
    epochs, layer, losses = a_mnist.sheets(mnist)
    assert [row[-1] for row in epochs.rows] == ["-", "2.2x"]
    seconds = [
        np.median([row["seconds"] for row in mnist.rows if row["part"] == "epoch" and row["method"] == method])
        for method in METHODS
    ]
    assert epochs.rows[1][3] == f"{seconds[0] / seconds[1]:.2f}x"
    assert [row[0] for row in layer.rows] == ["output", "gradient of the input", "gradient of the kernel"]
    assert len(losses.rows) == 2


def test_digits_of_odd_size_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Runner) -> None:
    right = a_mnist.digits

    def odd(data: Path | None) -> Any:
        found = right(data)
        for part in (found.train, found.test):
            object.__setattr__(part, "images", part.images[..., :7, :7])
        return found

    monkeypatch.setattr(a_mnist, "digits", odd)
    code, _, err = run("a_mnist", "--device", "cpu", "--quick", "--out", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "square and even" in err


# Both


@pytest.mark.parametrize("name", ["flowers", "mnist"])
def test_pages_and_charts_come_from_the_json_alone(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result: Result = request.getfixturevalue(name)
    result.parameters["quick"] = False
    try:
        result.write(tmp_path / result.file_name)
    finally:
        result.parameters["quick"] = True
    made = paper_pages.pages(tmp_path / "pages", tmp_path)
    assert [path.name for path in made.texts] == [f"{result.experiment}.md", "README.md"]
    page = made.texts[tmp_path / "pages" / f"{result.experiment}.md"]
    assert page.count("\n### ") == 3
    assert "arXiv 2209.03704" in page
    (picture,) = made.pictures
    picture.draw(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.width) == ("PNG", 1650)
        assert np.asarray(image.convert("L")).std() > 20
