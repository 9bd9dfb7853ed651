"""Every form of every method gives what the definition gives, by a weight as it is and by one that is prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from cupy_kst import cpu
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import METHODS, OPERATIONS
from cupy_kst.problem import Choice, Problem
from cupy_kst.weight_cache import WeightCache
from tests.support.engines import EXAMPLES, arrays_by_role, examples_of, expected, geometry
from tests.support.skips import need_compiled

FORMS = [(method, form) for method in METHODS for form in cpu.FORMS[method]]


@pytest.mark.parametrize(("method", "form"), FORMS, ids=map("/".join, FORMS))
def test_equals_the_definition_exactly(method: str, form: str) -> None:
    compiled, operation = cpu.is_compiled(method, form), METHODS[method].operation
    if compiled:
        need_compiled()
    computed = 0

    @settings(max_examples=EXAMPLES["cpu"])
    @given(examples_of(method, dtypes=("float32",) if compiled else ("float32", "float16", "complex64")))
    def equal(example):
        nonlocal computed
        case, arrays = example
        problem = Problem(operation, geometry(case), DTYPES[case.dtype])
        # Calls on an empty batch come to no form.
        assume(problem.geometry.samples and form in cpu.form_names(problem, method))
        right = expected(case, arrays)
        for cache in (None, WeightCache()) if operation != "conv_weight" else (None,):
            out = np.full(right.shape, np.nan, case.dtype)
            by_role: dict[Any, Any] = {**arrays_by_role(case, arrays), OPERATIONS[operation].output: out}
            cpu.run(problem, Choice(method, form), by_role, cache)
            np.testing.assert_array_equal(out.conj() if operation == "conv_weight" else out, right)
        computed += 1

    equal()
    assert computed
