"""What threads of the pool do, by records: words that hold sizes and the addresses of arrays.

Handing over a record takes a fraction of the time in which a function unpacks as many arrays. The first words are
told in `records`.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import carray
from numpy.typing import NDArray

from .atomics import pointer
from .cache import c_entry, whole
from .gemm_col2im.kernel import fold
from .im2col_gemm.kernel import convolve
from .implicit_gemm.kernel import run
from .pack.kernel import combine, pack
from .task import ARGUMENTS, SCRATCH, SCRATCH_BYTES
from .weight_grad.few_channels import correlate_few
from .weight_grad.kernel import correlate
from .winograd.kernel import filter_boxes

Array = NDArray[Any]


@whole
def _memory(record, part, like, start, size):
    """Return `size` numbers of a thread's scratch memory."""
    bytes_each = record[SCRATCH_BYTES]
    return carray(pointer(record[SCRATCH] + part * bytes_each + start, like), size)


@whole
def _run(address, part, like):
    one, offset = np.int64(0), np.int32(0)
    r = carray(pointer(address, one), ARGUMENTS + 21)
    a = ARGUMENTS
    source, packed = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    bias, out = carray(pointer(r[a + 2], like), 1), carray(pointer(r[a + 3], like), 1)
    numbers, axes = carray(pointer(r[a + 4], one), 13), carray(pointer(r[a + 5], one), (3, 7))
    phases, boxes = carray(pointer(r[a + 6], one), (r[a + 12], 3)), carray(pointer(r[a + 7], one), (r[a + 13], 13))
    places, rows = carray(pointer(r[a + 8], offset), 1), carray(pointer(r[a + 9], one), (r[a + 14], 5))
    classes, offsets = carray(pointer(r[a + 10], one), (1, 5)), carray(pointer(r[a + 11], offset), 1)
    buffer = _memory(r, part, like, 0, 1)
    sums = _memory(r, part, like, r[a + 18], 1)
    run(
        r[a + 15], r[a + 16], r[a + 17], source, packed, bias, out, numbers, axes, phases, boxes, places, rows, classes,
        offsets, buffer, sums, r, r[a + 19], r[a + 20],
    )  # fmt: skip


@whole
def _pack(address, part, like):
    one = np.int64(0)
    r = carray(pointer(address, one), ARGUMENTS + 13)
    a = ARGUMENTS
    weight, packed = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    strides, elements = carray(pointer(r[a + 2], one), 6), carray(pointer(r[a + 3], one), (r[a + 4], 6))
    pack(
        weight, strides, elements, packed, r[a + 5], r[a + 6], r[a + 7], r[a + 8], r[a + 9], r[a + 10], r[a + 11],
        r[a + 12], r,
    )  # fmt: skip


@whole
def _combine(address, part, like):
    one = np.int64(0)
    r = carray(pointer(address, one), ARGUMENTS + 8)
    a = ARGUMENTS
    packed, combined = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    elements, ends = carray(pointer(r[a + 2], one), (1, 2)), carray(pointer(r[a + 3], one), r[a + 4])
    combine(packed, elements, ends, combined, r[a + 5], r[a + 6], r[a + 7], r)


@whole
def _correlate(address, part, like):
    one, offset = np.int64(0), np.int32(0)
    r = carray(pointer(address, one), ARGUMENTS + 20)
    a = ARGUMENTS
    small, large = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    out = carray(pointer(r[a + 2], like), 1)
    numbers, axes = carray(pointer(r[a + 3], one), 13), carray(pointer(r[a + 4], one), (3, 7))
    phases, boxes = carray(pointer(r[a + 5], one), (r[a + 9], 3)), carray(pointer(r[a + 6], one), (r[a + 10], 13))
    places, offsets = carray(pointer(r[a + 7], offset), 1), carray(pointer(r[a + 8], offset), 1)
    buffer = _memory(r, part, like, 0, 1)
    sums = _memory(r, part, like, r[a + 18], 1)
    correlate(
        small, large, out, r[a + 11], r[a + 12], r[a + 13], r[a + 14], r[a + 15], r[a + 16], r[a + 17], r[a + 19],
        numbers, axes, phases, boxes, places, offsets, buffer, sums, r,
    )  # fmt: skip


@whole
def _correlate_few(address, part, like):
    one, offset = np.int64(0), np.int32(0)
    r = carray(pointer(address, one), ARGUMENTS + 18)
    a = ARGUMENTS
    small, large = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    out = carray(pointer(r[a + 2], like), 1)
    numbers, axes = carray(pointer(r[a + 3], one), 13), carray(pointer(r[a + 4], one), (3, 7))
    phases, boxes = carray(pointer(r[a + 5], one), (r[a + 8], 3)), carray(pointer(r[a + 6], one), (r[a + 9], 13))
    offsets = carray(pointer(r[a + 7], offset), 1)
    buffer = _memory(r, part, like, 0, 1)
    sums = _memory(r, part, like, r[a + 17], 1)
    correlate_few(
        small, large, out, r[a + 10], r[a + 11], r[a + 12], r[a + 13], r[a + 14], r[a + 15], r[a + 16], numbers, axes,
        phases, boxes, offsets, buffer, sums, r,
    )  # fmt: skip


