"""Quality of split deconvolution: the measures themselves, that they see faults, and what a run writes."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cupy_kst
from cupy_kst.cpu import reference
from experiments.harness import results
from experiments.harness.devices import Device
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.quality import experiment as d_quality

from .running import Runner

RUN = ("d_quality", "--quick", "--device", "cpu", "--threads", 1)


# Measures


def test_ssim_of_the_same_and_of_opposite_pictures() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (3, 20, 30))
    assert d_quality.ssim(picture, picture) == pytest.approx(1, abs=1e-14)
    assert d_quality.ssim(picture, 255 - picture) < -0.9
    assert d_quality.ssim(picture, np.roll(picture, 1, axis=-1)) < 0.2


def test_ssim_by_hand() -> None:
    """Means 1 and 4, variances 1 and 9, covariance 3; C1 is 6.5025, C2 58.5225."""
    expected = (2 * 1 * 4 + 6.5025) / (1 + 16 + 6.5025) * (2 * 3 + 58.5225) / (1 + 9 + 58.5225)
    assert d_quality.ssim(np.array([0, 2]), np.array([1, 7])) == pytest.approx(expected)


@pytest.mark.parametrize("extra", [0, 1])
def test_definition_is_the_transposed_convolution(extra: int) -> None:
    draw = np.random.default_rng(0).integers
    x, weight = draw(-4, 5, (2, 3, 4, 5)), draw(-4, 5, (3, 2, 3, 4))
    options = {"stride": (2, 3), "padding": ((0, 1), (2, 1)), "output_padding": extra}
    right = reference.conv_transpose(x, weight, **options)
    assert (network_layers.definition(x, weight, options) == right).all()


# Faults are seen


def faulty(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let the method "split" return its result changed."""
    right = cupy_kst.conv_transpose2d

    def wrong(*arrays: Any, method: str = "auto", **options: Any) -> Any:
        output = right(*arrays, method=method, **options)
        return change(output) if method == "split" else output

    monkeypatch.setattr(cupy_kst, "conv_transpose2d", wrong)


def two_more(output: Any) -> Any:
    output[:, 0, 0, 0] += 1
    return output


def test_wrong_integers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["differing"] for row in d_quality.integer_rows(Device())] == [0, 0, 0, 0]
    faulty(monkeypatch, two_more)
    for row in d_quality.integer_rows(Device()):
        assert (row["differing"], row["max_abs_error"]) == (2 * row["cases"], 1.0)


@pytest.mark.parametrize("part", ["integer_rows", "photo_rows", "network_rows"])
def test_a_wrong_result_ends_the_run(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Each kind of rows, the others left out, sees outputs that are wrong by less than a picture shows."""
    faulty(monkeypatch, lambda output: output * np.float32(1.0005))
    for other in {"integer_rows", "photo_rows", "network_rows"} - {part}:
        monkeypatch.setattr(d_quality, other, lambda *arguments: [])
    code, _, err = run(*RUN, "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "rounding does not explain" in err
    assert "(split)" in err


# A run


def test_run(run: Runner, tmp_path: Path) -> None:
    code, out, err = run(*RUN, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "Shi et al. and Chang et al." in out
    rows = results.read(tmp_path / "d_quality.json").rows
    integers = [row for row in rows if row["kind"] == "integers"]
    assert [row["stride"] for row in integers] == [1, 2, 3, 4]
    assert all(row["outputs"] > 5000 and row["differing"] == 0 for row in integers)
    pictures = [row for row in rows if row["kind"] == "picture"]
    assert len(pictures) == 4 * 4
    for row in pictures:
        if row["method"] == d_quality.MOVED:
            assert row["visible"] > row["values"] / 2
            assert row["ssim"] < 0.995
        else:
            assert 0 < row["mean_abs_error"] < row["max_abs_error"] <= row["tolerance"] < 0.05
            assert row["visible"] == 0
            assert row["ssim"] == pytest.approx(1, abs=1e-9)
    with Image.open(tmp_path / "d_quality.png") as image:
        assert (image.format, image.width) == ("PNG", 1650)


def test_details_are_pictures_with_contrast() -> None:
    rows = [row for row in d_quality.network_rows(Device(), 1) if row["kind"] == "detail"]
    assert [row["what"] for row in rows] == ["definition", "split", "error"]
    for row in rows:
        with Image.open(BytesIO(base64.b64decode(row["png"]))) as image:
            assert image.size == (64, 64)
            pixels = np.asarray(image)
        assert pixels.std() > 10
        assert pixels.max() == 255 or row["what"] != "error"
