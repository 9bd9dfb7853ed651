"""The CUDA engine around its kernels: plans, choice of builds, how threads lie on arrays."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cupy_kst import Geometry
from cupy_kst.costs import OnCpu, count
from cupy_kst.dtypes import DTYPES
from cupy_kst.gpu.build import params, source
from cupy_kst.gpu.engine import Engine, form_of, plan
from cupy_kst.gpu.methods import REGISTRY
from cupy_kst.gpu.plan import Plan, Workspace
from cupy_kst.gpu.registry import GpuMethod
from cupy_kst.gpu.select.context import PlanContext
from cupy_kst.gpu.select.cost_model import needs_wide
from cupy_kst.gpu.select.device import Device
from cupy_kst.methods import METHODS
from cupy_kst.problem import Choice, Problem
from tests import emulator
from tests.support.problems import problem_of

EVEN = Geometry.conv_transpose((2, 3, 8, 8), (3, 4, 4, 4), 2, 1)
ODD = Geometry.conv_transpose((2, 3, 8, 8), (3, 4, 5, 5), 2, 2)

CONTEXT = PlanContext(DTYPES["float32"], emulator.DEVICE, wide=False)

TILED = ("ks_deconv", "conv_v2", "sk_dilated")


def test_what_a_device_does_not_take_is_refused() -> None:
    small = replace(emulator.DEVICE, name="small", max_grid=(8, 3, 1), shared_bytes_optin=48 * 1024)
    form = form_of("ks_deconv", CONTEXT.dtype, "f32/64x64/trimmed/split4")
    with pytest.raises(
        ValueError, match=r"^form='f32/64x64/trimmed/split4': a grid has 4 blocks along y, small takes 3"
    ):
        plan(
            "ks_deconv", Geometry.conv_transpose((2, 3, 1, 1), (3, 4, 1, 1)), replace(CONTEXT, device=small, form=form)
        )
    with pytest.raises(ValueError, match=r"^form='f32/64x64/trimmed/split4': a grid has 256 blocks along x, small"):
        plan("ks_deconv", EVEN, replace(CONTEXT, device=small, form=form))
    with pytest.raises(ValueError, match=r"^unified: a grid has 8 blocks along x, small takes 7$"):
        plan("unified", EVEN, replace(CONTEXT, device=replace(small, max_grid=(7, 1, 1))))
    form = form_of("ks_deconv", CONTEXT.dtype, "tf32/128x128", precision="tf32")
    with pytest.raises(
        ValueError, match=r"^form='tf32/128x128': a block takes \d+ bytes of shared memory, small has 49"
    ):
        plan("ks_deconv", EVEN, replace(CONTEXT, device=small, form=form, precision="tf32"))


class Recorder:
    """A runtime that notes what it is asked for and computes nothing."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.launches: list[tuple[str, Any, Any, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype[Any]] = []

    def limits(self) -> Device:
        return emulator.DEVICE

    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        self.shapes.append(tuple(shape))
        self.dtypes.append(dtype)
        return np.empty(shape, dtype)

    def compile(self, text: str, name: str, shared_bytes: int = 0, feature: str = "") -> str:
        self.texts.append(text)
        return name

    def launch(self, kernel: str, grid: Any, block: Any, args: Any) -> None:
        self.launches.append((kernel, grid, block, len(args)))


def run(engine: Engine, method: str, geometry: Geometry) -> None:
    x, w = np.zeros(geometry.full_small_shape, "f4"), np.zeros(geometry.full_weight_shape, "f4")
    y = np.zeros(geometry.full_large_shape, "f4")
    problem = Problem("conv_transpose", geometry, DTYPES["float32"])
    engine.run(problem, Choice(method), {"small": x, "weight": w, "large": y})


@pytest.mark.parametrize("method", REGISTRY)
@pytest.mark.parametrize("geometry", [EVEN, ODD], ids=["even", "odd"])
def test_launches_and_workspace_are_those_of_costs(method: str, geometry: Geometry) -> None:
    cost = count(METHODS[method].operation, problem_of(method, geometry), OnCpu())[method]
    recorder = Recorder()
    run(Engine(recorder), method, geometry)
    assert len(recorder.launches) == cost.launches
    assert sum(4 * int(np.prod(shape)) for shape in recorder.shapes) == cost.workspace_bytes


