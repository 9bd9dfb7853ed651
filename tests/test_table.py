"""The table of methods as callers get it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, get_args

import pytest

import cupy_kst
from cupy_kst import Geometry, Method, methods
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.methods import Op, auto
from tests.engines import METHODS, TRANSPOSED


def test_methods_of_an_operation() -> None:
    assert sorted(methods()) == sorted(METHODS)
    assert tuple(methods("conv_transpose")) == tuple(methods("conv_input")) == TRANSPOSED
    assert tuple(methods("conv")) == tuple(methods("conv_transpose_input")) == ("direct", "conv_v2")
    assert tuple(methods("conv_weight")) == tuple(methods("conv_transpose_weight")) == ("zero_dilation", "sk_dilated")
    for name, method in methods().items():
        assert isinstance(method, Method)
        assert method.name == name
        assert name in methods(method.operation)
        assert method.summary


def test_the_table_is_the_callers_own() -> None:
    methods().clear()
    assert sorted(TABLE) == sorted(METHODS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        methods()["split"].name = "join"


def test_an_unknown_operation_lists_those_there_are() -> None:
    message = "op='pool': there is 'conv_transpose', 'conv', 'conv_input', 'conv_weight', 'conv_transpose_input', "
    with pytest.raises(ValueError, match=re.escape(message)):
        methods("pool")


@pytest.mark.parametrize("call", [cupy_kst.costs, cupy_kst.explain])
@pytest.mark.parametrize("dtype", ["float8", 3, object, "int32"])
def test_an_unknown_element_type_lists_those_there_are(call: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"^dtype .* is not supported: use one of float16, bfloat16, float32, float64"):
        call((1, 1, 3, 3), (1, 1, 3, 3), dtype=dtype)


@pytest.mark.parametrize("form", ["compiled", "compiled_fold", "fold", "columns"])
@pytest.mark.parametrize("op", get_args(Op))
def test_lines_fit_a_terminal(op: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cupy_kst.cpu.form_names", lambda *call: (form,))
    assert max(map(len, cupy_kst.explain((8, 512, 64, 64), (512, 512, 4, 4), op=op).splitlines())) <= 120


def test_the_function_has_the_name_of_its_module() -> None:
    assert cupy_kst.methods is methods
    assert methods.__module__ == "cupy_kst.methods"


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_what_methods_support(dilation: int | tuple[int, int]) -> None:
    geometry = Geometry.conv_transpose((1, 8, 8), (1, 1, 3, 3), 2, dilation=dilation)
    able = {name: method.supports(geometry) for name, method in methods("conv_transpose").items()}
    split = able.pop("split")
    assert set(able.values()) == {(True, "")}
    spread = (dilation,) * 2 if isinstance(dilation, int) else dilation
    reason = "" if dilation == 1 else f"its sub-filters have no dilation, which here is {spread}"
    assert split == (dilation == 1, reason)


@pytest.mark.parametrize(
    ("channels", "groups", "on_gpu", "on_cpu"),
    [
        ((64, 32), 1, ("ks_deconv", "conv_v2", "sk_dilated"), ("ks_deconv", "conv_v2", "sk_dilated")),
        ((128, 3), 1, ("ks_deconv", "conv_v2", "sk_dilated"), ("ks_deconv", "conv_v2", "sk_dilated")),
        ((64, 64), 64, ("unified", "direct", "sk_dilated"), ("ks_deconv", "conv_v2", "sk_dilated")),
    ],
)
def test_what_auto_takes(
    channels: tuple[int, int], groups: int, on_gpu: tuple[str, ...], on_cpu: tuple[str, ...]
) -> None:
    small, large = channels
    geometry = Geometry.conv_transpose((1, small, 8, 8), (small, large // groups, 4, 4), 2, 1, groups=groups)
    for operation, gpu, cpu in zip(("conv_transpose", "conv", "conv_weight"), on_gpu, on_cpu, strict=True):
        assert auto(operation, geometry, "cupy").name == gpu
        assert auto(operation, geometry, "numpy").name == cpu


@pytest.mark.parametrize(
    ("shape", "options"),
    [((1, 8, 2, 2), {"padding": 1}), ((2, 8, 1, 1), {"stride": 4, "output_padding": 3, "padding": 1})],
)
def test_what_has_no_taps_costs_nothing(shape: tuple[int, ...], options: dict[str, int]) -> None:
    options = {"stride": 2, **options}
    assert cupy_kst.costs(shape, (8, 8, 1, 1), **options)["ks_deconv"].useful_macs == 0
    assert "ks_deconv/" in cupy_kst.explain(shape, (8, 8, 1, 1), **options)
