"""Carries out plans on a runtime: picks the build of each kernel, allocates the workspace, launches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

import numpy as np

from ..axis import Axis
from ..dtypes import DType
from ..geometry import Geometry
from . import conv_v2, ks_deconv, segregated, sk_dilated, source, split, unified, zero_insertion
from .choice import needs_wide
from .plan import Plan
from .runtime import Runtime
from .target import Target

Build = Literal["generic", "specialised"]
Constants = tuple[Axis, Axis, Axis]

LAUNCHERS: dict[str, Callable[[Geometry, Target], Plan]] = {
    "zero_insertion": zero_insertion.plan,
    "segregated": segregated.plan,
    "unified": unified.plan,
    "ks_deconv": ks_deconv.plan,
    "split": split.plan,
    "conv_v2": conv_v2.plan,
    "sk_dilated": sk_dilated.plan,
}


@lru_cache(maxsize=256)
def plan(method: str, geometry: Geometry, target: Target) -> Plan:
    """Return the launches by which `method` computes `geometry`."""
    return LAUNCHERS[method](geometry, target)


class Engine:
    """Computes on one runtime, which stands for one device.

    Parameters
    ----------
    runtime : Runtime
        What compiles and launches.
    build : {"generic", "specialised"}, optional
        Build of every kernel. Without it, a method's first call with certain filter sizes, strides and dilations takes
        the generic build, which serves all, and later ones a build of their own.
    wide : bool, optional
        Whether indices are 64 bits; without it, where they must be.
    """

    def __init__(self, runtime: Runtime, build: Build | None = None, wide: bool | None = None) -> None:
        self.runtime = runtime
        self._build = build
        self._wide = wide
        self._seen = _Seen()

    def run(self, method: str, geometry: Geometry, dtype: DType, arrays: Mapping[str, Any]) -> None:
        """Write what `method` computes.

        `arrays` are the "small" and the "large" map, the "weight" and the "bias", which may be None or missing; all
        are C-contiguous and on the runtime's device. An empty batch writes nothing.
        """
        if geometry.samples == 0:
            return
        wide = needs_wide(geometry) if self._wide is None else self._wide
        planned = plan(method, geometry, Target(dtype, self.runtime.limits(), wide))
        bias = arrays.get("bias")
        known = {**arrays, "bias": np.uintp(0) if bias is None else bias}
        for name, workspace in planned.workspaces.items():
            known[name] = self.runtime.empty(workspace.shape, workspace.dtype or dtype.storage)
        constants = self._constants(method, geometry, dtype, wide)
        for step in planned.steps:
            kernel = self.runtime.compile(
                source.text(step.stem, dtype.name, wide=wide, constants=constants, defines=step.defines), step.kernel
            )
            pointers = [known[name] for name in step.arrays]
            for number in range(len(step.params)):
                self.runtime.launch(kernel, step.grid, step.block, (*pointers, step.params[number : number + 1]))

    def _constants(self, method: str, geometry: Geometry, dtype: DType, wide: bool) -> Constants | None:
        constants = _constants_of(geometry)
        if self._build is None:
            return constants if self._seen.before((method, dtype, wide, constants)) else None
        return constants if self._build == "specialised" else None


@lru_cache(maxsize=1024)
def _constants_of(geometry: Geometry) -> Constants:
    """Return the axes without sizes and padding: geometries that differ in these alone have one text."""
    depth, height, width = (
        Axis(kernel=axis.kernel, stride=axis.stride, dilation=axis.dilation) for axis in geometry.axes
    )
    return depth, height, width


class _Seen:
    """Remembers the last keys that it was asked about."""

    def __init__(self, size: int = 1024) -> None:
        self._keys: OrderedDict[object, None] = OrderedDict()
        self._size = size
        self._lock = Lock()

    def before(self, key: object) -> bool:
        """Return whether `key` was asked about already, and remember it."""
        with self._lock:
            known = key in self._keys
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > self._size:
                self._keys.popitem(last=False)
            return known
