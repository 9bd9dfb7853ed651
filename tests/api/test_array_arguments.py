"""What is no array, for each argument of each public function that is one: an error that names it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cupy_kst
from cupy_kst import grad, prepare

# By these names arrays are passed.
_ARRAYS = ("input", "weight", "bias", "grad_output", "out", "x", "workspace")
_VALUES = [[[[1.0]]], (1.0, 2.0), 1.0, np.float32(1), "text", {}, memoryview(b"1")]


def _functions() -> dict[str, Callable[..., Any]]:
    """Return all public functions that take arrays, also those of a prepared weight."""
    found = {name: getattr(cupy_kst, name) for name in cupy_kst.__all__}
    found |= {f"grad.{name}": each for name, each in vars(grad).items() if re.fullmatch(r"conv\w*\dd\w*", name)}
    found = {name: each for name, each in found.items() if inspect.isfunction(each)}
    prepared = prepare(np.ones((1, 1, 1), "f4"))
    found |= {"a prepared weight": prepared, "Prepared.update": prepared.update}
    return {name: each for name, each in found.items() if set(inspect.signature(each).parameters) & set(_ARRAYS)}


FUNCTIONS = _functions()


def _arguments(name: str) -> dict[str, Any]:
    """Return valid arguments of a function: everything is of size one."""
    found = re.search(r"(\d)d", name)
    rank = int(found[1]) if found else 1
    ones = np.ones((1,) * (rank + 2), "f4")
    known: dict[str, Any] = dict.fromkeys(("input", "weight", "grad_output", "x"), ones)
    known |= {"input_size": ones.shape, "weight_size": ones.shape, "bias": np.ones(1, "f4"), "stride": 1}
    known |= {"out": np.ones_like(ones), "workspace": np.ones(16, np.uint8)}
    taken = inspect.signature(FUNCTIONS[name]).parameters
    # No other arguments are wanted where there is no gradient of the kind.
    return {argument: value for argument, value in known.items() if argument in taken}


_PAIRS = [
    (name, argument)
    for name, function in FUNCTIONS.items()
    for argument in inspect.signature(function).parameters
    if argument in _ARRAYS
]


def test_all_functions_of_arrays_are_known() -> None:
    ranks = [f"{name}{rank}d" for name in ("conv", "conv_transpose") for rank in (1, 2, 3)]
    gradients = [f"grad.{name}{of}" for name in ranks for of in ("", "_input", "_weight", "_bias")]
    others = ["prepare", "segregate", "a prepared weight", "Prepared.update"]
    assert sorted(FUNCTIONS) == sorted([*ranks, *gradients, *others])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_of_size_one_will_do(name: str) -> None:
    FUNCTIONS[name](**_arguments(name))


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("name", "argument"), _PAIRS)
def test_what_is_no_array_is_named(name: str, argument: str, value: Any) -> None:
    message = f"{argument} is a {type(value).__name__}: expected a NumPy or CuPy array"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        FUNCTIONS[name](**(_arguments(name) | {argument: value}))


@pytest.mark.parametrize(("name", "argument"), _PAIRS)
def test_a_masked_array_is_named(name: str, argument: str) -> None:
    array = _arguments(name)[argument]
    with pytest.raises(TypeError, match=f"^{argument} is a masked array"):
        FUNCTIONS[name](**(_arguments(name) | {argument: np.ma.masked_array(array)}))


@pytest.mark.parametrize("value", [*_VALUES, None], ids=lambda value: type(value).__name__)
def test_what_is_no_subkernel_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^subkernels\[\(0,\)\] is "):
        cupy_kst.merge({(0,): value}, 1)
