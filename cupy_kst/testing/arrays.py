"""Strategies for the arrays of a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ..dtypes import DTYPES
from ..methods import Op
from .cases import Case, cases, largest_exact
from .operations import OPERATIONS
from .restrictions import NAMES
from .wording import known_names

Array = NDArray[Any]


class Arrays(NamedTuple):
    """The arrays of one call; what an operation does not take is None."""

    input: Any = None
    weight: Any = None
    bias: Any = None
    grad_output: Any = None


def arguments(case: Case, arrays: Arrays) -> dict[str, Any]:
    """Return what the operation of a case takes in front of its options, by name, in that order."""
    known = {**arrays._asdict(), "input_size": case.input_shape, "weight_size": case.weight_shape}
    return {name: known[name] for name in OPERATIONS[case.op].arguments}


def integer_arrays(case: Case) -> st.SearchStrategy[Arrays]:
    """Draw the arrays of a case with small whole numbers, so that every order of summation gives one result, exactly.

    Sums stay within the whole numbers that the element type can tell apart: 2048 in float16, 256 in bfloat16. No number
    is zero, nor a part of a complex one, and all of one array have one sign, so that a product too many or too few
    always shows: of the parts of complex products one is a sum of two numbers of one sign.
    """
    _check_case(case)
    exact, products = largest_exact(case.dtype), case.terms * (2 if _is_complex(case) else 1)
    largest = max((size for size in (1, 2, 3) if products * size**2 + size <= exact), default=0)
    if largest == 0:
        raise ValueError(f"{case.dtype} is exact up to {exact}, but an output of this case sums {case.terms} products")

    def values(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.asarray(generator.integers(1, largest, shape, endpoint=True) * generator.choice((1, -1)))

    return _seeded(case, values)


def real_arrays(case: Case) -> st.SearchStrategy[Arrays]:
    """Draw the arrays of a case with normally distributed numbers, both parts of complex ones."""
    _check_case(case)
    return _seeded(case, np.random.Generator.standard_normal)


def _check_case(case: Any) -> None:
    if not isinstance(case, Case):
        raise TypeError(f"case is a {type(case).__name__}: expected a Case, as cases() draws them")


def _seeded(case: Case, values: Callable[[np.random.Generator, tuple[int, ...]], Array]) -> st.SearchStrategy[Arrays]:
    # One draw for all elements: many times faster than a draw for each, and shapes shrink without losing a failure.
    def arrays(seed: int) -> Arrays:
        generator = np.random.default_rng(seed)
        shapes = (case.input_shape, case.weight_shape, case.bias_shape, case.output_shape)
        # Small numbers may be subnormal in the element type.
        with np.errstate(under="ignore"):
            drawn = Arrays(*(numbers(generator, shape).astype(case.dtype) for shape in shapes))
        taken = OPERATIONS[case.op].arguments
        left_out = [name for name in drawn._fields if name not in taken or (name == "bias" and not case.bias)]
        return drawn._replace(**dict.fromkeys(left_out))

    def numbers(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        real = values(generator, shape)
        return real + 1j * values(generator, shape) if _is_complex(case) else real

    return st.integers(0, 2**32 - 1).map(arrays)


def _is_complex(case: Case) -> bool:
    return DTYPES[case.dtype].storage.kind == "c"


def examples(
    arrays: Callable[[Case], st.SearchStrategy[Arrays]] = integer_arrays,
    op: Op = "conv_transpose",
    **restrictions: Any,
) -> st.SearchStrategy[tuple[Case, Arrays]]:
    """Draw a case with its arrays; `restrictions` are the keywords of `cases`.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given
    >>> from cupy_kst import conv_transpose1d
    >>> from cupy_kst.testing import examples
    >>> @given(examples(ranks=(1,), bias=False))
    ... def test_linear(example):
    ...     case, arrays = example
    ...     inputs = (arrays.input, 2 * arrays.input)
    ...     once, twice = (conv_transpose1d(x, arrays.weight, **case.options) for x in inputs)
    ...     np.testing.assert_array_equal(2 * once, twice)
    >>> test_linear()
    """
    known_names("examples", restrictions, NAMES)
    return _examples(cases(op, **restrictions), arrays)


@st.composite
def _examples(
    draw: st.DrawFn, of_cases: st.SearchStrategy[Case], arrays: Callable[[Case], st.SearchStrategy[Arrays]]
) -> tuple[Case, Arrays]:
    case = draw(of_cases)
    return case, draw(arrays(case))
