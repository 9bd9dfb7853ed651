"""Carries out plans on a runtime: picks the build of each kernel, allocates the workspace, launches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from ..axis import Axis
from ..dtypes import DTYPES, DType, Precision
from ..geometry import Geometry
from ..hints.words import question
from ..packed import Packed
from . import (
    conv_v2,
    direct,
    ks_deconv,
    segregated,
    sk_dilated,
    source,
    split,
    tuned,
    unified,
    zero_dilation,
    zero_insertion,
)
from . import form as forms
from .bound import Bound, workspace_bytes
from .choice import needs_wide
from .device import Device
from .form import Form, Variant
from .micro import micros
from .plan import Launches, Plan
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
    "direct": direct.plan,
    "conv_v2": conv_v2.plan,
    "zero_dilation": zero_dilation.plan,
    "sk_dilated": sk_dilated.plan,
}


# Methods that have tiles, and the variants of these.
_VARIANTS = {"ks_deconv": ks_deconv.VARIANTS, "conv_v2": conv_v2.VARIANTS, "sk_dilated": sk_dilated.VARIANTS}
# Methods that have tiles if they are asked for them.
_ON_REQUEST = ("zero_insertion",)


@lru_cache(maxsize=256)
def plan(method: str, geometry: Geometry, target: Target) -> Plan:
    """Return the launches by which `method` computes `geometry`, or raise a ValueError if a device takes no such."""
    planned = LAUNCHERS[method](geometry, target)
    device, asked = target.device, method if planned.form is None else f"form='{planned.form}'"
    for step in planned.steps:
        for axis, blocks, most in zip("xyz", step.grid, device.max_grid, strict=True):
            if blocks > most:
                raise ValueError(f"{asked}: a grid has {blocks} blocks along {axis}, {device.name} takes {most}")
        if step.shared_bytes > device.shared_bytes_optin:
            raise ValueError(
                f"{asked}: a block takes {step.shared_bytes} bytes of shared memory, {device.name} has "
                f"{device.shared_bytes_optin}"
            )
    return planned


def form_names(
    method: str, dtype: DType, precision: Precision = "ieee", channels_last: bool = False
) -> tuple[str, ...]:
    """Return the names of the forms of a method, where N stands for a number of parts."""
    threads = () if method in _VARIANTS else (_threads(dtype),)
    if not _is_tiled(method):
        return threads
    return (*threads, *forms.names(micros(dtype, precision), _variants(method, channels_last)))


def _variants(method: str, channels_last: bool) -> frozenset[Variant]:
    """Return the variants of a method's tiles: where channels are last, whole pixels are written in any case."""
    return _VARIANTS.get(method, frozenset()) - ({"interleaved"} if channels_last else set())


def _threads(dtype: DType) -> str:
    """Return the name of the form of methods that have a thread per output."""
    return f"{dtype.short}/threads"


def _is_tiled(method: str) -> bool:
    return method in _VARIANTS or method in _ON_REQUEST


def has_forms(method: str) -> bool:
    """Return whether a method has more than one form."""
    return method in _VARIANTS


def tuned_form(
    method: str, geometry: Geometry, dtype: DType, device: Device, channels_last: bool, precision: Precision
) -> Form | None:
    """Return the form that `cupy_kst.tune` found for a call, None where there is none or calls are to take none."""
    if not has_forms(method) or not tuned.enabled():
        return None
    name = tuned.store().get(tuned.key(device, method, geometry, dtype, channels_last, precision))
    # Another version of the library may have had a form that this one has not.
    return None if name is None else forms.parse(name, micros(dtype, precision), _variants(method, channels_last))


def form_taken(method: str, geometry: Geometry, target: Target) -> str:
    """Return the name of the form by which a method computes a geometry."""
    taken = plan(method, geometry, target).form
    return _threads(target.dtype) if taken is None else str(taken)


