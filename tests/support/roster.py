"""Every kernel build that must compile for every architecture: a kernel that is not here fails the tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

from cupy_kst.dtypes import DTYPES, DType
from cupy_kst.geometry import Axis
from cupy_kst.gpu.build import source
from cupy_kst.gpu.methods import REGISTRY
from cupy_kst.gpu.select.tiles import Defines

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
_OTHER_ARCHITECTURES = ("sm_80", "sm_100")
# Where one build of each kernel is enough.
MORE_ARCHITECTURES = ("sm_75", "sm_86", "sm_89", "sm_120")

_UNIT = Axis()
_4X4 = Axis(kernel=4, stride=2)
_5X5 = Axis(kernel=5, stride=2)
_3 = Axis(kernel=3, stride=2)
HUGE = "huge filter"
SPECIALISED = {
    "4x4 stride 2": (_UNIT, _4X4, _4X4),
    "5x5 stride 2": (_UNIT, _5X5, _5X5),
    "3x3x3 stride 2": (_3, _3, _3),
    "1-D 16 taps stride 8": (_UNIT, _UNIT, Axis(kernel=16, stride=8)),
    # Products of its numbers pass 32 bits; only the wide build is made of it.
    HUGE: (Axis(kernel=2048), Axis(kernel=1024, dilation=2**30), Axis(kernel=1024)),
    "3x3 stride 4x3 dilation 6x2": (_UNIT, Axis(kernel=3, stride=4, dilation=6), Axis(kernel=3, stride=3, dilation=2)),
}


class Variant(NamedTuple):
    """What the texts of one form differ in."""

    constants: str
    wide: bool = False
    channels_last: bool = False


_4X4_NARROW = Variant("4x4 stride 2")
_WIDEST = Variant("generic", wide=True)
# Builds of a method's first form for each architecture: specialised most and least, in both layouts.
_FEW = (_4X4_NARROW, Variant("generic", channels_last=True), _WIDEST)
_MORE = (
    *(Variant("generic"), Variant("4x4 stride 2", channels_last=True)),
    Variant("generic", wide=True, channels_last=True),
)
# Further builds, of the smallest and the largest elements that are computed with: what literals change does not depend
# on the element type.
_OTHERS = (
    *map(Variant, ("3x3x3 stride 2", "5x5 stride 2", "1-D 16 taps stride 8", "3x3 stride 4x3 dilation 6x2")),
    *(Variant(HUGE, wide=True), Variant("4x4 stride 2", wide=True)),
)


class Build(NamedTuple):
    """One text with its kernels, for one architecture."""

    stem: str
    dtype: str
    wide: bool
    constants: str
    architecture: str
    defines: Defines = ()
    channels_last: bool = False

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(REGISTRY[self.stem].kernels)

    @property
    def registers(self) -> int:
        return REGISTRY[self.stem].registers

    def stack(self, kernel: str) -> int:
        """Return a thread's bytes of local memory: where tiles on CUDA cores keep the sums of runs."""
        values = dict(self.defines)
        if not kernel.startswith("multiply_") or values["TENSOR"] != "0":
            return 0
        return int(values["THREAD_M"]) * int(values["THREAD_N"]) * DTYPES[self.dtype].compute.itemsize

    @property
    def text(self) -> str:
        constants = SPECIALISED.get(self.constants)
        return source.text(
            self.stem,
            self.dtype,
            wide=self.wide,
            channels_last=self.channels_last,
            constants=constants,
            defines=self.defines,
        )

    def __str__(self) -> str:
        width = ("wide" if self.wide else "narrow") + (", channels last" if self.channels_last else "")
        form = "".join(f", {name} {value}" for name, value in self.defines)
        return f"{self.stem}, {self.dtype}, {width}, {self.constants}, {self.architecture}{form}"


def forms(stem: str, dtype: DType, channels_last: bool) -> list[Defines]:
    """Return the macros of every build that a method may take."""
    return list(REGISTRY[stem].builds(dtype, channels_last))


def _variants(architecture: str, dtype: DType) -> list[Variant]:
    """Return the builds of a launcher's first form."""
    if architecture in MORE_ARCHITECTURES:
        return [_4X4_NARROW]
    more = _MORE if architecture == "sm_90" else ()
    return [*_FEW, *more, *(_OTHERS if more and dtype.name in ("float32", "complex128") else ())]


def _on_tensor_cores(form: Defines) -> bool:
    return dict(form).get("TENSOR", "0") != "0"


def _first_forms(stem: str, dtype: DType) -> list[tuple[Defines, str, Variant]]:
    """Return builds of the first form on CUDA cores, which run on every architecture."""
    found = []
    for architecture in (*ARCHITECTURES, *MORE_ARCHITECTURES):
        for variant in _variants(architecture, dtype):
            known = forms(stem, dtype, variant.channels_last)
            found.append((next(form for form in known if not _on_tensor_cores(form)), architecture, variant))
    return found


