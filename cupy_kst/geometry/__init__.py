"""What the shapes and options of a call come to: sizes, pads, residue classes and counts; no arrays.

One axis and its rule are in `axis`, three of them with batch, channels and groups in `geometry`. `options` reads what
callers give, `sizes` makes sizes and pads of it, `refusals` has the rules that `geometry`, `prepared` and others share,
with their errors. `prepared` resolves the calls of a prepared weight, `trimming` says where sub-filters are trimmed,
and `floor_sums` counts taps in closed form.
"""

from __future__ import annotations

from .axis import AXES, Axis, AxisClass
from .geometry import Geometry, check_output

__all__ = ["AXES", "Axis", "AxisClass", "Geometry", "check_output"]
