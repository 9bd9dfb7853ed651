"""c_operators: the shares of work that the author's code implies, what is measured, and what the tables make of it."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cupy_kst
from cupy_kst import Geometry, grad
from cupy_kst.cpu import reference, regions, windows
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import form_of
from experiments import cli
from experiments.errors import guarded
from experiments.harness.devices import Device
from experiments.harness.frame import Settings
from experiments.harness.results import read
from experiments.harness.rows import wrong_rows
from experiments.harness.timing import CpuClock, Rounds
from experiments.papers.c_cks.operators import author_rules, backends, experiment, tables
from experiments.papers.c_cks.operators.backends import OPERATORS, SquareLayerSpec
from experiments.peers.libraries import Peers

CONV_V2, CONV_V2_STRIDED, KS_DECONV, SK_DILATED = OPERATORS


def settings(**changed: Any) -> Settings:
    given = {"clock": CpuClock(), "rounds": Rounds.exactly(2), "quick": True, "data": None, "threads": 1}
    return Settings(**{"device": Device(), "peers": Peers(), **given, **changed})


# Work


# Derived by hand from the index rules: filter, side of X and Y, share of the work left, padding scale-up.
CONV_V2_LEFT = [
    (3, 2, 0.4444, 4.0),
    (3, 4, 0.6944, 2.25),
    (3, 8, 0.8403, 1.5625),
    (3, 16, 0.9184, 1.2656),
    (3, 32, 0.9588, 1.1289),
    (5, 2, 0.16, None),
    (5, 4, 0.49, None),
    (5, 8, 0.7225, None),
    (5, 16, 0.8556, None),
    (5, 32, 0.9264, None),
]

# Filter, side of Y, the code's Q, shares left of the zero-inserted work and of what is left without trimming.
KS_DECONV_LEFT = [
    (3, 2, 1.5625, 0.1736, 0.6944),
    (3, 4, 1.2656, 0.2101, 0.8403),
    (3, 8, 1.1289, 0.2296, 0.9184),
    (3, 16, 1.0635, 0.2397, 0.9588),
    (3, 32, 1.0315, 0.2448, 0.9793),
    (4, 2, 2.25, 0.1406, 0.5625),
    (4, 4, 1.5625, 0.1914, 0.7656),
    (4, 8, 1.2656, 0.2197, 0.8789),
    (4, 16, 1.1289, 0.2346, 0.9385),
    (5, 2, 3.0625, 0.1225, 0.49),
    (5, 4, 1.8906, 0.1806, 0.7225),
    (5, 8, 1.4102, 0.2139, 0.8556),
    (5, 16, 1.1963, 0.2316, 0.9264),
]


@pytest.mark.parametrize(("taps", "side", "left", "scale_up"), CONV_V2_LEFT)
def test_work_that_conv_v2_leaves(taps: int, side: int, left: float, scale_up: float | None) -> None:
    work = experiment.work(SquareLayerSpec(CONV_V2, taps, side))
    assert work["skipped_by_rule"] == pytest.approx(1 - left, abs=6e-5)
    assert work["skipped_counted"] == work["trimmed_counted"] == work["skipped_by_rule"]
    if scale_up:
        assert work["scale_up"] == pytest.approx(scale_up, abs=6e-5)


@pytest.mark.parametrize(("taps", "side", "scale_up", "left", "left_of_whole"), KS_DECONV_LEFT)
def test_work_that_ks_deconv_leaves(taps: int, side: int, scale_up: float, left: float, left_of_whole: float) -> None:
    layer = SquareLayerSpec(KS_DECONV, taps, 2 * side)
    assert layer.geometry.output_shape[-1] == side
    work = experiment.work(layer)
    assert work["skipped_by_rule"] == work["skipped_counted"] == pytest.approx(1 - left, abs=6e-5)
    assert work["trimmed_counted"] == pytest.approx(1 - left_of_whole, abs=6e-5)
    assert work["scale_up"] == pytest.approx(scale_up, abs=6e-5)


@pytest.mark.parametrize("layer", experiment.layers(quick=False), ids=str)
def test_rule_and_count_agree(layer: SquareLayerSpec) -> None:
    work = experiment.work(layer)
    assert work["skipped_by_rule"] == work["skipped_counted"]
    assert 0 < work["trimmed_counted"] <= work["skipped_counted"] < 1


def met(side: author_rules.Axis) -> int:
    """Return the pairs of an output and a tap that stands on the map, one by one."""
    places = (o * side.stride + tap - side.padding for o in range(side.small) for tap in range(side.taps))
    return sum(0 <= place < side.large for place in places)


def test_rules_count_what_stands_on_the_map() -> None:
    checked = 0
    for large, taps, stride, padding in product(range(1, 12), range(1, 6), range(1, 5), range(4)):
        small = (large + 2 * padding - taps) // stride + 1
        if small < 1:
            continue
        side = author_rules.Axis(large, small, taps, stride, padding)
        counts = {rule(side) for rule in (author_rules.conv_v2, author_rules.ks_deconv, author_rules.sk_dilated)}
        assert counts == {met(side)}, side
        checked += 1
    assert checked > 500


@pytest.mark.parametrize("taps", [3, 4, 5])
@pytest.mark.parametrize("side", [2, 8, 16])
def test_numpy_multiplies_as_many(taps: int, side: int) -> None:
    """What NumPy's trimmed forms multiply: the parts they make of an axis."""
    axis = SquareLayerSpec(CONV_V2_STRIDED, taps, side).geometry.axes[-1]
    rule = author_rules.conv_v2(SquareLayerSpec(CONV_V2_STRIDED, taps, side).axis)
    assert sum(len(part.outputs) * len(part.taps) for part in regions.trimmed_conv(axis)) == rule
    classes = [part for one in axis.classes for part in regions.trimmed_class(axis, one)]
    assert sum(len(part.outputs) * len(part.taps) for part in classes) == rule


