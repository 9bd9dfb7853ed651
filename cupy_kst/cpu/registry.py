"""What the CPU engine knows of a method. Each file of `methods` registers its own, and nothing else lists them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..geometry import Geometry
from .cost_model import seconds
from .form import Form


@dataclass(frozen=True)
class CpuMethod:
    """How the CPU carries out a method.

    Attributes
    ----------
    name : str
        The method's public name.
    forms : tuple of Form
        Its forms. The first one that can compute a problem does so where not all of them tell their work.
    exact_method : str, optional
        The method that "auto" takes instead where the weight is not finite, because forms of this one multiply zeros by
        it.
    """

    name: str
    forms: tuple[Form, ...]
    exact_method: str | None = None


# By name. The order is that of imports: the public order is that of `cupy_kst.methods`.
REGISTRY: dict[str, CpuMethod] = {}


def register(method: CpuMethod) -> CpuMethod:
    """Make a method known to the engine, and return it."""
    if method.name in REGISTRY:
        raise ValueError(f"{method.name} is registered twice")
    REGISTRY[method.name] = method
    return method


@lru_cache(maxsize=1024)
def ranked(forms: tuple[Form, ...], geometry: Geometry, prepared: bool) -> tuple[Form, ...]:
    """Return forms of one method in the order of the time that they take, with a weight that is prepared or is not."""

    def estimated(form: Form) -> float:
        assert form.work is not None
        return seconds(form.work(geometry, prepared))

    return tuple(sorted(forms, key=estimated)) if all(form.work for form in forms) else forms