def _every_form(stem: str, dtype: DType, channels_last: bool) -> Iterator[tuple[Defines, str, Variant]]:
    """Yield builds of all forms.

    Each form is built in the way that takes most registers, and with loads of 16 bytes. Every other combination of
    loads and trimming is built; where layouts make no difference to a form, the other layout builds the rest. The
    largest tile of a micro-kernel stands for all of its tiles on other architectures, and with wide indices.
    """
    generic, literal = (Variant(each, channels_last=channels_last) for each in ("generic", "4x4 stride 2"))
    known = forms(stem, dtype, channels_last)
    largest, largest_wide = _largest(known), _largest([form for form in known if _may_be_wide(form)])
    # Forms with trimming and without take turns, so each layout begins with another one.
    others = cycle(_OTHER_ARCHITECTURES[:: -1 if channels_last else 1])
    for number, form in enumerate(known):
        if not form:
            return
        tensor, values = _on_tensor_cores(form), dict(form)
        classes = int(values.get("INTERLEAVED", "0"))
        # More classes take more shared memory, and no other registers: some stand for all.
        if classes > 2 and number % 23:
            continue
        by_element = values.get("VECTOR") == "1" or (tensor and channels_last and values["VECTOR_A"] == "1")
        all_by_element = {values.get("VECTOR", "1"), values["VECTOR_A"]} == {"1"}
        turn = _has_its_turn(number, form, channels_last)
        if turn:
            yield form, "sm_90", generic
        if form in largest and not by_element and classes <= 2:
            yield form, next(others), generic
        # On CUDA cores both layouts are alike, so that one of them is enough.
        if not by_element and values.get("TRIMMED") != "1" and (turn or tensor or classes):
            yield form, "sm_90", literal
        if form in largest_wide and all_by_element and classes <= 2:
            yield form, "sm_90", generic._replace(wide=True)
        if tensor and number == 0:
            yield from ((form, architecture, literal) for architecture in MORE_ARCHITECTURES[1 + channels_last :: 2])


def _has_its_turn(number: int, form: Defines, channels_last: bool) -> bool:
    """Return whether a layout has a form in the build that takes most registers, each tile with trimming and without.

    On CUDA cores the other layout has it otherwise; on tensor cores, where layouts differ, ways to load the operands
    take turns: each of one operand meets each of the other's, and trimming. Interleaved tiles load by elements.
    """
    values = dict(form)
    if "INTERLEAVED" in values:
        return values["VECTOR"] == "1"
    if not _on_tensor_cores(form):
        return (number + number // 2) % 2 == channels_last
    switches = values.get("TRIMMED") == "1", values["VECTOR_A"] != "1", values.get("VECTOR", "1") != "1"
    return "TRIMMED" not in values or sum(switches) % 2 == (not channels_last)


def _may_be_wide(form: Defines) -> bool:
    """Return whether a form is taken with 64-bit indices: on tensor cores, tiles of most sums are not."""
    values = dict(form)
    return not _on_tensor_cores(form) or int(values["THREAD_M"]) * int(values["THREAD_N"]) <= 32


def _largest(known: list[Defines]) -> set[Defines]:
    """Return the forms of the largest tile of every micro-kernel."""
    areas = {form: int(values["TILE_M"]) * int(values["TILE_N"]) for form in known if (values := dict(form))}
    most = {
        tensor: max(areas[form] for form in areas if dict(form)["TENSOR"] == tensor)
        for tensor in {dict(form)["TENSOR"] for form in areas}
    }
    return {form for form, area in areas.items() if area == most[dict(form)["TENSOR"]]}


def _builds() -> list[Build]:
    found = [
        Build(stem, dtype.name, each.wide, each.constants, architecture, form, each.channels_last)
        for stem in REGISTRY
        for dtype in DTYPES.values()
        for form, architecture, each in (
            *_first_forms(stem, dtype),
            *(each for last in (False, True) if REGISTRY[stem].has_forms for each in _every_form(stem, dtype, last)),
        )
    ]
    return list(dict.fromkeys(found))


BUILDS = _builds()
# One of each kernel by each kind of product, in 32 and in 16 bits, for where all of them take too long.
ESSENTIAL = frozenset(
    {
        (build.stem, build.dtype, dict(build.defines).get("TENSOR")): build
        for build in BUILDS
        if (build.wide, build.channels_last, build.constants, build.architecture)
        == (False, False, "4x4 stride 2", "sm_90")
        if build.dtype in ("float32", "float16")
    }.values()
)