def test_workspaces_are_of_the_storage_type_unless_they_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def summing(geometry: Geometry, context: PlanContext) -> Plan:
        del geometry, context
        return Plan((), {"parts": Workspace((2, 3)), "sums": Workspace((4,), np.dtype("f8"))})

    monkeypatch.setitem(REGISTRY, "summing", GpuMethod("summing", {}, 0, summing, REGISTRY["unified"].counts))
    recorder = Recorder()
    run(Engine(recorder), "summing", EVEN)
    assert recorder.shapes == [(2, 3), (4,)]
    assert recorder.dtypes == ["f4", "f8"]


@pytest.mark.parametrize("method", REGISTRY)
def test_an_empty_batch_launches_nothing(method: str) -> None:
    recorder = Recorder()
    run(Engine(recorder), method, Geometry.conv_transpose((0, 3, 8, 8), (3, 4, 4, 4), 2, 1))
    assert recorder.launches == []


def test_the_first_call_is_generic_and_later_ones_are_specialised() -> None:
    recorder = Recorder()
    engine = Engine(recorder)
    for _ in range(3):
        run(engine, "unified", EVEN)
    run(engine, "unified", Geometry.conv_transpose((1, 5, 3, 9), (5, 1, 4, 4), 2, 0))
    generic, *special = recorder.texts
    assert "#define KW (p.kernel_w)" in generic
    assert all("#define KW 4" in text for text in special)
    run(engine, "unified", ODD)
    assert recorder.texts[-1] == generic


def test_plans_are_built_once() -> None:
    assert plan("segregated", EVEN, CONTEXT) is plan("segregated", EVEN, CONTEXT)


def test_segregated_launches_cover_equal_grids_from_all_classes() -> None:
    (launches,) = plan("segregated", ODD, CONTEXT).steps
    table = launches.params
    assert set(zip(*(table[f"grid_{axis}"].tolist() for axis in "dhw"), strict=True)) == {(1, 8, 8)}
    assert sorted(zip(*(table[f"first_{axis}"].tolist() for axis in "dhw"), strict=True)) == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
    ]


def test_many_classes_are_planned_as_one_table() -> None:
    """A stride above the output makes a class of every output."""
    started = time.perf_counter()
    (launches,) = plan("segregated", Geometry.conv_transpose((1, 1, 1, 1), (1, 1, 300, 300), 300), CONTEXT).steps
    assert len(launches.params) == 300 * 300
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("method", [name for name in REGISTRY if name not in TILED])
def test_grids_of_small_maps_are_full_and_within_limits(method: str) -> None:
    geometry = Geometry.conv_transpose((2**22, 512, 1, 1), (512, 128, 1, 1))
    small = dict.fromkeys(("insert_zeros", "direct", "dilate"), 2**22 * 512)
    elements = {**small, **dict.fromkeys(("split_filter", "correlate_dilated"), 512 * 128)}
    for step in plan(method, geometry, CONTEXT).steps:
        threads = step.grid[0] * step.block[0]
        assert step.grid[0] <= emulator.DEVICE.max_grid[0]
        assert threads - step.block[0] < elements.get(step.kernel, 2**22 * 128) <= threads


@pytest.mark.parametrize("method", TILED)
def test_grids_of_tiles_are_within_limits(method: str) -> None:
    geometry = Geometry.conv_transpose((2**22, 512, 1, 1), (512, 128, 1, 1))
    for step in plan(method, geometry, CONTEXT).steps:
        limits = emulator.DEVICE.max_grid
        assert all(0 < blocks <= most for blocks, most in zip(step.grid, limits, strict=True))


