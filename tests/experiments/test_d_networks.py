"""Paper D's networks: multiply-adds, split deconvolution as ordinary convolutions, and what a run writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import cupy_kst
from cupy_kst.cpu import reference
from experiments import cli
from experiments.errors import guarded
from experiments.harness import results
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.network_layers import NETWORKS
from experiments.papers.d_split.networks import experiment as d_networks
from experiments.papers.d_split.networks import models
from experiments.peers import onnx_models, onnx_runtime
from experiments.peers.libraries import load
from experiments.render.sheets import markdown
from experiments.workloads.layers import LayerSpec
from experiments.workloads.operations import LayerOperation

from .running import Runner

HAS_ONNX = "onnxruntime" in load().modules
RUN = ("d_networks", "--quick", "--device", "cpu", "--threads", 1)


# Multiply-adds


@pytest.mark.parametrize(
    ("network", "layers", "original", "nzp", "split"),
    [
        ("DCGAN", 3, 109.773, 439.091, 158.073),
        ("SNGAN", 3, 100.663, 402.653, 100.663),
        ("GP-GAN", 4, 103.809, 415.236, 103.809),
        ("FST", 2, 603.980, 2415.919, 1073.742),
        ("MDE", 7, 849.347, 3397.386, 1509.949),
        ("ArtGAN", 4, 408.945, 1635.779, 408.945),
    ],
)
def test_nominal_macs_are_those_of_the_shapes(
    network: str, layers: int, original: float, nzp: float, split: float
) -> None:
    """Millions, worked out by hand from public shapes: I^2 K^2, O^2 K^2 and O^2 ceil(K/s)^2 per pair of channels."""
    assert len(network_layers.of(network)) == layers
    counted = network_layers.macs(network)
    assert [round(each / 1e6, 3) for each in (counted.original, counted.nzp, counted.split)] == [original, nzp, split]


def test_what_is_done_is_between_what_is_useful_and_the_zeros() -> None:
    for network in NETWORKS:
        counted = network_layers.macs(network)
        assert counted.useful < counted.ours_done <= counted.original < counted.nzp == counted.nzp_done
        assert counted.useful < counted.split <= counted.split_done < counted.nzp
    # 5, 9 and 17 positions where there are 4, 8 and 16 inputs: 25/16, 81/64 and 289/256 of a third of the whole each.
    counted = network_layers.macs("SNGAN")
    assert counted.split_done / counted.split == pytest.approx((25 / 16 + 81 / 64 + 289 / 256) / 3)


# Split deconvolution by ordinary operators


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        # DCGAN's 5x5: pads of 1 and 1, as in the authors' configuration.
        ((8, 5, 2, 1, 16), (1, 1, 0)),
        ((8, 4, 2, 1, 16), (1, 1, 1)),
        ((8, 3, 2, 1, 16), (0, 1, 0)),
        ((8, 5, 2, 0, 19), (2, 2, 1)),
        ((8, 3, 4, 0, 31), (0, 0, 1)),
    ],
)
def test_positions(arguments: tuple[Any, ...], positions: tuple[int, ...]) -> None:
    assert tuple(onnx_models.positions(*arguments)) == positions


def test_sub_filters_of_three_taps() -> None:
    weight = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    assert onnx_models.sub_filters(weight, (2, 2))[:, 0].tolist() == [
        [[5, 0], [0, 0]],
        [[6, 4], [0, 0]],
        [[8, 0], [2, 0]],
        [[9, 7], [3, 1]],
    ]


def layer(kernel: int, stride: int, lo: int, hi: int, extra: int) -> LayerSpec:
    sizes = (5, 6)
    out = tuple((size - 1) * stride + kernel - lo - hi + extra for size in sizes)
    return LayerSpec(("X 1",), 3, 4, 1, sizes, (kernel,) * 2, (stride,) * 2, ((lo, hi),) * 2, (extra,) * 2, out)


def on_integers(made: LayerSpec, batch: int = 2) -> tuple[LayerOperation, NDArray[Any]]:
    draw = np.random.default_rng(1).integers
    x, weight, unused = (
        draw(-4, 5, shape).astype(np.float32)
        for shape in (made.input_shape(batch), made.weight_shape, made.output_shape(batch))
    )
    return LayerOperation(made, batch, "forward", x, weight, unused), reference.conv_transpose(
        x, weight, **made.options
    )


# Kernels that the stride divides and not, below and above it; nothing and uneven amounts cropped; rows past the end.
LAYERS = [
    layer(kernel, stride, lo, hi, extra)
    for kernel, stride, lo, hi, extra in [
        (1, 1, 0, 0, 0),
        (3, 1, 1, 1, 0),
        (2, 2, 0, 0, 0),
        (3, 2, 0, 0, 0),
        (3, 2, 1, 1, 1),
        (4, 2, 1, 1, 0),
        (5, 2, 1, 2, 0),
        (5, 2, 2, 2, 1),
        (5, 3, 1, 0, 0),
        (6, 3, 2, 1, 2),
        (7, 4, 2, 3, 1),
        (2, 3, 0, 0, 1),
    ]
]


def label(made: LayerSpec) -> str:
    return f"k{made.kernel[0]}s{made.stride[0]}p{made.padding[0]}+{made.output_padding[0]}"


@pytest.mark.parametrize("made", LAYERS, ids=label)
def test_stacked_sub_filters_make_the_transposed_convolution(made: LayerSpec) -> None:
    work, right = on_integers(made)
    axes = zip(made.in_size, made.kernel, made.stride, made.padding, made.out_size, strict=True)
    rows, columns = (onnx_models.positions(size, taps, s, lo, out) for size, taps, s, (lo, _), out in axes)
    filters = onnx_models.sub_filters(work.weight, made.stride)
    parts = reference.conv(work.input, filters, padding=((rows.before, rows.after), (columns.before, columns.after)))
    (s, _), (batch, channels, height, width) = made.stride, parts.shape
    apart = parts.reshape(batch, channels // s**2, s, s, height, width)
    whole = apart.transpose(0, 1, 4, 2, 5, 3).reshape(batch, channels // s**2, height * s, width * s)
    (down, across), (top, left) = made.out_size, (rows.crop, columns.crop)
    assert (whole[:, :, top : top + down, left : left + across] == right).all()


@pytest.mark.parametrize("model", [onnx_models.native, onnx_models.zero_inserted, onnx_models.split])
@pytest.mark.parametrize("made", LAYERS, ids=label)
def test_onnx_models_agree_exactly_on_integers(made: LayerSpec, model: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    work, right = on_integers(made)
    output = onnx_runtime.fetch_bound(onnx_runtime.bound_session(runtime, model(work), work.input, 1)())
    assert output.shape == right.shape
    assert (output == right).all()


def test_backends_of_onnxruntime_are_the_models_they_are_named_after(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(
        models, "bound_session", lambda runtime, model, x, threads: lambda: onnx.load_from_string(model)
    )
    operators = {}
    for name in models.MODELS:
        (backend,) = models.on_onnxruntime([on_integers(LAYERS[5])[0]], name, None, 1)
        operators[name] = [node.op_type for node in backend.call().graph.node]
    assert operators == {
        "zero_insertion": ["Reshape", "Pad", "Reshape", "Conv"],
        "split": ["Conv", "DepthToSpace", "Slice"],
        "native": ["ConvTranspose"],
    }


# A run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one real run."""
    folder = tmp_path_factory.mktemp("d_networks")
    assert guarded(lambda: cli.run([*map(str, RUN), "--out", str(folder)])) == 0
    return folder


