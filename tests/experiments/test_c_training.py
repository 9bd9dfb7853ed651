"""c_training: patches without overlap, learners that agree, memory that grows with what is trained, and the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cupy_kst
from experiments import cli
from experiments.errors import ExperimentError, guarded
from experiments.harness.devices import Device
from experiments.harness.frame import Settings
from experiments.harness.results import read
from experiments.harness.rows import wrong_rows
from experiments.harness.timing import CpuClock, Rounds
from experiments.papers.c_cks.training import experiment, learners, memory, patches
from experiments.papers.c_cks.training.learners import OURS, PEER, Design
from experiments.papers.c_cks.training.memory import Job
from experiments.papers.c_cks.training.patches import SIDE, ImageSets
from experiments.peers.libraries import Peers
from experiments.workloads.data import Labelled
from experiments.workloads.training.passes import ConvPasses

TINY = Design((2, 9), ((3, 5), (4, 3)), 3)


def settings(**modules: Any) -> Settings:
    return Settings(Device(), CpuClock(), Rounds.exactly(1), True, None, 1, Peers(modules=modules))


def sets(images: int = 12) -> ImageSets:
    draw = np.random.default_rng(3)

    def part() -> Labelled:
        pixels = draw.random((images, *TINY.image[:1], TINY.image[1], TINY.image[1]), dtype=np.float32)
        return Labelled(pixels, np.arange(images) % TINY.classes)

    return ImageSets("noise", part(), part())


# Patches


def test_photographs_are_cut_without_overlap() -> None:
    from sklearn.datasets import load_sample_images

    found = patches.load(None)
    assert (found.train.images.shape, found.test.images.shape) == ((384, 3, SIDE, SIDE), (96, 3, SIDE, SIDE))
    assert np.bincount(found.train.labels).tolist() == [48] * 8
    assert np.bincount(found.test.labels).tolist() == [12] * 8
    first, second = (pixels.transpose(2, 0, 1) / np.float32(255) for pixels in load_sample_images().images)
    np.testing.assert_allclose(found.train.images[0], first[:, :32, :32])
    # Patch 1 is the first of those to test with; a quadrant is 213 x 320, so 6 x 10 patches.
    np.testing.assert_allclose(found.test.images[0], first[:, :32, 32:64])
    lower_right = found.train.images[found.train.labels == 7]
    np.testing.assert_allclose(lower_right[0], second[:, 213:245, 320:352])
    together = np.concatenate([found.train.images, found.test.images]).reshape(480, -1)
    assert len(np.unique(together, axis=0)) > 470


def pictures(folder: Path, classes: dict[str, int]) -> Path:
    """Write pictures of one grey each, a class brighter than the last one."""
    for shade, (name, number) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for place in range(number):
            Image.new("RGB", (150, 140), (60 * shade + 40,) * 3).save(folder / name / f"{place}.png")
    return folder


def test_class_folders(tmp_path: Path) -> None:
    found = patches.load(pictures(tmp_path, {"a": 3, "b": 2, "c": 6}))
    # Of 128 x 128 pixels a picture has 16 patches; of the pictures of a class the second and the seventh are to test.
    assert np.bincount(found.train.labels).tolist() == [2 * 16, 16, 5 * 16]
    assert np.bincount(found.test.labels).tolist() == [16, 16, 16]
    np.testing.assert_allclose(found.train.images[:, 0, 0, 0], (60 * found.train.labels + 40) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("classes", "words"),
    [({"a": 3}, "two folders of pictures"), ({"a": 3, "b": 1}, "two pictures or more"), ({}, "no")],
)
def test_folders_that_are_no_task(
    tmp_path: Path, classes: dict[str, int], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "in", classes) if classes else (tmp_path / "in").mkdir()
    arguments = ["c_training", "--data", tmp_path / "in", "--device", "cpu", "--out", tmp_path / "out"]
    assert guarded(lambda: cli.run(list(map(str, arguments)))) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: --data {tmp_path / 'in'}: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "out" / "c_training.json").exists()


def test_folder_of_digits(tmp_path: Path) -> None:
    for part, number in (("train", 5), ("t10k", 2)):
        header = bytes([0, 0, 8, 3]) + np.array([number, 28, 28], ">u4").tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(number * 28 * 28))
        header = bytes([0, 0, 8, 1]) + np.array([number], ">u4").tobytes()
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(range(number)))
    found = patches.load(tmp_path)
    assert found.train.images.shape == (5, 1, 28, 28)
    assert found.test.labels.tolist() == [0, 1]


# Learners


def sides() -> list[str]:
    return [*OURS, *([PEER] if torch_if_any() else [])]


def torch_if_any() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {}
    return {"torch": torch}


def test_design() -> None:
    assert Design((3, 32), experiment.STAGES, 8).maps == [(3, 32), (32, 16), (64, 8), (128, 4), (128, 2)]
    assert TINY.maps == [(2, 9), (3, 5), (4, 3)]


def test_losses_coincide_in_float64() -> None:
    found = {}
    for side in sides():
        learner = learners.learner(side, TINY, Device(), torch_if_any().get("torch"), "float64")
        x, labels = sets().train.images.astype(np.float64), sets().train.labels
        found[side] = [learner.number(learner.step(x, labels)) for _ in range(20)]
        assert learner.scores(x).shape == (12, 3)
    first = found.pop("C-K-S")
    assert first[-1] < 0.97 * first[0]
    for losses in found.values():
        np.testing.assert_allclose(losses, first, rtol=0, atol=1e-11)


def test_first_gradients_are_checked() -> None:
    rows = experiment.gradients(TINY, sets(), 12, sides(), settings(**torch_if_any()))
    assert [row["side"] for row in rows] == sides()
    assert all(0 < row["max_abs_error"] < 1e-5 for row in rows)
    assert not wrong_rows(rows)


class Turned(ConvPasses):
    """Passes of which one is wrong; Adam would hardly notice a wrong factor."""

    def weight(self, *arguments: Any) -> Any:
        return super().weight(*arguments)[..., ::-1]


def test_wrong_gradients_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OURS, "with zeros", Turned("direct", "zero_insertion", "zero_dilation"))
    rows = experiment.gradients(TINY, sets(), 12, list(OURS), settings())
    assert [row["side"] for row in wrong_rows(rows)] == ["with zeros"]
    wide = experiment.train_wide(TINY, sets(), 4, list(OURS), settings())
    assert [row["side"] for row in wrong_rows([row for row in wide if "tolerance" in row])] == ["with zeros"]


def test_training_rows() -> None:
    rows = experiment.train(TINY, sets(), 4, list(OURS), settings())
    epochs = [row for row in rows if "epoch" in row]
    assert [row["epoch"] for row in epochs if row["side"] == "C-K-S"] == [1, 2, 3]
    assert {len(row["losses"]) for row in epochs} == {3}
    assert all(row["seconds_per_step"] > 0 for row in epochs)
    assert [row["side"] for row in rows if "accuracy" in row] == list(OURS)
    assert all(0 <= row["accuracy"] <= 1 for row in rows if "accuracy" in row)


def test_batch_is_no_larger_than_the_data(tmp_path: Path) -> None:
    small = replace(settings(), data=pictures(tmp_path, {"a": 2, "b": 2}), quick=False)
    units = {unit.key: unit for unit in experiment.units(small)}
    (row,) = {row["input_shape"][0] for row in units["work"].rows()}
    assert row == 32


def test_work_is_that_of_the_network() -> None:
    rows = experiment.work(TINY, 64)
    assert [(row["layer"], row["pass"]) for row in rows] == [
        (1, "conv"),
        (1, "conv_weight"),
        (2, "conv"),
        (2, "conv_input"),
        (2, "conv_weight"),
    ]
    costs = cupy_kst.costs((64, 3, 5, 5), (4, 3, 3, 3), op="conv_input", stride=2, padding=1)
    assert rows[3]["macs_with_zeros"] == costs["zero_insertion"].nominal_macs == 64 * 12 * 25 * 9
    assert rows[3]["macs_left"] == costs["ks_deconv"].macs
    assert all(row["macs_left"] <= row["macs_with_zeros"] for row in rows)


# Memory


needs_proc = pytest.mark.skipif(not memory.can_measure(), reason="Linux's /proc is not here")


@pytest.mark.long
@needs_proc
def test_memory_grows_with_the_batch() -> None:
    design = Design((3, 32), ((16, 3),), 8)
    few, many = (memory.measure(Job("C-K-S", design, "cpu", 1, None, batch, 2)) for batch in (8, 384))
    # Of 384 samples the images, the convolution's output and its gradient have 4.7 + 6.3 + 6.3 MB.
    assert many["grown_bytes"] - few["grown_bytes"] > 15e6
    assert many["grown_bytes"] == many["peak_bytes"] - many["rest_bytes"]
    assert many["device_bytes"] is None


@needs_proc
def test_process_trains_what_this_one_does(tmp_path: Path) -> None:
    job = Job("with zeros", Design((3, 32), ((4, 3),), 2), "cpu", 1, str(pictures(tmp_path, {"a": 2, "b": 2})), 32, 1)
    found = patches.load(tmp_path).train
    learner = learners.learner(job.side, job.design, Device())
    here = learner.number(learner.step(found.images, found.labels))
    assert memory.measure(job)["loss"] == pytest.approx(here, rel=1e-4)


@needs_proc
def test_process_that_fails_is_one_line(tmp_path: Path) -> None:
    job = Job("C-K-S", TINY, "cpu", 1, str(tmp_path), 4, 1)
    with pytest.raises(ExperimentError, match=r"memory of C-K-S: the process that trains failed: .*no pictures"):
        memory.measure(job)


# The run


def run(folder: Path) -> int:
    arguments = ["c_training", "--quick", "--device", "cpu", "--threads", "1", "--out", str(folder)]
    return guarded(lambda: cli.run(arguments))


def test_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    took = {"rest_bytes": 10, "peak_bytes": 30, "grown_bytes": 20, "device_bytes": None, "loss": 1.0}
    monkeypatch.setattr(memory, "can_measure", lambda: True)
    monkeypatch.setattr(memory, "measure", lambda job: {**took, "grown_bytes": 20 if job.side == "C-K-S" else 50})
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    for words in (*sides(), "The losses coincide", "2.50x", "Products of one step", "figures are not known"):
        assert words in out
    result = read(tmp_path / "c_training.json")
    assert result.complete
    keys = ["work", "gradients", "training", "float64", *(f"memory-{side}" for side in sides())]
    assert list(dict.fromkeys(row["unit"] for row in result.rows)) == keys
    for sheet in experiment.PAPER.sheets(result):
        assert all(len(cells) == len(sheet.columns) for cells in sheet.rows)
    with Image.open(tmp_path / "c_training.png") as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 20


@pytest.mark.long
def test_run_without_peer_or_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "can_measure", lambda: False)
    monkeypatch.setattr("experiments.harness.frame.load", lambda: Peers(missing=["PyTorch is left out: not installed"]))
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert "Memory is left out" in out
    assert "PyTorch is left out: it is compared with" in " ".join(out.split())
    assert {row["side"] for row in read(tmp_path / "c_training.json").rows if "side" in row} == set(OURS)
    assert (tmp_path / "c_training.png").exists()
