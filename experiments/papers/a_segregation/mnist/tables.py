"""The tables of a_mnist, and the paper's figure."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.harness.results import Result
from experiments.harness.rows import Row, samples
from experiments.harness.timing import Timing
from experiments.render.console import milliseconds
from experiments.render.sheets import Sheet

METHODS = ("conventional", "segregated")
PASSES = {"forward": "output", "input": "gradient of the input", "weight": "gradient of the kernel"}

# Training on a dual-core Intel CPU, by the abstract of arXiv 2209.03704.
PAPER_SPEEDUP = 2.2


def sheets(result: Result) -> list[Sheet]:
    """Return the time of an epoch beside the paper's, the layer alone, and the losses of both sides."""
    return [_epochs(result), _layer(result), _losses(result)]


def epochs(rows: Sequence[Row], method: str) -> list[Row]:
    """Return the epochs of a method, of all seeds."""
    return [row for row in rows if row["part"] == "epoch" and row["method"] == method]


def epoch_time(rows: Sequence[Row], method: str) -> Timing:
    return Timing(tuple(row["seconds"] for row in epochs(rows, method)))


def layer_seconds(rows: Sequence[Row], method: str) -> float:
    """Return what the three passes of the layer take in an epoch, by the times of the layer alone."""
    one = epochs(rows, method)[0]
    batches = int(one["images"]) // int(one["batch"])
    passes = [row["median_s"] for row in rows if row["part"] == "layer" and row["method"] == method]
    return float(batches * sum(passes))


def largest_difference(rows: Sequence[Row]) -> float:
    """Return the largest relative difference between the losses of both sides, of training and test."""
    one, other = (epochs(rows, method) for method in METHODS)
    by_place = {(row["seed"], row["epoch"]): row for row in other}
    differences = [
        abs(row[loss] - by_place[row["seed"], row["epoch"]][loss]) / row[loss]
        for row in one
        for loss in ("loss", "test_loss")
    ]
    return float(max(differences))


def _epochs(result: Result) -> Sheet:
    rows = []
    times = {method: epoch_time(result.rows, method) for method in METHODS}
    for method, timing in times.items():
        first, third = timing.quartiles
        ours = method == METHODS[1]
        share = layer_seconds(result.rows, method) / timing.median
        rows.append(
            [
                method,
                f"{milliseconds(timing.median)} ({milliseconds(first)} to {milliseconds(third)})",
                f"{100 * share:.0f} %",
                f"{times[METHODS[0]].median / timing.median:.2f}x",
                f"{PAPER_SPEEDUP}x" if ours and result.environment["device"]["kind"] == "cpu" else "-",
            ]
        )
    one = epochs(result.rows, METHODS[0])[0]
    notes = [
        f"Milliseconds for an epoch of {one['images']} images of {one['side']} x {one['side']} pixels in batches of "
        f"{one['batch']}; median of {len(times[METHODS[0]].samples)} epochs, quartiles in brackets.",
        "Share: what the three passes of the transposed convolution take alone, with their arrays in cache, of the "
        "time of an epoch. The rest of the network computes the same on both sides: the larger it is, the smaller the "
        "speed-up.",
        "Paper: the speed-up of training that its abstract names for a dual-core Intel CPU; it names none for a GPU. "
        "Its model is another.",
    ]
    headings = ["method", "epoch", "share of the layer", "speed-up", "paper"]
    return Sheet("Time of an epoch beside the paper's", headings, rows, notes)


def _layer(result: Result) -> Sheet:
    chosen = [row for row in result.rows if row["part"] == "layer"]
    rows = []
    for step, words in PASSES.items():
        base, ours = (next(row for row in chosen if (row["pass"], row["method"]) == (step, each)) for each in METHODS)
        rows.append(
            [
                words,
                _spread(base),
                _spread(ours),
                f"{base['median_s'] / ours['median_s']:.2f}x",
                f"{max(base['max_abs_error'], ours['max_abs_error']):.1e}",
            ]
        )
    first = chosen[0]
    sizes = " x ".join(map(str, first["input_shape"])), " x ".join(map(str, first["weight_shape"]))
    notes = [
        f"Milliseconds for one batch: input {sizes[0]}, kernel {sizes[1]}, stride {first['stride']}, padding "
        f"{first['padding']}; median of {samples(chosen)}, quartiles in brackets. Error: the larger one of the two "
        "sides', against the float64 definition.",
    ]
    return Sheet("The transposed convolution alone", ["pass", *METHODS, "speed-up", "error"], rows, notes)


def _losses(result: Result) -> Sheet:
    rows = []
    for seed in dict.fromkeys(row["seed"] for row in epochs(result.rows, METHODS[0])):
        for method in METHODS:
            own = [row for row in epochs(result.rows, method) if row["seed"] == seed]
            first, last = own[0], own[-1]
            losses = [first["loss"], last["loss"], last["test_loss"]]
            rows.append([str(seed), method, *(f"{loss:.6f}" for loss in losses)])
    last = max(row["epoch"] for row in epochs(result.rows, METHODS[0]))
    difference = largest_difference(result.rows)
    words = f"by at most {difference:.1e} of their value" if difference else "in no digit"
    notes = [f"Mean squared error. Over all epochs the losses of both sides differ {words}: float32 rounds other sums."]
    headings = ["seed", "method", "epoch 1", f"epoch {last}", "test images"]
    return Sheet("Losses", headings, rows, notes)


def _spread(row: Row) -> str:
    return f"{milliseconds(row['median_s'])} ({milliseconds(row['q1_s'])} to {milliseconds(row['q3_s'])})"
