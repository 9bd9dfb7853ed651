"""What the machine code of kernels must and must not hold."""

from __future__ import annotations

import re

import pytest

from . import nvrtc
from .roster import BUILDS, Build

SM_90 = [build for build in BUILDS if build.architecture == "sm_90"]


@pytest.fixture(autouse=True)
def _needs_nvrtc() -> None:
    nvrtc.require()


def instructions(build: Build) -> set[str]:
    code = nvrtc.machine_code(nvrtc.compile_text(build.text, build.architecture).cubin)
    return set(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", code, re.MULTILINE))


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype != "float64"], ids=str)
def test_float_arithmetic_keeps_subnormals(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("FFMA") for each in found)
    # CuPy's -ftz=true would show as FFMA.FTZ, FADD.FTZ or FMUL.FTZ on values.
    assert not [each for each in found if re.match(r"(FFMA|FADD|FMUL).*FTZ", each)]


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype == "float64"], ids=str)
def test_double_arithmetic_is_fused(build: Build) -> None:
    assert any(each.startswith("DFMA") for each in instructions(build))


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype == "float16"], ids=str)
def test_half_is_converted_by_one_instruction(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("HADD2.F32") for each in found), found
    assert any(each.startswith(("F2F.F16.F32", "F2FP.F16.F32")) for each in found), found
    assert any(re.match(r"LDG\.E\.U16", each) for each in found)


@pytest.mark.parametrize("build", SM_90, ids=str)
def test_nothing_goes_through_local_memory(build: Build) -> None:
    assert not [each for each in instructions(build) if each.startswith(("LDL", "STL"))]
