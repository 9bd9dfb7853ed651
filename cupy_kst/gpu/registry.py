"""What the CUDA engine knows of a method. Each file of `methods` registers its own, and nothing else lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..dtypes import DType
from ..geometry import Geometry
from .counts import Counts
from .plan import Plan
from .select.context import PlanContext
from .select.form import Variant
from .select.tiles import Defines


def _one_build(dtype: DType, channels_last: bool) -> Iterator[Defines]:
    """Yield the only build of a kernel without tiles: it needs no macros of its own."""
    del dtype, channels_last
    yield ()


@dataclass(frozen=True)
class GpuMethod:
    """How CUDA kernels carry out a method.

    Attributes
    ----------
    name : str
        The method's public name, and the stem of its text: ``cuda/<name>.cu``.
    kernels : mapping of str to tuple of str
        The arrays of each kernel, in the order of its arguments.
    registers : int
        Registers that a thread of any build may take.
    plan : callable
        Returns the launches that compute a Geometry.
    counts : callable
        Returns what a call multiplies, stores and launches.
    builds : callable
        Yields the macros of every build of the text, for an element type and a layout.
    variants : frozenset of str, optional
        Variants of the method's tiles. None stands for a method with a thread per output, which has one form.
    takes_tiles : bool
        Whether a method with a thread per output computes in tiles where a caller names such a form.
    judges_forms : bool
        Whether `tune` compares the forms of its operation's methods with this one.
    """

    name: str
    kernels: Mapping[str, tuple[str, ...]]
    registers: int
    plan: Callable[[Geometry, PlanContext], Plan]
    counts: Callable[[Geometry, DType], Counts]
    builds: Callable[[DType, bool], Iterator[Defines]] = _one_build
    variants: frozenset[Variant] | None = None
    takes_tiles: bool = False
    judges_forms: bool = False

    @property
    def has_forms(self) -> bool:
        """Whether calls choose among forms."""
        return self.variants is not None

    @property
    def has_tiles(self) -> bool:
        """Whether a caller may name a tile."""
        return self.has_forms or self.takes_tiles

    def variants_of(self, channels_last: bool) -> frozenset[Variant]:
        """Return the variants in one layout: with channels last whole pixels are written, so none are interleaved."""
        return (self.variants or frozenset()) - ({"interleaved"} if channels_last else set())


# By name. The order is that of imports: the public order is that of `cupy_kst.methods`.
REGISTRY: dict[str, GpuMethod] = {}


def register(method: GpuMethod) -> GpuMethod:
    """Make a method known to the engine, and return it."""
    if method.name in REGISTRY:
        raise ValueError(f"{method.name} is registered twice")
    REGISTRY[method.name] = method
    return method
