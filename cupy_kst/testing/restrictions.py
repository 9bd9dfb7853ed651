"""Which cases are drawn: the keywords of `cases`, checked and brought to one form."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ..geometry.options import whole_number
from ..methods import Op
from . import wording
from .operations import OPERATIONS

PaddingForm = Literal["pairs", "symmetric", "none"]
LongAxis = Literal["any", "last", "channels"]
_COUNTS = ("max_kernel", "max_stride", "max_dilation", "max_groups", "max_channels", "max_elements", "max_axis")


@dataclass(frozen=True)
class Restrictions:
    """The keywords of `cases`, whose docstring says what they mean."""

    op: Op
    ranks: tuple[int, ...]
    dtypes: tuple[str, ...]
    batches: tuple[int | None, ...]
    max_kernel: int
    max_stride: int
    max_dilation: int
    max_groups: int
    max_channels: int
    padding: PaddingForm
    output_padding: bool
    bias: bool
    max_elements: int
    max_axis: int
    long_axis: LongAxis


NAMES = tuple(field.name for field in fields(Restrictions))


def restricted(**given: Any) -> Restrictions:
    """Return the keywords of `cases` in one form, or raise a ValueError or TypeError that names one and its rule."""
    wording.one_of("op", given["op"], OPERATIONS)
    wording.one_of("padding", given["padding"], get_args(PaddingForm))
    wording.one_of("long_axis", given["long_axis"], get_args(LongAxis))
    counts: Any = {name: whole_number(name, given[name], 1) for name in _COUNTS}
    batches = wording.several("batches", given["batches"], wording.batch)
    largest = max(1, *(size or 0 for size in batches))
    if counts["max_elements"] < largest:
        raise ValueError(f"max_elements={counts['max_elements']}: a batch of {largest} has at least as many elements")
    return Restrictions(
        op=given["op"],
        ranks=wording.several("ranks", given["ranks"], wording.rank),
        dtypes=wording.several("dtypes", given["dtypes"], wording.dtype_name),
        batches=batches,
        padding=given["padding"],
        long_axis=given["long_axis"],
        output_padding=wording.flag("output_padding", given["output_padding"]),
        bias=wording.flag("bias", given["bias"]),
        **counts,
    )