def test_where_the_code_trims() -> None:
    """With 3 taps and stride 2 the scale-up of X is 2.25 at side 2, 1.0635 at 32 and 1.0315 at 64."""
    trims = {
        side: [
            experiment.work(SquareLayerSpec(CONV_V2_STRIDED, 3, side))[f"code_{version}_trims"]
            for version in ("1.0", "1.2")
        ]
        for side in (2, 32, 64)
    }
    assert trims == {2: [True, True], 32: [True, False], 64: [False, False]}
    assert experiment.work(SquareLayerSpec(CONV_V2, 3, 4))["code_1.2_trims"] is None


# Measuring


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.title)
@pytest.mark.parametrize(("taps", "side"), [(3, 4), (4, 5), (5, 4)])
def test_every_backend_gives_the_same(operator: backends.Operator, taps: int, side: int) -> None:
    layer = SquareLayerSpec(operator, taps, side, samples=3, channels=2)
    rows = experiment.measure(layer, settings(peers=Peers(modules=torch_if_any())))
    roles = ["baseline", "called", *(["whole"] if operator.op != "conv_weight" else []), "trimmed"]
    assert [row["role"] for row in rows] == roles + ["torch"] * bool(torch_if_any())
    assert not wrong_rows(rows)
    for row in rows:
        assert 0 < row["max_abs_error"] <= row["tolerance"] < 1e-3
        assert row["speedup"] == pytest.approx(rows[0]["median_s"] / row["median_s"])
        assert (row["input_shape"], row["repeats"]) == ([3, 2, side, side], 2)
    json.dumps(rows, allow_nan=False)


def torch_if_any() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {}
    return {"torch": torch}


def test_wrong_results_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*arguments: Any) -> None:
        arguments[-1][...] = 0

    monkeypatch.setattr(windows, "convolve_parts", nothing)
    rows = experiment.measure(SquareLayerSpec(CONV_V2, 3, 4, samples=3, channels=2), settings())
    assert [row["role"] for row in wrong_rows(rows)] == ["trimmed"]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.title)
