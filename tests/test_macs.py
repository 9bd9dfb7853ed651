"""What `costs` says is multiplied is what the CUDA text multiplies, counted as it runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from cupy_kst.costs import Cost, count
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.engine import Engine, form_names, form_of
from cupy_kst.methods import METHODS as TABLE
from cupy_kst.methods import OPERATIONS
from cupy_kst.testing import Case, cases
from tests.emulator import Emulator, require
from tests.emulator.worker import Products
from tests.engines import METHODS, RESTRICTIONS, geometry
from tests.test_builds import SHAPES, case_of

TILED = ("ks_deconv", "conv_v2", "sk_dilated")
PER_THREAD = tuple(name for name in METHODS if name not in TILED)


@cache
def _engine() -> tuple[Emulator, Engine]:
    emulator = Emulator()
    return emulator, Engine(emulator)


def _counted(method: str, case: Case, form: str | None = None) -> Products:
    """Return what a method multiplies, of maps and a weight without a zero."""
    require()
    emulator, engine = _engine()
    shapes, operation = geometry(case), TABLE[method].operation
    full = {"small": shapes.full_small_shape, "large": shapes.full_large_shape, "weight": shapes.full_weight_shape}
    inputs, output = OPERATIONS[operation]
    arrays: dict[str, Any] = {role: np.ones(full[role], "f4") for role in inputs if role != "bias"}
    arrays[output] = emulator.empty(full[output], "f4")
    before = emulator.products
    engine.run(method, shapes, DTYPES["float32"], arrays, form=form)
    return Products(*(now - then for now, then in zip(emulator.products, before, strict=True)))


def _cost(method: str, case: Case) -> Cost:
    return count(TABLE[method].operation, geometry(case), DTYPES["float32"])[method]


def _able(method: str, name: str) -> bool:
    return TABLE[method].supports(geometry(case_of(method, name)))[0]


@pytest.mark.parametrize("method", PER_THREAD)
def test_macs_of_a_thread_per_output_are_all_its_products(method: str) -> None:
    @settings(max_examples=60)
    @given(cases(op=TABLE[method].operation, dtypes=("float32",), **RESTRICTIONS.get(method, {})))
    def counted(case):
        assert _counted(method, case).all == _cost(method, case).macs

    counted()


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method in PER_THREAD for name in SHAPES if _able(method, name)]
)
def test_macs_of_awkward_shapes(method: str, name: str) -> None:
    case = case_of(method, name)
    assert _counted(method, case).all == _cost(method, case).macs


@pytest.mark.parametrize("method", ["ks_deconv", "conv_v2"])
def test_macs_of_trimmed_tiles_are_the_products_that_are_no_remainder(method: str) -> None:
    """Rows, columns and depth are rounded up to those of tiles; no tap is multiplied beyond those that count."""
    (name, *_) = (name for name in form_names(method, DTYPES["float32"]) if name.endswith("/trimmed"))
    form = form_of(method, DTYPES["float32"], name)
    assert form is not None

    @settings(max_examples=60)
    @given(cases(op=TABLE[method].operation, dtypes=("float32",)))
    def counted(case):
        shapes, found = geometry(case), _counted(method, case, name)
        sizes = (shapes.samples, shapes.large_channels // shapes.groups, shapes.small_channels // shapes.groups)
        tile = form.tile.m, *((form.tile.n, form.tile.k) if method == "ks_deconv" else (form.tile.k, form.tile.n))
        rounded = prod(-(-size // edge) * edge for size, edge in zip(sizes, tile, strict=True))
        useful = _cost(method, case).useful_macs
        assert found.without_zero == useful == shapes.groups * shapes.met_taps * prod(sizes)
        assert found.all == shapes.groups * shapes.met_taps * rounded

    counted()


@pytest.mark.parametrize("method", ["ks_deconv", "conv_v2"])
def test_macs_of_a_batch_that_is_trimmed_are_the_useful_ones(method: str) -> None:
    case = case_of(method, "even sizes, a GAN's layer")
    case = replace(case, input_shape=(64, *case.input_shape[1:]))
    cost = _cost(method, case)
    assert cost.macs == cost.useful_macs == _counted(method, case).without_zero < cost.nominal_macs


@pytest.mark.parametrize("op", ["conv_transpose", "conv", "conv_weight"])
def test_useful_macs_are_the_same_for_all_methods(op: Any) -> None:
    @settings(max_examples=100)
    @given(cases(op=op, dtypes=("float32",)))
    def same(case):
        costs = count(op, geometry(case), DTYPES["float32"])
        assert len({cost.useful_macs for cost in costs.values()}) == 1
        assert all(cost.useful_macs <= cost.macs for cost in costs.values())

    same()