def times(result: results.Result, network: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = (row for row in result.rows if row["kind"] == "time" and row["network"] == network)
    return {(row["runtime"], row["method"]): row for row in rows}


def test_rows(done: Path) -> None:
    result = results.read(done / "d_networks.json")
    sides = {("cupy_kst", method) for method in ("zero_insertion", "split", "auto")}
    if HAS_ONNX:
        sides |= {("onnxruntime", method) for method in ("zero_insertion", "split", "native")}
    assert {row["network"] for row in result.rows} == {"DCGAN", "SNGAN"}
    for network in ("DCGAN", "SNGAN"):
        found = times(result, network)
        assert set(found) == sides
        for row in found.values():
            assert 0 < row["q1_s"] <= row["median_s"] <= row["q3_s"]
            # float32 rounds these sums; an error of exactly nothing would mean that nothing was compared.
            assert 0 < row["max_abs_error"] <= row["tolerance"] < 0.1
    (work,) = (row for row in result.rows if row["kind"] == "work" and row["network"] == "DCGAN")
    assert (work["layers"], work["nzp_macs"]) == (3, 439_091_200)


def test_sheets_name_whose_figures_they_are(done: Path) -> None:
    result = results.read(done / "d_networks.json")
    pages = [markdown(sheet) for sheet in d_networks.sheets(result)]
    (chips,) = (page for page in pages if "Edge TPU" in page)
    assert "They are not the paper's figures." in chips
    row = next(line for line in chips.splitlines() if line.startswith("| SNGAN"))
    assert "| 3.55x | 1.50x |" in row
    assert row.endswith("1.16x |")
    found = times(result, "SNGAN")
    ours = found["cupy_kst", "zero_insertion"]["median_s"] / found["cupy_kst", "split"]["median_s"]
    assert row.startswith(f"| SNGAN | {ours:.2f}x |")
    if HAS_ONNX:
        native = found["onnxruntime", "native"]["median_s"] / found["onnxruntime", "split"]["median_s"]
        assert row.endswith(f"| {native:.2f}x | 1.16x |")


def test_chart_is_a_picture(done: Path) -> None:
    with Image.open(done / "d_networks.png") as image:
        assert (image.format, image.width) == ("PNG", 1650)
        assert np.asarray(image.convert("L")).std() > 20


def test_without_onnx_its_rows_are_left_out(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, err = run(*RUN, "--out", tmp_path)
    assert (code, err) == (0, "")
    # The line of the start, and the note of the table.
    assert "ONNX Runtime is left out: onnxruntime is not installed (pip install -e '.[bench]')" in out.splitlines()
    assert "ONNX Runtime is left out: it was not installed" in out
    result = results.read(tmp_path / "d_networks.json")
    assert {row["runtime"] for row in result.rows if row["kind"] == "time"} == {"cupy_kst"}


def test_a_wrong_result_ends_the_run(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = cupy_kst.prepare

    def faulty(weight: Any, **options: Any) -> Any:
        ready = prepare(weight, **options)
        return (lambda x: ready(x) + np.float32(0.5)) if options["method"] == "split" else ready

    monkeypatch.setattr(cupy_kst, "prepare", faulty)
    code, _, err = run(*RUN, "--out", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "rounding does not explain" in err
    assert "(split)" in err
