"""What the machine code of kernels must and must not hold."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from cupy_kst.dtypes import DTYPES

from . import nvrtc
from .roster import BUILDS, LAUNCHERS, Build

SM_90 = [build for build in BUILDS if build.architecture == "sm_90"]
DOUBLE = ("float64", "complex128")
TILED = ("ks_deconv", "conv_v2", "sk_dilated")
# The compiler treats signs differently for newer architectures.
FLOAT = [build for build in SM_90 if build.dtype not in DOUBLE]
FLOAT += [
    build for build in BUILDS if build.architecture in ("sm_80", "sm_100", "sm_120") and build.dtype == "complex64"
]


@pytest.fixture(autouse=True)
def _needs_nvrtc() -> None:
    nvrtc.require()


def instructions(build: Build) -> Counter[str]:
    code = nvrtc.machine_code(nvrtc.compile_text(build.text, build.architecture).cubin)
    return Counter(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", code, re.MULTILINE))


@pytest.mark.parametrize("build", FLOAT, ids=str)
def test_float_arithmetic_keeps_subnormals(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("FFMA") for each in found)
    # CuPy's -ftz=true would show as FFMA.FTZ, FADD.FTZ or FMUL.FTZ on values.
    assert not [each for each in found if re.match(r"(FFMA|FADD|FMUL).*FTZ", each)]


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype in DOUBLE], ids=str)
def test_double_arithmetic_is_fused(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("DFMA") for each in found)
    assert not [each for each in found if each.startswith(("DADD", "DMUL"))]


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype == "float16"], ids=str)
def test_half_is_converted_by_one_instruction(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("HADD2.F32") for each in found), found
    assert any(each.startswith(("F2F.F16.F32", "F2FP.F16.F32")) for each in found), found
    assert any(re.match(r"LDG\.E\.U16", each) for each in found)


@pytest.mark.parametrize("build", [each for each in SM_90 if each.dtype == "bfloat16"], ids=str)
def test_bfloat16_is_converted_by_integers(build: Build) -> None:
    found = instructions(build)
    assert any(re.match(r"LDG\.E\.U16", each) for each in found)
    assert not [each for each in found if re.match(r"F2F|HADD2|HMUL2|HFMA2\.BF16", each)], found
    if build.stem not in TILED:
        assert not [each for each in found if re.match(r"LDG\.E(?!\.U16)", each)], found


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("stem", LAUNCHERS)
def test_a_complex_element_is_one_access_and_four_operations(stem: str, dtype: str) -> None:
    build = next(each for each in SM_90 if each[:4] == (stem, dtype, False, "4x4 stride 2"))
    found = instructions(build)
    width, fused = ("64", "FFMA") if dtype == "complex64" else ("128", "DFMA")
    assert {each for each in found if each.startswith("LDG")} <= {f"LDG.E.{width}", f"LDG.E.{width}.CONSTANT"}
    assert {each for each in found if each.startswith("STG")} == {f"STG.E.{width}"}
    # A product takes four operations on two loaded elements.
    loads, operations = (sum(n for each, n in found.items() if each.startswith(name)) for name in ("LDG", fused))
    assert operations % 4 == 0 or stem == "sk_dilated"  # whose sums of splits are not of products
    # Threads of a tile multiply an element by many.
    assert 0 < operations <= 2 * loads or stem in TILED


@pytest.mark.parametrize("build", SM_90, ids=str)
def test_nothing_goes_through_local_memory(build: Build) -> None:
    assert not [each for each in instructions(build) if each.startswith(("LDL", "STL"))]


@pytest.mark.parametrize("build", [each for each in SM_90 if ("TRIMMED", "0") in each.defines], ids=str)
def test_vector_builds_load_the_filter_by_16_bytes(build: Build) -> None:
    vector = int(dict(build.defines)["VECTOR"])
    wide_loads = [each for each in instructions(build) if each.startswith("LDG.E.128")]
    assert bool(wide_loads) == (vector * DTYPES[build.dtype].storage.itemsize == 16)


@pytest.mark.parametrize("build", [each for each in SM_90 if each.stem in TILED], ids=str)
def test_tiles_are_read_by_16_bytes_and_stored_between_barriers(build: Build) -> None:
    found = instructions(build)
    assert any(each.startswith("LDS.128") for each in found), found
    assert any(each.startswith("BAR.SYNC") for each in found), found
