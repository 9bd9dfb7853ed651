"""The methods on a GPU, one file each: its launches as plain data, and what it counts."""

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
