"""The tables of c_training: time, memory and losses of each side, and the work of each convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.c_cks.operators.backends import NO_PEER
from experiments.papers.c_cks.training.learners import OURS, PEER
from experiments.render.console import milliseconds, quantity
from experiments.render.sheets import Sheet

CKS, ZEROS = OURS


@dataclass(frozen=True)
class Trained:
    """What became of one side: its losses step by step, its seconds per step epoch by epoch, and the rest."""

    side: str
    losses: list[float]
    wide_losses: list[float]
    seconds: list[float]
    accuracy: float
    gradient_error: float
    memory: Row | None

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        first, third = np.percentile(self.seconds, (25, 75))
        return float(first), float(third)


def trained(rows: Sequence[Row]) -> list[Trained]:
    """Return what the rows tell of each side. The first epoch, in which libraries load and compile, is not timed."""
    sides = [side for side in (*OURS, PEER) if any(row.get("side") == side for row in rows)]
    return [_trained(side, [row for row in rows if row.get("side") == side]) for side in sides]


def _trained(side: str, rows: Sequence[Row]) -> Trained:
    def of_unit(unit: str, field: str) -> list[Row]:
        return [row for row in rows if row["unit"] == unit and field in row]

    epochs = of_unit("training", "epoch")
    (learnt,), (checked,) = of_unit("training", "accuracy"), of_unit("gradients", "max_abs_error")
    return Trained(
        side,
        [loss for row in epochs for loss in row["losses"]],
        [loss for row in of_unit("float64", "epoch") for loss in row["losses"]],
        [row["seconds_per_step"] for row in epochs if row["epoch"] > 1],
        learnt["accuracy"],
        checked["max_abs_error"],
        next(iter(of_unit(f"memory-{side}", "peak_bytes")), None),
    )


def apart(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return how far losses are apart, step by step."""
    return [abs(a - b) for a, b in zip(one, other, strict=True)]


def sheets(result: Result) -> list[Sheet]:
    """Return the tables of time and memory, of the losses, and of the work."""
    return [_taken(result), _losses(result), _work(result)]


def _taken(result: Result) -> Sheet:
    sides = trained(result.rows)
    ours = sides[0]
    has_memory = ours.memory is not None
    rows = []
    for each in sides:
        first, third = each.quartiles
        rows.append(
            [
                each.side,
                f"{milliseconds(each.median)} ({milliseconds(first)} to {milliseconds(third)})",
                f"{each.median / ours.median:.2f}x",
                *(_memory(each, ours) if has_memory else ()),
            ]
        )
    last = next(row for row in result.rows if "epoch" in row)
    return Sheet(
        f"Training on {last['images']} {last['data']}: batches of {last['batch']}, {len(ours.losses)} steps",
        ["side", "ms per step", f"time / {CKS}", *(("memory", f"memory / {CKS}") if has_memory else ())],
        rows,
        [
            f"{CKS}: conv_v2, ks_deconv, sk_dilated; {ZEROS}: direct, zero_insertion, zero_dilation. All begin with "
            "the same weights and take the same batches.",
            f"Time: of a whole step, median over {len(ours.seconds)} epochs, the sides in turn, quartiles in brackets; "
            "the first epoch is left out.",
            *([_COMPILED] if _is_compiled(result) else []),
            *_memory_notes(ours, result.environment["device"]["kind"]),
            "The paper compares speed and convergence with PyTorch and cuDNN; its figures are not known here.",
            *([] if any(each.side == PEER for each in sides) else [NO_PEER]),
        ],
    )


