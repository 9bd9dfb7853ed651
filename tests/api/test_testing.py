"""The public strategies draw what they promise; `check` finds planted faults and shows them by a program that runs."""

from __future__ import annotations

import subprocess
import sys
from math import gcd, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from cupy_kst import Geometry, conv_transpose1d, conv_transpose2d, conv_transpose3d
from cupy_kst.cpu import reference
from cupy_kst.dtypes import DTYPES
from cupy_kst.testing import Case, cases, check, integer_arrays, real_arrays
from tests.conftest import PROFILE

from .faults import FAULTS, right

SEARCH = settings(max_examples=300, database=None, phases=[Phase.generate, Phase.shrink])


def _program_of(error: BaseException) -> str:
    headline, _, program = str(error).partition("\n\n")
    assert " is wrong: " in headline
    return program


def _geometry(case: Case) -> Geometry:
    return Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)


def _pairs(case: Case) -> list[tuple[int, int]]:
    return [pad if isinstance(pad, tuple) else (pad, pad) for pad in case.padding]


@given(cases(dtypes=tuple(DTYPES), max_elements=200))
def test_cases_are_valid_and_small(case: Case) -> None:
    geometry = _geometry(case)
    assert geometry.input_shape == case.input_shape
    assert max(prod(geometry.full_small_shape), prod(geometry.full_large_shape)) <= 200


WANTED = {
    "odd output": lambda case: _geometry(case).output_shape[-1] % 2 == 1,
    "even output": lambda case: _geometry(case).output_shape[-1] % 2 == 0,
    "stride above the kernel": lambda case: case.stride[-1] > case.weight_shape[-1],
    "dilation sharing a factor with the stride": lambda case: gcd(case.stride[-1], case.dilation[-1]) > 1,
    "dilation prime to the stride": lambda case: case.stride[-1] > 1 and gcd(case.stride[-1], case.dilation[-1]) == 1,
    "output padding at the stride": lambda case: case.output_padding[-1] >= case.stride[-1],
    "output padding beyond the crop": lambda case: case.output_padding[-1] > _pairs(case)[-1][1],
    "unequal pads": lambda case: _pairs(case)[0][0] != _pairs(case)[0][1],
    "pads beyond the filter": lambda case: _pairs(case)[0][0] > case.dilation[0] * case.weight_shape[2],
    "groups of several channels": lambda case: case.groups > 1 and min(_per_group(case)) > 1,
    "no batch": lambda case: len(case.input_shape) == case.rank + 1,
    "an empty batch": lambda case: 0 in case.input_shape,
    "three axes with three strides": lambda case: len({*case.stride}) == 3,
}


def _per_group(case: Case) -> tuple[int, int]:
    return case.weight_shape[0] // case.groups, case.weight_shape[1]


@pytest.mark.long(but=lambda wanted: list(WANTED).index(wanted) % 4 == 0)
@pytest.mark.parametrize("wanted", WANTED)
def test_cases_have_what_faults_hide_in(wanted: str) -> None:
    find(cases(), WANTED[wanted], settings=SEARCH)


@pytest.mark.long
@pytest.mark.parametrize(
    ("restriction", "unwanted"),
    [
        ({"ranks": (2,)}, lambda case: case.rank != 2),
        ({"max_dilation": 1}, lambda case: {*case.dilation} != {1}),
        ({"max_stride": 2}, lambda case: max(case.stride) > 2),
        ({"max_kernel": 3}, lambda case: max(case.weight_shape[2:]) > 3),
        ({"max_groups": 1}, lambda case: case.groups > 1),
        ({"max_channels": 1}, lambda case: max(_per_group(case)) > 1),
        ({"padding": "symmetric"}, lambda case: np.ndim(case.padding) > 1),
        ({"padding": "none"}, lambda case: np.any(case.padding)),
        ({"output_padding": False}, lambda case: np.any(case.output_padding)),
        ({"bias": False}, lambda case: case.bias),
        ({"batches": (None,)}, lambda case: len(case.input_shape) != case.rank + 1),
        ({"dtypes": ("float64",)}, lambda case: case.dtype != "float64"),
    ],
)
def test_restrictions_hold(restriction: dict, unwanted) -> None:
    @given(cases(**restriction))
    def holds(case):
        assert not unwanted(case)

    holds()
    find(cases(), unwanted, settings=SEARCH)


def test_cases_shrink_to_the_simplest_call() -> None:
    simplest = Case("conv_transpose", (1, 1, 1), (1, 1, 1), False, "float32", (1,), (0,), (0,), 1, (1,), (1,))
    assert find(cases(), lambda case: True, settings=SEARCH) == simplest


@pytest.mark.parametrize("restriction", [{"op": "pool"}, {"ranks": (4,)}, {"dtypes": ("int32",)}])
def test_restrictions_that_make_no_sense_are_refused(restriction: dict) -> None:
    with pytest.raises((ValueError, TypeError), match=r"'conv_transpose'|ranks=\(4,\)|int32"):
        cases(**restriction)


