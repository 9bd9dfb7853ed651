"""The table of methods as callers get it."""

from __future__ import annotations

import dataclasses
import re
from itertools import chain
from typing import Any, get_args

import numpy as np
import pytest

import cupy_kst
from cupy_kst import Geometry, Method, methods
from cupy_kst.cpu import methods as cpu_methods
from cupy_kst.cpu import registry as cpu_registry
from cupy_kst.gpu import methods as gpu_methods
from cupy_kst.gpu import registry as gpu_registry
from cupy_kst.gpu.build import source
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.methods import Op, auto

# The one list of methods that is written by hand, so that one that is lost shows: all others are read from registries.
NAMES = {
    "conv_transpose": ("zero_insertion", "segregated", "unified", "ks_deconv", "split"),
    "conv": ("direct", "conv_v2"),
    "conv_weight": ("zero_dilation", "sk_dilated"),
}


def test_methods_of_an_operation() -> None:
    assert tuple(methods()) == tuple(chain(*NAMES.values()))
    assert tuple(methods("conv_transpose")) == tuple(methods("conv_input")) == NAMES["conv_transpose"]
    assert tuple(methods("conv")) == tuple(methods("conv_transpose_input")) == NAMES["conv"]
    assert tuple(methods("conv_weight")) == tuple(methods("conv_transpose_weight")) == NAMES["conv_weight"]
    for name, method in methods().items():
        assert isinstance(method, Method)
        assert method.name == name
        assert name in methods(method.operation)
        assert method.summary


def test_both_engines_have_every_method() -> None:
    assert set(gpu_methods.REGISTRY) == set(cpu_methods.REGISTRY) == set(TABLE)
    for name, on_gpu in gpu_methods.REGISTRY.items():
        on_cpu = cpu_methods.REGISTRY[name]
        assert on_gpu.name == on_cpu.name == name
        assert on_gpu.kernels
        assert (source.directory() / f"{name}.cu").is_file()
        assert len({form.name for form in on_cpu.forms}) == len(on_cpu.forms) > 0
        # What a method leaves to an exact one must be computed by that.
        if on_cpu.exact_method:
            exact = TABLE[on_cpu.exact_method]
            assert (exact.operation, exact.non_finite) == (TABLE[name].operation, "exact")
            assert cpu_methods.REGISTRY[exact.name].forms[0].exact


@pytest.mark.parametrize("operation", NAMES)
def test_one_method_of_an_operation_judges_the_forms_of_others(operation: str) -> None:
    judges = [name for name in NAMES[operation] if gpu_methods.REGISTRY[name].judges_forms]
    assert len(judges) == 1
    assert not gpu_methods.REGISTRY[judges[0]].has_tiles


@pytest.mark.parametrize("registry", [cpu_registry, gpu_registry])
def test_a_method_is_registered_once(registry: Any) -> None:
    with pytest.raises(ValueError, match=r"^split is registered twice$"):
        registry.register(registry.REGISTRY["split"])


def test_the_table_is_the_callers_own() -> None:
    methods().clear()
    assert list(methods()) == list(TABLE) != []
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


SHAPES: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
    ((8, 512, 64, 64), (512, 512, 4, 4), {}),
    ((8, 3, 50), (3, 3, 7), {"stride": 3, "dilation": 2}),
    ((16, 512, 48, 100, 100), (512, 512, 3, 3, 3), {"stride": 2, "padding": 1}),
    ((1000, 4, 1, 15, 45), (4, 4, 1, 3, 5), {"stride": (300, 20, 30), "dilation": (1, 7, 11)}),
    ((2, 4, 2_000, 9), (4, 4, 3, 1), {"stride": (1, 1000)}),
)


@pytest.mark.parametrize("op", get_args(Op))
@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_lines_fit_a_terminal(op: Op, shape: int) -> None:
    input_shape, weight_shape, options = SHAPES[shape]
    for dtype, method in (("float32", "auto"), ("complex128", "auto"), ("bfloat16", next(iter(methods(op))))):
        text = cupy_kst.explain(input_shape, weight_shape, op=op, dtype=dtype, method=method, **options)
        lines = text.splitlines()
        assert max(map(len, lines)) <= 100
        assert len(lines) < 40
        # No line is empty, or ends with what nobody sees.
        assert all(line == line.rstrip() and line for line in lines)
        for each in (input_shape, weight_shape):
            assert str(each) in text, "a shape stands in one line"


def test_the_text_names_classes_and_who_takes_a_method() -> None:
    """On a GPU and on the CPU "auto" takes another method."""
    text = cupy_kst.explain((1, 8, 9, 9), (8, 1, 3, 3), stride=(2, 1), groups=8)
    lines = text.splitlines()
    assert "residue classes: 2, with sub-kernels of 2x3 taps (1), 1x3 taps (1)" in lines
    assert "  class: (output + padding) % stride on each axis" in lines
    assert "  class (0, 0): 2x3 taps [0::2, 0::1] of the filter make outputs [0::2, 0::1]" in lines
    assert "  class (1, 0): 1x3 taps [1::2, 0::1] of the filter make outputs [1::2, 0::1]" in lines
    takers = [(line.split()[0], line.partition("taken by ")[2]) for line in lines if line.startswith(("u", "k"))]
    assert [each for each in takers if each[1]] == [("unified", "CUDA"), ("ks_deconv", "NumPy")]
    assert "baseline, taken by both" in cupy_kst.explain((1, 8, 9, 9), (8, 1, 3, 3), method="zero_insertion")
    sparse = cupy_kst.explain((1, 1, 4), (1, 1, 1), stride=2)
    assert "  class (1): no taps, so that outputs [1::2] are the bias alone" in sparse.splitlines()
    assert "  class (0): 1 tap [0::2] of the filter make outputs [0::2]" in sparse.splitlines()
    assert "residue classes: 2, with sub-kernels of 1 tap (1), no taps (1)" in sparse.splitlines()
    mixed = cupy_kst.explain((1, 4, 5, 5), (4, 6, 2, 2), stride=3)
    assert "residue classes: 9, with sub-kernels of 1x1 tap (4), no taps (5)" in mixed.splitlines()
    assert "useful: 1 MAC of a tap and an input that both exist" in cupy_kst.explain((1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize("op", get_args(Op))
def test_the_text_says_whose_shapes_a_gradient_has(op: Op) -> None:
    text = cupy_kst.explain((1, 4, 5, 5), (4, 4, 3, 3), op=op)
    assert (", of the forward call: input (1, 4, 5, 5)" in text) == op.endswith(("_input", "_weight"))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_slices_of_the_text_are_those_of_segregate(rank: int) -> None:
    weight = np.arange(5**rank).reshape(1, 1, *(5,) * rank)
    parts = cupy_kst.segregate(weight, 2, 1)
    text = cupy_kst.explain((1, 1, *(3,) * rank), weight.shape, stride=2, padding=1)
    found = re.findall(r"class \((.*)\): .* taps \[(.*)\] of", text)
    assert len(found) == len(parts)
    for name, taps in found:
        of_class = tuple(slice(*(int(each) if each else None for each in one.split(":"))) for one in taps.split(", "))
        residues = tuple(map(int, name.split(", ")))
        np.testing.assert_array_equal(weight[(..., *of_class)], parts[residues])


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
