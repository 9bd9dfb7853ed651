"""The tables of d_arrays."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.harness.results import Result
from experiments.harness.rows import Row
from experiments.papers.d_split import network_layers
from experiments.papers.d_split.arrays.numbers import KINDS, PAPER_SAVING, PAPER_SPEED, SHOWN, SIDES, cycles_on
from experiments.papers.d_split.network_layers import METHODS, NETWORKS
from experiments.render.sheets import Sheet


def sheets(result: Result) -> list[Sheet]:
    """Return the tables: cycles on an array of each kind, ratios by size, energy."""
    return [*(_cycle_sheet(result, kind) for kind in KINDS), _size_sheet(result), _energy_sheet(result)]


def _cycle_sheet(result: Result, kind: str) -> Sheet:
    rows = cycles_on(result, kind, SHOWN)
    array = KINDS[kind](SHOWN, SHOWN)

    def cells(row: Row) -> list[str]:
        counts = [row[f"{way}_cycles"] for way in ("nzp", "stacked", "apart")]
        busy = [row["original_macs"] / (row["multipliers"] * cycles) for cycles in counts]
        ratios = [_over_nzp(row, way) for way in ("stacked", "apart")]
        return [row["network"], *(f"{each / 1e3:,.0f}" for each in counts), *ratios, *(f"{each:.0%}" for each in busy)]

    return Sheet(
        f"Cycles on an array, {array.name}, thousands (a model, the same on every machine)",
        (
            "network",
            "NZP",
            "split, stacked",
            "split, apart",
            "NZP / stacked",
            "NZP / apart",
            "NZP busy",
            "stacked busy",
            "apart busy",
        ),
        [cells(row) for row in rows],
        (
            f"Paper (abstract): {PAPER_SPEED[0]}x to {PAPER_SPEED[1]}x over prior schemes. Ours here, over inserted "
            f"zeros alone: {_range(rows, 'stacked')} stacked, {_range(rows, 'apart')} apart. The paper's range is of "
            "other arrays, schemes and perhaps other layers, so its ends belong to no network of this table.",
            _REASONS[kind],
        ),
    )


_REASONS = {
    "dot products": (
        "Busy: multiply-adds of the original layer over what the array could do in that time. Stacking fills the "
        "blocks of output channels: a layer with 3 of them leaves most lanes idle with NZP and apart, and fewer with "
        "12. But with 4x4 filters (SNGAN, GP-GAN, ArtGAN) stacked sub-filters take one position more per axis than "
        "there are inputs."
    ),
    "2-D grid": (
        "Busy: multiply-adds of the original layer over what the array could do in that time. With 4x4 filters (SNGAN, "
        "GP-GAN, ArtGAN) stacked sub-filters take one position more per axis than there are inputs, and 17 rows need "
        "two tiles of 16. Apart they take as many as there are inputs, and the ratio is that of the multiply-adds."
    ),
}


def _size_sheet(result: Result) -> Sheet:
    def cells(network: str) -> list[str]:
        rows = [row for kind in KINDS for side in SIDES for row in cycles_on(result, kind, side)]
        return [network, *(_over_nzp(row, "stacked") for row in rows if row["network"] == network)]

    return Sheet(
        "Cycles of NZP over those of split, stacked, by size of the array",
        ("network", *(f"{kind}, {side}" for kind in KINDS for side in SIDES)),
        [cells(network) for network in NETWORKS],
        (network_layers.SHAPES_NOTE,),
    )


def _energy_sheet(result: Result) -> Sheet:
    rows = [row for row in result.rows if row["kind"] == "energy"]
    columns = ("network", "NZP: zero_insertion", "split", "auto", "split saves", "auto saves", "power with split")
    title = f"Energy of one pass through the deconvolution layers on {result.device}, mJ"
    paper = f"Paper (abstract): {PAPER_SAVING[0]} % to {PAPER_SAVING[1]} % less energy, simulated, over prior schemes."
    networks = dict.fromkeys(row["network"] for row in rows)
    missing = next((row["missing"] for row in rows if "missing" in row), None)
    if missing is not None:
        nothing = [[network, *["not measured"] * len(METHODS)] for network in networks]
        return Sheet(title, columns[: 1 + len(METHODS)], nothing, (paper, f"Not measured: {missing}."))

    def cells(network: str) -> list[str]:
        nzp, split, auto = (
            next(row for row in rows if (row["network"], row["method"]) == (network, method)) for method in METHODS
        )
        saved = [f"{1 - each['joules'] / nzp['joules']:.0%}" for each in (split, auto)]
        return [network, *(_joules(each) for each in (nzp, split, auto)), *saved, f"{split['watts']:.0f} W"]

    first = rows[0]
    return Sheet(
        title,
        columns,
        [cells(network) for network in networks],
        (
            paper,
            f"Measured by {first['source']}, with all that else ran or idled there: median, least and most of "
            f"{first['turns']} turns of {first['seconds_per_turn']} s. A processor that idles draws power, too, so "
            "most of what is saved here is time.",
        ),
    )


def _over_nzp(row: Row, way: str) -> str:
    return f"{row['nzp_cycles'] / row[f'{way}_cycles']:.2f}x"


def _range(rows: Sequence[Row], way: str) -> str:
    ratios = [row["nzp_cycles"] / row[f"{way}_cycles"] for row in rows]
    return f"{min(ratios):.2f}x to {max(ratios):.2f}x"


def _joules(row: Row) -> str:
    middle, least, most = (f"{1e3 * row[name]:.3g}" for name in ("joules", "least_joules", "most_joules"))
    return f"{middle} ({least} to {most})"
