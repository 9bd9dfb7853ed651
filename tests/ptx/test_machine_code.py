"""What the machine code of kernels must and must not hold."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.methods import REGISTRY
from tests.support import nvrtc
from tests.support.roster import BUILDS, ESSENTIAL, Build

DOUBLE = ("float64", "complex128")
TILED = ("ks_deconv", "conv_v2", "sk_dilated")
# Indices and other sizes change no operation on elements; nor do generic builds, of which there are many with tiles: of
# kernels without, those are read whose channels come last.
_NARROW = [
    build
    for build in BUILDS
    if not build.wide
    and build.constants == ("generic" if build.channels_last and not build.defines else "4x4 stride 2")
]
# The compiler treats the signs of complex products differently for newer architectures.
READ = [
    build
    for build in _NARROW
    if build.architecture == "sm_90"
    or (build.architecture in ("sm_80", "sm_100", "sm_120") and build.dtype == "complex64")
]


@pytest.fixture(autouse=True)
def _needs_nvrtc() -> None:
    nvrtc.require()


def code_of(build: Build) -> str:
    return nvrtc.machine_code(nvrtc.compile_text(build.text, build.architecture).cubin)


def instructions(code: str) -> Counter[str]:
    return Counter(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", code, re.MULTILINE))


def test_every_kernel_is_read_in_every_element_type_and_layout() -> None:
    def kinds(builds: list[Build]) -> set[tuple[object, ...]]:
        return {(each.stem, each.dtype, each.channels_last, dict(each.defines).get("TENSOR")) for each in builds}

    assert kinds(READ) == kinds(BUILDS)


# One test for each build, as reading its code takes longer than all that is looked for there.
@pytest.mark.long(
    but=lambda build: (
        build in ESSENTIAL and build.dtype == "float32" and dict(build.defines).get("TENSOR") in (None, "0", "3")
    )
)
@pytest.mark.parametrize("build", READ, ids=str)
def test_machine_code(build: Build) -> None:
    code = code_of(build)
    found = instructions(code)
    _check_local_memory(code, build)
    if ("TENSOR", "0") not in build.defines and build.stem in TILED:
        _check_tensor_cores(found, build)
        _check_copies(code)
        return
    if build.dtype in DOUBLE:
        _check_doubles(found)
    else:
        _check_floats(found)
    if build.dtype == "float16":
        _check_halves(found)
    if build.dtype == "bfloat16":
        _check_bfloats(found, build.stem in TILED)
    if build.stem in TILED:
        _check_tiles(found, build)


def _matching(found: Counter[str], pattern: str) -> list[str]:
    return [each for each in found if re.match(pattern, each)]


def _check_local_memory(code: str, build: Build) -> None:
    """Local memory is where tiles on CUDA cores keep the sums of runs, 8 bytes an access.

    A sum is stored with others before it or without, and loaded between runs and at the end.
    """
    parts = re.split(r"^\s*\.section\s+\.text\.(\w+),", code, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(build.kernels) <= set(texts)
    for kernel, text in texts.items():
        accesses = sum(n for name, n in instructions(text).items() if re.match("LDL|STL", name))
        kept = build.stack(kernel) if kernel in build.kernels else 0
        most = 4 * (kept // min(8, DTYPES[build.dtype].compute.itemsize))
        assert accesses <= most, f"{kernel} accesses {kept} bytes of local memory {accesses} times"


def _check_floats(found: Counter[str]) -> None:
    assert _matching(found, "FFMA")
    # CuPy's -ftz=true would show as FFMA.FTZ, FADD.FTZ or FMUL.FTZ on values: subnormals are kept.
    assert not _matching(found, "(FFMA|FADD|FMUL).*FTZ")


def _check_doubles(found: Counter[str]) -> None:
    assert _matching(found, "DFMA")
    assert not _matching(found, "DADD|DMUL"), "not fused"


def _check_halves(found: Counter[str]) -> None:
    """Each way of the conversion is one instruction."""
    assert _matching(found, r"HADD2\.F32"), found
    assert _matching(found, r"F2FP?\.F16\.F32"), found
    assert _matching(found, r"LDG\.E\.U16")


def _check_bfloats(found: Counter[str], tiled: bool) -> None:
    """Both ways of the conversion are made by integers."""
    assert _matching(found, r"LDG\.E\.U16")
    assert not _matching(found, r"F2F|HADD2|HMUL2|HFMA2\.BF16"), found
    assert tiled or not _matching(found, r"LDG\.E(?!\.U16)"), found


def _check_tiles(found: Counter[str], build: Build) -> None:
    """Tiles are read by 16 bytes and stored between barriers; so is the filter loaded where the build says so."""
    assert _matching(found, r"LDS\.128"), found
    assert _matching(found, r"BAR\.SYNC"), found
    if ("TRIMMED", "0") in build.defines:
        vector = int(dict(build.defines)["VECTOR"]) * DTYPES[build.dtype].storage.itemsize
        assert bool(_matching(found, r"LDG\.E\.128")) == (vector == 16)


def _check_tensor_cores(found: Counter[str], build: Build) -> None:
    """Operands are copied in the background, 16 bytes at a time where they lie so, and multiplied by tensor cores."""
    defines, half = dict(build.defines), DTYPES[build.dtype].storage.itemsize == 2
    instruction = {"float16": r"16816\.F32$", "bfloat16": r"16816\.F32\.BF16", "float32": r"1688\.F32\.TF32"}
    products = sum(found[each] for each in _matching(found, rf"HMMA\.{instruction[build.dtype]}"))
    tiles = int(defines["THREAD_M"]) // 2 * (int(defines["THREAD_N"]) // 2)
    depths = int(defines["TILE_K"]) // (16 if half else 8)
    assert products == tiles * depths * int(defines["TENSOR"])
    assert _matching(found, r"LDGDEPBAR"), found
    assert _matching(found, r"BAR\.SYNC"), found
    by_rows = build.channels_last and build.stem != "sk_dilated"
    assert bool(_matching(found, r"LDGSTS\.E\.(BYPASS\.)?128")) == (defines.get("VECTOR", defines["VECTOR_A"]) != "1")
    assert bool(_matching(found, r"STG\.E\.128")) == by_rows
    # Matrices of 16-bit elements, or whose depth is side by side.
    assert bool(_matching(found, r"LDSM")) == (half or by_rows)


def _check_copies(code: str) -> None:
    """Every copy in the background has a predicate for what is copied: elements, or zeros where none are real.

    Without it a copy reads whatever lies behind an array's end. The emulator cannot tell, as its copies are not those
    of the device.
    """
    copies = re.findall(r"LDGSTS\S* (?P<operands>[^;]*);", code)
    assert all(re.search(r"\], !?U?P\d\s*$", operands) for operands in copies), copies


# One build of each method by one product and by three: PTX is made anew each time.
WARPS = {
    (build.stem, tensor): build
    for build in READ
    if (tensor := dict(build.defines).get("TENSOR", "0")) != "0" and (build.dtype, tensor) != ("float32", "1")
}


@pytest.mark.parametrize("build", WARPS.values(), ids=["-".join(key) for key in WARPS])
def test_lanes_meet_before_instructions_of_a_warp(build: Build) -> None:
    """Instructions of a warp are taken by all lanes together, which a branch before may have parted.

    ptxas drops a meeting where it proves that lanes are together, so that machine code tells nothing of it.
    """
    blocks = re.split(r"^\$L\w+:|^.*\bbra\b.*$", nvrtc.ptx(build.text, build.architecture), flags=re.MULTILINE)
    multiplying = [block for block in blocks if "mma.sync" in block]
    assert multiplying
    for block in multiplying:
        before, _, _ = re.split(r"(mma\.sync|ldmatrix\.sync)", block, maxsplit=1)
        assert "bar.warp.sync" in before, block[:2000]


@pytest.mark.long(but=lambda stem, dtype: dtype == "complex64" and stem in ("direct", "unified"))
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("stem", REGISTRY)
def test_a_complex_element_is_one_access_and_four_operations(stem: str, dtype: str) -> None:
    build = next(each for each in READ if each[:5] == (stem, dtype, False, "4x4 stride 2", "sm_90"))
    code = code_of(build)
    found = instructions(code)
    width, fused = ("64", "FFMA") if dtype == "complex64" else ("128", "DFMA")
    assert {each for each in found if each.startswith("LDG")} <= {f"LDG.E.{width}", f"LDG.E.{width}.CONSTANT"}
    assert {each for each in found if each.startswith("STG")} == {f"STG.E.{width}"}
    # A product takes four operations on two loaded elements. Sums of chains are added as fused operations by 1.
    loads = sum(n for each, n in found.items() if each.startswith("LDG"))
    operations = len(re.findall(rf"\b{fused} (?![^;]*, 1, )", code))
    assert operations % 4 == 0 or stem in TILED  # whose sums of parts are not of products
    # Threads of a tile multiply an element by many.
    assert 0 < operations <= 2 * loads or stem in TILED
