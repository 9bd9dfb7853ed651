"""Planning is linear in taps, classes and rows: steps of a call are counted, and those of one twice as large.

Steps that NumPy takes inside of one operation are not counted. The last test bounds the time of large filters.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import cupy_kst
from cupy_kst import Geometry, costs, cpu, explain, merge, prepare, segregate
from cupy_kst.cpu import jit
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import plan
from cupy_kst.gpu.methods import REGISTRY
from cupy_kst.gpu.select.context import PlanContext
from cupy_kst.gpu.select.cost_model import needs_wide
from cupy_kst.gpu.select.device import REFERENCE
from cupy_kst.methods import METHODS, Operation, Role
from cupy_kst.problem import Choice
from tests.support.problems import problem_of
from tests.support.skips import need_compiled
from tests.support.turns import has_turn

Sizes = tuple[tuple[int, ...], tuple[int, ...], int | tuple[int, ...], int]

_HOME = str(Path(cupy_kst.__file__).parent)
_FLOAT = DTYPES["float32"]
# The work of the baseline grows with the square of a filter's size, and so do the blocks that it makes.
_FORMS = [(method, form) for method, forms in cpu.FORMS.items() for form in forms if method != "zero_insertion"]
_MANY = 100
# Twice the steps, and what small calls take besides.
_LINEAR = 2.3

# Input, weight, stride and dilation of transposed convolutions whose taps, classes or rows are `n`, or some times `n`.
_TRANSPOSED: dict[str, Callable[[int], Sizes]] = {
    "taps": lambda n: ((1, 1, 40), (1, 1, n), 1, 1),
    "taps on one input": lambda n: ((1, 2, 1), (2, 3, n), 1, 1),
    "taps of classes, dilated": lambda n: ((1, 2, 30), (2, 1, n), 3, 2),
    "classes without taps": lambda n: ((1, 1, 5), (1, 1, 1), n, 1),
    "classes of a tap": lambda n: ((1, 1, 5), (1, 2, n), n, 1),
    "classes of two taps": lambda n: ((1, 1, 5), (1, 2, 2 * n), n, 1),
    "classes of rows": lambda n: ((1, 1, 2, 3), (1, 1, n // 4, 8), (n // 4, 8), 1),
    "classes of a volume": lambda n: ((1, 1, 2, 2, 2), (1, 1, 3, n // 5, 2), (3, n // 5, 2), 1),
    "rows": lambda n: ((1, 1, n, 3), (1, 1, 4, 4), 2, 1),
}
# The same of convolutions.
_CONV: dict[str, Callable[[int], Sizes]] = {
    "taps": lambda n: ((1, 1, n + 40), (1, 1, n), 1, 1),
    "phases": lambda n: ((1, 1, 5 * n), (2, 1, n), n, 1),
    "taps of phases, dilated": lambda n: ((1, 1, 4 * n), (2, 1, n), 7, 3),
    "one tap": lambda n: ((1, 1, 5 * n), (1, 1, 1), n, 1),
    "phases of rows": lambda n: ((1, 1, n // 2, 16), (2, 1, n // 4, 8), (n // 4, 8), 1),
    "rows": lambda n: ((1, 1, n, 5), (1, 1, 3, 3), 1, 1),
}


def _geometry(transposed: bool, sizes: Sizes) -> Geometry:
    input, weight, stride, dilation = sizes
    if transposed:
        return Geometry.conv_transpose(input, weight, stride, dilation=dilation)
    return Geometry.conv(input, weight, stride, dilation=dilation)


_GEOMETRIES: dict[str, Callable[[int], Geometry]] = {
    **{f"transposed: {name}": lambda n, of=of: _geometry(True, of(n)) for name, of in _TRANSPOSED.items()},
    **{f"forward: {name}": lambda n, of=of: _geometry(False, of(n)) for name, of in _CONV.items()},
}


def _caches() -> Iterator[Any]:
    """Yield the caches of plans; those without a bound hold what was compiled."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cupy_kst"):
            for each in vars(module).values():
                if isinstance(each, functools._lru_cache_wrapper) and each.cache_parameters()["maxsize"]:
                    yield each


def _steps(do: Callable[[], object]) -> int:
    """Return how many lines of the library `do` executes, turn by turn of each loop, where nothing is planned yet."""
    for cache in _caches():
        cache.cache_clear()
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        del argument
        lines += event == "line"
        return trace if frame.f_code.co_filename.startswith(_HOME) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return lines


def _assert_linear(make: Callable[[int], Callable[[], object]]) -> None:
    few, many = make(_MANY), make(2 * _MANY)
    few()  # what the first call of all does once
    steps = [_steps(few), _steps(many)]
    if steps[1] > _LINEAR * steps[0]:
        # Where sums become long enough to be made in parts, each takes a few lines more: once.
        steps = [steps[1], _steps(make(4 * _MANY))]
    assert steps[1] <= _LINEAR * steps[0], f"{steps[0]} steps, then {steps[1]} for twice the size"


def _arrays(geometry: Geometry, operation: Operation) -> dict[Role, Any]:
    shapes: dict[Role, Any] = {
        "small": geometry.small_shape,
        "large": geometry.large_shape,
        "weight": geometry.weight_shape,
    }
    return {role: np.ones(shapes[role], "f4") for role in ("small", "large", "weight")}


