"""How a transposed convolution by one product of all taps is divided into tasks, and the tables that they read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....geometry import Axis, Geometry
from ...taps import AxisReads, table, transposed_reads
from .. import isa
from ..task import Task, table_of, table_type

Table = NDArray[Any]

# With fewer rows of the product, copying a part's inputs does not pay.
_LEAST_ROWS = 32

# A part of the map along one axis: outputs that are set, and the inputs that reach them.
_RANGE = table_type("first_output", "end_output", "first_input", "end_input")
PART = np.dtype([(name, _RANGE) for name in ("depth", "height", "width")])
AXIS = table_type("small", "large", "kernel", "first_class", "end_class", "step")
CLASS = table_type("first", "positions", "first_tap", "end_tap")
TAP = table_type("element", "shift")

TASK = Task(
    "gemm_col2im",
    arrays={
        **dict.fromkeys(("source", "weight", "bias", "out")),
        "axes": AXIS,
        "parts": PART,
        "classes": CLASS,
        "taps": TAP,
    },
    fields=(
        *("lanes", "tasks", "groups", "channels", "out_channels", "kernel", "map_size", "shares", "few", "pitch"),
        *("parts_count", "sums_at", "stage_at", "panel_at", "line_at", "line_pitch", "left", "gap"),
    ),
)


@dataclass(frozen=True)
class Col2imPlan:
    """Tables and numbers of `TASK`, and the tasks, scratch numbers and products of a call."""

    tables: dict[str, Table]
    numbers: dict[str, int]
    tasks: int
    scratch: int
    macs: int


@lru_cache(maxsize=256)
def col2im_plan(geometry: Geometry, itemsize: int, threads: int) -> Col2imPlan:
    """Return the tables of a call, the same for all calls of this geometry."""
    rows_tile, few_tile = isa.tile(isa.WIDE, itemsize), isa.tile(isa.CHANNELS, itemsize)
    lanes = rows_tile.lanes
    axes, kernel = geometry.axes, _kernel(geometry)
    groups, samples = geometry.groups, geometry.samples
    channels, out_channels = geometry.small_channels // groups, geometry.large_channels // groups
    pixels = prod(axis.small for axis in axes)
    # The positions fill no more than one vector, whereas the rows fill several.
    few = pixels <= lanes and out_channels * kernel >= few_tile.nr
    parts = _parts(geometry, out_channels * kernel, itemsize, ceil(threads / max(1, samples * groups)), few)
    reads = [transposed_reads(axis) for axis in axes]
    # The zeros behind a row are those in front of the next one, so that one gap serves both.
    left, right = (0, 0) if few else _border(parts, reads[2])
    gap = max(left, right)
    most = left + int(_positions(parts, gap).max())
    # The pitch is an odd number of vectors, so that lines of different taps do not share sets of the cache.
    pitch = (ceil(most / lanes) | 1) * lanes
    least = few_tile.nr * 4 if few else max(rows_tile.mr, _LEAST_ROWS)
    # Output channels are divided, too, but a share has rows enough to pay for the copy of its inputs.
    shares = max(1, min(out_channels, out_channels * kernel // least))
    # There are as many shares as give every thread two tasks, and as have sums that fit the cache.
    wanted = max(
        ceil(2 * threads / (max(1, samples) * groups * len(parts))),
        ceil(out_channels * kernel * pitch * itemsize / isa.COL2IM_SUM_BYTES),
    )
    shares = min(shares, wanted)
    rows = ceil(out_channels / shares) * kernel
    block = few_tile.nr if few else rows_tile.mr
    lines = ceil(rows / block) * block
    sizes = [
        0 if few else channels * ceil(most / lanes) * lanes,
        lines * pitch,
        (lines if few else 1) * ceil(most / lanes) * lanes,
        min(lines, isa.ROWS_NC // block * block) // block * (min(channels, isa.ROWS_KC) * block + lanes),
    ]
    # A line has all rows that are added up at once.
    line_pitch = int(_outputs(parts, reads, gap).max()) + lanes
    sums, stage, panel, line = accumulate(sizes)
    tables = {"parts": parts, **_tables(axes, reads)}
    tasks = samples * groups * len(parts) * shares
    numbers = {
        "lanes": lanes,
        "tasks": tasks,
        "groups": groups,
        "channels": channels,
        "out_channels": out_channels,
        "kernel": kernel,
        "map_size": pixels,
        "shares": shares,
        "few": few,
        "pitch": pitch,
        "parts_count": len(parts),
        "sums_at": sums,
        "stage_at": stage,
        "panel_at": panel,
        "line_at": line,
        "line_pitch": line_pitch,
        "left": left,
        "gap": gap,
    }
    return Col2imPlan(
        tables,
        numbers,
        tasks=tasks,
        scratch=line + (len(reads[2].firsts) + 1) * line_pitch,
        macs=samples * geometry.small_channels * out_channels * kernel * pixels,
    )


def parts_of_map(geometry: Geometry, itemsize: int) -> float:
    """Return how many parts, not always whole, a map has whose inputs, and whose sums of one output channel, fit."""
    pixels, kernel = prod(axis.small for axis in geometry.axes), _kernel(geometry)
    channels = geometry.small_channels // geometry.groups
    return max(
        1.0, pixels * channels * itemsize / isa.COL2IM_INPUT_BYTES, pixels * kernel * itemsize / isa.COL2IM_SUM_BYTES
    )


def _kernel(geometry: Geometry) -> int:
    return prod(axis.kernel for axis in geometry.axes)


def _positions(parts: Table, gap: int) -> Table:
    """Return the positions of each part, with the gaps between its rows."""
    depth, height, width = (parts[name]["end_input"] - parts[name]["first_input"] for name in PART.names or ())
    found: Table = depth * height * (width + gap)
    return found


def _outputs(parts: Table, reads: list[AxisReads], gap: int) -> Table:
    """Return the most numbers of a class in one slice of each part. Its rows are as far apart as rows of inputs."""
    rows, width = (
        np.minimum(read.positions, -(-(part["end_output"] - part["first_output"]) // read.step))
        for part, read in ((parts["height"], reads[1]), (parts["width"], reads[2]))
    )
    of_inputs = parts["width"]["end_input"] - parts["width"]["first_input"]
    found: Table = rows * np.maximum(width, of_inputs + gap)
    return found


def _border(parts: Table, read: AxisReads) -> tuple[int, int]:
    """Return how many zeros rows need in front and behind for taps that reach beyond them."""
    left = right = 0
    # All classes have as many positions in parts that end before the map does: a multiple of the step.
    columns = parts["width"]
    inner = columns[columns["end_output"] < read.outputs]
    inner = inner[inner["end_output"] > inner["first_output"]]
    if len(inner) and read.shifts.size:
        left = max(0, int((inner["first_input"] - inner["first_output"] // read.step).max()) - read.lowest)
        right = max(0, int((inner["end_output"] // read.step - inner["end_input"]).max()) + read.highest)
    last = columns[-1]
    low = last["first_output"] // read.step
    high = np.minimum(read.lengths, -(-(last["end_output"] - read.firsts) // read.step))
    some = (high > low) & (read.counts > 0)
    if some.any():
        # The taps of a class go from the highest shift to the lowest.
        ends, counts = read.ends[some], read.counts[some]
        left = max(left, int(last["first_input"] - low - read.shifts[ends - 1].min()))
        right = max(right, int((high[some] + read.shifts[ends - counts]).max() - last["end_input"]))
    return left, right


def _parts(geometry: Geometry, rows: int, itemsize: int, wanted: int, few: bool) -> Table:
    """Return first output, end of outputs, first input and end of inputs of each part on each axis.

    The first axis longer than 1 is divided.
    """
    axes = geometry.axes
    split = next((i for i, axis in enumerate(axes) if axis.small > 1), 2)
    axis = axes[split]
    count = ceil(parts_of_map(geometry, itemsize))
    if rows < 2 * _LEAST_ROWS * wanted:
        count = ceil(count / wanted) * wanted
    # Vectors of rows take the whole of a small map.
    count = 1 if few or axis.small == 1 else min(count, ceil(axis.large / axis.stride))
    parts = np.tile([(0, each.large, 0, each.small) for each in axes], (count, 1, 1))
    parts[:, split] = _divided(axis, count)
    # A row of twelve numbers is a part: four of them for each axis.
    return parts.reshape(count, -1).view(PART).ravel()


def _divided(axis: Axis, count: int) -> Table:
    """Return first output, end of outputs, first input and end of inputs of each part of an axis."""
    edges = np.arange(count + 1) * ceil(axis.large / axis.stride) // count * axis.stride
    first, last = edges[:-1], np.minimum(axis.large, edges[1:])
    low = -((axis.dilation * (axis.kernel - 1) - first - axis.pad_lo) // axis.stride)
    high = (last - 1 + axis.pad_lo) // axis.stride + 1
    low, high = (np.clip(each, 0, axis.small) for each in (low, high))
    return table(first, last, low, np.maximum(low, high))


def _tables(axes: tuple[Axis, ...], reads: list[AxisReads]) -> dict[str, Table]:
    """Return the classes of all axes, their taps, and the axes."""
    classes, columns = [], []
    taps = first = 0
    for axis, read in zip(axes, reads, strict=True):
        ends = taps + read.ends
        classes.append(table_of(CLASS, read.firsts, read.lengths, ends - read.counts, ends))
        columns.append((axis.small, axis.large, axis.kernel, first, first + len(ends), read.step))
        taps, first = int(ends[-1]), first + len(ends)
    elements, shifts = (np.concatenate([getattr(read, name) for read in reads]) for name in ("elements", "shifts"))
    if not len(elements):
        elements = shifts = np.zeros(1, np.int64)
    return {
        "classes": np.concatenate(classes),
        "taps": table_of(TAP, elements, shifts),
        "axes": table_of(AXIS, *zip(*columns, strict=True)),
    }
