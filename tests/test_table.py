"""The table of methods as callers get it."""

from __future__ import annotations

import dataclasses

import pytest

import cupy_kst
from cupy_kst import Geometry, Method, methods
from cupy_kst.methods import METHODS as TABLE
from tests.engines import METHODS


def test_methods_of_an_operation() -> None:
    assert tuple(methods()) == tuple(methods("conv_transpose")) == METHODS
    for name, method in methods().items():
        assert isinstance(method, Method)
        assert (method.name, method.operation) == (name, "conv_transpose")
        assert method.summary


def test_the_table_is_the_callers_own() -> None:
    methods().clear()
    assert tuple(TABLE) == METHODS
    with pytest.raises(dataclasses.FrozenInstanceError):
        methods()["split"].name = "join"


def test_an_unknown_operation_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^op='conv': there is 'conv_transpose'$"):
        methods("conv")


def test_the_function_has_the_name_of_its_module() -> None:
    assert cupy_kst.methods is methods
    assert methods.__module__ == "cupy_kst.methods"


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_what_methods_support(dilation: int | tuple[int, int]) -> None:
    geometry = Geometry.conv_transpose((1, 8, 8), (1, 1, 3, 3), 2, dilation=dilation)
    able = {name: method.supports(geometry) for name, method in methods().items()}
    split = able.pop("split")
    assert set(able.values()) == {(True, "")}
    spread = (dilation,) * 2 if isinstance(dilation, int) else dilation
    reason = "" if dilation == 1 else f"its sub-filters have no dilation, which here is {spread}"
    assert split == (dilation == 1, reason)
