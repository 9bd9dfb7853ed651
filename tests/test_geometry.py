"""Geometry and costs against brute force: every meeting of an input and a tap, enumerated."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupy_kst import Geometry, costs
from cupy_kst.geometry import Axis
from cupy_kst.testing import Case, cases
from tests.engines import METHODS


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    """Draw one axis, with an output of any size that pads and output padding can make."""
    in_size, out_size = draw(st.integers(1, 9)), draw(st.integers(1, 14))
    kernel, stride, dilation = draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return Axis(in_size, out_size, kernel, stride, dilation, draw(st.integers(0, 12)), draw(st.integers(0, 12)))


def _meetings(axis: Axis) -> set[tuple[int, int, int]]:
    """Enumerate the triples (output, input, tap)."""
    pairs = product(range(axis.in_size), range(axis.kernel))
    triples = {(i * axis.stride + k * axis.dilation - axis.pad_lo, i, k) for i, k in pairs}
    return {triple for triple in triples if 0 <= triple[0] < axis.out_size}


@settings(max_examples=300)
@given(axes())
def test_classes_hold_the_meetings_and_nothing_else(axis: Axis) -> None:
    found = set()
    for one in axis.classes:
        for q, t in product(range(one.positions), range(one.taps)):
            tap, input = one.first_tap + t * axis.tap_step, one.start + q - t * axis.input_step
            assert 0 <= tap < axis.kernel
            if 0 <= input < axis.in_size:
                found.add((one.first + q * axis.stride, input, tap))
    assert found == _meetings(axis)


@settings(max_examples=300)
@given(axes())
def test_every_output_is_in_one_class(axis: Axis) -> None:
    outputs = [one.first + q * axis.stride for one in axis.classes for q in range(one.positions)]
    assert sorted(outputs) == list(range(axis.out_size))
    for one in axis.classes:
        assert (one.first + axis.pad_lo) % axis.stride == one.residue


@settings(max_examples=300)
@given(axes())
def test_a_class_has_the_taps_that_meet_endless_input(axis: Axis) -> None:
    for one in axis.classes:
        shifted = one.first + axis.pad_lo
        met = [k for k in range(axis.kernel) if (shifted - k * axis.dilation) % axis.stride == 0]
        assert [one.first_tap + t * axis.tap_step for t in range(one.taps)] == met


@settings(max_examples=300)
@given(axes())
def test_meetings_of_a_tap_and_places_on_the_map(axis: Axis) -> None:
    met = {(o, i, k) for k in range(axis.kernel) for i, o in zip(*axis.meetings(k), strict=True)}
    assert met == _meetings(axis)
    # On the zero-inserted map, tap k of output o lies at o + (kernel - 1 - k) * dilation.
    standing = dict(zip(*axis.standings(), strict=True))
    for o, i, k in _meetings(axis):
        assert standing[i] == o + (axis.kernel - 1 - k) * axis.dilation
    assert all(0 <= place < axis.zero_inserted_size for place in standing.values())
    first = (axis.kernel - 1) * axis.dilation - axis.pad_lo
    assert set(standing) == {i for i in range(axis.in_size) if 0 <= i * axis.stride + first < axis.zero_inserted_size}


@given(cases())
def test_output_shape_is_that_of_the_formula(case: Case) -> None:
    geometry = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)
    pads = [pad if isinstance(pad, tuple) else (pad, pad) for pad in case.padding]
    kernel, sizes = case.weight_shape[2:], case.input_shape[-case.rank :]
    spatial = tuple(
        (sizes[a] - 1) * case.stride[a] - sum(pads[a]) + case.dilation[a] * (kernel[a] - 1) + case.output_padding[a] + 1
        for a in range(case.rank)
    )
    batch = case.input_shape[: -case.rank - 1]
    assert geometry.output_shape == (*batch, case.weight_shape[1] * case.groups, *spatial)
    ones = (1,) * (3 - case.rank)
    samples = batch or (1,)
    assert geometry.full_input_shape == (*samples, case.weight_shape[0], *ones, *sizes)
    assert geometry.full_output_shape == (*samples, case.weight_shape[1] * case.groups, *ones, *spatial)
    assert geometry.full_weight_shape == (*case.weight_shape[:2], *ones, *kernel)


def test_geometry_is_frozen_hashable_and_kept() -> None:
    geometry = Geometry.conv_transpose((1, 2, 8, 8), (2, 3, 4, 4), 2, 1)
    assert geometry is Geometry.conv_transpose([1, 2, 8, 8], (2, 3, 4, 4), (2, 2), padding=[1, 1])
    assert hash(geometry) == hash(dataclasses.replace(geometry))
    assert geometry != Geometry.conv_transpose((1, 2, 8, 8), (2, 3, 4, 4), 2, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        geometry.batch = 2
    assert geometry.axes[1].classes is geometry.axes[2].classes


@settings(max_examples=100)
@given(cases(max_elements=100))
def test_costs_count_what_brute_force_counts(case: Case) -> None:
    geometry = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options)
    found = costs(case.input_shape, case.weight_shape, dtype="float64", **case.options)
    assert tuple(found) == METHODS
    pairs = geometry.samples * case.weight_shape[0] * case.weight_shape[1]
    useful = pairs * prod(len(_meetings(axis)) for axis in geometry.axes)
    dense = pairs * prod(
        sum(
            (o + axis.pad_lo - k * axis.dilation) % axis.stride == 0
            for o in range(axis.out_size)
            for k in range(axis.kernel)
        )
        for axis in geometry.axes
    )
    everything = pairs * prod(axis.out_size * axis.kernel for axis in geometry.axes)
    assert [cost.useful_macs for cost in found.values()] == [useful] * 3
    assert [cost.nominal_macs for cost in found.values()] == [everything, dense, dense]
    assert [cost.macs for cost in found.values()] == [everything, useful, useful]
    zero_inserted = [axis.out_size + axis.dilation * (axis.kernel - 1) for axis in geometry.axes]
    bytes_of_map = 8 * geometry.samples * case.weight_shape[0] * prod(zero_inserted)
    assert [cost.workspace_bytes for cost in found.values()] == [bytes_of_map, 0, 0]
    residues = prod(
        len(Counter((o + axis.pad_lo) % axis.stride for o in range(axis.out_size))) for axis in geometry.axes
    )
    assert [cost.launches for cost in found.values()] == [2, residues, 1]
    blocks = prod(-(-axis.out_size // axis.stride) for axis in geometry.axes)
    outside = residues * blocks - prod(axis.out_size for axis in geometry.axes)
    channels = geometry.samples * geometry.out_channels
    assert [cost.extra_threads for cost in found.values()] == [0, outside * channels, 0]


def test_costs_of_the_papers_figures() -> None:
    """The counts of arXiv 2209.03704 for a 224x224 image, whose padding factors 2 and 1 are our paddings."""
    one = costs((1, 1, 224, 224), (1, 1, 5, 5), stride=2, padding=2)
    assert one["zero_insertion"].nominal_macs == 4_995_225
    assert one["segregated"].nominal_macs == one["unified"].nominal_macs == 1_249_924
    assert (one["segregated"].extra_threads, one["unified"].extra_threads) == (895, 0)
    assert one["segregated"].launches == 4
    colour = costs((1, 3, 224, 224), (3, 1, 5, 5), stride=2, padding=2)
    assert colour["zero_insertion"].workspace_bytes == 2_440_812
    assert colour["unified"].workspace_bytes == colour["segregated"].workspace_bytes == 0
    three = costs((1, 3, 224, 224), (3, 1, 3, 3), stride=2, padding=1)
    assert three["zero_insertion"].workspace_bytes == 2_419_212
    assert three["segregated"].extra_threads == 895
    even = costs((1, 3, 224, 224), (3, 8, 4, 4), stride=2, padding=1)
    assert even["segregated"].extra_threads == 0
    assert even["zero_insertion"].nominal_macs == 4 * even["segregated"].nominal_macs


def test_costs_of_an_unknown_operation_or_dtype() -> None:
    with pytest.raises(ValueError, match="op='conv': there is 'conv_transpose'"):
        costs((1, 1, 4), (1, 1, 2), op="conv")
    with pytest.raises(
        TypeError,
        match="dtype int8 is not supported: use one of float16, bfloat16, float32, float64, complex64, complex128",
    ):
        costs((1, 1, 4), (1, 1, 2), dtype="int8")
