"""Carries out plans on a runtime: picks the build of each kernel, allocates the workspace, launches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from ..dtypes import DType, Precision
from ..geometry import Axis, Geometry
from ..hints.words import question
from ..methods import Role
from ..problem import Choice, Problem
from ..weight_cache import WeightCache
from .build import source
from .build.runtime import Runtime
from .executable import Executable, workspace_bytes
from .methods import REGISTRY
from .plan import Launches, Plan
from .select import form as forms
from .select.context import PlanContext
from .select.cost_model import needs_wide
from .select.device import Device
from .select.form import Form
from .select.microkernel import micro_kernels
from .tuning import tuned_forms

Build = Literal["generic", "specialised"]
Constants = tuple[Axis, Axis, Axis]


@lru_cache(maxsize=256)
def plan(method: str, geometry: Geometry, context: PlanContext) -> Plan:
    """Return the launches by which `method` computes `geometry`, or raise a ValueError if a device takes no such."""
    planned = REGISTRY[method].plan(geometry, context)
    device, asked = context.device, method if planned.form is None else f"form='{planned.form}'"
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
    method: str, dtype: DType, channels_last: bool = False, precision: Precision = "ieee"
) -> tuple[str, ...]:
    """Return the names of the forms of a method, where N stands for a number of parts."""
    registered = REGISTRY[method]
    threads = () if registered.has_forms else (_threads(dtype),)
    if not registered.has_tiles:
        return threads
    return (*threads, *forms.names(micro_kernels(dtype, precision), registered.variants_of(channels_last)))


def _threads(dtype: DType) -> str:
    """Return the name of the form of methods that have a thread per output."""
    return f"{dtype.short}/threads"


def tuned_form(method: str, problem: Problem, device: Device) -> Form | None:
    """Return the form that `cupy_kst.tune` found for a call, None where there is none or calls are to take none."""
    if not REGISTRY[method].has_forms or not tuned_forms.enabled():
        return None
    name = tuned_forms.store().get(tuned_forms.key(device, method, problem))
    known = micro_kernels(problem.dtype, problem.precision)
    # Another version of the library may have had a form that this one has not.
    return None if name is None else forms.parse(name, known, REGISTRY[method].variants_of(problem.channels_last))


def form_taken(problem: Problem, choice: Choice, device: Device, wide: bool | None = None) -> str:
    """Return the name of the form by which a device carries out a choice."""
    taken = _plan(problem, choice, device, wide).form
    return _threads(problem.dtype) if taken is None else str(taken)


def _plan(problem: Problem, choice: Choice, device: Device, wide: bool | None) -> Plan:
    """Return the launches of a choice on a device, with 64-bit indices as given or where they must be."""
    if choice.form is None:
        form = tuned_form(choice.method, problem, device)
    else:
        form = form_of(choice.method, problem.dtype, choice.form, problem.channels_last, problem.precision)
    return plan(choice.method, problem.geometry, _context(problem, device, wide, form))


def _context(problem: Problem, device: Device, wide: bool | None, form: Form | None = None) -> PlanContext:
    return PlanContext.of(problem, device, needs_wide(problem.geometry) if wide is None else wide, form)


def form_of(
    method: str, dtype: DType, name: str, channels_last: bool = False, precision: Precision = "ieee"
) -> Form | None:
    """Return the form of a name, None for that of a thread per output, or raise a ValueError that lists the names."""
    known = form_names(method, dtype, channels_last, precision)
    if name == _threads(dtype) and name in known:
        return None
    form = None
    registered = REGISTRY[method]
    if registered.has_tiles and isinstance(name, str):
        form = forms.parse(name, micro_kernels(dtype, precision), registered.variants_of(channels_last))
    if form is None:
        exact = "" if precision == "ieee" else f" by precision {precision}"
        layout = " with channels last" if registered.variants_of(channels_last) != registered.variants_of(False) else ""
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
        self._executable = lru_cache(maxsize=1024)(self._bind)

    def run(
        self,
        problem: Problem,
        choice: Choice,
        arrays: Mapping[Role, Any],
        cache: WeightCache | None = None,
        workspace: Any = None,
    ) -> None:
        """Write what a problem's arrays give.

        Parameters
        ----------
        problem, choice
            What is computed, and how. Without a form a call takes the tuned one, or the one that `select.cost_model`
            estimates to be fastest.
        arrays : mapping of str to array
            The "small" and the "large" map, the "weight" and the "bias", which may be None or missing; all are
            C-contiguous and on the runtime's device. An empty batch writes nothing.
        cache : WeightCache, optional
            Keeps what is made of the weight alone.
        workspace : array of uint8, optional
            Where the rest of the workspace is put.
        """
        if problem.geometry.samples == 0:
            return
        executable = self.bind(problem, choice)
        weight = executable.of_weight(arrays["weight"], arrays.get("bias"), cache)
        executable(arrays["small"], arrays["large"], weight, workspace)

    def bind(self, problem: Problem, choice: Choice, build: Build | None = None) -> Executable:
        """Return the launches of a call with their kernels, compiled; without a `build`, in the engine's own."""
        constants = self._constants(problem, choice, build or self._build)
        # A method named by the caller and the same one taken by "auto" have the same launches.
        return self._executable(problem, choice.method, choice.form, constants, tuned_forms.state())

    def _bind(
        self, problem: Problem, method: str, form: str | None, constants: Constants | None, state: int
    ) -> Executable:
        # Only so that what was executable is not found again once forms are tuned.
        del state
        planned = self.plan(problem, Choice(method, form))
        wide = self._is_wide(problem.geometry)
        texts = (
            source.text(
                step.stem,
                problem.dtype.name,
                wide=wide,
                channels_last=problem.channels_last,
                constants=_own(step, constants),
                defines=step.defines,
            )
            for step in planned.steps
        )
        kernels = tuple(
            self.runtime.compile(text, step.kernel, step.shared_bytes)
            for text, step in zip(texts, planned.steps, strict=True)
        )
        return Executable(self.runtime, planned, kernels, problem.dtype.storage)

    def plan(self, problem: Problem, choice: Choice) -> Plan:
        """Return the launches of a choice on this device."""
        return _plan(problem, choice, self.runtime.limits(), self._wide)

    def estimated(self, problem: Problem, method: str) -> Plan:
        """Return the launches that `plan` returns where no form is asked for, and none was tuned."""
        return plan(method, problem.geometry, _context(problem, self.runtime.limits(), self._wide))

    def workspace_bytes(self, problem: Problem, choice: Choice) -> int:
        """Return the bytes of workspace of a call whose weight is packed."""
        return workspace_bytes(self.plan(problem, choice), problem.dtype.storage)

    def _is_wide(self, geometry: Geometry) -> bool:
        return needs_wide(geometry) if self._wide is None else self._wide

    def _constants(self, problem: Problem, choice: Choice, build: Build | None) -> Constants | None:
        constants = _constants_of(problem.geometry.axes)
        if build is None:
            wide = self._is_wide(problem.geometry)
            key = (choice.method, problem.dtype.name, wide, problem.channels_last, constants)
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
