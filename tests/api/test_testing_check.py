"""What `check` looks for beside wrong numbers, what it says, and which arguments it takes."""

from __future__ import annotations

import re
import traceback
from math import gcd
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings

from cupy_kst.testing import Case, cases, check, examples
from cupy_kst.testing.threads import at_once

from .faults import FAULTS, right
from .forgetful import PLANTS


def _report(fn: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check(fn, quiet=True, **options)
    return str(caught.value)


@pytest.mark.long(but=lambda plant: list(PLANTS).index(plant) % 12 == 0)
@pytest.mark.parametrize("plant", PLANTS)
def test_faults_that_one_call_does_not_show_are_found(plant: str) -> None:
    headline, _, program = _report(PLANTS[plant]()).partition("\n\n")
    assert headline.startswith(f"{plant} is wrong: ")
    # By a function that remembers nothing yet.
    with pytest.raises(AssertionError):
        exec(program, {plant: PLANTS[plant]()})
    exec(program, {plant: right})


@pytest.mark.long(but=lambda plant: plant == "returns_float64")
@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("overwrites_its_input", r"it overwrites its input: \S+ at \(0, 0, 0\) became 7.0"),
        ("overwrites_its_weight", "it overwrites its weight"),
        ("returns_float64", r"dtype float64, expected that of its arrays: .astype\('float32'\) converts it"),
        ("keeps_weights_by_shape", "on its second call, with other numbers in the same arrays, 1 of 1 outputs differ"),
        ("returns_one_buffer", "its second call overwrites the result of the first"),
        ("reads_over_gaps", 'layouts="contiguous" leaves out arrays that are not contiguous: right in all'),
        ("shares_scratch_for_inputs", "called from two threads at once, (.|\n)*threads=1 leaves it out"),
    ],
)
def test_reports_tell_the_kind_of_fault_and_the_way_out(plant: str, said: str) -> None:
    assert re.search(said, _report(PLANTS[plant]()))


@pytest.mark.long
def test_reports_tell_which_options_leave_groups_and_unbatched_input_out() -> None:
    assert "# max_groups=1 leaves out groups: right in all" in _report(FAULTS["groups_read_the_first"])
    assert "# batches=(1, 2) leaves out no batch dimension: right in" in _report(FAULTS["unbatched_gets_a_batch"])
    check(FAULTS["groups_read_the_first"], max_groups=1, max_examples=40, quiet=True)
    check(FAULTS["unbatched_gets_a_batch"], batches=(1, 2), max_examples=40, quiet=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fault", ["unbatched_gets_a_batch", "zeros_past_64", "groups_read_the_first"])
def test_no_option_is_named_that_leaves_a_fault_out_by_chance(fault: str, seed: int) -> None:
    """The first cases in which a function is wrong are of one rank or have a bias, whatever its fault."""
    report = _report(FAULTS[fault] if fault in FAULTS else PLANTS[fault](), seed=seed)
    named = {line.split()[1].split("=")[0] for line in report.splitlines() if line.startswith("# ")}
    assert named <= {"batches", "max_axis", "max_groups"}, report


@pytest.mark.long(but=lambda plant: plant == "shares_scratch_for_inputs")
@pytest.mark.parametrize(
    ("plant", "left_out"),
    [
        ("zeros_past_64", {"max_axis": 40}),
        ("reads_over_gaps", {"layouts": "contiguous"}),
        ("shares_scratch_for_inputs", {"threads": 1}),
    ],
)
def test_what_is_left_out_is_not_looked_for(plant: str, left_out: dict[str, Any]) -> None:
    check(PLANTS[plant](), max_examples=60, quiet=True, **left_out)


@pytest.mark.long
def test_an_exception_keeps_its_traceback() -> None:
    with pytest.raises(AssertionError, match="it raises IndexError: negative offset") as caught:
        check(FAULTS["raises_where_pads_exceed_the_filter"])
    cause = caught.value.__cause__
    assert isinstance(cause, IndexError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "raises_where_pads_exceed_the_filter"


@pytest.mark.long(but=lambda dtype: dtype == "float32")
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_results_rounded_to_16_bits_are_wrong_on_real_numbers(dtype: str) -> None:
    def rounded(*call: Any) -> Any:
        y = right(*call)
        return y.view(y.real.dtype).astype(np.float16).astype(y.real.dtype).view(y.dtype)

    check(rounded, dtypes=dtype, max_examples=40, quiet=True)
    report = _report(rounded, dtypes=dtype, numbers="real")
    assert re.search(r"differ by more than rounding explains, the worst at .* an error of .* where at most .*", report)
    program = report.partition("\n\n")[2]
    with pytest.raises(AssertionError):
        exec(program, {"rounded": rounded})
    exec(program, {"rounded": right})
    check(rounded, dtypes=dtype, numbers="real", max_error=1e14, max_examples=40, quiet=True)


@pytest.mark.long
def test_right_functions_are_so_on_real_numbers() -> None:
    dtypes = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
    check(right, dtypes=dtypes, numbers="real", quiet=True)


def test_a_pass_tells_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    check(right, dtypes=("f4", "float64"), max_examples=40)
    printed = capsys.readouterr().out
    assert printed.startswith("right is right in 40 cases of conv_transpose: whole numbers, compared exactly\n")
    for part in ("ranks 1 (", "float32 (", "float64 (", "residue classes ", "batches ", "strided (", "second calls "):
        assert part in printed
    check(right, max_examples=5, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_long_check_tells_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("cupy_kst.testing.progress._FILE_S", (0.0, 0.0))
    check(right, max_examples=5)
    assert "right: 2 of 5 cases\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "plain",
    [
        {"dtypes": ("f4",)},
        {"dtypes": (np.float32,)},
        {"dtypes": "float32"},
        {"dtypes": np.dtype("<f4")},
        {"ranks": 1},
        {"batches": 2},
        {"batches": None},
        {"layouts": "fortran"},
    ],
    ids=str,
)
def test_arguments_are_taken_for_what_they_plainly_mean(plain: dict[str, Any]) -> None:
    check(right, max_examples=5, quiet=True, **plain)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"padding": "sym"}, ValueError, "padding='sym': .*'symmetric', 'none'; is 'symmetric' meant"),
        ({"padding": "same"}, ValueError, "padding='same': there is 'pairs', 'symmetric', 'none'"),
        ({"padding": 1}, ValueError, "padding=1: there is 'pairs'"),
        ({"groups": 1}, TypeError, r"check\(\) takes no groups: .*; is 'max_groups' meant"),
        ({"dtypes": "flaot32"}, TypeError, "dtypes='flaot32': must be one of .*; is 'float32' meant"),
        ({"dtypes": ("i4",)}, TypeError, r"dtypes=\('i4',\): each value must be one of float16"),
        ({"dtypes": ()}, ValueError, r"dtypes=\(\): must hold at least one value"),
        ({"ranks": 4}, ValueError, "ranks=4: must be at most 3"),
        ({"ranks": "2"}, TypeError, "ranks='2': expected an int"),
        ({"batches": (-1,)}, ValueError, r"batches=\(-1,\): each value must be at least 0"),
        ({"max_channels": 0}, ValueError, "max_channels=0: must be at least 1"),
        ({"max_kernel": 2.5}, TypeError, "max_kernel=2.5: expected an int"),
        ({"max_elements": 2}, ValueError, "max_elements=2: a batch of 3 has at least as many elements"),
        ({"max_examples": 0}, ValueError, "max_examples=0: must be at least 1"),
        ({"max_axis": 0}, ValueError, "max_axis=0: must be at least 1"),
        ({"bias": 1}, TypeError, "bias=1: expected True or False"),
        ({"op": "conv_transposed"}, ValueError, "op='conv_transposed': .*; is 'conv_transpose' meant"),
        ({"numbers": "reals"}, ValueError, "numbers='reals': there is 'integers', 'real'; is 'real' meant"),
        ({"layouts": "C"}, ValueError, "layouts='C': there is 'contiguous', 'fortran', 'strided'"),
        ({"threads": 3}, ValueError, "threads=3: must be at most 2"),
        ({"max_error": 0}, ValueError, "max_error=0: must be above 0"),
        ({"seed": None}, TypeError, "seed=None: expected an int"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        check(right, **wrong)


def test_only_functions_are_checked() -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="fn=None: expected a function"):
        check(nothing)
    with pytest.raises(TypeError, match=r"examples\(\) takes no groups: .*; is 'max_groups' meant"):
        examples(groups=1)


