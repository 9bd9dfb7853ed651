"""What `out` may be: the message for each rule that it breaks, and that a refused call writes nothing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cupy_kst import arrays, conv_transpose2d

X, W, B = np.ones((2, 4, 5, 6), "f4"), np.ones((4, 4, 2, 2), "f4"), np.ones(4, "f4")
SHAPE = (2, 4, 6, 7)


def refused(message: str, out: Any, *given: Any, kind: type[Exception] = ValueError) -> None:
    before = out.tobytes()
    with pytest.raises(kind, match=re.escape(message)):
        conv_transpose2d(*(given or (X, W, B)), out=out)
    assert out.tobytes() == before


def test_a_right_one_is_filled_and_returned() -> None:
    out = np.full(SHAPE, np.nan, "f4")
    assert conv_transpose2d(X, W, B, out=out) is out
    np.testing.assert_array_equal(out, conv_transpose2d(X, W, B))


def test_a_part_of_a_larger_array_will_do() -> None:
    larger = np.full((4, *SHAPE), np.nan, "f4")
    conv_transpose2d(X, W, B, out=larger[2])
    np.testing.assert_array_equal(larger[2], conv_transpose2d(X, W, B))
    assert np.isnan(larger[[0, 1, 3]]).all()


@pytest.mark.parametrize("shape", [(2, 4, 7, 6), (2, 4, 6), (1, 2, 4, 6, 7), (1, *SHAPE[1:]), ()])
def test_shape(shape: tuple[int, ...]) -> None:
    refused(f"out has shape {shape}: the output has shape {SHAPE}", np.zeros(shape, "f4"))


@pytest.mark.parametrize("dtype", ["<f8", "<f2", "<i4", ">f4"])
def test_dtype_and_byte_order(dtype: str) -> None:
    given = np.dtype(dtype)
    swapped = "" if given.isnative else " in native byte order"
    message = (
        f"out has dtype {'' if given.isnative else 'big-endian '}{given.name}: the output has dtype float32{swapped}"
    )
    refused(message, np.zeros(SHAPE, dtype))


@pytest.mark.parametrize(("order", "spelt"), [("<", "bfloat16"), (">", "big-endian bfloat16")])
def test_bfloat16_is_called_by_its_name(order: str, spelt: str) -> None:
    out = np.zeros(SHAPE, np.dtype("bfloat16").newbyteorder(order))
    refused(f"out has dtype {spelt}: the output has dtype float32", out)


@pytest.mark.parametrize(
    "out", [np.zeros(SHAPE, "f4", order="F"), np.zeros((*SHAPE, 2), "f4")[..., 0], np.zeros(SHAPE, "f4")[::-1]]
)
def test_layout(out: np.ndarray) -> None:
    refused(f"out has strides {out.strides}: it must be C-contiguous", out)


def test_read_only() -> None:
    out = np.zeros(SHAPE, "f4")
    out.flags.writeable = False
    refused("out is read-only", out)


@pytest.mark.parametrize("name", ["input", "weight", "bias"])
def test_overlap(name: str) -> None:
    memory = np.ones(1000, "f4")
    out = memory[: np.prod(SHAPE)].reshape(SHAPE)
    given = {"input": X, "weight": W, "bias": B}
    size = given[name].size
    last = np.prod(SHAPE) - 1
    given[name] = memory[last : last + size].reshape(given[name].shape)
    refused(f"out overlaps {name} in memory: pass an array of its own", out, *given.values())
    given[name] = memory[last + 1 : last + 1 + size].reshape(given[name].shape)
    conv_transpose2d(*given.values(), out=out)


def test_a_masked_one() -> None:
    refused("out is a masked array", np.ma.zeros(SHAPE, "f4"), kind=TypeError)


# Rows of 30 elements begin 96 apart; the output has 42.
GAPS = [(30, False), (54, False), (29, True), (55, True)]


@pytest.mark.parametrize(("start", "overlaps"), GAPS)
@pytest.mark.parametrize("name", ["input", "weight"])
def test_what_lies_between_the_rows_of_an_array_does_not_overlap_it(name: str, start: int, overlaps: bool) -> None:
    """The bounds of both touch; what counts is whether a byte is in both."""
    memory = np.arange(8 * 48, dtype="f4")
    rows = memory.reshape(8, 48)[::2, :30]
    given = {"input": np.ones((1, 4, 2, 2), "f4"), "weight": np.ones((4, 1, 2, 2), "f4")}
    given[name] = rows.reshape((1, 4, 5, 6) if name == "input" else (4, 1, 5, 6))
    right = conv_transpose2d(*(each.copy() for each in given.values()))
    out = memory[start : start + 42].reshape(1, 1, 6, 7)
    assert np.may_share_memory(out, given[name])
    assert np.shares_memory(out, given[name]) is overlaps
    if overlaps:
        refused(f"out overlaps {name} in memory: pass an array of its own", out, *given.values())
    else:
        np.testing.assert_array_equal(conv_transpose2d(*given.values(), out=out), right)


def test_what_would_take_long_to_decide_counts_as_an_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, w = np.ones(20000, "f4"), np.ones((4, 1, 2, 2), "f4")
    # Strides without a common factor: which elements there are is no matter of rows.
    x = np.lib.stride_tricks.as_strided(memory, (1, 4, 5, 6), (0, 4 * 3001, 4 * 701, 4 * 97))
    out = memory[5001 : 5001 + 42].reshape(1, 1, 6, 7)
    assert conv_transpose2d(x, w, out=out) is out
    monkeypatch.setattr(arrays, "_MOST_WORK", 10)
    refused("out overlaps input in memory", out, x, w)