@whole
def _fold(address, part, like):
    one = np.int64(0)
    r = carray(pointer(address, one), ARGUMENTS + 13)
    a = ARGUMENTS
    source, weight = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    bias, out = carray(pointer(r[a + 2], like), 1), carray(pointer(r[a + 3], like), 1)
    numbers, axes = carray(pointer(r[a + 4], one), 15), carray(pointer(r[a + 5], one), (3, 6))
    parts, classes = carray(pointer(r[a + 6], one), (r[a + 9], 12)), carray(pointer(r[a + 7], one), (r[a + 10], 4))
    taps = carray(pointer(r[a + 8], one), (r[a + 11], 2))
    scratch = _memory(r, part, like, 0, 1)
    fold(source, weight, bias, out, numbers, axes, parts, classes, taps, r[a + 12], scratch, r)


@whole
def _dense(address, part, like):
    one, offset = np.int64(0), np.int32(0)
    r = carray(pointer(address, one), ARGUMENTS + 7)
    a = ARGUMENTS
    source, weight = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    bias, out = carray(pointer(r[a + 2], like), 1), carray(pointer(r[a + 3], like), 1)
    numbers, inputs = carray(pointer(r[a + 4], one), 13), carray(pointer(r[a + 5], offset), 1)
    convolve(source, weight, bias, out, numbers, inputs, r[a + 6], _memory(r, part, like, 0, 1), r)


@whole
def _minimal(address, part, like):
    one, offset = np.int64(0), np.int32(0)
    r = carray(pointer(address, one), ARGUMENTS + 23)
    a = ARGUMENTS
    source, packed = carray(pointer(r[a], like), 1), carray(pointer(r[a + 1], like), 1)
    bias, out = carray(pointer(r[a + 2], like), 1), carray(pointer(r[a + 3], like), 1)
    numbers, fill_numbers = carray(pointer(r[a + 4], one), 23), carray(pointer(r[a + 5], one), 7)
    fill_axes, phases = carray(pointer(r[a + 6], one), (3, 7)), carray(pointer(r[a + 7], one), (1, 3))
    passes, kinds = carray(pointer(r[a + 8], one), (r[a + 17], 6)), carray(pointer(r[a + 9], one), (1, 3))
    boxes, places = carray(pointer(r[a + 10], one), (r[a + 18], 17)), carray(pointer(r[a + 11], offset), 1)
    slices, points = carray(pointer(r[a + 12], one), (r[a + 19], 3)), carray(pointer(r[a + 13], one), (1, 2))
    inputs, table = carray(pointer(r[a + 14], one), r[a + 20]), carray(pointer(r[a + 15], offset), 1)
    offsets = carray(pointer(r[a + 16], offset), 1)
    filter_boxes(
        source, packed, bias, out, numbers, fill_numbers, fill_axes, phases, passes, kinds, boxes, places, slices,
        points, inputs, table, offsets, r[a + 21], r[a + 22], _memory(r, part, like, 0, 1), r,
    )  # fmt: skip


# A function for each job and type: Numba's cache finds a function by its name.
def _run_float32(record, part):
    _run(record, part, np.float32(0))


def _run_float64(record, part):
    _run(record, part, np.float64(0))


def _fold_float32(record, part):
    _fold(record, part, np.float32(0))


def _fold_float64(record, part):
    _fold(record, part, np.float64(0))


def _dense_float32(record, part):
    _dense(record, part, np.float32(0))


def _dense_float64(record, part):
    _dense(record, part, np.float64(0))


def _minimal_float32(record, part):
    _minimal(record, part, np.float32(0))


def _minimal_float64(record, part):
    _minimal(record, part, np.float64(0))


def _correlate_few_float32(record, part):
    _correlate_few(record, part, np.float32(0))


def _correlate_few_float64(record, part):
    _correlate_few(record, part, np.float64(0))


def _pack_float32(record, part):
    _pack(record, part, np.float32(0))


def _pack_float64(record, part):
    _pack(record, part, np.float64(0))


def _combine_float32(record, part):
    _combine(record, part, np.float32(0))


def _combine_float64(record, part):
    _combine(record, part, np.float64(0))


def _correlate_float32(record, part):
    _correlate(record, part, np.float32(0))


def _correlate_float64(record, part):
    _correlate(record, part, np.float64(0))


_FUNCTIONS = {
    ("run", "f"): _run_float32,
    ("run", "d"): _run_float64,
    ("fold", "f"): _fold_float32,
    ("fold", "d"): _fold_float64,
    ("dense", "f"): _dense_float32,
    ("dense", "d"): _dense_float64,
    ("pack", "f"): _pack_float32,
    ("pack", "d"): _pack_float64,
    ("minimal", "f"): _minimal_float32,
    ("minimal", "d"): _minimal_float64,
    ("combine", "f"): _combine_float32,
    ("combine", "d"): _combine_float64,
    ("correlate_few", "f"): _correlate_few_float32,
    ("correlate_few", "d"): _correlate_few_float64,
    ("correlate", "f"): _correlate_float32,
    ("correlate", "d"): _correlate_float64,
}


@cache
def _compiled(name: str, kind: str) -> Any:
    return c_entry("void(int64, int64)", _FUNCTIONS[name, kind])


def record(name: str, kind: str, words: Sequence[int]) -> Array:
    """Return a record of the job of a name, for arrays of a kind (``"f"`` or ``"d"``)."""
    return np.array([0, 0, _compiled(name, kind).address, 0, 0, 0, *words], np.int64)