@pytest.mark.parametrize(
    ("side", "form", "forms"),
    [
        (4, "f32/64x64/trimmed", ["f32/64x64", "f32/64x64/trimmed"]),
        (5, "f32/64x64/split4", ["f32/64x64/split4", "f32/64x64/trimmed/split4"]),
    ],
)
def test_pinned_forms(
    operator: backends.Operator, side: int, form: str, forms: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU is asked for, on NumPy: the names of the forms are noted and left out."""
    asked, prepare = [], cupy_kst.prepare

    def without_form(*arguments: Any, form: str, **options: Any) -> Any:
        asked.append(form)
        return prepare(*arguments, **options)

    monkeypatch.setattr(cupy_kst, "prepare", without_form)
    monkeypatch.setattr(Device, "form", lambda *_: form)
    layer = SquareLayerSpec(operator, 3, side, samples=2, channels=2)
    x, w, g = layer.arrays()
    found = backends._pinned(layer, Device(), x, w, g)
    if operator.op == "conv_weight":
        assert found == []
        return
    assert asked == forms
    assert all(form_of(operator.method, DTYPES["float32"], name) is not None for name in asked)
    for backend in found:
        np.testing.assert_allclose(backend.call(), backends.expected(layer, slice(None)), atol=1e-5)


def test_expected_is_the_definition() -> None:
    for operator in OPERATORS:
        layer = SquareLayerSpec(operator, 3, 6, samples=2, channels=2)
        x, w, g = layer.arrays()
        found = backends.expected(layer, slice(1, None))
        if operator.op == "conv":
            np.testing.assert_allclose(found, reference.conv(x, w, **layer.options)[1:])
        elif operator.op == "conv_input":
            np.testing.assert_allclose(found, grad.conv2d_input(x.shape, w, g, **layer.options)[1:], atol=1e-5)
        else:
            np.testing.assert_allclose(found, grad.conv2d_weight(x, w.shape, g, **layer.options), atol=1e-5)


# Tables


def row(side: int, role: str, median: float, **changed: Any) -> dict[str, Any]:
    """Return a row of a 3x3 ConvV2 as the JSON has it."""
    layer = SquareLayerSpec(CONV_V2, 3, side)
    return {
        "unit": f"{side}",
        "operator": "ConvV2",
        "kernel": [3, 3],
        "stride": 1,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.geometry.output_shape),
        **experiment.work(layer),
        "role": role,
        "method": "direct" if role == "baseline" else "conv_v2",
        "form": "numpy_im2col",
        "dtype": "float32",
        "median_s": median,
        "q1_s": 0.9 * median,
        "q3_s": 1.1 * median,
        "repeats": 5,
        "calls_per_sample": 1,
        **changed,
    }


def test_where_trimming_is_said_to_pay() -> None:
    pairs = [
        [row(2, "whole", 3.0), row(2, "trimmed", 1.5)],
        # Faster, but not by more than the times scatter.
        [row(4, "whole", 1.1), row(4, "trimmed", 1.0)],
        [row(8, "whole", 1.0), row(8, "trimmed", 2.0)],
        # Faster, but by too few samples.
        [row(16, "whole", 9.0, repeats=2), row(16, "trimmed", 1.0)],
    ]
    assert tables._where_faster(pairs) == "2 (2.0x)"
    assert tables._where_faster(pairs[1:]) == "none"
    assert tables._where_faster([[row(2, "trimmed", 1.0)]]) == "not measured"


def test_largest_map_that_is_trimmed() -> None:
    rows = [row(side, "whole", 1.0) for side in (2, 16, 64)]
    assert tables._up_to(rows, "library_trims") == "up to 16"
    assert tables._up_to(rows[2:], "library_trims") == "never"
    assert tables._up_to(rows, "code_1.2_trims") == "-"


@pytest.mark.long
def test_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(experiment, "QUICK_SIDES", (2, 4))
    arguments = ["c_operators", "--quick", "--device", "cpu", "--threads", "1", "--out", str(tmp_path)]
    assert guarded(lambda: cli.run(arguments)) == 0
    out = capsys.readouterr().out
    result = read(tmp_path / "c_operators.json")
    assert result.complete
    assert {row["unit"] for row in result.rows} == {
        f"{op}-k3-{side}" for op in ("conv-s1", "conv-s2", "conv_input-s2", "conv_weight-s2") for side in (2, 4)
    }
    for words in ("Where trimming pays", "ConvV2, stride 1", "KS-deconv, stride 2", "2->1", "not of the paper"):
        assert words in out
    assert ("PyTorch is left out" in out) == (not torch_if_any())
    for sheet in experiment.PAPER.sheets(result):
        assert len({len(cells) for cells in sheet.rows}) == 1
    with Image.open(tmp_path / "c_operators.png") as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 20


def test_geometry_of_a_layer() -> None:
    layer = SquareLayerSpec(KS_DECONV, 5, 16)
    assert layer.geometry == Geometry.conv((64, 64, 16, 16), (64, 64, 5, 5), 2, 2)
    assert layer.axis == author_rules.Axis(16, 8, 5, 2, 2)
