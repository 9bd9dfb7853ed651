"""What a plan is made for, beside its geometry."""

from __future__ import annotations

from dataclasses import dataclass

from ...dtypes import DType, Precision
from ...problem import Problem
from .device import Device
from .form import Form


@dataclass(frozen=True)
class PlanContext:
    """An element type and a device, and how arrays lie on it.

    Attributes
    ----------
    dtype : DType
        Element type of the arrays.
    device : Device
        The device.
    wide : bool
        Whether offsets inside one sample are 64 bits.
    channels_last : bool
        Whether maps have their channels behind their pixels.
    form : Form, optional
        The form that a tiled method is to take; without it, it chooses.
    precision : {"ieee", "tf32", "tf32x3"}
        How exactly products of float32 are to be made.
    """

    dtype: DType
    device: Device
    wide: bool
    channels_last: bool = False
    form: Form | None = None
    precision: Precision = "ieee"

    @classmethod
    def of(cls, problem: Problem, device: Device, wide: bool, form: Form | None = None) -> PlanContext:
        """Return what a plan for a problem is made for."""
        return cls(problem.dtype, device, wide, problem.channels_last, form, problem.precision)
