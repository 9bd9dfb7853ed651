"""What was tried: counted while a check runs, told when it passes, and asked when it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from .arrays import Arrays
from .cases import Case
from .trial import Demand, Way

Example = tuple[Case, Arrays, Way]


@dataclass
class Tried:
    """The cases that a function was given, and whether it was wrong."""

    passed_over: list[Case] = field(default_factory=list)
    right: list[Example] = field(default_factory=list)
    wrong: list[Example] = field(default_factory=list)
    at_once: int = 0
    # Whether a second call was wrong where the first was right.
    remembers: bool = False

    @property
    def compared(self) -> int:
        """Number of cases whose result was compared."""
        return len(self.right) + len(self.wrong)

    def was_right(self, case: Case, way: Way) -> bool:
        """Return whether the function was right in a case before, on arrays in that layout, if with other numbers."""
        return any(each == case and before.layout == way.layout for each, _, before in self.right)

    def summary(self, name: str, op: str, demand: Demand) -> str:
        """Return what was tried, in some lines."""
        cases, ways = [each for each, _, _ in self.right], [way for _, _, way in self.right]
        numbers = (
            "whole numbers, compared exactly" if demand.numbers == "integers" else "real numbers, within their bound"
        )
        classes, empty = map(sum, zip(*map(_classes, cases), strict=True)) if cases else (0, 0)
        passed_over = f", {len(self.passed_over)} passed over" if self.passed_over else ""
        return "\n  ".join(
            (
                f"{name} is right in {len(cases)} cases of {op}{passed_over}: {numbers}",
                f"ranks {_counted(case.rank for case in cases)}; {_counted(case.dtype for case in cases)}",
                f"batches {_counted(_batch(case) for case in cases)}; groups {_counted(case.groups for case in cases)}",
                f"residue classes {classes}, {empty} of them without taps; largest {_largest(cases)}",
                f"arrays {_counted(way.layout for way in ways)}; second calls {sum(way.calls == 2 for way in ways)}; "
                f"from two threads at once {self.at_once}",
            )
        )


def long_axis(case: Case) -> int:
    """Return the longest axis of a case's maps, of positions or of a group's channels."""
    columns, rows = case.weight_shape[1], case.weight_shape[0] // case.groups
    return max(rows, columns, *case.input_shape[-case.rank :], *case.output_sizes)


def _classes(case: Case) -> tuple[int, int]:
    """Return how many residue classes a case has, and how many of them have no taps."""
    axes = list(zip(case.stride, case.dilation, case.weight_shape[2:], strict=True))
    every = prod(case.stride)
    return every, every - prod(len({tap * dilation % stride for tap in range(taps)}) for stride, dilation, taps in axes)


def _batch(case: Case) -> Any:
    return "none" if len(case.input_shape) == case.rank + 1 else case.input_shape[0]


def _counted(values: Iterable[Hashable]) -> str:
    counts = Counter(values)
    return ", ".join(f"{value} ({counts[value]})" for value in sorted(counts, key=str)) or "-"


_LARGEST: dict[str, Callable[[Case], int]] = {
    "axis": long_axis,
    "kernel": lambda case: max(case.weight_shape[2:]),
    "stride": lambda case: max(case.stride),
    "dilation": lambda case: max(case.dilation),
    "sum": lambda case: case.terms,
}


def _largest(cases: list[Case]) -> str:
    return ", ".join(f"{name} {max(map(of, cases), default=0)}" for name, of in _LARGEST.items())