def _losses(result: Result) -> Sheet:
    sides = trained(result.rows)
    ours = sides[0]
    tests = next(row["tests"] for row in result.rows if "tests" in row)
    classes = next(row["classes"] for row in result.rows if "classes" in row)
    rows = [
        [
            each.side,
            f"{each.losses[0]:.4f}",
            f"{each.losses[-1]:.4f}",
            *(
                "-" if each is ours else f"{max(differences):.1e}"
                for differences in (apart(each.losses, ours.losses), apart(each.wide_losses, ours.wide_losses))
            ),
            f"{each.gradient_error:.1e}",
            f"{100 * each.accuracy:.0f}%",
        ]
        for each in sides
    ]
    return Sheet(
        "The losses coincide",
        ["side", "first loss", "last loss", "losses apart", "in float64", "gradient error", "accuracy"],
        rows,
        [
            f"Losses apart: the largest difference of a step's loss from that of {CKS}, in {len(ours.losses)} steps. "
            "Every side sums in another order and so rounds differently. Where that takes an activation to the other "
            "side of LeakyReLU's kink, its gradient jumps, and from there on the sides drift apart.",
            f"In float64: the same in {len(ours.wide_losses)} steps of float64, whose rounding is 5e8 times finer and "
            "hardly ever does so.",
            "Gradient error: of the first step's gradients from their definition in float64, the largest difference "
            "over the largest element.",
            f"Accuracy: on {tests} images that were not trained with, where guessing is right once in {classes}. It "
            "tells that something is learnt; with so few images it is no result.",
        ],
    )


_COMPILED = (
    f"Here Numba compiles the methods of {CKS}, while those of {ZEROS!r} are NumPy's: the time between them is not the "
    "zeros' alone, of which the table of products tells."
)


def _is_compiled(result: Result) -> bool:
    environment = result.environment
    return environment["device"]["kind"] == "cpu" and "numba" in environment["versions"]


def _memory(each: Trained, ours: Trained) -> list[str]:
    assert each.memory
    assert ours.memory
    field = "grown_bytes" if each.memory["device_bytes"] is None else "device_bytes"
    return [quantity(each.memory[field], "B"), f"{each.memory[field] / ours.memory[field]:.2f}x"]


def _memory_notes(ours: Trained, kind: str) -> list[str]:
    if ours.memory is None:
        return ["Memory is left out: it is read from Linux's /proc, which is not here."]
    what = (
        "how far the resident set of a fresh process grows from before the network is built to its peak (VmHWM)"
        if kind == "cpu"
        else "what CuPy's memory pool holds at the end, in a fresh process"
    )
    return [
        f"Memory: {what}, in {ours.memory['steps']} steps after one of two samples, which loads and compiles. Weights, "
        "the optimiser's state, activations and workspaces are in it, the libraries themselves are not."
    ]


_PASS = {"conv": "forward", "conv_input": "gradient of input", "conv_weight": "gradient of filter"}


def _work(result: Result) -> Sheet:
    found = [row for row in result.rows if "macs_left" in row]
    rows = [
        [
            f"{row['layer']}",
            f"{row['kernel'][0]}x{row['kernel'][0]}, {row['input_shape'][1]} to {row['output_channels']} channels",
            f"{row['input_shape'][-1]}->{row['output_side']}",
            _PASS[row["pass"]],
            row["method"],
            quantity(row["macs_with_zeros"]),
            quantity(row["macs_left"]),
            _skipped(row["macs_with_zeros"], row["macs_left"]),
        ]
        for row in found
    ]
    zeros, left = (sum(row[name] for row in found) for name in ("macs_with_zeros", "macs_left"))
    rows.append(["all", "", "", "", "", quantity(zeros), quantity(left), _skipped(zeros, left)])
    return Sheet(
        "Products of one step, as cupy_kst counts them",
        ["layer", "filter", "map", "pass", "method", "with zeros", "left", "skipped"],
        rows,
        [
            "These are the products of the CUDA kernels, less what fills their last tiles; trimming, where it pays, "
            "among them. NumPy's and Numba's forms of conv_v2 and ks_deconv may multiply zeros of the padding.",
            "The input of layer 1 is the image, whose gradient nobody needs.",
        ],
    )


def _skipped(zeros: int, left: int) -> str:
    return f"{100 * (zeros - left) / zeros:.1f}%"
