"""The layers of GANs: their multiplications and bytes are those of the derivation, and the tables those of the rows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import cupy_kst
from cupy_kst import Geometry
from experiments.harness import results
from experiments.harness.devices import Device
from experiments.harness.frame import Settings
from experiments.harness.timing import CpuClock, Rounds
from experiments.papers.b_unified.gans import experiment as b_gans
from experiments.papers.b_unified.gans import numbers
from experiments.papers.b_unified.measurements import saved_bytes
from experiments.peers.libraries import Peers
from experiments.render import charts, paper_pages
from experiments.render.sheets import Sheet, markdown
from experiments.workloads import layers

from .running import Runner

METHODS = ("zero_insertion", "segregated", "unified", "split", "ks_deconv")

# Millions of multiply-adds without zeros and with them, bytes gross and net of the padded input.
NETWORKS = {
    "DCGAN": (408.945, 1635.779, 4_787_712, 3_511_808),
    "DiscoGAN": (103.809, 415.236, 2_393_856, 1_755_904),
    "ArtGAN": (408.945, 1635.779, 4_787_712, 3_511_808),
    "GP-GAN": (103.809, 415.236, 2_393_856, 1_755_904),
    "EB-GAN": (3758.096, 15032.386, 35_534_592, 26_426_112),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_work_and_bytes_of_each_network(network: str) -> None:
    true, zeros, gross, net = NETWORKS[network]
    found = layers.named((network,))
    costs = [cupy_kst.costs(each.input_shape(1), each.weight_shape, **each.options) for each in found]
    nominal = {method: sum(cost[method].nominal_macs for cost in costs) / 1e6 for method in METHODS}
    assert nominal == {
        method: pytest.approx(zeros if method == "zero_insertion" else true, abs=5e-4) for method in METHODS
    }
    geometries = [Geometry.conv_transpose(each.input_shape(1), each.weight_shape, **each.options) for each in found]
    saved = [saved_bytes(geometry, 4) for geometry in geometries]
    assert sum(each.gross for each in saved) == gross
    assert sum(each.net_of_padded for each in saved) == net
    if network == "EB-GAN":
        assert sum(each.net_of_input for each in saved) == 27_277_056


def test_its_layers_are_those_of_the_five_networks() -> None:
    assert tuple(NETWORKS) == numbers.NETWORKS
    units = b_gans.units(Settings(Device(), CpuClock(), Rounds.exactly(1), True, None, 1, Peers()))
    assert len(units) == len({unit.key for unit in units}) == 14


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same layers with a 64th of their channels, and of EB-GAN the three with the smallest maps."""

    def shrunk(networks: tuple[str, ...]) -> list[layers.LayerSpec]:
        every = [layer for layer in named(networks) if max(layer.in_size) <= 32]
        return [
            replace(layer, in_channels=layer.in_channels // 64, out_channels=-(-layer.out_channels // 64))
            for layer in every
        ]

    named = layers.named
    monkeypatch.setattr(layers, "named", shrunk)


def test_a_run(small: None, run: Runner, tmp_path: Path) -> None:
    code, out, err = run("b_gans", "--quick", "--device", "cpu", "--threads", 1, "--out", tmp_path)
    assert (code, err) == (0, "")
    assert (tmp_path / "b_gans.png").stat().st_size > 10_000
    document = json.loads((tmp_path / "b_gans.json").read_text(encoding="utf-8"))
    rows = document["rows"]
    assert document["complete"] is True
    assert [row["method"] for row in rows] == [*METHODS] * 12
    first = rows[0]
    assert (first["layers"], first["input_shape"]) == (["DCGAN 1", "ArtGAN 1"], [1, 16, 4, 4])
    assert first["nominal_macs"] == 16 * 8 * 8 * 8 * 16
    assert first["gross"] == first["workspace_bytes"] == 16 * 11 * 11 * 4
    # Every method's output is there and right: rounding is smaller than what a single lost product would be.
    assert all(0 <= row["max_abs_error"] < 1e-4 for row in rows)
    assert all(row["peak_bytes"] > 0 for row in rows if row["method"] == "zero_insertion")
    for words in ("3.5x", "up to 35 MB", "EB-GAN's list of channels is an assumption", "Bytes saved by network"):
        assert words in " ".join(out.split())
    assert run("b_gans", "--quick", "--device", "cpu", "--threads", 1, "--out", tmp_path, "--resume").code == 0
    assert json.loads((tmp_path / "b_gans.json").read_text(encoding="utf-8"))["rows"] == rows


def test_a_wrong_method_ends_the_run(small: None, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arrays: Any, method: str, **options: Any) -> Any:
        return right(*arrays, method=method, **options) * (2 if method == "split" else 1)

    right = cupy_kst.conv_transpose2d
    monkeypatch.setattr(cupy_kst, "conv_transpose2d", wrong)
    code, _, err = run("b_gans", "--quick", "--device", "cpu", "--threads", 1, "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "DCGAN 1" in err
    assert "split" in err


def made_result(**changes: Any) -> results.Result:
    """A result that was not measured: method n takes n+1 times a layer's number of milliseconds, backwards."""
    rows = []
    for number, layer in enumerate(layers.named(numbers.NETWORKS), start=1):
        for place, method in enumerate(METHODS):
            seconds = number * (5 - place) * 1e-3
            rows.append(
                {
                    "unit": layer.label,
                    "case": layer.label,
                    "layers": [name for name in layer.names if not name.startswith("SNGAN")],
                    "gross": 1_000_000 * number,
                    "net_of_padded": 100_000 * number,
                    "net_of_input": 10_000 * number,
                    "method": method,
                    "form": "jit_winograd" if method == "ks_deconv" else "x",
                    "input_shape": list(layer.input_shape(1)),
                    "output_shape": list(layer.output_shape(1)),
                    "dtype": "float32",
                    "median_s": seconds,
                    "speedup": 5 / (5 - place) * (4 if number == 14 and place else 1),
                    "repeats": 7,
                    "calls_per_sample": 1,
                    "nominal_macs": prod(layer.in_size),
                    "peak_bytes": 1000 * number,
                }
            )
    where = {
        "device": {"kind": "cpu", "name": "CPU Y"},
        "threads": 2,
        "blas": None,
        "versions": {"cupy_kst": "0", "numpy": "2", "python": "3", "scipy": "1"},
    }
    parameters = {"threads": 2, "quick": False, "data": None}
    fields = {"experiment": "b_gans", "environment": where, "parameters": parameters, "rows": rows}
    return results.Result(**(fields | {"date": "2026-01-02"} | changes))


def titled(title: str) -> Sheet:
    return next(sheet for sheet in b_gans.sheets(made_result()) if sheet.title.startswith(title))


def test_networks_are_sums_of_their_layers() -> None:
    table = {row[0]: row for row in titled("Time by network").rows}
    # DCGAN's layers are the first four, DiscoGAN's the next, EB-GAN's the last six.
    assert table["DCGAN"] == ("DCGAN", "4", "50.0", "40.0 (1.25x)", "30.0 (1.67x)", "20.0 (2.50x)", "10.0 (5.00x)")
    assert table["ArtGAN"][1:] == table["DCGAN"][1:]
    assert table["GP-GAN"][2] == table["DiscoGAN"][2] == "130"
    assert table["EB-GAN"][:3] == ("EB-GAN", "6", "345")
    mean = 5 / 3 * 4 ** (1 / 14)
    assert table["geometric mean of the layers"][1:5] == ("14", "-", f"{1.25 * 4 ** (1 / 14):.2f}x", f"{mean:.2f}x")
    bytes_saved = {row[0]: row for row in titled("Bytes saved").rows}
    assert bytes_saved["EB-GAN"] == ("EB-GAN", "69.0 MB", "6.90 MB", "690 kB", "69.0 kB", "69.0 kB")


def test_the_papers_figures_stand_beside_ours() -> None:
    sheet = titled("Beside the paper")
    speedup, gross, padded, plain = sheet.rows
    assert speedup[1:] == ("3.5x", f"{5 / 3 * 4 ** (1 / 14):.2f}x")
    assert gross[1:] == ("up to 35 MB", "69.0 MB")
    assert (padded[1:], plain[1:]) == (("-", "6.90 MB"), ("-", "690 kB"))


def test_the_chart_shows_networks_and_the_papers_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))
    b_gans.PAPER.draw(made_result(), tmp_path / "a.png")
    speedups, bytes_saved = drawn[0].axes
    groups = [label.get_text() for label in speedups.get_xticklabels()]
    assert groups == [*NETWORKS, "geometric mean\nof the layers"]
    # unified: 5/3 for every network, but for the mean.
    heights = [bar.get_height() for bar in speedups.containers[1]]
    assert heights == pytest.approx([5 / 3] * 5 + [5 / 3 * 4 ** (1 / 14)])
    assert [bar.get_height() for bar in bytes_saved.containers[0]][-1] == pytest.approx(69)
    for axes, figure in ((speedups, "3.5x"), (bytes_saved, "35 MB")):
        assert any(figure in text.get_text() for text in axes.get_legend().get_texts())
    assert speedups.get_ylim()[1] > 3.5


def test_layers_have_a_line_each() -> None:
    sheet = titled("Time by layer")
    assert [row[0] for row in sheet.rows[:5]] == ["DCGAN 1", "DCGAN 2", "DCGAN 3", "DCGAN 4", "DiscoGAN 1"]
    assert len(sheet.rows) == 14
    assert sheet.rows[-1][:3] == ("EB-GAN 6", "64x128x128 to 64x256x256", "70.0")
    assert "Compiled by Numba: ks_deconv." in " ".join(sheet.notes)


def test_the_page_says_what_is_assumed(tmp_path: Path) -> None:
    made_result().write(tmp_path / "b_gans-a.json")
    pages = paper_pages.pages(tmp_path / "pages", tmp_path)
    page = pages.texts[tmp_path / "pages" / "b_gans.md"]
    assert re.search(r"EB-GAN's\s+list of channels is an assumption", page)
    assert all(markdown(sheet) in page for sheet in b_gans.sheets(made_result()))