@pytest.mark.parametrize(
    ("shape", "weight", "stride", "wide"),
    [
        ((1, 1, 2**15, 2**15), (1, 1, 1, 1), 1, False),
        ((1, 1, 2**15, 2**16), (1, 1, 1, 1), 1, True),
        ((2**20, 1, 64, 64), (1, 1, 2, 2), 2, False),  # more than 2**31 elements, but not in one sample
        ((2**31, 1, 1, 1), (1, 1, 1, 1), 1, True),  # the number of samples
        ((1, 2**16, 2, 2), (2**16, 2**15, 1, 1), 1, True),  # the weight
        ((1, 1, 4), (1, 1, 3), 2**16, True),  # a stride whose square overflows
        ((1, 2**16, 1, 1), (2**16, 1, 1, 1), 2**8, True),  # sub-filters
        ((1, 1, 2, 2), (1, 2**13, 1, 1), 2**8, True),  # what they make of the input, before it is cropped
    ],
)
def test_indices_are_wide_where_a_sample_needs_them(shape: Any, weight: Any, stride: int, wide: bool) -> None:
    assert needs_wide(Geometry.conv_transpose(shape, weight, stride)) is wide


@pytest.mark.long(
    but=lambda method, build, kernel: method == "unified" and build == ("generic" if kernel % 2 else "specialised")
)
@pytest.mark.parametrize("method", ["segregated", "unified"])
@pytest.mark.parametrize("build", ["generic", "specialised"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding", "expected"),
    [
        (1, 3, 2**30 + 1, 0, [2]),  # the first tap of some classes would be far beyond the filter
        (2, 2, 2**30 + 2, ((0, 2**30 + 2),), [2]),
        (1, 1, 2**31 - 1, 0, [2]),
        (3, 2**31 - 1, 1, 0, [2, 4, 6]),
    ],
)
def test_options_of_any_size_do_not_overflow(
    method: str, build: Any, kernel: int, stride: int, dilation: int, padding: Any, expected: list[int]
) -> None:
    emulator.require()
    x, w = np.array([[[2.0]]], "f4"), np.arange(1, kernel + 1, dtype="f4").reshape(1, 1, -1)
    geometry = Geometry.conv_transpose(x.shape, w.shape, stride, padding, dilation=dilation)
    engine = Engine(emulator.Emulator("asan"), build)
    y = engine.runtime.empty(geometry.full_large_shape, np.dtype("f4"))
    arrays = {"small": x[None, None], "weight": w[None, None], "large": y}
    engine.run(problem_of(method, geometry), Choice(method), arrays)
    assert y.ravel().tolist() == expected


def test_neighbouring_threads_stand_side_by_side_on_a_row() -> None:
    """So that a warp reads and writes neighbouring addresses."""
    emulator.require()
    text = source.text("unified", "float32") + (
        '\nextern "C" __global__ void places(int* out, const Params p)\n{\n'
        "    const Place at = locate(p, p.large_channels);\n"
        "    int* mine = out + 6 * (blockIdx.x * blockDim.x + threadIdx.x);\n"
        "    mine[0] = at.sample, mine[1] = at.channel, mine[2] = at.d, mine[3] = at.h, mine[4] = at.w;\n"
        "    mine[5] = at.inside;\n}\n"
    )
    geometry = Geometry.conv_transpose((2, 3, 2, 9, 10), (3, 2, 3, 3, 3), 2, 1)
    depth, height, width = geometry.full_large_shape[2:]
    struct = params.build(geometry, False, (depth, height, width))
    elements = 2 * 2 * depth * height * width
    blocks = -(-elements // params.THREADS)
    out = np.zeros((blocks * params.THREADS, 6), np.int32)
    runtime = emulator.Emulator()
    runtime.launch(runtime.compile(text, "places"), (blocks, 1, 1), (params.THREADS, 1, 1), (out, struct))
    expected = np.stack(np.meshgrid(*map(np.arange, (2, 2, depth, height, width)), indexing="ij"), axis=-1)
    np.testing.assert_array_equal(out[:elements, :5], expected.reshape(-1, 5))
    assert out[:elements, 5].all()
    assert not out[elements:, 5].any()
