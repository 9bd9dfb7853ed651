"""Every kernel build compiles for every architecture, within its registers and without spilling any."""

from __future__ import annotations

import re

import pytest

from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build import source
from cupy_kst.gpu.methods import REGISTRY
from cupy_kst.gpu.select.tiles import Defines
from tests.support import nvrtc
from tests.support.roster import ARCHITECTURES, BUILDS, ESSENTIAL, MORE_ARCHITECTURES, Build


@pytest.fixture(autouse=True)
def _needs_nvrtc() -> None:
    nvrtc.require()


@pytest.mark.long(but=lambda build: build in ESSENTIAL)
@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_build_compiles_without_spills(build: Build) -> None:
    compiled = nvrtc.compile_text(build.text, build.architecture)
    usage = compiled.usage
    assert compiled.warnings == []
    assert set(usage) == set(build.kernels)
    for kernel, used in usage.items():
        assert (used.spill_bytes, used.stack_bytes) == (0, build.stack(kernel)), f"{kernel} of {build} spills: {used}"
        assert used.registers <= build.registers, f"{kernel} of {build} takes more than its registers: {used}"


def test_every_kernel_is_on_the_roster() -> None:
    written = {
        (path.stem, name)
        for path in source.directory().glob("*.cu")
        for name in re.findall(r"__global__[^;{]*?(\w+)\s*\(\s*const", source.text(path.stem, "float32"))
    }
    rostered = {(stem, kernel) for stem, method in REGISTRY.items() for kernel in method.kernels}
    assert written == rostered


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", REGISTRY)
def test_every_form_is_on_the_roster(stem: str, dtype: str) -> None:
    """In both layouts on tensor cores, where these make a difference; as narrow, literal and wide builds in each."""
    own = [build for build in BUILDS if (build.stem, build.dtype) == (stem, dtype)]
    assert {build.architecture for build in own} == {*ARCHITECTURES, *MORE_ARCHITECTURES}
    built = {(build.channels_last, _form(build.defines)) for build in own if build.architecture == "sm_90"}
    for last in (False, True):
        known = {_form(defines) for defines in REGISTRY[stem].builds(DTYPES[dtype], last)}
        either = {form for form in known if dict(form).get("TENSOR", "0") == "0"}
        assert known - either <= {form for layout, form in built if layout == last}
        assert either <= {form for _, form in built}
        micro_kernels = {dict(form).get("TENSOR") for form in known}
        widths = {
            (dict(build.defines).get("TENSOR"), build.wide, build.constants) for build in own if build[-1] == last
        }
        for micro in micro_kernels:
            for width in ((False, "generic"), (False, "4x4 stride 2"), (True, "generic")):
                assert (micro, *width) in widths


def _form(defines: Defines) -> Defines:
    """Return what a form's name tells: not how wide loads are, nor how many classes are interleaved."""
    values = {name: value for name, value in defines if name not in ("VECTOR", "VECTOR_A", "SHARED_BYTES")}
    return tuple({**values, "INTERLEAVED": str(int(values.get("INTERLEAVED", "0") != "0"))}.items())


def test_a_spill_is_seen() -> None:
    text = """extern "C" __global__ void __launch_bounds__(1024, 2) spills(float* x, int n)
    {
        float kept[64];
    #pragma unroll
        for (int i = 0; i < 64; i++)
            kept[i] = x[i * n];
        __syncthreads();
    #pragma unroll
        for (int i = 0; i < 64; i++)
            x[(i + threadIdx.x) * n] = kept[i] * kept[63 - i];
    }"""
    assert nvrtc.compile_text(text, "sm_90").usage["spills"].spill_bytes > 0


def test_a_compile_error_names_the_file_and_line() -> None:
    text = source.text("unified", "float32").replace("if (at.inside)", "if (at.nowhere)")
    with pytest.raises(Exception, match=r"unified\.cu\(\d+\): error"):
        nvrtc.compile_text(text, "sm_90")
