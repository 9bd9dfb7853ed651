"""Unified kernel segregation with an array of sub-kernel sizes, which experiments alone have: NumPy and CUDA text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cupy_kst
from cupy_kst import Geometry
from cupy_kst.testing import Arrays, Case, examples
from experiments.papers.b_unified import size_table
from tests.emulator import Emulator, require
from tests.support import nvrtc
from tests.support.engines import emulate, expected

drawn = examples(ranks=(2,), dtypes=("float32",), batches=(1, 2), max_dilation=1, bias=False)


def geometry_of(case: Case) -> Geometry:
    return Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)


def emulated(case: Case, arrays: Arrays, emulator: Emulator, sizes: Any = None) -> Any:
    geometry = geometry_of(case)
    y = emulator.empty(geometry.output_shape, case.dtype)
    launch = size_table.launcher(emulator, geometry, case.dtype)
    launch(arrays.input, arrays.weight, y, size_table.table(geometry) if sizes is None else sizes)
    emulator.check_written(y)
    return y


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(drawn, st.sampled_from(("asan", "plain")))
def test_the_kernel_equals_the_definition_exactly(example: tuple[Case, Arrays], build: str) -> None:
    require()
    case, arrays = example
    np.testing.assert_array_equal(emulated(case, arrays, Emulator(build)), expected(case, arrays))


@settings(max_examples=100, deadline=None)
@given(examples(ranks=(2,), batches=(1, 2), max_dilation=1, max_groups=1, bias=False), st.booleans())
def test_the_loop_equals_the_definition_exactly(example: tuple[Case, Arrays], from_table: bool) -> None:
    case, arrays = example
    geometry = geometry_of(case)
    sizes = size_table.looked_up(size_table.table(geometry)) if from_table else size_table.computed(geometry)
    result = size_table.one_pass(geometry, arrays.input, arrays.weight, sizes)
    assert result.dtype == case.dtype
    np.testing.assert_array_equal(result, expected(case, arrays))


def test_the_kernel_reads_its_sizes() -> None:
    """An array that says there are no taps leaves nothing to sum; loops that end with the filter would not heed it."""
    require()
    case, arrays = fixed_example()
    none = np.zeros((2, 2, 2), np.int32)
    assert not emulated(case, arrays, Emulator(), none).any()
    assert emulated(case, arrays, Emulator()).any()


def test_it_sums_in_the_order_of_the_library() -> None:
    """On real numbers, where another order would round otherwise."""
    require()
    case, arrays = fixed_example()
    by_library = emulate("unified", case, arrays, sanitize="plain", build="specialised")
    np.testing.assert_array_equal(emulated(case, arrays, Emulator()), by_library)


def fixed_example() -> tuple[Case, Arrays]:
    case = Case(
        op="conv_transpose",
        input_shape=(2, 3, 5, 6),
        weight_shape=(3, 2, 5, 4),
        bias=False,
        dtype="float32",
        stride=(2, 2),
        padding=(2, 1),
        output_padding=(0, 0),
        groups=1,
        dilation=(1, 1),
        output_sizes=(9, 12),
    )
    draw = np.random.default_rng(0).random
    return case, Arrays(draw(case.input_shape, "f4"), draw(case.weight_shape, "f4"), None, None)


@pytest.mark.parametrize(
    ("kernel", "sizes"),
    [
        (3, [[(2, 2), (2, 1)], [(1, 2), (1, 1)]]),
        (4, [[(2, 2), (2, 2)], [(2, 2), (2, 2)]]),
        (5, [[(3, 3), (3, 2)], [(2, 3), (2, 2)]]),
    ],
)
def test_sizes_of_the_four_sub_kernels(kernel: int, sizes: Any) -> None:
    geometry = Geometry.conv_transpose((1, 1, 8, 8), (1, 1, kernel, kernel), 2, 1)
    table = size_table.table(geometry)
    np.testing.assert_array_equal(table, sizes)
    assert table.nbytes == 32


@pytest.mark.long(but=lambda architecture, wide: architecture == "sm_90" and not wide)
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("wide", [False, True])
def test_the_kernel_compiles_without_spills(architecture: str, wide: bool) -> None:
    nvrtc.require()
    compiled = nvrtc.compile_text(size_table.text("float32", wide), architecture)
    assert compiled.warnings == []
    used = compiled.usage["unified_table"]
    assert (used.spill_bytes, used.stack_bytes) == (0, 0)
    assert used.registers <= 128


def test_a_compile_error_names_the_file_and_line() -> None:
    nvrtc.require()
    text = size_table.text("float32").replace("int row = 0", "int row = nothing")
    with pytest.raises(Exception, match=r"unified_table\.cu\(\d+\): error"):
        nvrtc.compile_text(text, "sm_90")


@pytest.mark.gpu
def test_the_kernel_on_the_gpu() -> None:
    cupy = pytest.importorskip("cupy")
    from cupy_kst import gpu

    case, arrays = fixed_example()
    geometry = geometry_of(case)
    x, weight = cupy.asarray(arrays.input), cupy.asarray(arrays.weight)
    y, sizes = cupy.full(geometry.output_shape, np.nan, "f4"), cupy.asarray(size_table.table(geometry))
    size_table.launcher(gpu.engine(0).runtime, geometry, "float32")(x, weight, y, sizes)
    right = cupy_kst.conv_transpose2d(x, weight, method="unified", **case.options)
    np.testing.assert_allclose(cupy.asnumpy(y), cupy.asnumpy(right), rtol=1e-6, atol=0)
