"""Bars in groups: one bar for each series in each group, told apart by colour and by hatching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

# Okabe and Ito's blue, orange, green and vermilion, of rising lightness but for the last.
LOOKS = (("#0072B2", ""), ("#E69F00", "///"), ("#009E73", "..."), ("#D55E00", "\\\\\\"))

_GROUP = 0.8


def draw(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    word: Callable[[float], str],
    reach: float = 0.0,
) -> None:
    """Draw vertical bars, each with its value above it as `word` writes it.

    `series` has a value for each group. The axis starts at 0 and has room for the words, and for `reach`.
    """
    width = _GROUP / len(series)
    for number, ((label, values), (colour, hatch)) in enumerate(zip(series.items(), LOOKS, strict=False)):
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(places, values, width, label=label, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                word(value),
                (place, value),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=7,
                rotation=90,
                # Keeps the words readable where a line crosses them.
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 1.22 * max(reach, *(max(values) for values in series.values())))