def form_of(
    method: str, dtype: DType, name: str, precision: Precision = "ieee", channels_last: bool = False
) -> Form | None:
    """Return the form of a name, None for that of a thread per output, or raise a ValueError that lists the names."""
    known = form_names(method, dtype, precision, channels_last)
    if name == _threads(dtype) and name in known:
        return None
    form = None
    if _is_tiled(method) and isinstance(name, str):
        form = forms.parse(name, micros(dtype, precision), _variants(method, channels_last))
    if form is None:
        exact = "" if precision == "ieee" else f" by precision {precision}"
        layout = " with channels last" if channels_last and "interleaved" in _VARIANTS.get(method, ()) else ""
        raise ValueError(
            f"form={name!r}: on a GPU {method} in {dtype.name}{exact}{layout} has {', '.join(map(repr, known))}"
            f"{question(name, known)}"
        )
    return form


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
        self._bound = lru_cache(maxsize=1024)(self._bind)

    def run(
        self,
        method: str,
        geometry: Geometry,
        dtype: DType,
        arrays: Mapping[str, Any],
        packed: Packed | None = None,
        workspace: Any = None,
        channels_last: bool = False,
        form: str | None = None,
        precision: Precision = "ieee",
    ) -> None:
        """Write what `method` computes.

        Parameters
        ----------
        method, geometry, dtype
            What is computed.
        arrays : mapping of str to array
            The "small" and the "large" map, the "weight" and the "bias", which may be None or missing; all are
            C-contiguous and on the runtime's device. An empty batch writes nothing.
        packed : Packed, optional
            Keeps what is made of the weight alone.
        workspace : array of uint8, optional
            Where the rest of the workspace is put.
        channels_last : bool
            Whether maps have their channels behind their pixels.
        form : str, optional
            One of `form_names`; without it, that which was tuned for this call, or which `choice` estimates.
        precision : {"ieee", "tf32", "tf32x3"}
            How exactly products of float32 are to be made.
        """
        if geometry.samples == 0:
            return
        bound = self.bind(method, geometry, dtype, channels_last, form, precision)
        weight = bound.of_weight(arrays["weight"], arrays.get("bias"), packed)
        bound(arrays["small"], arrays["large"], weight, workspace)

    def bind(
        self,
        method: str,
        geometry: Geometry,
        dtype: DType,
        channels_last: bool = False,
        form: str | None = None,
        precision: Precision = "ieee",
        build: Build | None = None,
    ) -> Bound:
        """Return the launches of a call with their kernels, compiled; without a `build`, in the engine's own."""
        constants = self._constants(method, geometry, dtype, channels_last, build or self._build)
        return self._bound(method, geometry, dtype.name, channels_last, form, precision, constants, tuned.state())

    def _bind(
        self,
        method: str,
        geometry: Geometry,
        dtype: str,
        channels_last: bool,
        form: str | None,
        precision: Precision,
        constants: Constants | None,
        state: int,
    ) -> Bound:
        # Only so that what was bound is not found again once forms are tuned.
        del state
        planned = self.plan(method, geometry, DTYPES[dtype], channels_last, form, precision)
        wide = self._is_wide(geometry)
        texts = (
            source.text(
                step.stem,
                dtype,
                wide=wide,
                channels_last=channels_last,
                constants=_own(step, constants),
                defines=step.defines,
            )
            for step in planned.steps
        )
        kernels = tuple(
            self.runtime.compile(text, step.kernel, step.shared_bytes)
            for text, step in zip(texts, planned.steps, strict=True)
        )
        return Bound(self.runtime, planned, kernels, DTYPES[dtype].storage)

    def plan(
        self,
        method: str,
        geometry: Geometry,
        dtype: DType,
        channels_last: bool = False,
        form: str | None = None,
        precision: Precision = "ieee",
    ) -> Plan:
        """Return the launches by which `method` computes `geometry` on this device."""
        if form is None:
            device = self.runtime.limits()
            pinned = tuned_form(method, geometry, dtype, device, channels_last, precision)
        else:
            pinned = form_of(method, dtype, form, precision, channels_last)
        return plan(method, geometry, self._target(geometry, dtype, channels_last, pinned, precision))

    def estimated(
        self,
        method: str,
        geometry: Geometry,
        dtype: DType,
        channels_last: bool = False,
        precision: Precision = "ieee",
    ) -> Plan:
        """Return the launches that `plan` returns where nothing was tuned."""
        return plan(method, geometry, self._target(geometry, dtype, channels_last, None, precision))

    def _target(
        self, geometry: Geometry, dtype: DType, channels_last: bool, form: Form | None, precision: Precision
    ) -> Target:
        return Target(dtype, self.runtime.limits(), self._is_wide(geometry), channels_last, form, precision)

    def workspace_bytes(
        self,
        method: str,
        geometry: Geometry,
        dtype: DType,
        form: str | None = None,
        channels_last: bool = False,
        precision: Precision = "ieee",
    ) -> int:
        """Return the bytes of workspace of a call whose weight is packed."""
        return workspace_bytes(self.plan(method, geometry, dtype, channels_last, form, precision), dtype.storage)

    def _is_wide(self, geometry: Geometry) -> bool:
        return needs_wide(geometry) if self._wide is None else self._wide

    def _constants(
        self, method: str, geometry: Geometry, dtype: DType, channels_last: bool, build: Build | None
    ) -> Constants | None:
        constants = _constants_of(geometry.axes)
        if build is None:
            key = (method, dtype.name, self._is_wide(geometry), channels_last, constants)
            return constants if self._seen.before(key) else None
        return constants if build == "specialised" else None


def _own(step: Launches, constants: Constants | None) -> Constants | None:
    """Return the literals of a step's text, which may be of other axes than the call's."""
    return constants if constants is None or step.axes is None else _constants_of(step.axes)


@lru_cache(maxsize=1024)
def _constants_of(axes: Constants) -> Constants:
    """Return the axes without sizes and padding: geometries that differ in these alone have one text."""
    depth, height, width = (Axis(kernel=axis.kernel, stride=axis.stride, dilation=axis.dilation) for axis in axes)
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
