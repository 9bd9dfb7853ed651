"""What the tables and the chart of d_networks both take from its rows, and figures of others."""

from __future__ import annotations

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples

OURS, ONNX = "cupy_kst", "onnxruntime"

# As printed in the README of warmthless/split-deconvolution: NZP over SD on an Edge TPU, by the `.tflite` model and by
# the compiled one; native transposed convolution over SD on an Intel NCS2.
EDGE_TPU = {"DCGAN": 2.87, "SNGAN": 3.55, "FST": 2.06, "ArtGAN": 3.46, "GP-GAN": 3.60, "MDE": 2.12}

EDGE_TPU_COMPILED = {"DCGAN": 1.50, "SNGAN": 1.50, "FST": 1.65, "ArtGAN": 1.31, "GP-GAN": 1.63, "MDE": 1.38}

NCS2 = {"DCGAN": 1.05, "SNGAN": 1.16, "FST": 1.08, "ArtGAN": 1.10, "GP-GAN": 1.13, "MDE": 1.12}


def work_rows(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "work"]


def time_rows(result: Result) -> list[Row]:
    return [row for row in result.rows if row["kind"] == "time"]


def networks_of(result: Result) -> list[str]:
    return [row["network"] for row in work_rows(result)]


def has_onnx(result: Result) -> bool:
    return any(row["runtime"] == ONNX for row in time_rows(result))


def time_of(result: Result, network: str, runtime: str, method: str) -> Row:
    asked = (network, runtime, method)
    return next(row for row in time_rows(result) if (row["network"], row["runtime"], row["method"]) == asked)


def timed_note(result: Result) -> str:
    return (
        f"Medians and quartiles of {samples(time_rows(result))}, those of each library in turn; float32, batch 1, "
        "weights prepared beforehand."
    )


def ratios(result: Result, runtime: str, over: str, under: str) -> list[float]:
    pairs = (
        (time_of(result, network, runtime, over), time_of(result, network, runtime, under))
        for network in networks_of(result)
    )
    return [a["median_s"] / b["median_s"] for a, b in pairs]
