"""Every kernel build compiles for every architecture, within its registers and without spilling any."""

from __future__ import annotations

import re

import pytest

from cupy_kst.gpu import source

from . import nvrtc
from .roster import BUILDS, LAUNCHERS, Build


@pytest.fixture(autouse=True)
def _needs_nvrtc() -> None:
    nvrtc.require()


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_build_compiles_without_spills(build: Build) -> None:
    compiled = nvrtc.compile_text(build.text, build.architecture)
    usage = compiled.usage
    assert compiled.warnings == []
    assert set(usage) == set(build.kernels)
    for kernel, used in usage.items():
        assert (used.spill_bytes, used.stack_bytes) == (0, 0), f"{kernel} of {build} spills: {used}"
        assert used.registers <= build.registers, f"{kernel} of {build} takes more than its registers: {used}"


def test_every_kernel_is_on_the_roster() -> None:
    written = {
        (path.stem, name)
        for path in source.directory().glob("*.cu")
        for name in re.findall(r"__global__[^;{]*?(\w+)\s*\(\s*const", source.text(path.stem, "float32"))
    }
    rostered = {(stem, kernel) for stem, launcher in LAUNCHERS.items() for kernel in launcher.KERNELS}
    assert written == rostered


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
