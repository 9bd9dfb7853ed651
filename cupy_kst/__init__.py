"""Transposed convolution without multiplying by zeros, for CuPy and NumPy arrays."""

from . import grad
from .costs import Cost, costs
from .explain import explain
from .functional import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .geometry import Geometry

# The function takes the name of its module here: inside the package that is imported from, never as an attribute.
from .methods import Method, methods
from .prepared import Prepared, prepare
from .subkernels import merge, segregate
from .tune import tune

__all__ = [
    "Cost",
    "Geometry",
    "Method",
    "Prepared",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "costs",
    "explain",
    "grad",
    "merge",
    "methods",
    "prepare",
    "segregate",
    "tune",
]
__version__ = "0.1.0"