@pytest.mark.long(but=lambda terms: terms in (63, 64))
@pytest.mark.parametrize(
    ("dtype", "terms"),
    [("float16", terms) for terms in (1, 227, 228, 511, 512, 2047)]
    + [("bfloat16", terms) for terms in (1, 28, 29, 63, 64, 255)],
)
def test_integer_arrays_are_exact_in_16_bits_in_any_order(dtype: str, terms: int) -> None:
    case = Case("conv_transpose", (terms, 2), (terms, 1, 1), True, dtype, (1,), (0,), (0,), 1, (1,), (2,))

    @given(integer_arrays(case))
    def exact(arrays):
        assert all((array == np.rint(array)).all() and array.all() for array in arrays[:3])
        absolute = (np.abs(array) for array in arrays[:3])
        assert reference.conv_transpose(*absolute, **case.options).max() <= {"float16": 2048, "bfloat16": 256}[dtype]

    exact()


# With parts up to 3, one part of the last sum could be 1 + 2 * 3**2 * terms times as large as 1.
@pytest.mark.parametrize("terms", [1, 932067, 932068])
def test_integer_arrays_are_exact_in_complex64(terms: int) -> None:
    case = Case("conv_transpose", (terms, 1), (terms, 1, 1), True, "complex64", (1,), (0,), (0,), 1, (1,), (1,))
    input, weight, bias = (np.abs(part).max() for part in _parts(integer_arrays(case)))
    assert terms * 2 * input * weight + bias <= 2**24
    assert input * weight == (4 if terms == 932068 else 9) or terms == 1


def _parts(strategy):
    """Return the real numbers of the parts of drawn arrays."""
    drawn = find(strategy, lambda arrays: True, settings=SEARCH)
    return [array.view(np.float32) for array in drawn if array is not None]


@given(cases(dtypes=tuple(DTYPES)), st.data())
def test_arrays_have_the_shapes_and_the_dtype_of_their_case(case: Case, data) -> None:
    for strategy in (integer_arrays, real_arrays):
        input, weight, bias, grad_output = data.draw(strategy(case))
        assert grad_output is None
        assert (input.shape, weight.shape) == (case.input_shape, case.weight_shape)
        assert (bias is not None) == case.bias
        assert all(array.dtype == case.dtype for array in (input, weight, bias) if array is not None)
        assert "complex" not in case.dtype or all(part.all() for part in (weight.real, weight.imag))
        assert bias is None or bias.shape == _geometry(case).output_shape[-case.rank - 1 : -case.rank]


@pytest.mark.long
def test_cases_of_bfloat16_sum_no_more_than_it_can_hold() -> None:
    # About every fifth of these cases in float32 sums as much; no filter does so by itself.
    cubes = {"ranks": (3,), "batches": (1,), "max_groups": 1, "max_dilation": 1, "max_stride": 1, "max_kernel": 6}
    cubes |= {"max_channels": 128, "max_elements": 50_000}
    find(cases(**cubes), lambda case: case.terms >= 256, settings=SEARCH)
    with pytest.raises(NoSuchExample):
        find(cases(dtypes=("bfloat16",), **cubes), lambda case: case.terms >= 256, settings=SEARCH)


def test_a_sum_that_float16_cannot_hold_is_refused() -> None:
    case = Case("conv_transpose", (2100, 1), (2100, 1, 1), False, "float16", (1,), (0,), (0,), 1, (1,), (1,))
    with pytest.raises(ValueError, match="float16 is exact up to 2048, but an output of this case sums 2100 products"):
        integer_arrays(case)


@pytest.mark.parametrize("arrays", [integer_arrays, real_arrays])
def test_arrays_of_what_is_no_case_are_refused(arrays: Any) -> None:
    with pytest.raises(TypeError, match=r"^case is a NoneType: expected a Case, as cases\(\) draws them$"):
        arrays(None)


def test_right_functions_pass() -> None:
    check(right, max_examples=200, dtypes=tuple(DTYPES))
    functions = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}
    check(lambda x, w, *rest: functions[w.ndim - 2](x, w, *rest), max_examples=50)


@pytest.mark.long(but=lambda fault, seed: seed == 0 and list(FAULTS).index(fault) % 8 == 0)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_and_shown_by_a_program(fault: str, seed: int) -> None:
    with pytest.raises(AssertionError) as caught:
        check(FAULTS[fault], max_examples=100, seed=seed)
    program = _program_of(caught.value)
    with pytest.raises((AssertionError, IndexError)):
        exec(program, {fault: FAULTS[fault]})
    exec(program.replace(f"got = {fault}(", "got = right("), {"right": right})


def test_the_failure_is_the_smallest() -> None:
    with pytest.raises(AssertionError, match="1 of 1 outputs differ") as caught:
        check(FAULTS["common_factor_ignored"])
    program = _program_of(caught.value)
    assert (
        'input = np.array([[[1]]], dtype="float32")\nweight = np.array([[[1]]], dtype="float32")\nbias = None'
        in program
    )
    assert "stride=(2,), padding=(0,), output_padding=(0,), groups=1, dilation=(2,)" in program


