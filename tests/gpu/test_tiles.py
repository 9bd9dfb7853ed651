"""Which tiles products take, and what every form of the tiled kernels computes, on the emulator."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from cupy_kst import Geometry, cpu
from cupy_kst.costs import OnCpu, count
from cupy_kst.dtypes import DTYPES, DType, Precision
from cupy_kst.gpu.engine import Engine, form_names, form_of, form_taken, plan
from cupy_kst.gpu.methods import REGISTRY, conv_v2, ks_deconv, sk_dilated
from cupy_kst.gpu.plan import NULL
from cupy_kst.gpu.select import cost_model, tiles
from cupy_kst.gpu.select.context import PlanContext
from cupy_kst.gpu.select.cost_model import Product
from cupy_kst.gpu.select.microkernel import MicroKernel, micro_kernels
from cupy_kst.methods import METHODS, OPERATIONS
from cupy_kst.problem import Choice
from tests.emulator import Emulator, require
from tests.emulator.runtime import DEVICE
from tests.support.problems import problem_of

TILED = [name for name in METHODS if REGISTRY[name].has_forms]
FLOAT = PlanContext(DTYPES["float32"], DEVICE, False)
GEOMETRIES = (
    # Tiles of 32 cut off in the middle in every direction, groups, and columns that 16 bytes do not divide.
    Geometry.conv_transpose((2, 66, 5, 4), (66, 35, 4, 3), (2, 3), ((1, 2), (0, 1)), (1, 0), 2),
    # Columns that they do divide, dilation that stride does not, and of three taps along the depth two meet nothing.
    Geometry.conv_transpose((3, 8, 1, 2, 3), (8, 72, 3, 2, 3), (2, 1, 3), (1, 0, 1), 0, 1, (3, 1, 2)),
    # Residue classes without taps.
    Geometry.conv_transpose((1, 6, 5), (6, 8, 2), 4, 1, 3, 2, 2),
    # More samples than a tile has rows, on a map smaller than the filter.
    Geometry.conv((37, 3, 2, 3), (16, 3, 3, 4), 1, ((1, 1), (2, 1))),
    # No class with a tap: the bias alone.
    Geometry.conv_transpose((1, 8, 2, 2), (8, 8, 1, 1), 2, 1),
)
# Channels of whole loads of 16 bytes; depths of many stages, from one to the next of which every axis carries.
DEEP = Geometry.conv((4, 40, 6, 5, 9), (24, 40, 2, 1, 2), (2, 1, 2), ((1, 1), (0, 0), (1, 1)))
every_method = pytest.mark.parametrize("method", TILED)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_layout = pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])


MICROS = {micro.name: (dtype, micro) for dtype in DTYPES.values() for micro in micro_kernels(dtype, "tf32")}
every_micro = pytest.mark.parametrize(("dtype", "micro"), MICROS.values(), ids=MICROS)


@every_micro
def test_tiles_fit_a_block(dtype: DType, micro: MicroKernel) -> None:
    for tile in tiles.tiles(micro):
        assert tile.threads <= 256
        # A thread's sums take at most a quarter of the registers that it may have.
        assert tile.thread_m * tile.thread_n * dtype.compute.itemsize <= 64 * 4
        if micro.tensor:
            # That of one of an H200's multiprocessors, which is to run two blocks of a large tile, and more of others.
            assert (
                max(tiles.shared_bytes(tile, micro, deep) for deep in (False, True)) <= DEVICE.shared_bytes_optin // 2
            )
            continue
        assert tile.threads % tile.m == tile.threads % tile.k == 0
        assert tile.m * tile.k % tile.threads == 0
        pad = tiles.ACCESS // dtype.compute.itemsize
        needed = 2 * tile.k * (tile.m + tile.n + 2 * pad) * dtype.compute.itemsize
        assert tiles.shared_bytes(tile, micro, False) == needed <= DEVICE.shared_bytes


@every_method
@every_dtype
@every_layout
def test_every_form_has_its_own_defines(method: str, dtype: str, channels_last: bool) -> None:
    found = list(REGISTRY[method].builds(DTYPES[dtype], channels_last))
    assert len(found) == len(set(found))


@every_micro
def test_large_products_take_large_tiles_and_small_ones_small_ones(dtype: DType, micro: MicroKernel) -> None:
    large, *_, narrow = tiles.tiles(micro)
    context = PlanContext(dtype, DEVICE, False, precision="tf32x3" if micro.name == "tf32x3" else "tf32")
    if cost_model.form_for(context, Product(1, 1, 1, 1, 1)).micro != micro:
        context = replace(context, precision="ieee", device=replace(DEVICE, capability=(7, 5)))

    def tile(*product: int) -> tiles.Tile:
        form = cost_model.form_for(context, Product(*product))
        assert form.micro == micro
        return form.tile

    assert tile(1, 10**6, 512, 4, 256) == large
    assert tile(1, 10**6, 3, 4, 256) == narrow
    assert tile(1, 30, 30, 1, 64).m * tile(1, 30, 30, 1, 64).n < large.m * large.n


# Kilobytes of shared memory that a block may have at most on sm_90, on sm_86 and sm_120, on sm_75, and anywhere.
@pytest.mark.parametrize("available", [227, 99, 64, 48])
@every_layout
def test_a_block_has_the_memory_of_whatever_form_is_chosen(
    channels_last: bool, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Estimates must not be what keeps a form from being taken: here the more memory it needs the quicker it is."""
    monkeypatch.setattr(cost_model, "estimated_cycles", lambda *given: -cost_model.block_bytes(*given))
    # Its name keeps what is chosen by these estimates out of the caches of others.
    device = replace(DEVICE, name=f"{available} kB", shared_bytes_optin=available * 1024)
    geometry = Geometry.conv_transpose((16, 64, 32, 32), (64, 64, 8, 8), 8)
    taken = set()
    for method, dtype, precision in product(TILED, DTYPES, get_args(Precision)):
        context = PlanContext(DTYPES[dtype], device, False, channels_last, None, precision)
        planned = REGISTRY[method].plan(geometry, context)
        needed = max(step.shared_bytes or tiles.STATIC_SHARED_BYTES for step in planned.steps)
        assert needed <= available * 1024, f"{method}/{planned.form}"
        taken.add(needed)
    # Where there is more, some form takes more than any block has without asking.
    assert (max(taken) > tiles.STATIC_SHARED_BYTES) == (available > 48)


