"""Options in all the forms that callers may write, and the message for each that breaks a rule."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry

SHAPES = {1: ((2, 4, 7), (4, 3, 5)), 2: ((2, 4, 7, 6), (4, 3, 5, 4)), 3: ((2, 4, 5, 7, 6), (4, 3, 2, 5, 4))}


def resolved(rank: int = 2, *, input_shape: Any = None, weight_shape: Any = None, **options: Any) -> Geometry:
    """Return the geometry of options on shapes that suit any of them."""
    shapes = SHAPES[rank]
    return Geometry.conv_transpose(input_shape or shapes[0], weight_shape or shapes[1], **options)


def pads(geometry: Geometry) -> list[tuple[int, int]]:
    return [(axis.pad_lo, axis.pad_hi) for axis in geometry.axes[3 - geometry.rank :]]


def refused(message: str, rank: int = 2, kind: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        resolved(rank, **options)


@pytest.mark.parametrize("form", [2, np.int64(2), np.array(2), (2, 2), [2, 2], np.array([2, 2])])
@pytest.mark.parametrize("name", ["stride", "dilation", "padding", "output_padding"])
def test_forms_of_equal_axes(name: str, form: Any) -> None:
    rest = {"stride": 3} if name == "output_padding" else {}
    assert resolved(**{name: form}, **rest) == resolved(**{name: (2, 2)}, **rest)


def test_one_value_per_axis() -> None:
    geometry = resolved(3, stride=(1, 2, 3), dilation=(3, 1, 2), output_padding=(2, 1, 0), padding=(0, 1, 2))
    assert [axis.stride for axis in geometry.axes] == [1, 2, 3]
    assert [axis.dilation for axis in geometry.axes] == [3, 1, 2]
    assert [axis.pad_lo for axis in geometry.axes] == [axis.pad_hi for axis in geometry.axes] == [0, 1, 2]
    # 4*1 + 3*1 + 2 + 1, 6*2 - 2 + 4 + 1 + 1, 5*3 - 4 + 2*3 + 1
    assert geometry.output_shape == (2, 3, 10, 16, 18)


@pytest.mark.parametrize(
    ("rank", "form", "wanted"),
    [
        (1, 2, [(2, 2)]),
        (1, (2,), [(2, 2)]),
        (1, ((1, 2),), [(1, 2)]),
        (1, [[1, 2]], [(1, 2)]),
        (1, "valid", [(0, 0)]),
        (2, (1, 2), [(1, 1), (2, 2)]),
        (2, ((1, 2), (0, 3)), [(1, 2), (0, 3)]),
        (2, np.array([[1, 2], [0, 3]]), [(1, 2), (0, 3)]),
        (2, "valid", [(0, 0), (0, 0)]),
        (3, ((0, 1), (2, 3), (4, 0)), [(0, 1), (2, 3), (4, 0)]),
    ],
)
def test_forms_of_padding(rank: int, form: Any, wanted: list[tuple[int, int]]) -> None:
    assert pads(resolved(rank, padding=form)) == wanted


@pytest.mark.parametrize(
    ("kernel", "stride", "same", "same_lower"),
    [
        (5, 1, (2, 2), (2, 2)),
        (4, 1, (1, 2), (2, 1)),
        (5, 2, (1, 2), (2, 1)),
        (4, 2, (1, 1), (1, 1)),
        (3, 2, (0, 1), (1, 0)),
        (2, 3, (0, 0), (0, 0)),
    ],
)
def test_same_makes_the_output_input_times_stride(
    kernel: int, stride: int, same: tuple[int, int], same_lower: tuple[int, int]
) -> None:
    for name, wanted in (("same", same), ("same_lower", same_lower)):
        geometry = resolved(1, weight_shape=(4, 3, kernel), stride=stride, padding=name)
        assert geometry.output_shape == (2, 3, 7 * stride)
        assert pads(geometry) == [wanted]


@pytest.mark.parametrize("form", [(18, 15), [18, 15], np.array([18, 15]), (2, 3, 18, 15)])
def test_forms_of_output_size(form: Any) -> None:
    geometry = resolved(stride=2, output_size=form)
    assert geometry.output_shape == (2, 3, 18, 15)
    assert pads(geometry) == [(0, 0), (0, 0)]
    assert geometry == resolved(stride=2, output_padding=(1, 1))


def test_output_size_of_unbatched_input_and_as_an_int() -> None:
    assert resolved(1, input_shape=(4, 7), stride=2, output_size=(3, 18)).output_shape == (3, 18)
    for width in (18, np.int64(18), np.array(18)):
        assert resolved(1, stride=2, output_size=width).output_shape == (2, 3, 18)
    assert resolved(2, weight_shape=(4, 3, 3, 5), stride=2, output_size=15).output_shape == (2, 3, 15, 15)
    assert resolved(1, stride=2, padding=((1, 0),), output_size=17).output_shape == (2, 3, 17)


def test_output_size_out_of_range_shows_the_range() -> None:
    for size in ((16, 14), (17, 16)):
        refused(f"output_size={size}: possible are (17, 14) to (18, 15)", stride=2, output_size=size)


@pytest.mark.parametrize("value", [17.0, np.float32(17), True, (17.0, 14), "17", {17, 14}])
def test_output_sizes_that_are_no_ints(value: Any) -> None:
    refused(f"output_size={value!r}: ", kind=TypeError, stride=2, output_size=value)
    rule = "each value expected an int" if isinstance(value, tuple) else "expected an int, 2 ints, or the whole shape"
    refused(f"{rule}, got ", kind=TypeError, stride=2, output_size=value)


def test_output_size_of_wrong_length() -> None:
    refused(
        "output_size=(17, 14, 3): expected 2 spatial sizes or a shape of 4 dimensions",
        stride=2,
        output_size=(17, 14, 3),
    )


def test_two_ways_to_settle_the_output_are_refused() -> None:
    refused(
        "output_size=(17, 14) and output_padding=(1, 0) both settle the output: give one of them",
        stride=2,
        output_size=(17, 14),
        output_padding=(1, 0),
    )
    for padding in ("same", "same_lower"):
        for other in ({"output_padding": 1}, {"output_size": (14, 12)}):
            refused(
                f"padding='{padding}' makes the output input * stride: give no output_padding or output_size with it",
                stride=2,
                padding=padding,
                **other,
            )


NAMES = ("stride", "dilation", "padding", "output_padding")
PADDINGS = "expected an int, 2 ints, 2 pairs written ((lo, hi), (lo, hi)), or 'valid', 'same', 'same_lower'"


@pytest.mark.parametrize("value", [1.0, None, Fraction(1), b"2", 1j, True, np.True_, (True, 1), (1, 1.5)])
def test_values_that_are_no_ints(value: Any) -> None:
    refused(f"padding={value!r}: {PADDINGS}", padding=value)
    for name in ("stride", "dilation", "output_padding"):
        wrong = "bool|float" if isinstance(value, tuple) else type(value).__name__.rstrip("_")
        with pytest.raises(
            TypeError, match=re.escape(f"{name}={value!r}: ") + f".*expected an int, got (a )?({wrong})$"
        ):
            resolved(**{name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, (1, -1)])
def test_negative_values(name: str, value: Any) -> None:
    least = 1 if name in ("stride", "dilation") else 0
    start = f"{name}={value!r}: " + ("" if isinstance(value, int) else "each value ")
    refused(f"{start}must be at least {least}", **{name: value})


@pytest.mark.parametrize("name", ["stride", "dilation"])
@pytest.mark.parametrize("value", [0, (0, 1)])
def test_zero(name: str, value: Any) -> None:
    refused(f"{name}={value!r}: ", **{name: value})
    refused("must be at least 1", **{name: value})


@pytest.mark.parametrize("name", ["stride", "dilation", "output_padding"])
@pytest.mark.parametrize("value", [(1,), (1, 1, 1), ()])
def test_wrong_number_of_values(name: str, value: Any) -> None:
    refused(f"{name}={value!r}: expected an int or 2 ints, got {len(value)} value", **{name: value})
    refused(f"{name}=(1, 2): expected an int or 1 int, got 2 values", rank=1, **{name: (1, 2)})


@pytest.mark.parametrize("name", ["stride", "dilation", "output_padding"])
def test_nested_values(name: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{name}=((1, 2), (3, 4)): each value expected an int, got tuple")):
        resolved(**{name: ((1, 2), (3, 4))})


@pytest.mark.parametrize("value", [(1, 2), ((1, 2), (3, 4)), ((1, 2, 3),), ((1,),), (), [[]]])
def test_padding_in_one_dimension_shows_the_pair_form(value: Any) -> None:
    words = "expected an int, 1 int, 1 pair written ((lo, hi),), or 'valid', 'same', 'same_lower'"
    refused(f"padding={value!r}: {words}", rank=1, padding=value)


@pytest.mark.parametrize("value", [(1, 2, 3), ((1, 2),), ((1, 2), 3), (3, (1, 2)), ((1, 2), (3,)), {}])
def test_padding_in_two_dimensions_shows_the_pair_form(value: Any) -> None:
    refused(f"padding={value!r}: {PADDINGS}", padding=value)


@pytest.mark.parametrize("value", [((1, -1), (0, 0)), ((0, 0), (-2, 0))])
def test_negative_pads_in_pairs(value: Any) -> None:
    refused(f"padding={value!r}: each value must be at least 0", padding=value)


@pytest.mark.parametrize("value", ["SAME", "full", "", "same_upper"])
def test_unknown_names_of_padding(value: str) -> None:
    refused(f"padding={value!r}: the names are 'valid', 'same' and 'same_lower'", padding=value)


@pytest.mark.parametrize(
    ("stride", "dilation", "most"), [(1, 1, 0), (3, 1, 2), (1, 3, 2), (2, 4, 3), ((3, 1), (1, 3), 2)]
)
def test_output_padding_is_smaller_than_stride_or_dilation(stride: Any, dilation: Any, most: int) -> None:
    resolved(stride=stride, dilation=dilation, output_padding=most)
    refused(
        f"output_padding={(most + 1,) * 2}: must be smaller than stride or dilation on each axis",
        stride=stride,
        dilation=dilation,
        output_padding=most + 1,
    )


@pytest.mark.parametrize(("groups", "kind"), [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)])
def test_groups_that_are_no_positive_int(groups: Any, kind: type[Exception]) -> None:
    refused(f"groups={groups!r}: ", kind=kind, groups=groups)


def test_groups_that_do_not_divide() -> None:
    refused("groups=3 does not divide the 4 channels of input_shape=(2, 4, 7, 6)", groups=3)


@pytest.mark.parametrize("padding", [6, ((6, 5),)])
def test_an_empty_output_shows_all_that_led_to_it(padding: Any) -> None:
    refused("input_shape=(2, 4, 7) and weight_shape=(4, 3, 5) with stride=(1,)", rank=1, padding=padding)
    refused("the output would have spatial size (", rank=1, padding=padding)
    assert resolved(1, padding=5).output_shape[-1] == 1
