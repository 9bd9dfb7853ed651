"""Transposed convolution without multiplying by zeros, for CuPy and NumPy arrays."""

from .costs import Cost, costs
from .functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from .geometry import Geometry

__all__ = ["Cost", "Geometry", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "costs"]
__version__ = "0.1.0"
