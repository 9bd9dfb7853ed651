"""Arrays in another layout, a weight whose axes are in another order, an input and a weight swapped, other groups."""

from __future__ import annotations

from collections.abc import Callable

from ..labels import Labels

Sizes = tuple[int, ...]


def channels_hint(
    labels: Labels,
    inputs: Sizes,
    weights: Sizes,
    rank: int,
    fits: Callable[[int, int, int], bool],
    groups: int = 0,
) -> str:
    """Return the end of a message for channels that differ, where other groups, order of axes or layout would fit.

    Parameters
    ----------
    labels : Labels
        What the caller calls the arrays, and their layout.
    inputs, weights : tuple of int
        Shapes; that of the input with its channels in front.
    rank : int
        Number of spatial axes.
    fits : callable
        Whether so many channels fit a weight whose first two sizes are these.
    groups : int, optional
        Groups of a convolution, on which the input's channels depend; 0 where they do not.
    """
    data_format, weight = labels.data_format, labels.weight
    channels, (rows, columns) = inputs[-rank - 1], weights[:2]
    first = data_format != "channels_last"
    if first and are_swapped(inputs, weights, rank) and fits(columns, *inputs[:2]) and (asks := swapped(labels)):
        return asks
    # What the other layout would take for the channels.
    others, where = (inputs[-1], "last") if first else (inputs[-rank], "first")
    layout = f"is data_format={'channels_last' if first else 'channels_first'!r} meant"
    if not data_format:
        layout = "do the channels stand there, which here are first"
    # A shape has no method that would swap its axes.
    swap = f"are the first two axes of {weight} swapped" if "_" in weight else f"is {weight}.swapaxes(0, 1) meant"
    asked = _other_groups(channels, weights, weight, groups) if groups else []
    if fits(channels, columns, rows):
        asked.append(swap)
    if fits(others, rows, columns):
        asked.append(layout if asked and data_format else f"the {where} axis has {others}: {layout}")
    if asked:
        return f"; {', or '.join(asked[:2])}?"
    if fits(others, columns, rows):
        return f"; {layout}, and {swap}?"
    moved = _filter_in_front(weights, weight, lambda rows, columns: fits(channels, rows, columns))
    if moved:
        return f"; {moved}?"
    moved = _filter_in_front(weights, weight, lambda rows, columns: fits(others, rows, columns))
    return f"; {layout}, and {moved}?" if moved else ""


def are_swapped(inputs: Sizes, weights: Sizes, rank: int) -> bool:
    """Return whether an input, its channels in front, may be the weight.

    The filter is larger on each axis then, and the batch has more samples than the weight has channels.
    """
    if len(inputs) != len(weights) or inputs[0] <= weights[0]:
        return False
    return all(size < k for size, k in zip(inputs[-rank:], weights[2:], strict=True))


def swapped(labels: Labels) -> str:
    """Return the end of a message for an input that may be the weight, "" where the caller does not pass both."""
    given = labels.input != "x" and not labels.input.endswith("_size")
    return f"; are {labels.input} and {labels.weight} swapped?" if given else ""


def _filter_in_front(weights: Sizes, weight: str, fits: Callable[[int, int], bool]) -> str:
    """Return what to ask where a weight may have its filter's axes in front of the channels, as in TensorFlow."""
    rank = len(weights) - 2
    for channels in ((rank + 1, rank), (rank, rank + 1)):
        if fits(*(weights[place] for place in channels)):
            if "_" in weight:
                return f"do the filter's axes stand first in {weight}, which here are last"
            return f"is {weight}.transpose{(*channels, *range(rank))} meant"
    return ""


def _other_groups(channels: int, weights: Sizes, weight: str, groups: int) -> list[str]:
    """Return what to ask where other groups fit the weight of a convolution, or a weight as many groups."""
    rows, columns = weights[:2]
    fitting, rest = divmod(channels, columns)
    if rest or fitting < 1 or rows % fitting:
        return []
    asked = [f"is groups={fitting} meant"]
    if groups > 1 and not channels % groups and not rows % groups:
        shape = (rows, channels // groups, *weights[2:])
        index = f"{weight}[1]" if "_" in weight else f"{weight}.shape[1]"
        asked = [f"{index} is in_channels // groups: is groups={fitting} meant", f"a weight of shape {shape}"]
    return asked


def other_layout(found: Sizes, wanted: Sizes, rank: int, data_format: str) -> str:
    """Return the end of a message for a map of another shape, where the same channels in another place would fit."""
    if not data_format or len(found) <= rank or len(found) != len(wanted):
        return ""
    first = data_format != "channels_last"
    channel = len(found) - rank - 1
    sizes = list(wanted)
    sizes.insert(len(sizes) if first else channel, sizes.pop(channel if first else -1))
    if tuple(sizes) != found:
        return ""
    return f"; is data_format={'channels_last' if first else 'channels_first'!r} meant?"


def out_layout(found: Sizes, wanted: Sizes, rank: int, data_format: str) -> str:
    """Return the end of a message for an `out` whose channels lie as in the other layout than the result's."""
    if not other_layout(found, wanted, rank, data_format):
        return ""
    place = "last" if data_format == "channels_last" else "first"
    return f"; with data_format={data_format!r} the channels of out are {place}, too"
