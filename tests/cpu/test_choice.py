"""Which form the CPU takes: a pure function of shapes, whatever the machine."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry, cpu, prepare
from cupy_kst.cpu import FORMS, cost_model, jit, reference, registry
from cupy_kst.dtypes import DTYPES
from cupy_kst.methods import METHODS, OPERATIONS
from cupy_kst.problem import Choice
from tests.support.problems import problem_of
from tests.support.skips import need_compiled

ALL = ("jit_implicit_gemm", "jit_winograd", "jit_col2im", "numpy_col2im", "numpy_im2col")
NUMPY = ("numpy_col2im", "numpy_im2col")


def ranked(names: tuple[str, ...], geometry: Geometry, prepared: bool, method: str = "ks_deconv") -> list[str]:
    """Return the names of forms, the one that is estimated to be quickest first."""
    forms = tuple(FORMS[method][name] for name in names)
    return [form.name for form in registry.ranked(forms, geometry, prepared)]


def geometry(batch: int, channels: int, side: int, outputs: int, kernel: int = 4, stride: int = 2) -> Geometry:
    return Geometry.conv_transpose((batch, channels, side, side), (channels, outputs, kernel, kernel), stride, 1)


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((1, 1024, 4, 512), "numpy_col2im"),  # a weight far larger than the maps, which is not to be gathered for
        ((1, 128, 32, 3), "numpy_col2im"),  # few outputs
        ((1, 64, 128, 64, 4, 1), "numpy_im2col"),  # all taps are of one class: most of a fold would be additions
    ],
)
def test_forms_of_numpy(shape: tuple[int, ...], form: str) -> None:
    assert ranked(NUMPY, geometry(*shape), False)[0] == form


def test_what_has_to_be_packed_first_is_taken_where_that_pays() -> None:
    small, large = geometry(1, 1024, 4, 512), geometry(16, 256, 32, 128)
    assert ranked(ALL, small, True)[0] == "jit_implicit_gemm"
    assert ranked(ALL, small, False)[0] == "jit_col2im"
    # Samples share a packed weight, but each copies a weight that is not packed.
    assert ranked(ALL, geometry(4, 1024, 4, 512), False)[0] == "jit_implicit_gemm"
    assert ranked(ALL, large, False)[0] == ranked(ALL, large, True)[0] == "jit_winograd"
    # The gradient of an input is a convolution.
    forms = ("jit_implicit_gemm", "jit_winograd", "jit_im2col", "numpy_im2col")
    assert [ranked(forms, small, prepared, "conv_v2")[0] for prepared in (True, False)] == [
        "jit_implicit_gemm",
        "jit_im2col",
    ]
    assert ranked(forms, large, True, "conv_v2")[0] == "jit_winograd"
    # One position leaves all lanes but one idle.
    point = Geometry.conv((1, 1024, 4, 4), (100, 1024, 4, 4))
    assert ranked(forms, point, False, "conv_v2")[0] == "numpy_im2col"


def test_minimal_filtering_is_for_many_channels_and_positions() -> None:
    def first(*shape: int) -> str:
        return ranked(ALL, geometry(*shape), True)[0]

    assert first(16, 256, 16, 128) == first(1, 128, 64, 64) == first(16, 256, 16, 128, 5) == "jit_winograd"
    # Combining takes longer than the products that it saves.
    assert first(16, 16, 64, 16) == "jit_implicit_gemm"
    # Half of the lanes would idle.
    assert first(16, 256, 32, 32) == "jit_implicit_gemm"
    # Few tiles for each reading of a larger weight.
    assert first(1, 1024, 4, 512) == "jit_implicit_gemm"


def test_few_outputs_do_not_fill_a_block_of_output_channels() -> None:
    assert ranked(ALL, geometry(1, 128, 32, 3), True)[0] == "jit_col2im"
    assert ranked(ALL, geometry(1, 128, 32, 8), True)[0] == "jit_implicit_gemm"


def test_gradients_of_weights_are_compiled() -> None:
    depthwise = Geometry.conv_transpose((1, 64, 16, 16), (64, 1, 4, 4), 2, 1, groups=64)
    for each in (depthwise, geometry(1, 64, 16, 3)):
        assert ranked(("jit_implicit_gemm", "numpy_per_tap"), each, False, "sk_dilated")[0] == "jit_implicit_gemm"


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_forms_are_those_that_can_compute(method: str, dtype: str) -> None:
    names = cpu.form_names(problem_of(method, geometry(2, 8, 9, 8), dtype), method)
    able = DTYPES[dtype].compute.kind == "f" and not jit.problem()
    assert set(names) == {name for name, form in FORMS[method].items() if not form.compiled or able}


@pytest.mark.parametrize("method", FORMS)
def test_without_numba_there_are_those_that_it_does_not_compile(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "available", lambda dtype: False)
    cpu.form_names.cache_clear()
    found = cpu.form_names(problem_of(method, geometry(2, 8, 9, 8)), method)
    cpu.form_names.cache_clear()
    # What Numba compiles is in the module that says whether it does.
    run = {name: inspect.unwrap(form.run).__module__ for name, form in FORMS[method].items()}
    assert set(found) == {name for name, module in run.items() if not module.startswith(jit.__name__)}


EXACT = [
    (method, name)
    for method, forms in FORMS.items()
    for name, form in forms.items()
    if METHODS[method].operation != "conv_weight"
]


@pytest.mark.parametrize(("method", "name"), EXACT)
def test_exact_forms_are_those_whose_weights_reach_only_what_they_touch(method: str, name: str) -> None:
    if FORMS[method][name].compiled:
        need_compiled()
    one = geometry(1, 2, 9, 3)
    generator = np.random.default_rng(0)
    role = OPERATIONS[METHODS[method].operation].output
    of = {"small": one.small_shape, "large": one.large_shape, "weight": one.weight_shape}
    arrays: dict[Any, Any] = {role: generator.integers(1, 5, shape).astype("f4") for role, shape in of.items()}
    compute = reference.conv_transpose if role == "large" else reference.conv
    read = arrays["small" if role == "large" else "large"]
    # Outputs that an element is multiplied for, and those that are not finite where it is not.
    equal = []
    for place in range(0, arrays["weight"].size, 5):
        alone, broken = np.zeros_like(arrays["weight"]), arrays["weight"].copy()
        alone.flat[place], broken.flat[place] = 1, np.inf
        cpu.run(problem_of(method, one), Choice(method, name), {**arrays, "weight": broken})
        equal.append(np.array_equal(~np.isfinite(arrays[role]), compute(read, alone, None, 2, 1) != 0))
    assert all(equal) == FORMS[method][name].exact


def test_no_samples_take_no_form_in_particular() -> None:
    assert set(ranked(ALL, geometry(0, 32, 16, 32), False)) == set(ALL)


def test_an_estimate_grows_with_the_work() -> None:
    for form in ALL:
        work = FORMS["ks_deconv"][form].work
        assert work is not None
        one, many = (cost_model.seconds(work(geometry(batch, 32, 16, 32), False)) for batch in (1, 8))
        assert one < many


# Input's height and width, kernel, stride, padding, output padding, dilation.
_ODD = [
    (4, 4, 4, 2, 1, 0, 1),
    (3, 3, 2, 3, 0, 2, 1),
    (1, 1, 4, 1, 0, 0, 1),
    (1, 1, 3, 7, 1, 0, 1),
    (5, 5, 3, 2, 2, 1, 2),
    (2, 2, 5, 4, 2, 0, 3),
    (1, 4, 4, 2, 0, 0, 1),
    (4, 1, 4, 2, 0, 0, 1),
    (1, 3, 5, 2, 1, 1, 2),
    (6, 1, 3, 1, 0, 0, 1),
]


@pytest.mark.parametrize("case", _ODD)
@pytest.mark.parametrize("method", ["ks_deconv", "conv_v2"])
def test_a_weight_that_is_not_finite_is_found_in_the_output(method: str, case: tuple[int, ...]) -> None:
    """By every form that "auto" may take, wherever in the weight it is."""
    height, width, kernel, stride, padding, extra, dilation = case
    generator = np.random.default_rng(0)
    shapes = (2, 4, height, width), (4, 6, kernel, kernel)
    options = (stride, padding, extra, 2, dilation)
    x, w = (generator.integers(1, 5, shape).astype("f4") for shape in shapes)
    one = Geometry.conv_transpose(x.shape, w.shape, *options)
    large = generator.integers(1, 5, one.large_shape).astype("f4")
    exact, output = ("unified", "large") if method == "ks_deconv" else ("direct", "small")
    for place in range(0, w.size, 7):
        broken = w.copy()
        broken.flat[place] = np.inf
        found = []
        forms = ((method, form) for form in cpu.form_names(problem_of(method, one), method))
        for name, form in ((exact, None), *forms):
            arrays: dict[Any, Any] = {"small": x, "large": large, "weight": broken}
            arrays[output] = np.full_like(arrays[output], np.nan)
            cpu.run(problem_of(name, one), Choice(name, form, replaceable=True), arrays)
            found.append(arrays[output])
        assert len(found) > 1
        for each in found[1:]:
            np.testing.assert_array_equal(each, found[0])


def test_taps_far_apart_are_not_compiled() -> None:
    """The copy of all that lies between them would be far larger than what they read."""
    need_compiled()
    far = Geometry.conv((1, 2048, 65, 65), (256, 2048, 3, 3), 1, 36, 36)
    assert cpu.form_names(problem_of("conv_v2", far), "conv_v2", prepared=True) == ("numpy_im2col",)
    near = Geometry.conv((1, 2048, 65, 65), (256, 2048, 3, 3), 1, 1)
    assert "jit_implicit_gemm" in cpu.form_names(problem_of("conv_v2", near), "conv_v2")
    weight = np.zeros((2, 1024, 3, 3), "f4")
    prepared = prepare(weight, op="conv", padding=1024, dilation=1024, method="conv_v2", form="jit_implicit_gemm")
    with pytest.raises(ValueError, match="form='jit_implicit_gemm': for these shapes conv_v2 has 'numpy_im2col'"):
        prepared(np.zeros((1, 1024, 4, 4), "f4"))