def test_a_conjugated_weight_is_found_and_shown() -> None:
    def conjugated(input, weight, *rest):
        return right(input, weight.conj(), *rest)

    with pytest.raises(AssertionError, match=r"1 of 1 outputs differ, the worst at \(0, 0, 0\): -1j, not 1j") as caught:
        check(conjugated, dtypes=("complex64",))
    program = _program_of(caught.value)
    assert (
        'input = np.array([[[(1+0j)]]], dtype="complex64")\nweight = np.array([[[1j]]], dtype="complex64")' in program
    )
    with pytest.raises(AssertionError):
        exec(program, {"conjugated": conjugated})
    exec(program, {"conjugated": right})


@pytest.mark.long
def test_bfloat16_is_shown_by_a_program_that_runs() -> None:
    def negative(*call):
        return -right(*call)

    with pytest.raises(AssertionError, match="1 of 1 outputs differ") as caught:
        check(negative, dtypes=("bfloat16",))
    program = _program_of(caught.value)
    assert 'weight = np.array([[[1]]], dtype="bfloat16")' in program
    exec(program, {"negative": right})
    # In a process of its own the name of the type must be known, too.
    definition = "def negative(*call):\n    return -reference.conv_transpose(*call)\n"
    ran = subprocess.run([sys.executable, "-c", definition + program], capture_output=True, text=True, check=False)
    assert "AssertionError: got" in ran.stderr


@pytest.mark.long
def test_an_exception_is_a_failure_with_its_text() -> None:
    with pytest.raises(AssertionError, match="it raises IndexError: negative offset"):
        check(FAULTS["raises_where_pads_exceed_the_filter"])


def test_a_wrong_shape_is_a_failure_that_names_both() -> None:
    with pytest.raises(AssertionError, match=r"its result has shape \(1, 1, 1\), expected \(1, 1\)"):
        check(FAULTS["unbatched_gets_a_batch"])


def test_nan_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="nan, not"):
        check(lambda *call: right(*call) * np.nan)


@pytest.mark.long
def test_the_program_runs_by_itself_for_a_function_that_can_be_imported(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "from cupy_kst.cpu import reference\n"
        "def halved(input, weight, bias, *options):\n"
        "    return (reference.conv_transpose(input, weight, bias, *options) / 2).astype(input.dtype)\n"
    )
    (tmp_path / "show.py").write_text(
        "from cupy_kst.testing import check\nfrom mine import halved\n"
        "try:\n    check(halved)\nexcept AssertionError as error:\n    print(str(error).partition('\\n\\n')[2])\n"
    )
    shown = subprocess.run([sys.executable, "show.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "from mine import halved" in shown.stdout
    (tmp_path / "program.py").write_text(shown.stdout)
    ran = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "AssertionError: got" in ran.stderr


@pytest.mark.long
def test_cases_that_raise_not_implemented_are_passed_over() -> None:
    def no_groups(input, weight, bias, stride, padding, output_padding, groups, dilation):
        if groups > 1:
            raise NotImplementedError
        return right(input, weight, bias, stride, padding, output_padding, groups, dilation)

    check(no_groups)


@pytest.mark.long
def test_passing_over_nearly_everything_is_an_error() -> None:
    def nothing(*call):
        raise NotImplementedError

    def hardly_anything(input, weight, bias, *options):
        if input.size > 1:
            raise NotImplementedError
        return right(input, weight, bias, *options)

    with pytest.raises(AssertionError, match=r"nothing raised NotImplementedError in (\d+) of \1 cases: restrict"):
        check(nothing, max_examples=20)
    with pytest.raises(AssertionError, match="hardly_anything raised NotImplementedError in"):
        check(hardly_anything, padding="none", max_elements=10_000, batches=(3, 2), max_examples=20)


def test_a_function_that_is_wrong_now_and_then_is_called_so() -> None:
    calls = iter(range(10**9))

    def flaky(*call):
        return right(*call) + (next(calls) == 20)

    with pytest.raises(AssertionError, match="flaky is wrong: it is not so whenever it is called again"):
        check(flaky)


@pytest.mark.long
def test_a_function_that_changes_its_inputs_does_not_change_the_report() -> None:
    def doubled(input, weight, bias, *options):
        result = 2 * right(input, weight, bias, *options)
        input[...] = weight[...] = 0
        return result

    with pytest.raises(AssertionError, match="it overwrites its weight") as caught:
        check(doubled, bias=False)
    with pytest.raises(AssertionError, match="from"):
        exec(_program_of(caught.value), {"doubled": doubled})


def test_the_same_seed_draws_the_same_cases_under_any_profile() -> None:
    def seen(seed: int) -> list:
        drawn = []
        check(lambda *call: drawn.append(repr(call)) or right(*call), max_examples=30, seed=seed, threads=1)
        return drawn

    first = seen(0)
    settings.register_profile("other", max_examples=3, deadline=0.001, derandomize=True, database=None)
    settings.load_profile("other")
    try:
        assert seen(0) == first
    finally:
        settings.load_profile(PROFILE)
    assert seen(1) != first
    assert 30 <= len(first) <= 60
