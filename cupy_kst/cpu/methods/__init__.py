"""The methods on the CPU, one file each: its forms, carried out by NumPy or by code that Numba compiles."""

from __future__ import annotations

from ..registry import REGISTRY as REGISTRY
from . import conv_v2 as conv_v2
from . import direct as direct
from . import ks_deconv as ks_deconv
from . import segregated as segregated
from . import sk_dilated as sk_dilated
from . import split as split
from . import unified as unified
from . import zero_dilation as zero_dilation
from . import zero_insertion as zero_insertion
