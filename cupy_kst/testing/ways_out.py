"""Which options of a check leave out what a function is wrong in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .axes import USUAL
from .cases import Case
from .summary import Tried, long_axis
from .trial import Way

Has = Callable[[Case, Way], bool]


def _per_group(case: Case) -> int:
    return max(case.weight_shape[0] // case.groups, case.weight_shape[1])


# What a case may have, and the option without which it has not.
_FEATURES: dict[str, tuple[str, Has]] = {
    "groups": ("max_groups=1", lambda case, _: case.groups > 1),
    "no batch dimension": ("batches=(1, 2)", lambda case, _: len(case.input_shape) == case.rank + 1),
    "an empty batch": ("batches=(1, 2)", lambda case, _: 0 in case.input_shape),
    "several samples": (
        "batches=(1,)",
        lambda case, _: len(case.input_shape) > case.rank + 1 and case.input_shape[0] > 1,
    ),
    "a bias": ("bias=False", lambda case, _: case.bias),
    "output padding": ("output_padding=False", lambda case, _: any(case.output_padding)),
    "unequal pads": ('padding="symmetric"', lambda case, _: np.ndim(case.padding) > 1),
    "padding": ('padding="none"', lambda case, _: bool(np.any(case.padding))),
    "a dilation": ("max_dilation=1", lambda case, _: max(case.dilation) > 1),
    "a stride": ("max_stride=1", lambda case, _: max(case.stride) > 1),
    "several channels": ("max_channels=1", lambda case, _: _per_group(case) > 1),
    "a long axis": (f"max_axis={USUAL}", lambda case, _: long_axis(case) > USUAL),
    "arrays that are not contiguous": ('layouts="contiguous"', lambda _, way: way.layout != "contiguous"),
}


def ways_out(case: Case, way: Way, tried: Tried) -> list[str]:
    """Return a line for each option that leaves out what a case has and all cases have in which a function is wrong."""
    features = {**_FEATURES, **_of_kind("ranks", lambda each: each.rank, case, tried)}
    features |= _of_kind("dtypes", lambda each: each.dtype, case, tried)
    lines = []
    for name, (option, has) in features.items():
        kept = [each for each in (*tried.right, *tried.wrong) if not has(each[0], each[2])]
        if has(case, way) and kept and all(has(each, other) for each, _, other in tried.wrong):
            lines.append(f"{option} leaves out {name}: right in all {len(kept)} cases without")
    return lines


def _of_kind(option: str, kind: Callable[[Case], Any], case: Case, tried: Tried) -> dict[str, tuple[str, Has]]:
    """Return the feature of having the case's rank or element type, and the option that names all others."""
    others = sorted({kind(each) for each, _, _ in (*tried.right, *tried.wrong)} - {kind(case)})
    return {f"{option[:-1]} {kind(case)}": (f"{option}={tuple(others)}", lambda each, _: kind(each) == kind(case))}