@pytest.mark.long(but=lambda method, form, name: has_turn(((method, form), _FORMS), (name, _GEOMETRIES)))
@pytest.mark.parametrize("name", _GEOMETRIES)
@pytest.mark.parametrize(("method", "form"), _FORMS, ids=map("/".join, _FORMS))
def test_a_call_on_the_cpu(method: str, form: str, name: str) -> None:
    operation = METHODS[method].operation

    def make(n: int) -> Callable[[], object]:
        geometry = _GEOMETRIES[name](n)
        if not METHODS[method].supports(geometry)[0]:
            pytest.skip("the method does not support it")
        problem = problem_of(method, geometry)
        if form not in cpu.form_names(problem, method):
            return lambda: cpu.form_names(problem, method)
        arrays = _arrays(geometry, operation)
        return lambda: cpu.run(problem, Choice(method, form), arrays)

    _assert_linear(make)


@pytest.mark.long(but=lambda method, name: has_turn((method, REGISTRY), (name, _GEOMETRIES)))
@pytest.mark.parametrize("name", _GEOMETRIES)
@pytest.mark.parametrize("method", REGISTRY)
def test_a_plan_for_a_gpu(method: str, name: str) -> None:
    def make(n: int) -> Callable[[], object]:
        geometry = _GEOMETRIES[name](n)
        if not METHODS[method].supports(geometry)[0]:
            pytest.skip("the method does not support it")
        return lambda: plan(method, geometry, PlanContext(_FLOAT, REFERENCE, needs_wide(geometry)))

    _assert_linear(make)


@pytest.mark.long(but=lambda name, form: name == "taps" or form is None)
@pytest.mark.parametrize("form", [None, "jit_implicit_gemm", "jit_winograd", "numpy_im2col"])
@pytest.mark.parametrize(
    ("op", "name"), [*product(["conv_transpose", "conv_input"], _TRANSPOSED), *product(["conv"], _CONV)]
)
def test_a_prepared_call(op: Any, name: str, form: str | None) -> None:
    if form and cpu.is_compiled("ks_deconv", form):
        need_compiled()
    # The gradient of a convolution's input is a transposed convolution.
    sizes = (_CONV if op == "conv" else _TRANSPOSED)[name]
    tiled = "conv_v2" if op == "conv" else "ks_deconv"
    method = "auto" if form is None else tiled

    def make(n: int) -> Callable[[], object]:
        input, weight, stride, dilation = sizes(n)
        geometry = _geometry(op != "conv", sizes(n))
        if form and form not in cpu.form_names(problem_of(tiled, geometry), tiled, prepared=True):
            pytest.skip("these sizes have no such form")
        x, w = np.ones(input, "f4"), np.ones(weight, "f4")

        def call() -> None:
            prepared = prepare(w, op=op, stride=stride, dilation=dilation, method=method, form=form)
            prepared(x)
            prepared.explain(x.shape)

        return call

    _assert_linear(make)


@pytest.mark.parametrize("name", _TRANSPOSED)
def test_what_is_told_of_a_call(name: str) -> None:
    def make(n: int) -> Callable[[], object]:
        input, weight, stride, dilation = _TRANSPOSED[name](n)

        def tell() -> None:
            for op in ("conv_transpose", "conv_transpose_input", "conv_transpose_weight"):
                costs(input, weight, op=op, stride=stride, dilation=dilation)
                explain(input, weight, op=op, stride=stride, dilation=dilation)
            merge(segregate(np.ones(weight), stride, dilation), stride, dilation)
            assert len(_geometry(True, (input, weight, stride, dilation)).classes)

        return tell

    _assert_linear(make)


def test_costs_take_no_step_for_each_tap_or_class() -> None:
    def steps(taps: int) -> int:
        return _steps(lambda: costs((1, 1, 2**20), (1, 1, taps), stride=3 * taps - 1, dilation=2, op="conv_transpose"))

    assert steps(2**20) <= 2 * steps(2**12)


# What takes seconds where it is not linear: each took 1.5 to 56 s once.
_LARGE = {
    "gradient of an input": Geometry.conv_transpose((1, 1, 80001), (1, 1, 16000)),
    "transposed taps": Geometry.conv_transpose((1, 1, 1000), (1, 1, 65536)),
    "classes without taps": Geometry.conv_transpose((1, 1, 1000), (1, 1, 1), 20000),
    "classes of a tap": Geometry.conv_transpose((1, 1, 1000), (1, 1, 20000), 20000),
    "patches": Geometry.conv_transpose((1, 3, 14, 14), (3, 1, 64, 64), 64),
    "taps": Geometry.conv((1, 1, 100000), (1, 1, 96000)),
}


@pytest.mark.parametrize("name", _LARGE)
def test_large_filters_and_strides_are_planned_in_a_moment(name: str) -> None:
    need_compiled()
    from cupy_kst.cpu.jit import template
    from cupy_kst.cpu.jit.weight_grad import call as weight_grad

    geometry = _LARGE[name]

    def settle() -> None:
        for method in cpu.FORMS:
            cpu.form_names(problem_of(method, geometry), method)
        for transposed in (True, False):
            template.implicit_gemm_of(template.with_direction(geometry, transposed), "f")
        template.gemm_col2im(template.with_direction(geometry, True), "f", 2)
        weight_grad._template(geometry, "f")

    assert jit.available(np.float32)
    settle()
    for cache in _caches():
        cache.cache_clear()
    begun = time.thread_time()
    settle()
    assert time.thread_time() - begun < 0.5
