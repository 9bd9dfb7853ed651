"""More than 2**31 elements: 64-bit bases of samples in the narrow build, and the wide build for one such sample.

Maps are sparse files, zero but for the few places that meet an output that is looked at, mostly near the end: an offset
that was cut to 32 bits reads zeros, writes elsewhere or is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst.cpu import reference
from cupy_kst.geometry import Geometry
from cupy_kst.geometry.trimming import trims_classes, trims_windows
from cupy_kst.gpu.engine import Engine
from cupy_kst.gpu.select.cost_model import needs_wide
from cupy_kst.problem import Choice
from tests.emulator import Emulator, Kernel, require
from tests.support.engines import TRANSPOSED
from tests.support.problems import problem_of

DTYPE = "float16"
every_format = pytest.mark.parametrize("channels_last", [False, True], ids=["channels_first", "channels_last"])
every_width = pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])


class Sparse(Emulator):
    """Large workspaces are sparse files; of each row of a launch's grid the last blocks run, if their number is given.

    With a number of `rows`, the last ones of these run alone: what others would have written is zero.
    """

    def __init__(self, directory: Path, last: int | None = None, rows: int | None = None, build: str = "asan") -> None:
        require()
        super().__init__(build)
        self._directory = directory
        self._last, self._rows = last, rows
        self._files = 0

    def zeros(self, shape: Sequence[int], dtype: Any = DTYPE) -> NDArray[Any]:
        self._files += 1
        return np.memmap(self._directory / str(self._files), dtype, "w+", shape=tuple(shape))

    def map(self, shape: Sequence[int], channels_last: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return zeros for a map of this shape, and a view of them that has its channels first."""
        if not channels_last:
            return (zeros := self.zeros(shape)), zeros
        zeros = self.zeros((shape[0], *shape[2:], shape[1]))
        return zeros, np.moveaxis(zeros, -1, 1)

    def empty(self, shape: Sequence[int], dtype: Any = DTYPE) -> NDArray[Any]:
        if self._rows is not None and prod(shape) <= 2**24:
            return np.zeros(shape, dtype)
        return self.zeros(shape, dtype) if prod(shape) > 2**24 else super().empty(shape, dtype)

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *_: Any) -> None:
        if self._last is None:
            super().launch(kernel, grid, block, args)
            return
        columns, rows, planes = grid
        assert planes == 1
        for row in range(0 if self._rows is None else max(0, rows - self._rows), rows):
            end = (row + 1) * columns
            super().launch(kernel, grid, block, args, range(end - min(self._last, columns), end))


@pytest.fixture
def sparse(tmp_path: Path) -> Any:
    yield partial(Sparse, tmp_path)
    files = list(tmp_path.iterdir())
    used = sum(512 * path.stat().st_blocks for path in files)
    # Not kept for whatever copies temporary files without regard to holes.
    for path in files:
        path.unlink()
    assert used < 2**24


