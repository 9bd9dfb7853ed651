"""Every kernel build that must compile for every architecture: a kernel that is not here fails the tests."""

from __future__ import annotations

from typing import NamedTuple

from cupy_kst.axis import Axis
from cupy_kst.dtypes import DTYPES, DType
from cupy_kst.gpu import (
    conv_v2,
    direct,
    ks_deconv,
    segregated,
    sk_dilated,
    source,
    split,
    unified,
    zero_dilation,
    zero_insertion,
)
from cupy_kst.gpu.tiles import Defines

LAUNCHERS = {
    "zero_insertion": zero_insertion,
    "segregated": segregated,
    "unified": unified,
    "ks_deconv": ks_deconv,
    "split": split,
    "direct": direct,
    "conv_v2": conv_v2,
    "zero_dilation": zero_dilation,
    "sk_dilated": sk_dilated,
}

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
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


# Constants, and whether indices are wide: the builds of a launcher's first form.
_FEW = [("4x4 stride 2", False), ("3x3x3 stride 2", False), (HUGE, True), ("generic", False), ("generic", True)]
_ROUNDS = dict.fromkeys(ARCHITECTURES, _FEW)
_ROUNDS["sm_90"] = [*((each, each == HUGE) for each in SPECIALISED), *_FEW[3:], ("4x4 stride 2", True)]


class Build(NamedTuple):
    """One text with its kernels, for one architecture."""

    stem: str
    dtype: str
    wide: bool
    constants: str
    architecture: str
    defines: Defines = ()

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(LAUNCHERS[self.stem].KERNELS)

    @property
    def registers(self) -> int:
        return LAUNCHERS[self.stem].REGISTERS

    @property
    def text(self) -> str:
        constants = SPECIALISED.get(self.constants)
        return source.text(self.stem, self.dtype, wide=self.wide, constants=constants, defines=self.defines)

    def __str__(self) -> str:
        width = "wide" if self.wide else "narrow"
        form = "".join(f", {name} {value}" for name, value in self.defines)
        return f"{self.stem}, {self.dtype}, {width}, {self.constants}, {self.architecture}{form}"


def forms(stem: str, dtype: DType) -> list[Defines]:
    """Return the defines of every form that a launcher may take: one without any where it has no tiles."""
    launcher = LAUNCHERS[stem]
    return list(launcher.forms(dtype)) if hasattr(launcher, "forms") else [()]


def _builds() -> list[Build]:
    builds = []
    for stem in LAUNCHERS:
        for dtype in DTYPES.values():
            first, *others = forms(stem, dtype)
            for architecture in ARCHITECTURES:
                rounds = _ROUNDS[architecture]
                builds += [Build(stem, dtype.name, wide, each, architecture, first) for each, wide in rounds]
            # What takes most registers: every form for sm_90, and for one of the others.
            builds += [Build(stem, dtype.name, True, "generic", "sm_90", form) for form in others]
            builds += [Build(stem, dtype.name, True, "generic", "sm_80", form) for form in others[::2]]
            builds += [Build(stem, dtype.name, True, "generic", "sm_100", form) for form in others[1::2]]
            vectors = [form for form in others if ("VECTOR", "1") not in form]
            builds += [Build(stem, dtype.name, False, "4x4 stride 2", "sm_90", form) for form in vectors]
            builds += [Build(stem, dtype.name, False, "4x4 stride 2", each, first) for each in MORE_ARCHITECTURES]
    return builds


BUILDS = _builds()
