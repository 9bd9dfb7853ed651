"""Which tiles products take, and what every form of the tiled kernels computes, on the emulator."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst import Geometry, cpu
from cupy_kst.dtypes import DTYPES, DType
from cupy_kst.gpu import choice, conv_v2, ks_deconv, sk_dilated, tiles
from cupy_kst.gpu.engine import Engine, form_names, form_of, form_taken
from cupy_kst.gpu.form import Form
from cupy_kst.gpu.plan import NULL
from cupy_kst.gpu.target import Target
from cupy_kst.methods import METHODS, OPERATIONS

from .emulator import Emulator, require
from .emulator.runtime import DEVICE

LAUNCHERS = {"ks_deconv": ks_deconv, "conv_v2": conv_v2, "sk_dilated": sk_dilated}
FLOAT = Target(DTYPES["float32"], DEVICE, False)
GEOMETRIES = (
    # Tiles of 32 cut off in the middle in every direction, groups, and columns that 16 bytes do not divide.
    Geometry.conv_transpose((2, 66, 5, 4), (66, 35, 4, 3), (2, 3), ((1, 2), (0, 1)), (1, 0), 2),
    # Columns that they do divide, dilation that stride does not, and taps that meet nothing.
    Geometry.conv_transpose((3, 8, 1, 2, 3), (8, 72, 2, 2, 3), (2, 1, 3), (1, 0, 1), 0, 1, (3, 1, 2)),
    # Residue classes without taps.
    Geometry.conv_transpose((1, 6, 5), (6, 8, 2), 4, 1, 3, 2, 2),
    # More samples than a tile has rows, on a map smaller than the filter.
    Geometry.conv((37, 3, 2, 3), (16, 3, 3, 4), 1, ((1, 1), (2, 1))),
)
every_method = pytest.mark.parametrize("method", LAUNCHERS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_tiles_fit_a_block(dtype: DType) -> None:
    for tile in tiles.tiles(dtype):
        assert tile.threads % tile.m == tile.threads % tile.k == 0
        assert tile.m * tile.k % tile.threads == 0
        assert tile.threads <= 256
        # A thread's sums take at most a quarter of the registers that it may have.
        assert tile.thread_m * tile.thread_n * dtype.compute.itemsize <= 64 * 4
        pad = tiles.ACCESS // dtype.compute.itemsize
        assert 2 * tile.k * (tile.m + tile.n + 2 * pad) * dtype.compute.itemsize <= DEVICE.shared_bytes


@every_method
@every_dtype
def test_every_form_has_its_own_defines(method: str, dtype: str) -> None:
    found = list(LAUNCHERS[method].forms(DTYPES[dtype]))
    assert len(found) == len(set(found))


def test_large_products_take_large_tiles_and_small_ones_small_ones() -> None:
    large, *_, narrow = tiles.tiles(FLOAT.dtype)
    assert choice.tile_for(FLOAT, 10**6, 512) == large
    assert choice.tile_for(FLOAT, 10**6, 3) == narrow
    assert (choice.tile_for(FLOAT, 30, 30).m, choice.tile_for(FLOAT, 30, 30).n) == (32, 32)


def test_more_blocks_are_had_by_smaller_tiles() -> None:
    few, many = choice.tile_for(FLOAT, 1024, 256), choice.tile_for(FLOAT, 1024, 256, 100)
    assert few.m * few.n < many.m * many.n


def test_a_filter_is_loaded_by_16_bytes_where_columns_allow() -> None:
    half, double = DTYPES["float16"], DTYPES["complex128"]
    assert [tiles.vector(half, columns) for columns in (1, 4, 8, 12, 24)] == [1, 1, 8, 1, 8]
    assert [tiles.vector(DTYPES["float32"], columns) for columns in (1, 2, 4)] == [1, 1, 4]
    assert tiles.vector(double, 3) == 1
    assert tiles.vectors(double) == (1,)


@pytest.mark.parametrize(
    ("samples", "size", "trims"), [(64, 4, True), (63, 4, False), (64, 64, False), (128, 2, True), (1, 1, False)]
)
def test_products_are_trimmed_for_large_batches_of_small_maps(samples: int, size: int, trims: bool) -> None:
    transposed = Geometry.conv_transpose((samples, 8, size, size), (8, 8, 4, 4), 2, 1)
    forward = Geometry.conv((samples, 8, size, size), (8, 8, 3, 3), 1, 1)
    for launcher, geometry in ((ks_deconv, transposed), (conv_v2, forward)):
        step = launcher.plan(geometry, FLOAT).steps[1]
        assert dict(step.defines)["TRIMMED"] == str(int(trims))


def test_a_convolution_counts_what_its_own_taps_meet() -> None:
    # The second half of the large map meets no tap: that is no work of a convolution.
    geometry = Geometry.conv((64, 8, 7, 7), (8, 8, 2, 2), 5)
    assert dict(conv_v2.plan(geometry, FLOAT).steps[1].defines)["TRIMMED"] == "0"


def test_splits_fill_the_device_but_no_more_than_the_depth_allows() -> None:
    assert choice.splits(FLOAT, 1, 0) == 1
    assert choice.splits(FLOAT, 1, 80) == 10
    assert choice.splits(FLOAT, 1, 10**9) == choice.SPLIT_BLOCKS * DEVICE.multiprocessors
    assert choice.splits(FLOAT, 10**6, 10**9) == 1


@every_method
@every_dtype
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=range(len(GEOMETRIES)))
def test_a_plan_takes_a_form_of_the_table(method: str, dtype: str, geometry: Geometry) -> None:
    launcher = LAUNCHERS[method]
    for step in launcher.plan(geometry, Target(DTYPES[dtype], DEVICE, False)).steps:
        assert step.defines in set(launcher.forms(DTYPES[dtype]))
        assert all(
            array in (name, NULL) for array, name in zip(step.arrays, launcher.KERNELS[step.kernel], strict=True)
        )


def test_sums_of_splits_are_in_the_compute_type() -> None:
    bfloat = DTYPES["bfloat16"]
    target = Target(bfloat, DEVICE, False, form=Form("bf16", tiles.tiles(bfloat)[0], splits=3))
    shape, dtype = sk_dilated.plan(GEOMETRIES[0], target).workspaces["partials"]
    assert dtype == np.float32
    assert shape == (3, *GEOMETRIES[0].full_weight_shape)


def test_what_is_not_split_goes_straight_to_the_weight() -> None:
    target = replace(FLOAT, form=Form("f32", tiles.tiles(FLOAT.dtype)[0]))
    planned = sk_dilated.plan(GEOMETRIES[0], target)
    assert planned.workspaces == {}
    assert [step.kernel for step in planned.steps] == ["multiply_taps"]


@every_method
@every_dtype
def test_forms_are_found_by_their_names(method: str, dtype: str) -> None:
    element = DTYPES[dtype]
    names = [name.replace("splitN", "split7") for name in form_names(method, element)]
    assert len(set(names)) == 2 * len(tiles.tiles(element))
    for name in names:
        form = form_of(method, element, name)
        assert str(form) == name
        for geometry in GEOMETRIES:
            target = Target(element, DEVICE, False, form=form)
            assert form_taken(method, geometry, target) == name


@pytest.mark.parametrize(
    "name", ["128x64", "f64/64x64", "f32/64x65", "f32/64x64/split1", "f32/64x64/split0", "f32/64x64/split70000", 5]
)
def test_a_name_of_no_form_lists_the_names(name: Any) -> None:
    with pytest.raises(ValueError, match="sk_dilated in float32 has 'f32/128x64', 'f32/128x64/splitN'"):
        form_of("sk_dilated", DTYPES["float32"], name)


def test_methods_with_a_thread_per_output_have_one_form() -> None:
    assert form_names("unified", DTYPES["complex64"]) == ("c64/threads",)
    assert form_of("unified", DTYPES["complex64"], "c64/threads") is None
    with pytest.raises(ValueError, match="unified in complex64 has 'c64/threads'"):
        form_of("unified", DTYPES["complex64"], "c64/64x64")


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_form_computes(method: str, dtype: str) -> None:
    # One layout each, so that every tile has both and so has every kind.
    for number, form in enumerate(_forms(method, dtype)):
        for geometry in GEOMETRIES[:2]:
            _check(method, dtype, geometry, form, channels_last=(number + number // 2) % 2 == 1)


@every_method
@every_dtype
def test_every_dtype_computes(method: str, dtype: str) -> None:
    for geometry in GEOMETRIES[2:]:
        _check(method, dtype, geometry, _forms(method, dtype)[-1])


@every_method
@pytest.mark.parametrize(
    ("build", "order", "kind", "wide"),
    [
        ("tsan", "shuffled", "generic", False),
        ("asan", "reversed", "specialised", False),
        ("asan", "shuffled", "generic", True),
    ],
)
def test_builds_orders_and_races(method: str, build: str, order: str, kind: Any, wide: bool) -> None:
    for geometry, last in product(GEOMETRIES[::2], (False, True)):
        _check(method, "float32", geometry, None, last, build, order, kind, wide)


def _forms(method: str, dtype: str) -> list[str]:
    return [name.replace("splitN", "split3") for name in form_names(method, DTYPES[dtype])]


@cache
def _emulator(build: str, order: str) -> Emulator:
    return Emulator(build, order)


def _check(
    method: str,
    dtype: str,
    geometry: Geometry,
    form: str | None = None,
    channels_last: bool = False,
    build: str = "asan",
    order: str = "forward",
    kind: Any = "generic",
    wide: bool = False,
) -> None:
    """Compute whole numbers, so that the NumPy engine's result is the only one."""
    require()
    emulator, element = _emulator(build, order), DTYPES[dtype]
    inputs, output = OPERATIONS[METHODS[method].operation]
    shapes = {
        "small": geometry.full_small_shape,
        "large": geometry.full_large_shape,
        "weight": geometry.full_weight_shape,
        "bias": (geometry.full_large_shape if output == "large" else geometry.full_small_shape)[1:2],
    }
    rng = np.random.default_rng(len(str(geometry)))
    arrays: dict[Any, Any] = {name: _whole(rng, shapes[name], element) for name in inputs}
    wanted = np.empty(shapes[output], element.storage)
    cpu.run(method, geometry, element, {**arrays, output: wanted})
    if channels_last:
        arrays.update({role: _last(arrays[role]) for role in ("small", "large") if role in arrays})
        wanted = wanted if output == "weight" else _last(wanted)
    out = emulator.empty(wanted.shape, element.storage)
    Engine(emulator, kind, wide).run(
        method, geometry, element, {**arrays, output: out}, channels_last=channels_last, form=form
    )
    emulator.check_written(out)
    np.testing.assert_array_equal(out, wanted)


def _last(array: NDArray[Any]) -> NDArray[Any]:
    """Return a map with its channels last."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def _whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> NDArray[Any]:
    values: NDArray[Any] = rng.integers(-2, 3, shape)
    if dtype.storage.kind == "c":
        values = values + 1j * rng.integers(-2, 3, shape)
    return values.astype(dtype.storage)
