"""What `costs` says that methods multiply, against what the emulator counts while they do."""

from __future__ import annotations

from math import prod
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings

import cupy_kst
from cupy_kst.costs import Cost
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.plan import Launches
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.methods import Op
from cupy_kst.problem import Choice
from cupy_kst.testing import Arrays, Case, cases
from tests.emulator import Products
from tests.support.engines import EXAMPLES, METHODS, emulate, emulated, examples_of, geometry
from tests.support.problems import problem_of

TILED = ("ks_deconv", "conv_v2", "sk_dilated")
PER_THREAD = tuple(method for method in METHODS if method not in TILED)
TRIMMING = ("ks_deconv", "conv_v2")
# The kernel that adds split sums does so by multiply-adds as well.
ADDING = "add_partials"
PLAIN = ("plain", "forward", "generic", False)


def multiplied(method: str, case: Case, arrays: Arrays) -> Products:
    """Return the multiply-adds that a method makes, of complex numbers as of real ones."""
    emulator, _ = emulated(*PLAIN)
    emulator.products.clear()
    emulate(method, case, arrays, sanitize=PLAIN[0])
    made = [products for kernel, products in emulator.products if kernel != ADDING]
    parts = 4 if DTYPES[case.dtype].compute.kind == "c" else 1
    sums = [sum(column) for column in zip(*made, strict=True)] or [0, 0]
    assert not any(each % parts for each in sums)
    return Products(*(each // parts for each in sums))


def costs(case: Case) -> dict[str, Cost]:
    # Gradients are not told of the output padding that their shapes are of.
    options = {**case.options, "output_padding": case.output_padding}
    return cupy_kst.costs(case.input_shape, case.weight_shape, op=case.op, dtype=case.dtype, **options)


def product_of_tiles(method: str, case: Case) -> Launches:
    """Return the launch that multiplies."""
    _, engine = emulated(*PLAIN)
    steps = engine.plan(problem_of(method, geometry(case), case.dtype), Choice(method)).steps
    (found,) = (step for step in steps if step.kernel.startswith("multiply_"))
    return found


def ones(case: Case) -> Arrays:
    input, weight, grad = (np.ones(shape, "f4") for shape in (case.input_shape, case.weight_shape, case.output_shape))
    return Arrays(input, grad_output=grad) if case.op == "conv_weight" else Arrays(input, weight)


def case_of(
    method: str, input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int, padding: int
) -> Case:
    """Return a case whose input, of a convolution its output, has `input_shape`; both have as many channels."""
    op, pairs = TABLE[method].operation, ((padding, padding),) * 2
    large = cupy_kst.Geometry.conv_transpose(input_shape, weight_shape, stride, padding).output_shape
    first, second = (input_shape, large) if op == "conv_transpose" else (large, input_shape)
    twos = ((stride,) * 2, pairs, (0, 0), 1, (1, 1))
    return Case(op, first, weight_shape, False, "float32", *twos, output_sizes=second[2:])


@pytest.mark.long(but=lambda op: op in ("conv_transpose", "conv_weight"))
@pytest.mark.parametrize("op", get_args(Op))
def test_useful_macs_are_the_same_for_all_methods(op: Op) -> None:
    @given(cases(op))
    def same(case):
        assert len({cost.useful_macs for cost in costs(case).values()}) == 1

    same()


# Split multiplies for outputs that are cropped.
@pytest.mark.long(but=lambda method: method == "unified")
@pytest.mark.parametrize("method", [method for method in METHODS if method != "split"])
def test_useful_macs_are_the_products_without_a_zero(method: str) -> None:
    """No drawn number is zero, so zeros are what a method inserts, pads with or fills tiles with."""

    @settings(max_examples=EXAMPLES["emulator"])
    @given(examples_of(method, dtypes=("float32", "complex64")))
    def useful(example):
        case, arrays = example
        assert multiplied(method, case, arrays).without_zeros == costs(case)[method].useful_macs

    useful()


@pytest.mark.long(but=lambda method: PER_THREAD.index(method) % 2 == 0)
@pytest.mark.parametrize("method", PER_THREAD)
def test_macs_are_what_threads_multiply(method: str) -> None:
    @settings(max_examples=EXAMPLES["emulator"])
    @given(examples_of(method, dtypes=("float32", "complex64")))
    def really(example):
        case, arrays = example
        assert multiplied(method, case, arrays).all == costs(case)[method].macs

    really()


AWKWARD = {
    "more padding than input meets": ((2, 3, 3, 2), (3, 2, 5, 5), 2, 3),
    "borders that miss input": ((1, 2, 4, 3), (2, 3, 4, 5), 2, 0),
    "stride above the filter": ((1, 2, 4, 3), (2, 3, 2, 1), 5, 0),
    "one input, all but one output cropped": ((3, 1, 1, 1), (1, 4, 5, 5), 3, 2),
}


@pytest.mark.parametrize("method", PER_THREAD)
@pytest.mark.parametrize("name", AWKWARD)
def test_macs_of_awkward_shapes(method: str, name: str) -> None:
    case = case_of(method, *AWKWARD[name])
    assert multiplied(method, case, ones(case)).all == costs(case)[method].macs


@pytest.mark.long(but=lambda method: method == "conv_v2")
@pytest.mark.parametrize("method", TRIMMING)
def test_macs_of_trimmed_tiles(method: str) -> None:
    """All that is multiplied beyond `macs` is what fills the last tiles of samples, channels and columns."""

    @settings(max_examples=EXAMPLES["emulator"])
    @given(examples_of(method, batches=(64, 96, 131), max_kernel=4, max_elements=131 * 40))
    def trimmed(example):
        case, arrays = example
        step = product_of_tiles(method, case)
        defines = dict(step.defines)
        assume(defines["TRIMMED"] == "1")
        shapes, cost = geometry(case), costs(case)[method]
        sizes = (case.input_shape[0], shapes.out_channels // case.groups, shapes.in_channels // case.groups)
        whole = [
            -(-size // int(defines[tile])) * int(defines[tile])
            for size, tile in zip(sizes, ("TILE_M", "TILE_N", "TILE_K"), strict=True)
        ]
        made = multiplied(method, case, arrays)
        assert made.all * prod(sizes) == cost.macs * prod(whole)
        assert made.without_zeros == cost.macs

    trimmed()


@pytest.mark.long(but=lambda trims: trims)
@pytest.mark.parametrize("method", TILED)
@pytest.mark.parametrize("trims", [False, True])
def test_macs_of_tiles_without_remainders(method: str, trims: bool) -> None:
    """Samples, channels and columns that every tile divides, and what a method does where trimming does not pay."""
    every_tap_meets_input = 2 if method == "ks_deconv" else 0
    case = case_of(method, (128, 64, 4, 4), (64, 64, 3, 3), 1, 1 if trims else every_tap_meets_input)
    if method in TRIMMING:
        assert dict(product_of_tiles(method, case).defines)["TRIMMED"] == str(int(trims))
    assert multiplied(method, case, ones(case)).all == costs(case)[method].macs
