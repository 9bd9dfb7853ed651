"""The tables of b_gans."""

from __future__ import annotations

from collections.abc import Sequence

from cupy_kst import cpu
from experiments.harness.comparison import BASELINE
from experiments.harness.results import Result
from experiments.harness.rows import samples
from experiments.papers.b_unified.gans.numbers import (
    COUNTS,
    METHODS,
    NETWORKS,
    PAPER_BYTES,
    PAPER_SPEEDUP,
    of_network,
    saved,
    seconds,
    speedup,
)
from experiments.papers.b_unified.measurements import geometric_mean, of_method
from experiments.render.console import milliseconds, quantity
from experiments.render.sheets import Sheet

_ASSUMED = (
    "EB-GAN's list of channels is an assumption, taken as its sum fits the paper's figure: that it fits confirms "
    "nothing. The other networks' layers are those of public code. DCGAN, at twice the width of its Torch code, has "
    "the shapes of ArtGAN, and DiscoGAN has those of GP-GAN."
)


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: the paper's figures beside ours, the networks, their layers, what they multiply and save."""
    return [_beside(result), _networks(result), _layers(result), _work(result), _bytes(result)]


def _beside(result: Result) -> Sheet:
    rows = result.rows
    layer_rows, eb_gan = of_method(rows, "unified"), of_method(of_network(rows, "EB-GAN"), BASELINE)
    gross, padded, plain = (quantity(each, "B") for each in saved(eb_gan).values())
    return Sheet(
        "Beside the paper",
        ("figure", "paper", "here"),
        (
            (
                "speed-up of unified over inserted zeros, average over layers of GANs",
                f"{PAPER_SPEEDUP}x",
                f"{geometric_mean(row['speedup'] for row in layer_rows):.2f}x",
            ),
            ("bytes saved in the layers of EB-GAN, gross", f"up to {PAPER_BYTES / 1e6:.0f} MB", gross),
            ("the same, net of the input with half the padding", "-", padded),
            ("the same, net of the input", "-", plain),
        ),
        (
            f"Here: {result.device}, geometric mean over {len(layer_rows)} layers, those of one shape counted once. "
            "The paper's is from its abstract, which names neither the device of this average nor its layers. Ratios "
            "differ with the device and with how both sides are written: on a GPU our two sides share one inner loop, "
            "on a CPU both are matrix products by NumPy's BLAS.",
            "The paper does not say which bytes it counts; of our three counts the gross one is nearest to its figure. "
            "All are sums over the six layers. Layer by layer, the largest map with zeros has "
            f"{quantity(max(row['gross'] for row in eb_gan), 'B')}.",
            _ASSUMED,
        ),
    )


def _networks(result: Result) -> Sheet:
    others = METHODS[1:]
    table = []
    for network in NETWORKS:
        rows = of_network(result.rows, network)
        cells = [f"{milliseconds(seconds(rows, each))} ({speedup(rows, each):.2f}x)" for each in others]
        table.append((network, str(len(of_method(rows, BASELINE))), milliseconds(seconds(rows, BASELINE)), *cells))
    means = [f"{geometric_mean(row['speedup'] for row in of_method(result.rows, each)):.2f}x" for each in others]
    table.append(("geometric mean of the layers", str(len(of_method(result.rows, BASELINE))), "-", *means))
    return Sheet(
        "Time by network (ms), speed-up over zero_insertion in brackets",
        ("network", "layers", *METHODS),
        table,
        ("Sums over a network's layers. The geometric mean is over layers, those of one shape counted once.",),
    )


def _layers(result: Result) -> Sheet:
    table = []
    for unit in dict.fromkeys(row["unit"] for row in result.rows):
        rows = [row for row in result.rows if row["unit"] == unit]
        first = rows[0]
        (base,) = of_method(rows, BASELINE)
        others = [of_method(rows, each)[0] for each in METHODS[1:]]
        table.append(
            (
                first["case"],
                f"{_size(first['input_shape'])} to {_size(first['output_shape'])}",
                milliseconds(base["median_s"]),
                *(f"{milliseconds(row['median_s'])} ({row['speedup']:.2f}x)" for row in others),
            )
        )
    compiled = sorted({row["method"] for row in result.rows if cpu.is_compiled(row["method"], row["form"])})
    return Sheet(
        "Time by layer (ms), speed-up over zero_insertion in brackets",
        ("layer", "input to output", *METHODS),
        table,
        (
            f"Medians of {samples(result.rows)}, the methods in turn; quartiles are in the JSON file.",
            *([f"Compiled by Numba: {', '.join(compiled)}. The other methods are NumPy's."] if compiled else []),
        ),
    )


def _work(result: Result) -> Sheet:
    table = []
    for network in NETWORKS:
        rows = of_network(result.rows, network)
        cells = [quantity(sum(row["nominal_macs"] for row in of_method(rows, each))) for each in METHODS]
        table.append((network, *cells))
    return Sheet(
        "Multiply-adds by network",
        ("network", *METHODS),
        table,
        ("As papers count: every output position times the taps that the method gives it, borders counted in full.",),
    )


def _bytes(result: Result) -> Sheet:
    table = []
    for network in NETWORKS:
        rows = of_network(result.rows, network)
        base, unified = of_method(rows, BASELINE), of_method(rows, "unified")
        peaks = [sum(row["peak_bytes"] for row in each) for each in (base, unified)]
        table.append((network, *(quantity(each, "B") for each in (*saved(rows).values(), *peaks))))
    measured = "on a GPU what a call allocates" if result.environment["device"]["kind"] == "gpu" else _PEAKS
    return Sheet(
        "Bytes saved by network",
        ("network", *COUNTS.values(), "allocated by zero_insertion", "allocated by unified"),
        table,
        (
            "Sums over layers, of one sample in float32. Gross: the whole zero-inserted, padded map. Net: less the "
            "input, with half the padding or without. These three are counted from shapes. Allocated is measured, the "
            f"output left out: {measured}.",
        ),
    )


_PEAKS = "on a CPU NumPy's peak during a call, which has copies and blocks for matrix products in it as well"


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:]))