def numbers(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(sum(shape)).integers(1, 3, shape, endpoint=True).astype(DTYPE)


def compute(
    runtime: Sparse,
    method: str,
    geometry: Geometry,
    wide: bool,
    channels_last: bool = False,
    form: str | None = None,
    **arrays: NDArray[Any],
) -> None:
    """Run a method on arrays as the caller has them; the width of indices must come out as `wide` by itself."""
    assert needs_wide(geometry) is wide
    shapes = {
        "small": geometry.full_small_shape,
        "large": geometry.full_large_shape,
        "weight": geometry.full_weight_shape,
    }
    if channels_last:
        shapes.update({role: (n, *pixels, c) for role, (n, c, *pixels) in shapes.items() if role != "weight"})
    given = {role: each.reshape(shapes.get(role, each.shape)) for role, each in arrays.items()}
    Engine(runtime, "generic").run(problem_of(method, geometry, DTYPE, channels_last), Choice(method, form), given)


def last(array: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    """Return a map with its channels last, if they are to be."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if channels_last else array


# Cropped by the padding to a few outputs at the end.
CROPPED = {False: (10, 2, 8192, 32767), True: (1, 2, 65540, 32771)}
CORNER = (6, 7)


def _crop(sizes: Sequence[int], outputs: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the pads that leave these outputs of a filter of three taps and a stride of two."""
    return tuple((2 * size - out, 1) for size, out in zip(sizes, outputs, strict=True))


@pytest.mark.long(
    but=lambda method, wide, channels_last: wide and not channels_last and method in ("ks_deconv", "unified")
)
@every_width
@every_format
@pytest.mark.parametrize("method", TRANSPOSED)
def test_input_of_a_transposed_convolution(method: str, channels_last: bool, wide: bool, sparse: Any) -> None:
    shape, outputs, runtime = CROPPED[wide], (3, 5), sparse()
    geometry = Geometry.conv_transpose(shape, (2, 3, 3, 3), 2, _crop(shape[2:], outputs))
    x, view = runtime.map(shape, channels_last)
    corner, weight, bias = numbers(*shape[:2], *CORNER), numbers(2, 3, 3, 3), numbers(3)
    view[:, :, -CORNER[0] :, -CORNER[1] :] = corner
    y = last(runtime.empty(geometry.large_shape), channels_last)
    compute(runtime, method, geometry, wide, channels_last, small=x, weight=weight, bias=bias, large=y)
    y = np.moveaxis(y, -1, 1) if channels_last else y
    expected = reference.conv_transpose(corner, weight, bias, (2, 2), _crop(CORNER, outputs))
    assert expected.shape == y.shape
    np.testing.assert_array_equal(y, expected)


@pytest.mark.long(but=lambda wide: not wide)
@every_width
def test_gradient_of_the_output_of_a_convolution(wide: bool, sparse: Any) -> None:
    shape, inputs, runtime = CROPPED[wide], (3, 5), sparse()
    large, weight = numbers(shape[0], 3, *inputs), (2, 3, 3, 3)
    geometry = Geometry.conv(large.shape, weight, 2, _crop(shape[2:], inputs))
    assert geometry.small_shape == shape
    x, y = runtime.zeros(shape), runtime.empty(weight)
    corner = numbers(*shape[:2], *CORNER)
    x[:, :, -CORNER[0] :, -CORNER[1] :] = corner
    compute(runtime, "sk_dilated", geometry, wide, small=x, large=large, weight=y)
    expected = reference.conv_weight(large, weight, corner, (2, 2), _crop(CORNER, inputs))
    np.testing.assert_array_equal(y, expected)


# Six places of an axis are read, two or three side by side: what a stride or a dilation almost as large leaves.
SPREAD = {False: (10, 2, 16300, 16300), True: (1, 2, 46400, 46400)}


@pytest.mark.long(
    but=lambda method, by, wide, channels_last: (
        wide != channels_last and wide == (by == "stride") and method in ("direct", "sk_dilated")
    )
)
@every_width
@every_format
@pytest.mark.parametrize(
    ("method", "by"),
    [
        *((method, by) for method in ("direct", "conv_v2", "sk_dilated") for by in ("stride", "dilation")),
        ("zero_dilation", "dilation"),
    ],
)
def test_input_of_a_convolution(method: str, by: str, channels_last: bool, wide: bool, sparse: Any) -> None:
    shape, runtime = SPREAD[wide], sparse()
    size = shape[-1]
    step = size - 3 if by == "stride" else (size - 2) // 2
    places = np.array([0, 1, 2, step, step + 1, step + 2] if by == "stride" else [0, 1, step, step + 1, -2, -1]) % size
    geometry = Geometry.conv(shape, (2, 2, 3, 3), **{by: step})
    x, view = runtime.map(shape, channels_last)
    read, weight, bias = numbers(*shape[:2], 6, 6), numbers(2, 2, 3, 3), numbers(2)
    view[:, :, places[:, None], places] = read
    options = {by: (3, 3) if by == "stride" else (2, 2)}
    small = numbers(*geometry.small_shape)
    if method in ("direct", "conv_v2"):
        y = last(runtime.empty(geometry.small_shape), channels_last)
        compute(runtime, method, geometry, wide, channels_last, large=x, weight=weight, bias=bias, small=y)
        np.testing.assert_array_equal(y, last(reference.conv(read, weight, bias, **options), channels_last))
    else:
        y = runtime.empty(weight.shape)
        compute(runtime, method, geometry, wide, channels_last, large=x, small=last(small, channels_last), weight=y)
        np.testing.assert_array_equal(y, reference.conv_weight(read, weight.shape, small, **options))


# Sub-filters lie side by side in split's workspace: the last blocks fill it only where there is one.
STRIDES = {**dict.fromkeys(TRANSPOSED, 2), "split": 1, "direct": 1, "conv_v2": 1}


@pytest.mark.long(
    but=lambda method, wide, channels_last: (
        wide != channels_last and wide == (method == "split") and method in ("ks_deconv", "split")
    )
)
@every_width
@every_format
@pytest.mark.parametrize("method", STRIDES)
def test_end_of_the_output(method: str, channels_last: bool, wide: bool, sparse: Any) -> None:
    samples, rows, runtime, stride = 1 if wide else 3, 2**28 + 100 if wide else 107_374_000, sparse(16), STRIDES[method]
    shape, transposed = (samples, 2, rows // stride, 8 // stride), method in TRANSPOSED
    weight, bias, corner = numbers(2, 1, 3, 3), numbers(2), numbers(1, 2, 40, 8 // stride)
    if transposed:
        geometry = Geometry.conv_transpose(shape, weight.shape, stride, 1, stride - 1, 2)
        expected = reference.conv_transpose(corner, weight, bias, (stride,) * 2, (1, 1), (stride - 1,) * 2, 2)
    else:
        geometry = Geometry.conv(shape, weight.shape, 1, 1, 1, 2)
        expected = reference.conv(corner, weight, bias, padding=(1, 1), groups=2)
    assert geometry.output_shape == (samples, 2, rows, 8)
    (x, read), (y, written) = (runtime.map(each, channels_last) for each in (shape, geometry.output_shape))
    read[-1, :, -40:] = corner[0]
    maps = {"small": x, "large": y} if transposed else {"large": x, "small": y}
    compute(runtime, method, geometry, wide, channels_last, weight=weight, bias=bias, **maps)
    np.testing.assert_array_equal(written[-1, -1, -16:], expected[0, -1, -16:])


@pytest.mark.long(but=lambda method: method == "unified")
@pytest.mark.parametrize("method", [*TRANSPOSED, "direct", "conv_v2"])
def test_last_of_many_samples(method: str, sparse: Any) -> None:
    shape, runtime = (300_000_005, 2, 2, 2), sparse(32)
    weight, bias, last = numbers(2, 1, 3, 3), numbers(2), numbers(4, 2, 2, 2)
    if method in TRANSPOSED:
        geometry = Geometry.conv_transpose(shape, weight.shape, 2, 1, 1, 2)
        expected = reference.conv_transpose(last, weight, bias, (2, 2), (1, 1), (1, 1), 2)
        assert trims_classes(geometry)
    else:
        geometry = Geometry.conv(shape, weight.shape, 1, 1, 1, 2)
        expected = reference.conv(last, weight, bias, padding=(1, 1), groups=2)
        assert trims_windows(geometry)
    x, y = runtime.zeros(shape), runtime.zeros(geometry.output_shape)
    x[-4:] = last
    maps = {"small": x, "large": y} if method in TRANSPOSED else {"large": x, "small": y}
    compute(runtime, method, geometry, False, weight=weight, bias=bias, **maps)
    np.testing.assert_array_equal(y[-4:], expected)


# Their product is more than 2**31, and so is the number of elements; a sample is small.
SAMPLES, CHANNELS = 2**24 + 5, 128


def _one_pixel(method: str, groups: int, kernel: int) -> tuple[Geometry, Any]:
    """Return a geometry of many samples of one pixel, and the reference's function of it."""
    weight = (CHANNELS, CHANNELS // groups, kernel, kernel)
    options = {"padding": (kernel // 2,) * 2, "groups": groups}
    if method in TRANSPOSED:
        geometry = Geometry.conv_transpose((SAMPLES, CHANNELS, 1, 1), weight, 1, kernel // 2, 0, groups)
        return geometry, partial(reference.conv_transpose, **options)
    geometry = Geometry.conv((SAMPLES, CHANNELS, 1, 1), weight, 1, kernel // 2, 1, groups)
    return geometry, partial(reference.conv, **options)


def _compute_last(runtime: Sparse, method: str, geometry: Geometry, of: Any, form: str | None = None) -> None:
    """Compare the last four samples' outputs, where only their inputs are not zero, with those of the reference."""
    weight, bias, corner = numbers(*geometry.weight_shape), numbers(CHANNELS), numbers(4, CHANNELS, 1, 1)
    x, y = runtime.zeros(geometry.input_shape), runtime.zeros(geometry.output_shape)
    x[-4:] = corner
    maps = {"small": x, "large": y} if method in TRANSPOSED else {"large": x, "small": y}
    compute(runtime, method, geometry, False, form=form, weight=weight, bias=bias, **maps)
    np.testing.assert_array_equal(y[-4:], of(corner, weight, bias))


@pytest.mark.long(but=lambda method: method == "ks_deconv")
@pytest.mark.parametrize("method", [*TRANSPOSED, "direct", "conv_v2"])
def test_many_samples_times_many_channels(method: str, sparse: Any) -> None:
    geometry, of = _one_pixel(method, CHANNELS, 3)
    _compute_last(sparse(4 * CHANNELS), method, geometry, of)


@pytest.mark.long(but=lambda method: method == "conv_v2")
@pytest.mark.parametrize("method", ["ks_deconv", "conv_v2"])
def test_split_sums_of_many_samples(method: str, sparse: Any) -> None:
    """The fourth part begins behind 2**32 partial sums, which no 32 bits count, with a sign or without."""
    geometry, of = _one_pixel(method, 1, 1)
    _compute_last(sparse(64), method, geometry, of, "f16/32x64/split4")


def test_split_gradients_of_large_weights(sparse: Any) -> None:
    """The last part of 64 begins behind more than 2**32 partial sums; the others multiply zeros."""
    parts, channels, runtime = 64, 8320, sparse(8, 1)
    geometry = Geometry.conv((parts * 32, channels, 1, 1), (channels, channels, 1, 1))
    assert (parts - 1) * channels**2 > 2**32
    small, large = (np.zeros(geometry.small_shape, DTYPE) for _ in range(2))
    small[-32:, -1:], large[-32:, -3:] = numbers(32, 1, 1, 1), numbers(32, 3, 1, 1)
    weight = runtime.zeros(geometry.weight_shape)
    compute(
        runtime, "sk_dilated", geometry, False, form=f"f16/32x64/split{parts}", small=small, large=large, weight=weight
    )
    expected = np.einsum("nchw,ndhw->cd", small[-32:, -1:].astype("f8"), large[-32:, -3:].astype("f8"))
    np.testing.assert_array_equal(weight[-1:, -3:, 0, 0], expected)


def test_gradients_over_many_positions(sparse: Any) -> None:
    """The last part, which has the last sample, begins behind more than 2**31 positions; the others are zero."""
    parts, shape, runtime = 65535, (65535, 1, 164, 200), sparse(64, 1, "plain")
    geometry = Geometry.conv(shape, (1, 1, 1, 1))
    assert (parts - 1) * prod(shape[2:]) > 2**31
    (small, large), weight = (runtime.zeros(shape) for _ in range(2)), runtime.empty((1, 1, 1, 1))
    rows = numbers(2, *shape[2:])
    rows[:, : shape[2] - 2] = 0
    small[-1], large[-1] = rows[0], rows[1]
    compute(
        runtime, "sk_dilated", geometry, False, form=f"f16/32x64/split{parts}", small=small, large=large, weight=weight
    )
    assert weight.item() == (rows[0].astype("f8") * rows[1].astype("f8")).sum()