def test_a_device_without_tensor_cores_has_none() -> None:
    old = PlanContext(DTYPES["float16"], replace(DEVICE, capability=(7, 5)), False)
    assert cost_model.form_for(old, Product(1, 64, 64, 1, 64)).micro.name == "f32"
    pinned = replace(old, form=form_of("ks_deconv", old.dtype, "f16/64x64"))
    with pytest.raises(ValueError, match="form='f16/64x64': emulator has no such tensor cores"):
        ks_deconv.plan(GEOMETRIES[0], pinned)


@pytest.mark.parametrize(
    ("dtype", "precision", "name"),
    [
        ("float32", "ieee", "f32"),
        ("float32", "tf32", "tf32"),
        ("float32", "tf32x3", "tf32x3"),
        ("float16", "ieee", "f16"),
        ("bfloat16", "tf32", "bf16"),
        ("float64", "tf32", "f64"),
    ],
)
def test_precision_is_of_float32_alone(dtype: str, precision: Precision, name: str) -> None:
    context = PlanContext(DTYPES[dtype], DEVICE, False, precision=precision)
    assert cost_model.form_for(context, Product(1, 4096, 256, 4, 256)).micro.name == name


def test_a_form_that_is_less_exact_than_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="form='tf32/64x64': on a GPU ks_deconv in float32 has 'f32/128x64'"):
        form_of("ks_deconv", DTYPES["float32"], "tf32/64x64")
    with pytest.raises(ValueError, match="in float32 by precision tf32x3 has 'tf32x3/128x64'"):
        form_of("ks_deconv", DTYPES["float32"], "tf32/64x64", precision="tf32x3")


