"""The params struct has the same layout on the host and in CUDA text, and the values of a geometry."""

from __future__ import annotations

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.gpu.build import params, source
from tests import emulator

GEOMETRY = Geometry.conv_transpose((2, 6, 5, 7), (6, 2, 3, 4), (2, 4), ((1, 0), (2, 1)), (1, 0), 3, (1, 6))


@pytest.mark.parametrize("wide", [False, True])
def test_layout_is_that_of_the_c_struct(wide: bool) -> None:
    emulator.require()
    dtype = params.struct(np.int64 if wide else np.int32)
    fields = ", ".join(f"(int)offsetof(Params, {name})" for name in params.FIELDS)
    text = source.text("unified", "float32", wide=wide) + (
        "\n#include <cstddef>\n"
        'extern "C" __global__ void layout(int* out) {\n'
        f"    const int offsets[] = {{{fields}, (int)sizeof(Params)}};\n"
        f"    for (int i = 0; i <= {len(params.FIELDS)}; i++) out[i] = offsets[i];\n}}\n"
    )
    runtime = emulator.Emulator()
    out = np.full(len(params.FIELDS) + 1, -1, np.int32)
    runtime.launch(runtime.compile(text, "layout"), (1, 1, 1), (1, 1, 1), (out,))
    assert out.tolist() == [dtype.fields[name][1] for name in params.FIELDS] + [dtype.itemsize]


def test_values() -> None:
    table = params.build(GEOMETRY, wide=False, grid=(1, 10, 31), firsts=[(0, 0, 0), (0, 1, 3)])
    assert table.shape == (2,)
    assert table.dtype == params.struct(np.int32)
    assert table["first_w"].tolist() == [0, 3]
    record = {name: int(table[name][1]) for name in params.FIELDS}
    assert record["samples"] == 2
    assert record["small_channels"] == 6
    assert record["large_channels"] == 6
    assert (record["group_small"], record["group_large"]) == (2, 2)
    assert [record[f"small_{axis}"] for axis in "dhw"] == [1, 5, 7]
    assert [record[f"lo_{axis}"] for axis in "dhw"] == [0, 1, 2]
    assert [record[f"stride_{axis}"] for axis in "dhw"] == [1, 2, 4]
    assert [record[f"common_{axis}"] for axis in "dhw"] == [1, 1, 2]
    # dilation 6 over stride 4: 3 * 1 = 1 modulo 2.
    assert [record[f"inverse_{axis}"] for axis in "dhw"] == [0, 1, 1]
    assert [record[f"first_{axis}"] for axis in "dhw"] == [0, 1, 3]


def test_the_struct_is_small_enough_to_pass_by_value() -> None:
    assert params.struct(np.int64).itemsize <= 4096
