"""Tiles whose blocks interleave the residue classes along a row: what they compute, store, and are taken for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from cupy_kst import Geometry
from cupy_kst.dtypes import DTYPES, DType
from cupy_kst.gpu.engine import Engine, form_names, form_of, plan
from cupy_kst.gpu.methods import ks_deconv
from cupy_kst.gpu.select import tiles
from cupy_kst.gpu.select.context import PlanContext
from cupy_kst.gpu.select.microkernel import MicroKernel, micro_kernels
from cupy_kst.problem import Choice
from cupy_kst.testing import Arrays, Case
from tests.emulator import Emulator, require
from tests.emulator.runtime import DEVICE
from tests.support.engines import EXAMPLES, emulate, examples_of, expected, geometry
from tests.support.problems import problem_of

from .test_builds import ODD, SHAPES, _real, _whole, case_of

FLOAT = PlanContext(DTYPES["float32"], DEVICE, False)
MICROS = {micro.name: (dtype, micro) for dtype in DTYPES.values() for micro in micro_kernels(dtype, "tf32")}
every_micro = pytest.mark.parametrize(("dtype", "micro"), MICROS.values(), ids=MICROS)
# Every shape of which a row has classes to interleave, and one of each kind of tile.
every_shape = pytest.mark.parametrize("shape", SHAPES)
every_kind = pytest.mark.parametrize("form", ["f32/32x32/interleaved", "tf32/32x64/interleaved"])


def interleaved(case: Case, micro: MicroKernel) -> list[str]:
    """Return the forms that a block has shared memory for."""
    classes = len(geometry(case).axes[-1].classes)
    needed = {tile: tiles.interleaved_bytes(tile, micro, DTYPES[case.dtype], classes) for tile in tiles.tiles(micro)}
    return [f"{micro.name}/{tile}/interleaved" for tile in needed if needed[tile] <= DEVICE.shared_bytes_optin]


@pytest.mark.long(but=lambda micro: micro.name == "f32")
@every_micro
def test_any_case_equals_the_definition(dtype: DType, micro: MicroKernel) -> None:
    """Classes of unequal sizes and without taps, filters smaller than the stride, and outputs narrower than it."""

    # Cases differ in what no element type knows, and every number of classes has a kernel of its own to compile.
    @settings(max_examples=EXAMPLES["emulator"] // 3)
    @given(examples_of("ks_deconv", dtypes=(dtype.name,)))
    def equal(example: tuple[Case, Arrays]) -> None:
        case, arrays = example
        assume(len(geometry(case).axes[-1].classes) > 1)
        form = f"{micro.name}/{tiles.tiles(micro)[-2]}/interleaved"
        result = emulate("ks_deconv", case, arrays, form=form, precision="tf32")
        np.testing.assert_array_equal(result, expected(case, arrays))

    equal()


@pytest.mark.long(but=lambda shape, form, stride: shape == ODD and form[:2] == "f3" and stride == 3)
@every_shape
@every_kind
@pytest.mark.parametrize("stride", range(2, 9))
def test_every_number_of_classes(shape: str, form: str, stride: int) -> None:
    case = case_of("ks_deconv", shape)
    case = replace(case, stride=(*case.stride[:-1], stride), output_padding=(0,) * case.rank)
    sizes = Geometry.conv_transpose(case.input_shape, case.weight_shape, **case.options).output_shape[-case.rank :]
    case = replace(case, output_sizes=sizes)
    arrays = _whole(case)
    result = emulate("ks_deconv", case, arrays, form=form, precision="tf32")
    np.testing.assert_array_equal(result, expected(case, arrays))


@pytest.mark.long(
    but=lambda shape, form, sanitize, order: shape == ODD and (form[:2], sanitize, order) == ("tf", "tsan", "shuffled")
)
@every_shape
@every_kind
@pytest.mark.parametrize(
    ("sanitize", "order", "build", "wide"),
    [
        ("tsan", "shuffled", "generic", False),
        ("tsan", "reversed", "generic", False),
        ("asan", "reversed", "specialised", False),
        ("asan", "shuffled", "generic", True),
    ],
)
def test_builds_orders_and_races(shape: str, form: str, sanitize: str, order: str, build: Any, wide: bool) -> None:
    case = case_of("ks_deconv", shape)
    arrays = _whole(case)
    how = {"sanitize": sanitize, "order": order, "build": build, "wide": wide}
    result = emulate("ks_deconv", case, arrays, form=form, precision="tf32", **how)
    np.testing.assert_array_equal(result, expected(case, arrays))


@pytest.mark.long(but=lambda micro, number: micro.name == "bf16" and number == 0)
@pytest.mark.parametrize(
    ("dtype", "micro", "number"),
    [
        pytest.param(dtype, micro, number, id=f"{micro.name}/{tile}")
        for dtype, micro in MICROS.values()
        for number, tile in enumerate(tiles.tiles(micro))
    ],
)
def test_sums_are_those_of_the_plain_tile(dtype: DType, micro: MicroKernel, number: int) -> None:
    """Each has one shape: micro-kernels meet all tiles and most of the shapes, a place among tiles meets all shapes."""
    name = f"{micro.name}/{tiles.tiles(micro)[number]}"
    cases = [replace(case_of("ks_deconv", shape), dtype=dtype.name) for shape in SHAPES]
    first = list(MICROS).index(micro.name) + number
    case = next(case for case in cases[first % 5 :] + cases if f"{name}/interleaved" in interleaved(case, micro))
    arrays = _real(case)
    plain, same = (
        emulate("ks_deconv", case, arrays, sanitize="plain", form=form, precision="tf32")
        for form in (name, f"{name}/interleaved")
    )
    assert plain.tobytes() == same.tobytes()


# What stands in front of a text: an element that tells of every thread that stores it in the output. The output is
# called `large` where a kernel declares its shared memory.
TELLING = """
static const void* output;
#undef KST_SHARED
#define KST_SHARED(Type, name) \\
    Type& name = *static_cast<Type*>(kst::shared(sizeof(Type), alignof(Type), #name)); \\
    output = large
struct Telling {
    ELEMENT value;
    Telling() = default;
    Telling(const Telling&) = default;
    Telling(ELEMENT of) : value(of) {}
    operator ELEMENT() const { return value; }
    Telling& operator=(const Telling& other)
    {
        value = other.value;
        const long long offset = reinterpret_cast<const char*>(this) - static_cast<const char*>(output);
        if (offset >= 0 && offset < BYTES)
            printf("stored %u %lld\\n", threadIdx.x, offset);
        return *this;
    }
};
#define STORAGE Telling
"""


class Watched(Emulator):
    """Tells where the threads of the first block of a product store in an output of so many bytes."""

    def __init__(self, output_bytes: int) -> None:
        super().__init__()
        self._bytes = output_bytes

    def compile(self, text: str, name: str, *rest: Any) -> Any:
        if name == "multiply_classes":
            first, _, text = text.partition("\n")
            element = first.removeprefix("#define STORAGE ")
            text = TELLING.replace("ELEMENT", element).replace("BYTES", str(self._bytes)) + text
        return super().compile(text, name, *rest)

    def launch(self, kernel: Any, grid: Any, block: Any, args: Any, blocks: Any = None) -> None:
        super().launch(kernel, grid, block, args, range(1) if kernel.name == "multiply_classes" else blocks)


def stored_at_once(printed: str) -> list[list[int]]:
    """Return the offsets in the output at which the lanes of a warp store by one instruction, for every such one."""
    stored: dict[int, list[int]] = defaultdict(list)
    for line in printed.splitlines():
        _, thread, offset = line.split()
        stored[int(thread)].append(int(offset))
    warps: dict[tuple[int, int], list[int]] = defaultdict(list)
    for thread, offsets in stored.items():
        for number, offset in enumerate(offsets):
            warps[thread // 32, number].append(offset)
    return list(warps.values())


@pytest.mark.long(but=lambda dtype, stride: dtype == "float32" and stride == 2)
@pytest.mark.parametrize(
    ("dtype", "tile", "stride"),
    [
        *(("float32", "f32/32x32", stride) for stride in (2, 3, 4, 8)),
        *(("float32", "tf32/32x64", stride) for stride in (2, 4)),
        *((dtype, tile, 2) for dtype, tile in (("float16", "f16/32x64"), ("float64", "f64/32x32"))),
    ],
)
def test_a_warp_stores_whole_sectors(dtype: str, tile: str, stride: int, capfd: pytest.CaptureFixture[str]) -> None:
    require()
    element = DTYPES[dtype]
    shape = Geometry.conv_transpose((1, 4, 64), (4, 64, stride), stride)
    small, weight = (np.ones(each, element.storage) for each in (shape.full_small_shape, shape.full_weight_shape))

    def sectors_and_bytes(form: str) -> list[tuple[int, int]]:
        out = np.zeros(shape.full_large_shape, element.storage)
        emulator = Watched(out.nbytes)
        arrays = {"small": small, "weight": weight, "large": out}
        problem = problem_of("ks_deconv", shape, dtype, precision="tf32")
        Engine(emulator).run(problem, Choice("ks_deconv", form), arrays)
        found = stored_at_once(capfd.readouterr().err)
        # All that the block stored, once.
        assert sum(map(len, found)) == np.count_nonzero(out) > 0
        size = element.storage.itemsize
        return [(len({offset // 32 for offset in each}), size * len(set(each))) for each in found]

    assert all(stored == 32 * sectors for sectors, stored in sectors_and_bytes(f"{tile}/interleaved"))
    # By itself, a class leaves out what is its neighbours'.
    assert all(stored * stride <= 32 * sectors for sectors, stored in sectors_and_bytes(tile))


def chosen(geometry: Geometry, context: PlanContext = FLOAT) -> str:
    return str(ks_deconv.plan(geometry, context).form)


SHALLOW = Geometry.conv_transpose((16, 32, 128, 128), (32, 16, 4, 4), 2, 1)


def test_large_maps_of_few_products_are_interleaved() -> None:
    assert chosen(SHALLOW, replace(FLOAT, precision="tf32")) == "tf32/128x16/interleaved"
    # On CUDA cores products take longer, and stores are less of all.
    assert chosen(SHALLOW) == "f32/128x16"
    assert chosen(Geometry.conv_transpose((16, 64, 128, 128), (64, 64, 2, 2), 2)) == "f32/128x64/interleaved"


@pytest.mark.parametrize(
    ("geometry", "context"),
    [
        pytest.param(Geometry.conv_transpose((1, 1024, 4, 4), (1024, 512, 4, 4), 2, 1), FLOAT, id="deep and small"),
        pytest.param(Geometry.conv_transpose((16, 1024, 16, 16), (1024, 512, 4, 4), 2, 1), FLOAT, id="deep"),
        pytest.param(SHALLOW, replace(FLOAT, channels_last=True), id="channels last"),
        pytest.param(Geometry.conv_transpose((16, 32, 128, 128), (32, 16, 4, 4), (2, 1), 1), FLOAT, id="no stride"),
        pytest.param(Geometry.conv_transpose((16, 32, 128, 999), (32, 16, 4, 9), (2, 9)), FLOAT, id="more classes"),
        pytest.param(
            Geometry.conv_transpose((99, 32, 2, 2), (32, 16, 4, 4), 2, 1),
            replace(FLOAT, precision="tf32"),
            id="trimmed",
        ),
    ],
)
def test_others_are_not(geometry: Geometry, context: PlanContext) -> None:
    assert "interleaved" not in chosen(geometry, context)


def test_a_block_has_the_memory_that_it_takes() -> None:
    small = replace(FLOAT, device=replace(DEVICE, shared_bytes_optin=48 * 1024))
    wide = Geometry.conv_transpose((16, 32, 128, 128), (32, 16, 8, 8), 8)
    assert "interleaved" in chosen(wide)
    assert "interleaved" not in chosen(wide, small)
    pinned = replace(small, form=form_of("ks_deconv", FLOAT.dtype, "f32/128x16/interleaved"))
    # 7 classes of 16 lines of 132 floats, and 16 bytes each; buffers of two stages of
    # 8 x (132 + 20) floats where the eighth will be.
    with pytest.raises(ValueError, match="takes 68976 bytes of shared memory, emulator has 49152"):
        plan("ks_deconv", wide, pinned)


@pytest.mark.parametrize("size", [1, 9])
def test_rows_of_one_class_or_of_many_are_refused(size: int) -> None:
    geometry = Geometry.conv_transpose((1, 2, 1), (2, 2, size), size)
    pinned = replace(FLOAT, form=form_of("ks_deconv", FLOAT.dtype, "f32/32x32/interleaved"))
    with pytest.raises(ValueError, match=f"rows of the output are of {size} residue classes, not of 2 to 8"):
        ks_deconv.plan(geometry, pinned)


@pytest.mark.parametrize(
    ("method", "name", "channels_last"),
    [
        ("ks_deconv", "f32/32x32/interleaved", True),
        ("conv_v2", "f32/32x32/interleaved", False),
        ("zero_insertion", "f32/32x32/interleaved", False),
        ("ks_deconv", "f32/32x32/interleaved/split2", False),
        ("ks_deconv", "f32/32x32/split2/interleaved", False),
        ("ks_deconv", "f32/32x32/trimmed/interleaved", False),
    ],
)
def test_what_has_nothing_to_interleave_has_no_such_form(method: str, name: str, channels_last: bool) -> None:
    layout = " with channels last" if channels_last else ""
    with pytest.raises(ValueError, match=f"{method} in float32{layout} has 'f32/"):
        form_of(method, FLOAT.dtype, name, channels_last=channels_last)
    names = form_names(method, FLOAT.dtype, channels_last=channels_last)
    assert ("f32/32x32/interleaved" in names) == (method == "ks_deconv" and not channels_last)


@every_micro
@pytest.mark.parametrize("classes", [2, 5])
def test_launches_ask_for_what_is_more_than_any_block_has(dtype: DType, micro: MicroKernel, classes: int) -> None:
    geometry = Geometry.conv_transpose((1, 2, 5), (2, 3, 1), classes)
    for tile in tiles.tiles(micro):
        needed = tiles.interleaved_bytes(tile, micro, dtype, classes)
        if needed <= DEVICE.shared_bytes_optin:
            form = form_of("ks_deconv", dtype, f"{micro.name}/{tile}/interleaved", precision="tf32")
            step = ks_deconv.plan(geometry, replace(FLOAT, dtype=dtype, form=form)).steps[1]
            assert step.shared_bytes == (needed if needed > DEVICE.shared_bytes else 0)
            assert dict(step.defines)["SHARED_BYTES"] == str(step.shared_bytes)


@every_kind
def test_as_much_is_multiplied_as_in_plain_tiles_by_fewer_blocks(form: str) -> None:
    require()
    shape = Geometry.conv_transpose((2, 64, 8, 8), (64, 64, 4, 4), 2, 1)
    emulator = Emulator()
    arrays = {"small": np.ones(shape.full_small_shape, "f4"), "weight": np.ones(shape.full_weight_shape, "f4")}
    blocks = []
    for name in (form, form.removesuffix("/interleaved")):
        out = emulator.empty(shape.full_large_shape, "f4")
        problem = problem_of("ks_deconv", shape, precision="tf32")
        Engine(emulator).run(problem, Choice("ks_deconv", name), {**arrays, "large": out})
        taken = form_of("ks_deconv", FLOAT.dtype, name, precision="tf32")
        blocks.append(ks_deconv.plan(shape, replace(FLOAT, form=taken)).steps[1].grid[0])
    counted = [products for kernel, products in emulator.products if kernel == "multiply_classes"]
    assert counted[0] == counted[1]
    assert 2 * blocks[0] == blocks[1]