def test_more_blocks_are_had_by_smaller_tiles() -> None:
    few, many = (cost_model.form_for(FLOAT, Product(number, 1024, 256, 1, 64)).tile for number in (1, 100))
    assert few.m * few.n < many.m * many.n


def test_loads_are_of_16_bytes_where_channels_allow() -> None:
    half, double = DTYPES["float16"], DTYPES["complex128"]
    assert [tiles.vector(half, columns) for columns in (1, 4, 8, 12, 24)] == [1, 1, 8, 1, 8]
    assert [tiles.vector(DTYPES["float32"], columns) for columns in (1, 2, 4)] == [1, 1, 4]
    assert tiles.vector(half, 8, 12) == tiles.vector(double, 3) == 1


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


def test_deep_products_of_few_tiles_are_split() -> None:
    deep, shallow = Product(1, 16, 64, 4, 4096), Product(1, 16, 64, 1, 8)
    parts = cost_model.form_for(FLOAT, deep).splits
    assert 16 <= parts <= deep.stages(tiles.Tile(m=32, n=32, k=8, thread_m=4, thread_n=4)) // cost_model.SPLIT_STAGES
    assert cost_model.form_for(FLOAT, shallow).splits == 1
    assert cost_model.form_for(FLOAT, deep._replace(number=10**5)).splits == 1


@every_method
@every_dtype
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=range(len(GEOMETRIES)))
def test_a_plan_takes_a_form_of_the_table(method: str, dtype: str, geometry: Geometry) -> None:
    registered = REGISTRY[method]
    for last, precision in product((False, True), get_args(Precision)):
        for step in registered.plan(
            geometry, PlanContext(DTYPES[dtype], DEVICE, False, last, precision=precision)
        ).steps:
            assert step.defines in set(registered.builds(DTYPES[dtype], last))
            assert all(
                array in (name, NULL) for array, name in zip(step.arrays, registered.kernels[step.kernel], strict=True)
            )


def test_sums_of_splits_are_in_the_compute_type() -> None:
    bfloat = DTYPES["bfloat16"]
    context = PlanContext(bfloat, DEVICE, False, form=form_of("sk_dilated", bfloat, "bf16/64x64/split3"))
    shape, dtype = sk_dilated.plan(GEOMETRIES[0], context).workspaces["partials"]
    assert dtype == np.float32
    assert shape == (3, *GEOMETRIES[0].full_weight_shape)


def test_what_is_not_split_goes_straight_to_the_weight() -> None:
    context = replace(FLOAT, form=form_of("sk_dilated", FLOAT.dtype, "f32/64x64"))
    planned = sk_dilated.plan(GEOMETRIES[0], context)
    assert planned.workspaces == {}
    assert [step.kernel for step in planned.steps] == ["multiply_taps"]


@every_method
@every_dtype
def test_forms_are_found_by_their_names(method: str, dtype: str) -> None:
    element = DTYPES[dtype]
    names = [name.replace("splitN", "split7") for name in form_names(method, element, precision="tf32")]
    ends = {"ks_deconv": 5, "conv_v2": 4, "sk_dilated": 2}[method]
    assert len(set(names)) == ends * sum(len(tiles.tiles(micro)) for micro in micro_kernels(element, "tf32"))
    for name in names:
        form = form_of(method, element, name, precision="tf32")
        assert str(form) == name
        assert form is not None
        # Those that have classes to interleave, and no more than a block has shared memory for.
        for geometry in GEOMETRIES[:2] if form.interleaved else GEOMETRIES:
            context = PlanContext(element, DEVICE, False, form=form)
            assert str(plan(method, geometry, context).form) == name