def _share(has: Any, **restrictions: Any) -> float:
    found = []

    @seed(0)
    @settings(max_examples=500, database=None, derandomize=False, phases=[Phase.generate])
    @given(cases(**restrictions))
    def count(case: Case) -> None:
        found.append(has(case))

    count()
    return sum(found) / len(found)


@pytest.mark.long
def test_filters_that_share_a_factor_with_stride_and_dilation_are_drawn_often() -> None:
    def shares(case: Case) -> bool:
        steps = zip(case.weight_shape[2:], case.stride, case.dilation, strict=True)
        return any(gcd(*each) > 1 for each in steps)

    assert _share(shares, ranks=(3,)) > 0.4


@pytest.mark.long
def test_depths_of_whole_blocks_and_one_more_are_drawn_often() -> None:
    at_edges = {size + past for size in (8, 16, 32, 64, 128) for past in (0, 1)}
    limits = {"max_channels": 150, "max_elements": 3000, "ranks": (1, 2), "max_kernel": 3}
    assert _share(lambda case: case.weight_shape[0] // case.groups in at_edges, **limits) > 0.15


@pytest.mark.long
def test_long_axes_pass_the_edges_of_blocks() -> None:
    past = {"max_axis": 1100, "long_axis": "last"}
    assert _share(lambda case: min(case.input_shape[-1], case.output_sizes[-1]) > 1024, **past) > 0.95
    assert _share(lambda case: max(case.weight_shape) > 64, max_axis=1100, long_axis="channels") > 0.3

    def longest(case: Case) -> int:
        return max(*case.weight_shape, *case.input_shape[-case.rank :], *case.output_sizes)

    assert _share(lambda case: longest(case) > 40, max_axis=200) > 0.8


def test_a_call_is_stopped_at_its_lines() -> None:
    kept: list[int] = []

    def remember(number: int) -> int:
        kept.append(number)
        return kept[-1]

    ours, others = at_once(lambda: remember(1), lambda: remember(2))
    assert 2 in ours
    assert {*others} <= {1, 2}
