"""What `out` may be: the message for each rule that it breaks, and that a refused call writes nothing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cupy_kst import conv_transpose2d

X, W, B = np.ones((2, 4, 5, 6), "f4"), np.ones((4, 4, 2, 2), "f4"), np.ones(4, "f4")
SHAPE = (2, 4, 6, 7)


def refused(message: str, out: Any, *arrays: Any, kind: type[Exception] = ValueError) -> None:
    before = out.tobytes()
    with pytest.raises(kind, match=re.escape(message)):
        conv_transpose2d(*(arrays or (X, W, B)), out=out)
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
    arrays = {"input": X, "weight": W, "bias": B}
    size = arrays[name].size
    last = np.prod(SHAPE) - 1
    arrays[name] = memory[last : last + size].reshape(arrays[name].shape)
    refused(f"out overlaps {name} in memory: pass an array of its own", out, *arrays.values())
    arrays[name] = memory[last + 1 : last + 1 + size].reshape(arrays[name].shape)
    conv_transpose2d(*arrays.values(), out=out)


def test_a_masked_one() -> None:
    refused("out is a masked array", np.ma.zeros(SHAPE, "f4"), kind=TypeError)
