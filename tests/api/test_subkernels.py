"""Sub-kernels: those that the classes of outputs take, and merging as the exact inverse of segregating."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupy_kst import Geometry, merge, segregate
from tests.support.engines import public_engines


@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    """Draw a weight whose elements all differ, strides and dilations."""
    rank = draw(st.integers(1, 3))

    def per_axis(highest: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(1, highest)) for _ in range(rank))

    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *per_axis(6))
    dtype = draw(st.sampled_from(["f2", "f4", ">f8", "c16", "i4"]))
    weight = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return weight, per_axis(7), per_axis(6)


@public_engines
def test_merging_is_the_exact_inverse(engine: str) -> None:
    module = np if engine == "cpu" else pytest.importorskip("cupy")

    @given(weights())
    def inverse(drawn):
        weight, stride, dilation = drawn
        weight = module.asarray(weight)
        merged = merge(segregate(weight, stride, dilation), stride, dilation)
        assert type(merged) is type(weight)
        assert (merged.shape, merged.dtype) == (weight.shape, weight.dtype)
        assert merged.flags.c_contiguous
        assert not module.may_share_memory(merged, weight)
        assert bool((merged == weight).all())

    inverse()


@settings(max_examples=200)
@given(weights(), st.integers(0, 9))
def test_sub_kernels_are_those_of_the_residue_classes(drawn: Any, pad: int) -> None:
    weight, stride, dilation = drawn
    rank = weight.ndim - 2
    # Outputs enough for every class, wherever the padding lets the first of them be.
    size = tuple(pad + s for s in stride)
    geometry = Geometry.conv_transpose(
        (weight.shape[0], *size), weight.shape, stride, ((pad, 0),) * rank, 0, 1, dilation
    )
    found = segregate(weight, stride, dilation)
    seen = set()
    for classes in geometry.classes:
        own = classes[3 - rank :]
        residues = tuple(one.residue for one in own)
        if not all(one.taps for one in own):
            assert residues not in found
            continue
        taps = tuple(
            slice(one.first_tap, None, axis.tap_step) for one, axis in zip(own, geometry.axes[3 - rank :], strict=True)
        )
        seen.add(residues)
        np.testing.assert_array_equal(found[residues], weight[(..., *taps)])
        assert found[residues].shape[2:] == tuple(one.taps for one in own)
    assert seen == set(found)
    assert list(found) == sorted(found)


def test_the_four_sub_kernels_of_the_paper() -> None:
    weight = np.arange(25).reshape(1, 1, 5, 5)
    assert {residues: taps.shape[2:] for residues, taps in segregate(weight, 2).items()} == {
        (0, 0): (3, 3),
        (0, 1): (3, 2),
        (1, 0): (2, 3),
        (1, 1): (2, 2),
    }


def test_a_stride_of_any_size_takes_a_class_per_tap() -> None:
    weight = np.arange(3.0).reshape(1, 1, 3)
    found = segregate(weight, 2**31 - 1, 2**30)
    assert len(found) == 3
    np.testing.assert_array_equal(merge(found, 2**31 - 1, 2**30), weight)


def test_sub_kernels_are_views() -> None:
    weight = np.zeros((2, 1, 4, 4), "f4")
    segregate(weight, 2)[0, 1][...] = 1
    assert weight[0, 0].tolist() == [[0, 1, 0, 1], [0] * 4] * 2


def test_merging_makes_an_array_of_the_module_of_the_sub_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice(np.ndarray):
        pass

    module: Any = ModuleType("cupy")
    module.ndarray, module.made = OnDevice, []

    def empty(shape: Any, dtype: Any) -> OnDevice:
        module.made.append(shape)
        return np.empty(shape, dtype).view(OnDevice)

    module.empty = empty
    monkeypatch.setitem(sys.modules, "cupy", module)
    # What is not a NumPy array by its type is asked for CuPy's.
    monkeypatch.setattr("cupy_kst.arrays.np.ndarray", ())
    weight = np.arange(6.0).reshape(1, 1, 6).view(OnDevice)
    merged = merge(segregate(weight, 3), 3)
    assert module.made == [(1, 1, 6)]
    assert merged.tolist() == weight.tolist()


W = np.zeros((2, 3, 4, 4), "f4")


def refused(message: str, kind: type[Exception], function: Any, *arguments: Any) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        function(*arguments)


def test_weights_that_are_refused() -> None:
    refused("weight is a list", TypeError, segregate, [1.0], 2)
    refused("weight has shape (4, 4): expected 3, 4 or 5 dimensions", ValueError, segregate, np.zeros((4, 4)), 2)
    refused(
        "weight has shape (1, 1, 0): no dimension may be of size zero", ValueError, segregate, np.zeros((1, 1, 0)), 2
    )
    refused("stride", ValueError, segregate, W, 0)
    refused("dilation", ValueError, segregate, W, 2, (1, 1, 1))


def test_sub_kernels_that_are_refused() -> None:
    parts = segregate(W, 2)
    refused("subkernels is empty", ValueError, merge, {}, 2)
    refused("subkernels[(0, 1)] is a list", TypeError, merge, parts | {(0, 1): [1.0]}, 2)
    refused("subkernels[(1, 1)] has dtype float64", TypeError, merge, parts | {(1, 1): np.zeros((2, 3, 2, 2))}, 2)
    refused("subkernels has the key 1: expected a tuple of 2 residues", ValueError, merge, parts | {1: parts[0, 0]}, 2)
    refused(
        "subkernels[(1, 1)] has shape (2, 2, 2): expected 4 dimensions",
        ValueError,
        merge,
        parts | {(1, 1): np.zeros((2, 2, 2), "f4")},
        2,
    )
    refused("subkernels[(0, 0)] has shape (2,): expected 3, 4 or 5", ValueError, merge, {(0, 0): np.zeros(2)}, 2)
    for wrong in (
        {key: each for key, each in parts.items() if key != (1, 0)},
        parts | {(0, 1): np.zeros((2, 3, 2, 3), "f4")},
        parts | {(0, 1): np.zeros((2, 1, 2, 2), "f4")},
        parts | {(2, 2): np.zeros((2, 3, 1, 1), "f4")},
    ):
        refused("subkernels have shapes {", ValueError, merge, wrong, 2)
    refused("with stride=(3, 3) and dilation=(1, 1) a weight of as many taps has {", ValueError, merge, parts, 3)
