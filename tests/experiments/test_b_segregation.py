"""What the experiments on unified kernel segregation measure: bytes saved, bytes taken, rows checked by definition."""

from __future__ import annotations

import math
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import cupy_kst
from cupy_kst import Geometry
from cupy_kst.cpu import reference
from cupy_kst.testing import Arrays, Case, cases, examples
from experiments.harness import comparison
from experiments.harness.devices import Device
from experiments.harness.rows import wrong_rows
from experiments.harness.timing import CpuClock, Rounds
from experiments.papers.b_unified import measurements

from .test_b_size_table import fixed_example, geometry_of

# Layers of EB-GAN: input side, channels, then bytes gross, net of the padded input, net of the input.
EB_GAN = [
    (4, 2048, 991_232, 696_320, 860_160),
    (8, 1024, 1_478_656, 1_069_056, 1_216_512),
    (16, 512, 2_508_800, 1_845_248, 1_984_512),
    (32, 256, 4_596_736, 3_412_992, 3_548_160),
    (64, 128, 8_786_432, 6_556_160, 6_689_280),
    (128, 64, 17_172_736, 12_846_336, 12_978_432),
]


@pytest.mark.parametrize(("side", "channels", "gross", "net_of_padded", "net_of_input"), EB_GAN)
def test_saved_bytes_of_the_layers_of_eb_gan(
    side: int, channels: int, gross: int, net_of_padded: int, net_of_input: int
) -> None:
    geometry = Geometry.conv_transpose((1, channels, side, side), (channels, 1, 4, 4), 2, 1)
    assert measurements.saved_bytes(geometry, 4) == measurements.Saved(gross, net_of_padded, net_of_input)


@pytest.mark.parametrize(
    ("kernel", "padding", "gross", "net_of_padded"), [(4, 1, 2_440_812, 1_827_900), (3, 1, 2_419_212, 1_817_100)]
)
def test_saved_bytes_of_a_photograph(kernel: int, padding: int, gross: int, net_of_padded: int) -> None:
    geometry = Geometry.conv_transpose((1, 3, 224, 224), (3, 3, kernel, kernel), 2, padding)
    saved = measurements.saved_bytes(geometry, 4)
    assert (saved.gross, saved.net_of_padded) == (gross, net_of_padded)


@given(cases(ranks=(2,), batches=(1, 2), max_dilation=1, bias=False))
def test_gross_bytes_are_the_workspace_of_zero_insertion(case: Case) -> None:
    geometry = geometry_of(case)
    costs = cupy_kst.costs(case.input_shape, case.weight_shape, **case.options)
    assert measurements.saved_bytes(geometry, 4).gross == costs["zero_insertion"].workspace_bytes


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize(("kernel", "padding"), [(kernel, pad) for kernel in (3, 4, 5) for pad in range(kernel)])
def test_the_padded_input_is_what_windows_reach(kernel: int, padding: int, stride: int, extra: int) -> None:
    size = 6
    geometry = Geometry.conv_transpose((1, 1, size, size), (1, 1, kernel, kernel), stride, padding, extra)
    large = geometry.axes[2].large
    reached = {
        (output + padding - tap) // stride
        for output in range(large)
        for tap in range(kernel)
        if (output + padding - tap) % stride == 0
    }
    padded = max(*reached, size - 1) - min(*reached, 0) + 1
    saved = measurements.saved_bytes(geometry, 1)
    assert saved.gross - saved.net_of_padded == padded**2
    assert saved.gross - saved.net_of_input == size**2


@given(examples(ranks=(2,), batches=(1, 2), max_dilation=1, bias=False))
def test_the_fast_definition_is_the_definition(example: tuple[Case, Arrays]) -> None:
    case, arrays = example
    timed = comparison.Case("a", arrays.input, arrays.weight, case.options)
    result = measurements.definition(timed, geometry_of(case))
    np.testing.assert_array_equal(result, reference.conv_transpose(arrays.input, arrays.weight, **case.options))


def measured(**changes: Any) -> list[dict[str, Any]]:
    case, arrays = fixed_example()
    timed = comparison.Case("a", arrays.input, arrays.weight, case.options)
    methods = ("zero_insertion", "unified")
    return measurements.rows_of(timed, methods, Device(), CpuClock(), Rounds.exactly(1), **changes)


def test_rows_are_of_methods_and_extras() -> None:
    def extras(geometry: Geometry, x: Any, weight: Any) -> dict[str, measurements.Extra]:
        options = {"stride": 2, "padding": (2, 1)}
        return {"other": measurements.Extra(lambda: cupy_kst.conv_transpose2d(x, weight, **options), 32)}

    base, unified, other = measured(extras_of=extras)
    assert [row["method"] for row in (base, unified, other)] == ["zero_insertion", "unified", "other"]
    assert base["speedup"] == 1
    assert unified["speedup"] == base["median_s"] / unified["median_s"]
    assert unified["macs"] == unified["useful_macs"] < base["macs"]
    assert (other["table_bytes"], other["form"]) == (32, None)
    assert "macs" not in other
    assert wrong_rows([base, unified, other]) == []


def test_a_wrong_result_is_seen() -> None:
    def extras(geometry: Geometry, x: Any, weight: Any) -> dict[str, measurements.Extra]:
        return {"wrong": measurements.Extra(lambda: np.zeros(geometry.output_shape, x.dtype), 0)}

    assert [row["method"] for row in wrong_rows(measured(extras_of=extras))] == ["wrong"]


def test_bytes_that_numpy_takes_beside_the_output() -> None:
    def call() -> Any:
        del_me = np.zeros(3_000_000, np.uint8)
        return del_me[:1_000_000] + np.uint8(1)

    assert 3_000_000 <= measurements.allocated(Device(), call) < 3_010_000


def test_bytes_that_cupy_allocates_beside_the_output() -> None:
    taken: list[int] = []

    class MemoryPool:
        def malloc(self, size: int) -> None:
            taken.append(-(-size // 512) * 512)

        def total_bytes(self) -> int:
            return sum(taken)

    @contextmanager
    def using_allocator(malloc: Any) -> Any:
        nonlocal allocator
        before, allocator = allocator, malloc
        yield
        allocator = before

    def outside(size: int) -> None:
        raise AssertionError(f"{size} bytes are not the pool's")

    allocator: Any = outside
    cupy: Any = SimpleNamespace(cuda=SimpleNamespace(MemoryPool=MemoryPool, using_allocator=using_allocator))

    def call() -> Any:
        for size in (1000, 5000):
            allocator(size)
        return np.empty(1000, np.uint8)

    assert measurements.allocated(Device(cupy), call) == 5120
    assert allocator is outside


def test_geometric_mean() -> None:
    assert measurements.geometric_mean([0.5, 2]) == pytest.approx(1)
    assert measurements.geometric_mean(iter([2, 8])) == pytest.approx(4)
    assert math.isfinite(measurements.geometric_mean([1e-300, 1e300]))
