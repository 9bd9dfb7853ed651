"""What a plan is made for, beside its geometry."""

from __future__ import annotations

from dataclasses import dataclass

from ..dtypes import DType
from .device import Device


@dataclass(frozen=True)
class Target:
    """An element type, a device, and whether offsets inside one sample are 64 bits."""

    dtype: DType
    device: Device
    wide: bool