WRONG_NAMES = (
    *("128x64", "f64/64x64", "f32/64x65", "f32/64x64/split1", "f32/64x64/split0", "f32/64x64/split70000"),
    *("f32/64x64/trimmed", "tf32/64x64", 5),
)


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_a_name_of_no_form_lists_the_names(name: Any) -> None:
    with pytest.raises(ValueError, match="sk_dilated in float32 has 'f32/128x64', 'f32/128x64/splitN'"):
        form_of("sk_dilated", DTYPES["float32"], name)


def test_methods_with_a_thread_per_output_have_one_form() -> None:
    assert form_names("unified", DTYPES["complex64"]) == ("c64/threads",)
    assert form_of("unified", DTYPES["complex64"], "c64/threads") is None
    with pytest.raises(ValueError, match="unified in complex64 has 'c64/threads'"):
        form_of("unified", DTYPES["complex64"], "c64/64x64")


@pytest.mark.long(but=lambda method, micro, number: (method, micro.name, number) == ("sk_dilated", "f16", 0))
@every_method
@pytest.mark.parametrize(
    ("dtype", "micro", "number"),
    [
        pytest.param(dtype, micro, number, id=f"{micro.name}/{tile}")
        for dtype, micro in MICROS.values()
        for number, tile in enumerate(tiles.tiles(micro))
    ],
)
def test_every_form_computes(method: str, dtype: DType, micro: MicroKernel, number: int) -> None:
    """In one layout and of one geometry each: a tile has all of these, and a kind of forms has over all tiles."""
    tile = f"{micro.name}/{tiles.tiles(micro)[number]}"
    known = form_names(method, dtype, precision="tf32")
    names = [name for name in known if name == tile or name.startswith(f"{tile}/")]
    # By tensor cores, which take long here, small geometries.
    geometries = GEOMETRIES[1:3] if micro.tensor else GEOMETRIES[:2]
    for kind, name in enumerate(names):
        # Some of the types that only numeric.cuh and mma.cuh tell apart are enough.
        if micro.name not in ("f32", "f16", "tf32") and (number * len(names) + kind) % 3:
            continue
        form, interleaved = name.replace("splitN", "split3"), "interleaved" in name
        last = (number // 2 + kind // (len(names) // 2)) % 2 == 1 and not interleaved
        # Four classes of the largest tile are more than a block has shared memory for.
        geometry = geometries[0 if interleaved and micro.tensor else (number + kind) % 2]
        _check(method, dtype.name, geometry, form, last, precision="tf32")


@pytest.mark.long
@every_method
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_elements_of_16_bits_are_multiplied_as_floats(method: str, dtype: str) -> None:
    """As on devices without tensor cores: loaded one by one, and 16 bytes at once."""
    trimmed = "" if method == "sk_dilated" else "/trimmed"
    _check(method, dtype, GEOMETRIES[0], "f32/32x32", False)
    for last in (False, True):
        _check(method, dtype, GEOMETRIES[1], f"f32/128x16{trimmed if last else ''}", last)
        _check(method, dtype, GEOMETRIES[1], f"f32/128x64{'' if last else trimmed}", last)


@pytest.mark.long(but=lambda micro, channels_last: micro.name == "f32" and channels_last)
@every_micro
@every_layout
def test_gradients_of_weights_walk_through_deep_products(dtype: DType, micro: MicroKernel, channels_last: bool) -> None:
    for tile in tiles.tiles(micro):
        form = f"{micro.name}/{tile}/split2"
        _check("sk_dilated", dtype.name, DEEP, form, channels_last, "plain", "shuffled", precision="tf32")


@every_layout
@pytest.mark.parametrize("kind", ["generic", "specialised"])
def test_a_stride_past_the_map_overflows_no_offset(kind: Any, channels_last: bool) -> None:
    geometry = Geometry.conv((2, 8, 2, 4, 4), (8, 8, 2, 3, 3), 2**28)
    _check("sk_dilated", "float32", geometry, "f32/32x32", channels_last, "asan", kind=kind)


@pytest.mark.long(
    but=lambda method, micro, channels_last: (
        (method, channels_last) == ("conv_v2", False) and micro.name in ("f32", "f16", "tf32x3")
    )
)
@every_method
@every_micro
@every_layout
def test_every_micro_kernel_computes(method: str, dtype: DType, micro: MicroKernel, channels_last: bool) -> None:
    names = [name for name in form_names(method, dtype, precision="tf32") if name.startswith(f"{micro.name}/")]
    # The second: a tile that is not too large for the emulator.
    form = names[len(names) // len(tiles.tiles(micro))]
    for geometry in GEOMETRIES:
        _check(method, dtype.name, geometry, form, channels_last, "plain", precision="tf32")


@pytest.mark.long(
    but=lambda geometry, form, kind: geometry == GEOMETRIES[0] and kind == "specialised" and form[0] == "f"
)
@pytest.mark.parametrize("geometry", GEOMETRIES[:3], ids=range(3))
@pytest.mark.parametrize("form", ["f32/64x64", "tf32/32x64/split3"])
@pytest.mark.parametrize("kind", ["generic", "specialised"])
def test_the_baseline_on_request_takes_tiles(geometry: Geometry, form: str, kind: Any) -> None:
    for channels_last in (False, True):
        _check("zero_insertion", "float32", geometry, form, channels_last, "plain", kind=kind, precision="tf32")
    problem = problem_of("zero_insertion", geometry, precision="tf32")
    assert form_taken(problem, Choice("zero_insertion"), DEVICE) == "f32/threads"
    assert form_taken(problem, Choice("zero_insertion", form), DEVICE) == form


def test_tiles_of_the_baseline_multiply_what_it_is_said_to_multiply() -> None:
    # Rows, columns and channels that tiles divide.
    geometry = Geometry.conv_transpose((2, 64, 8, 8), (64, 64, 4, 4), 2, 1)
    emulator = _emulator("plain", "forward")
    engine = Engine(emulator)
    arrays = {"small": np.ones((2, 64, 1, 8, 8), "f4"), "weight": np.ones((64, 64, 1, 4, 4), "f4")}
    out = emulator.empty((2, 64, 1, 16, 16), np.float32)
    emulator.products.clear()
    problem = problem_of("zero_insertion", geometry)
    engine.run(problem, Choice("zero_insertion", "f32/64x64"), {**arrays, "large": out})
    made = {kernel: products.all for kernel, products in emulator.products}
    assert made["multiply_classes"] == count("conv_transpose", problem, OnCpu())["zero_insertion"].macs


@pytest.mark.long(but=lambda method, build: method == "sk_dilated" and build == "tsan")
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
    for geometry, last in product((GEOMETRIES[0], GEOMETRIES[2]), (False, True)):
        _check(method, "float32", geometry, None, last, build, order, kind, wide)
    for dtype, form in (("float32", "tf32/32x64/split3"), ("bfloat16", "bf16/64x64")):
        for last in (False, True):
            _check(method, dtype, GEOMETRIES[1], form, last, build, order, kind, wide, "tf32")


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
    precision: Precision = "ieee",
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
    cpu.run(problem_of(method, geometry, dtype), Choice(method), {**arrays, output: wanted})
    if channels_last:
        arrays.update({role: _last(arrays[role]) for role in ("small", "large") if role in arrays})
        wanted = wanted if output == "weight" else _last(wanted)
    out = emulator.empty(wanted.shape, element.storage)
    problem = problem_of(method, geometry, dtype, channels_last, precision)
    Engine(emulator, kind, wide).run(problem, Choice(method, form), {**arrays, output: out})
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
