"""What a call computes and how: the two records that public functions hand to the engines."""

from __future__ import annotations

from dataclasses import dataclass

from .arrays import Engine
from .dtypes import DType, Precision
from .geometry import Geometry
from .labels import DataFormat, shape_in_format
from .methods import OPERATIONS, Operation, Roles, choose


@dataclass(frozen=True)
class Problem:
    """What is computed: everything that a result depends on beside the arrays and the rounding of a method.

    Attributes
    ----------
    operation : str
        A gradient of an input is the other operation on the same geometry.
    geometry : Geometry
        Shapes, strides, dilations and padding.
    dtype : DType
        Element type of the arrays.
    channels_last : bool
        Whether maps have their channels behind their pixels.
    precision : {"ieee", "tf32", "tf32x3"}
        How exactly products of float32 have to be made.
    """

    operation: Operation
    geometry: Geometry
    dtype: DType
    channels_last: bool = False
    precision: Precision = "ieee"

    def __hash__(self) -> int:
        # Every call looks its problem up in several caches; the dtypes of NumPy take long to hash.
        return hash((self.operation, self.geometry, self.dtype.name, self.channels_last, self.precision))

    @property
    def roles(self) -> Roles:
        """What the operation reads and writes."""
        return OPERATIONS[self.operation]

    @property
    def data_format(self) -> DataFormat:
        """The layout of maps, as callers name it."""
        return "channels_last" if self.channels_last else "channels_first"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result, in the layout of maps where it is one."""
        geometry, output = self.geometry, self.roles.output
        if output == "weight":
            return geometry.weight_shape
        shape = geometry.small_shape if output == "small" else geometry.large_shape
        return shape_in_format(shape, geometry.rank, self.data_format)


@dataclass(frozen=True)
class Choice:
    """How a problem is computed.

    Attributes
    ----------
    method : str
        Name of a method of the problem's operation.
    form : str, optional
        Name of the method's form; without it the engine takes the one that it estimates to be fastest.
    replaceable : bool
        Whether another method may compute it where the weight is not finite: one that multiplies no zeros by it. Only
        the CPU engine heeds this.
    """

    method: str
    form: str | None = None
    replaceable: bool = False

    @classmethod
    def of(cls, problem: Problem, engine: Engine, method: str, form: str | None = None) -> Choice:
        """Return the choice for a method that a caller names, which may be "auto", or raise a ValueError."""
        chosen = choose(method, problem.operation, problem.geometry, engine)
        return cls(chosen.name, form, replaceable=method == "auto")
