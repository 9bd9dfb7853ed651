"""Arrays whose flat index passes 2**31: sparse files that the emulator maps, of which a launch touches a few places."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst import Geometry
from cupy_kst.axis import Axis
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.choice import needs_wide
from cupy_kst.gpu.engine import Engine
from cupy_kst.methods import METHODS, OPERATIONS
from tests.emulator import Emulator, EmulatorError, require

FLOAT16 = DTYPES["float16"]
# Elements at the end of each row that are not zero.
END = 24
# Elements of an output too large to be computed whole that are: all in the last blocks of the launch.
LAST = 40


class Large(NamedTuple):
    """Samples, channels and lengths whose offsets need 64 bits between samples alone, or within one."""

    samples: int
    channels: int
    length: int

    @property
    def wide(self) -> bool:
        return self.samples == 1


BETWEEN_SAMPLES, WITHIN_ONE = Large(9, 1, 2**28 + 5), Large(1, 3, 2**30 + 5)
every_size = pytest.mark.parametrize("large", [BETWEEN_SAMPLES, WITHIN_ONE], ids=["between samples", "within one"])
every_format = pytest.mark.parametrize("channels_last", [False, True], ids=["channels_first", "channels_last"])


@cache
def _engine(last_blocks: int | None = None, wide: bool | None = None) -> Engine:
    return Engine(Emulator("asan", last_blocks=last_blocks), wide=wide)


def _sparse(path: Path, shape: tuple[int, ...], channels_last: bool) -> tuple[Any, NDArray[Any]]:
    """Return a file of zeros as a full map, and the view on it that has its channels first and one spatial axis."""
    samples, channels, _, _, length = shape
    laid_out = (samples, 1, 1, length, channels) if channels_last else shape
    array = np.memmap(path, np.float16, "w+", shape=laid_out)
    view = np.moveaxis(array, -1, 1) if channels_last else array
    return array, view[:, :, 0, 0]


def _write_ends(view: NDArray[Any], seed: int) -> None:
    # Another value at each place: what is read from a wrong one shows.
    view[:, :, -END:] = np.random.default_rng(seed).integers(1, 8, (*view.shape[:2], END))


def _small(shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(1, 4, shape).astype(np.float16)


def _meetings(axis: Axis, places: range) -> Iterator[tuple[int, int, int]]:
    """Yield what meets by the definition at some places of the large map: (small, large, tap)."""
    for place, tap in product(places, range(axis.kernel)):
        landed = place + axis.pad_lo - tap * axis.dilation
        if landed % axis.stride == 0 and 0 <= landed // axis.stride < axis.small:
            yield landed // axis.stride, place, tap


def _run(engine: Engine, method: str, geometry: Geometry, arrays: dict[str, Any], channels_last: bool) -> None:
    require()
    engine.run(method, geometry, FLOAT16, arrays, channels_last=channels_last)


def _first(array: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    return (np.moveaxis(array, -1, 1) if channels_last else array)[:, :, 0, 0]


def _last(array: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if channels_last else array


@every_size
@every_format
@pytest.mark.parametrize("method", ["zero_insertion", "segregated", "unified", "ks_deconv", "split"])
def test_large_input_of_a_transposed_convolution(
    method: str, large: Large, channels_last: bool, tmp_path: Path
) -> None:
    samples, channels, length = large
    stride, kernel, outputs = 1 if large.wide else 3, 4, 12
    crop = (length - 1) * stride + kernel - outputs
    shape, weight = (samples, channels, length), _small((channels, 2, 1, 1, kernel), 1)
    geometry = Geometry.conv_transpose(shape, (channels, 2, kernel), stride, ((crop, 0),))
    assert geometry.output_shape == (samples, 2, outputs)
    assert needs_wide(geometry) is large.wide
    small, view = _sparse(tmp_path / "small", geometry.full_small_shape, channels_last)
    _write_ends(view, 2)
    out = _last(np.zeros(geometry.full_large_shape, np.float16), channels_last)
    _run(_engine(), method, geometry, {"small": small, "weight": weight, "large": out}, channels_last)
    right = np.zeros(geometry.large_shape)
    for i, o, k in _meetings(geometry.axes[2], range(geometry.axes[2].large)):
        right[:, :, o] += view[:, :, i].astype(float) @ weight[:, :, 0, 0, k].astype(float)
    assert right.all()
    np.testing.assert_array_equal(_first(out, channels_last), right)


@every_size
@every_format
@pytest.mark.parametrize("method", ["direct", "conv_v2", "sk_dilated", "zero_dilation"])
def test_large_input_of_a_convolution_and_of_its_gradient(
    method: str, large: Large, channels_last: bool, tmp_path: Path
) -> None:
    samples, channels, length = large
    # Two taps, the length of the map but for some outputs apart.
    dilation = length - 15
    geometry = Geometry.conv((samples, channels, length), (2, channels, 2), dilation=dilation)
    assert needs_wide(geometry) is large.wide
    map_, view = _sparse(tmp_path / "large", geometry.full_large_shape, channels_last)
    _write_ends(view, 3)
    output = OPERATIONS[METHODS[method].operation].output
    weight, small = _small(geometry.full_weight_shape, 4), _small(geometry.full_small_shape, 5)
    wanted = {"small": np.zeros(geometry.small_shape), "weight": np.zeros(geometry.weight_shape)}[output]
    for i, o, k in _meetings(geometry.axes[2], range(dilation, length)):
        x = view[:, :, o].astype(float)
        if output == "small":
            wanted[:, :, i] += x @ weight[:, :, 0, 0, k].astype(float).T
        else:
            wanted[:, :, k] += small[:, :, 0, 0, i].astype(float).T @ x
    # The first tap reads the first places of the map, which are zero.
    assert wanted.any()
    small = _last(np.zeros_like(small) if output == "small" else small, channels_last)
    weight = np.zeros_like(weight) if output == "weight" else weight
    _run(_engine(), method, geometry, {"large": map_, "small": small, "weight": weight}, channels_last)
    result = weight[:, :, 0, 0] if output == "weight" else _first(small, channels_last)
    np.testing.assert_array_equal(result, wanted)


@every_size
@every_format
@pytest.mark.parametrize("method", ["unified", "segregated", "ks_deconv", "direct", "conv_v2"])
def test_large_output(method: str, large: Large, channels_last: bool, tmp_path: Path) -> None:
    """Only the last blocks run; nothing in front of what they write is touched."""
    samples, channels, length = large
    transposed = METHODS[method].operation == "conv_transpose"
    if transposed:
        geometry = Geometry.conv_transpose((samples, 1, length // 2), (1, channels, 4), 2, 1)
    else:
        geometry = Geometry.conv((samples, 1, length), (channels, 1, 3), padding=1)
    assert needs_wide(geometry) is large.wide
    read, written = ("small", "large") if transposed else ("large", "small")
    full = {"small": geometry.full_small_shape, "large": geometry.full_large_shape}
    input, x = _sparse(tmp_path / read, full[read], channels_last)
    out, y = _sparse(tmp_path / written, full[written], channels_last)
    x[:, :, -2 * LAST :] = np.random.default_rng(6).integers(1, 8, (*x.shape[:2], 2 * LAST))
    weight = _small(geometry.full_weight_shape, 7)
    _run(_engine(8), method, geometry, {read: input, "weight": weight, written: out}, channels_last)
    axis = geometry.axes[2]
    first = y.shape[2] - LAST
    right = np.zeros((channels, LAST))
    places = range(first, axis.large) if transposed else range(first - 1, axis.large)
    for i, o, k in _meetings(axis, places):
        at = (o if transposed else i) - first
        if 0 <= at < LAST:
            value, taps = (x[-1, 0, i], weight[0, :, 0, 0, k]) if transposed else (x[-1, 0, o], weight[:, 0, 0, 0, k])
            right[:, at] += float(value) * taps.astype(float)
    assert right.all()
    # The last blocks reach LAST positions of the last channel, and of all channels where these are last.
    covered = slice(None) if channels_last or channels == 1 or method in ("ks_deconv", "conv_v2") else slice(-1, None)
    np.testing.assert_array_equal(y[-1, covered, -LAST:], right[covered])
    assert not y[0, 0, : 2**16].any()


@pytest.mark.parametrize("method", ["unified", "direct"])
def test_32_bits_would_not_do(method: str, tmp_path: Path) -> None:
    """So that the tests above would see it."""
    samples, channels, length = WITHIN_ONE
    conv = method == "direct"
    if conv:
        geometry = Geometry.conv((samples, channels, length), (2, channels, 2), dilation=length - 15)
    else:
        geometry = Geometry.conv_transpose((samples, channels, length), (channels, 2, 4), 1, ((length - 9, 0),))
    read, written = ("large", "small") if conv else ("small", "large")
    full = {"small": geometry.full_small_shape, "large": geometry.full_large_shape}
    input, view = _sparse(tmp_path / "map", full[read], False)
    _write_ends(view, 8)
    results = []
    for wide in (True, False):
        arrays = {read: input, "weight": _small(geometry.full_weight_shape, 9), written: np.zeros(full[written], "f2")}
        try:
            _run(_engine(wide=wide), method, geometry, arrays, False)
        except EmulatorError:
            results.append(None)
        else:
            results.append(arrays[written])
    assert results[0] is not None
    assert results[1] is None or not np.array_equal(*results)
