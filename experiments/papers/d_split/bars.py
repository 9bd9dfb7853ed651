"""Bars side by side by network, for the charts of paper D's experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

# What means the same has one look in all panels: Okabe and Ito's colours, told apart in black and white by their
# lightness and hatching.
_LOOKS = {
    "NZP": ("#E69F00", "///"),
    "split, nominal": ("#0072B2", ""),
    "split, done": ("#56B4E9", ".."),
    "ours, done": ("#009E73", "xx"),
    "ours: split": ("#56B4E9", ".."),
    "ours: auto": ("#009E73", "xx"),
    "ONNX Runtime: split": ("#CC79A7", "\\\\"),
    "split, stacked": ("#56B4E9", ".."),
    "split, apart": ("#0072B2", ""),
}

_GROUP = 0.7


def grouped_bars(axes: Axes, groups: Sequence[str], bars: Mapping[str, Sequence[float]], start: float = 0.0) -> None:
    """Draw for each group one vertical bar of each kind, from `start` up or down, the groups' names below."""
    width = _GROUP / len(bars)
    for place, (label, heights) in enumerate(bars.items()):
        colour, hatch = _LOOKS[label]
        centres = [group + (place + 0.5) * width - _GROUP / 2 for group in range(len(groups))]
        axes.bar(
            centres,
            [height - start for height in heights],
            width,
            bottom=start,
            label=label,
            color=colour,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.6,
        )
    axes.set_xticks(range(len(groups)), groups, rotation=30, ha="right", rotation_mode="anchor")
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    axes.set_axisbelow(True)


def speedup_bars(axes: Axes, groups: Sequence[str], bars: Mapping[str, Sequence[float]]) -> None:
    """Draw ratios of times on a logarithmic axis, from 1 up where they are gains and down where they are losses."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    grouped_bars(axes, groups, bars, start=1.0)
    axes.axhline(1, color="black", linewidth=0.8)


def marks(axes: Axes, label: str, marker: str, heights: Sequence[float]) -> None:
    """Draw a mark to the right of each group's bars."""
    places = [group + 0.5 * _GROUP + 0.08 for group in range(len(heights))]
    axes.plot(places, heights, marker, color="black", markerfacecolor="white", markersize=5, label=label)


def legend_below(axes: Axes) -> None:
    """Name the bars and marks below the groups' names, where no bar is hidden."""
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, frameon=False)
