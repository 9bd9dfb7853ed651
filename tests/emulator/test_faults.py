"""The emulator reports every planted bug by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.emulator import Emulator, check_written, poison, require
from tests.emulator.planted import BUGS, Bug, kernel
from tests.emulator.trials import INT, ONE, ORDERS, WARP, every_order, fails, run


@pytest.fixture(autouse=True)
def _required() -> None:
    require()


WIDE = np.dtype([("n", "i4"), ("scale", "f4"), ("stride", "i8")], align=True)
ROTATE = """
struct Shared { int part[64]; };
extern "C" __global__ void k(int* y) {
  KST_SHARED(Shared, s);
  const int t = threadIdx.x;
  s.part[t] = t;
  BARRIER
  y[t] = s.part[(t + 1) % 64];
}
"""


def test_missing_barrier() -> None:
    results = []
    for order in ORDERS:
        y = np.zeros(64, INT)
        run(Emulator(order=order), ROTATE.replace("BARRIER", ""), ONE, (64, 1, 1), y)
        results.append(y.copy())
        run(Emulator("tsan", order), ROTATE.replace("BARRIER", "__syncthreads();"), ONE, (64, 1, 1), y)
        np.testing.assert_array_equal(y, np.roll(np.arange(64), -1))
        with fails(
            r"data race in kernel k: \w+ of size 4 by thread \d+ at k.cu:\d, against \w+ of size 4 by thread \d+ at "
            r"k.cu:\d; byte \d+ of shared memory"
        ):
            run(Emulator("tsan", order), ROTATE.replace("BARRIER", ""), ONE, (64, 1, 1), y)
    assert not np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_missing_barrier_between_two_others() -> None:
    text = """
struct Shared { int a[64], b[64]; };
extern "C" __global__ void k(int* y) {
  KST_SHARED(Shared, s);
  const int t = threadIdx.x;
  s.a[t] = t;
  __syncthreads();
  s.b[t] = s.a[(t + 32) % 64];
  BARRIER
  y[t] = s.b[(t + 63) % 64];
  __syncthreads();
}
"""
    y = np.zeros(64, INT)
    run(Emulator("tsan"), text.replace("BARRIER", "__syncthreads();"), ONE, (64, 1, 1), y)
    for order in ORDERS:
        with fails("data race in kernel k"):
            run(Emulator("tsan", order), text.replace("BARRIER", ""), ONE, (64, 1, 1), y)


@every_order
def test_race_between_blocks(order: str) -> None:
    text = 'extern "C" __global__ void k(int* y) { y[threadIdx.x] = blockIdx.x; }'
    with fails(
        r"data race in kernel k: write of size 4 by thread (\d) .* write of size 4 by thread \1 .* of argument 0"
    ):
        run(Emulator("tsan", order), text, (2, 1, 1), (4, 1, 1), np.zeros(4, INT))


def test_a_collective_orders_its_own_lanes_only() -> None:
    text = """
struct Shared { int part[64]; };
extern "C" __global__ void k(int* y) {
  KST_SHARED(Shared, s);
  const int t = threadIdx.x;
  s.part[t] = t;
  __syncwarp();
  y[t] = s.part[OTHER];
}
"""
    y = np.zeros(64, INT)
    run(Emulator("tsan"), text.replace("OTHER", "t ^ 1"), ONE, (64, 1, 1), y)
    with fails("data race in kernel k"):
        run(Emulator("tsan"), text.replace("OTHER", "t ^ 32"), ONE, (64, 1, 1), y)


@pytest.mark.long(but=lambda bug, kind: list(BUGS).index(bug) % 3 == 0 and kind == bug.builds[0])
@pytest.mark.parametrize(
    ("bug", "kind"), [pytest.param(bug, kind, id=f"{bug.name}-{kind}") for bug in BUGS for kind in bug.builds]
)
def test_planted_bug(bug: Bug, kind: str) -> None:
    emulator = Emulator(kind)
    for _ in range(2):
        with fails(bug.message):
            run(emulator, kernel(bug.body), ONE, WARP, emulator.empty((32,), np.float32), np.ones(32, np.float32))


def test_misaligned_view() -> None:
    text = 'extern "C" __global__ void k(float4* y) { y[0] = make_float4(1, 2, 3, 4); }'
    y = np.zeros(9, np.float32)
    run(Emulator("asan"), text, ONE, ONE, y[4:])
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 1, 2, 3, 4, 0])
    with fails("runtime error: store to misaligned address"):
        run(Emulator("asan"), text, ONE, ONE, y[1:])


def test_endless_loop() -> None:
    text = 'extern "C" __global__ void k(volatile int* y) { while (y[0] == 0) {} }'
    emulator = Emulator(time_limit=0.2)
    with fails("kernel k did not finish within 0.2 s"):
        run(emulator, text, ONE, ONE, np.zeros(1, INT))
    run(emulator, text, ONE, ONE, np.ones(1, INT))


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1, 70000, 1), ONE, "grid.y = 70000 of kernel k exceeds 65535"),
        ((1, 1, 65536), ONE, "grid.z = 65536 of kernel k exceeds 65535"),
        ((0, 1, 1), ONE, "grid.x = 0 of kernel k is less than 1"),
        (ONE, (32, 0, 1), "block.y = 0 of kernel k is less than 1"),
        (ONE, (1, 1, 65), "block.z = 65 of kernel k exceeds 64"),
        (ONE, (64, 32, 1), "2048 threads per block of kernel k exceed 1024"),
    ],
)
def test_extents(grid: tuple[int, int, int], block: tuple[int, int, int], message: str) -> None:
    with fails(message):
        run(Emulator(), 'extern "C" __global__ void k() {}', grid, block)


ARGUMENTS = 'extern "C" __global__ void k(float*, const float*, int, float2, float) {}'
GOOD: tuple[Any, ...] = (np.ones(4), np.ones(4), INT(1), np.complex64(1), np.float32(1))


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (2, np.int64(1), r"argument 2 of kernel k has 8 bytes \(int64\); the kernel takes 4"),
        (2, 1, "argument 2 of kernel k is a int: pass an array"),
        (4, 1.0, "argument 4 of kernel k is a float: pass an array"),
        (2, np.float32(1), "argument 2 of kernel k is float32; the kernel takes a value of 4 bytes, integer"),
        (4, INT(1), "argument 4 of kernel k is int32; the kernel takes a value of 4 bytes, floating"),
        (2, np.ones(1, INT), "argument 2 of kernel k is an array; the kernel takes a value"),
        (0, np.uintp(16), r"argument 0 of kernel k is a value \(uint64\); the kernel takes a pointer"),
        (0, np.int32(0), r"argument 0 of kernel k is a value \(int32\); the kernel takes a pointer"),
        (0, None, "argument 0 of kernel k is a NoneType"),
        (3, np.zeros(1, WIDE), "argument 3 of kernel k has 16 bytes .*; the kernel takes 8"),
        (3, np.zeros(1, WIDE)[0], "argument 3 of kernel k is a void"),
        (0, np.ones((4, 4)).T, "argument 0 of kernel k is not C-contiguous"),
        (0, np.ones(4, ">f4"), "argument 0 of kernel k has dtype"),
    ],
)
def test_wrong_argument(position: int, value: Any, message: str) -> None:
    run(Emulator(), ARGUMENTS, ONE, ONE, *GOOD)
    with fails(message):
        run(Emulator(), ARGUMENTS, ONE, ONE, *GOOD[:position], value, *GOOD[position + 1 :])


def test_wrong_number_of_arguments() -> None:
    with fails("kernel k takes 5 arguments, not 4"):
        run(Emulator(), ARGUMENTS, ONE, ONE, *GOOD[:4])


@pytest.mark.parametrize(("pointer", "writeable"), [("float*", False), ("const float*", True)])
def test_write_to_a_read_only_array(pointer: str, writeable: bool) -> None:
    text = f'extern "C" __global__ void k(int, {pointer} x) {{ const_cast<float*>(x)[1] = 2.0f; }}'
    x = np.zeros(2, np.float32)
    x.flags.writeable = writeable
    with fails("write to argument 1, which is read-only, at byte "):
        run(Emulator(), text, ONE, ONE, INT(0), x)


@pytest.mark.parametrize("dtype", ["f2", "bfloat16", "f4", "f8", "c8", "c16"])
def test_never_written(dtype: str) -> None:
    emulator = Emulator()
    y = emulator.empty((2, 3), dtype)
    with fails(r"never written: element \(0, 0\) \(6 of 6 in all\)"):
        emulator.check_written(y)
    y[...] = 1
    check_written(y)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("part", ["real", "imag"])
def test_one_part_never_written(dtype: str, part: str) -> None:
    emulator = Emulator()
    y = emulator.empty((2, 3), dtype)
    setattr(y, part, 1)
    y[0] = 1
    with fails(r"never written: element \(1, 0\) \(3 of 6 in all\)"):
        emulator.check_written(y)


@pytest.mark.parametrize(("dtype", "real"), [("c8", "float"), ("c16", "double")])
def test_one_part_of_a_complex_element_is_uninitialised(dtype: str, real: str) -> None:
    text = f"""
struct alignas(2 * sizeof({real})) Pair {{ {real} re, im; }};
extern "C" __global__ void k(Pair* y, const Pair* x) {{
  y[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x].im += 1.0f;
}}
"""
    emulator = Emulator("asan")
    x, y = emulator.empty((4, 8), dtype), emulator.empty((4, 8), dtype)
    x[...] = 3
    run(emulator, text, ONE, WARP, y, x)
    np.testing.assert_array_equal(y, np.full((4, 8), 3 + 1j))
    x.imag[3, 6] = emulator.empty((1,), dtype).imag[0]
    with fails(r"uninitialised global memory reached argument 0 of kernel k, element \(3, 6\) \(1 in all\)"):
        run(emulator, text, ONE, WARP, y, x)
    with fails("misaligned address"):
        run(emulator, text, ONE, WARP, y, np.zeros(65, f"f{x.itemsize // 2}")[1:])


def test_uninitialised_global_memory() -> None:
    text = 'extern "C" __global__ void k(float* y, const float* x) { y[threadIdx.x] = 1.0f + x[threadIdx.x]; }'
    emulator = Emulator()
    x = emulator.empty((32,), np.float32)
    x[:20] = 0
    y = emulator.empty((32,), np.float32)
    with fails(r"uninitialised global memory reached argument 0 of kernel k, element \(20,\) \(12 in all\)"):
        run(emulator, text, ONE, WARP, y, x)
    with fails(r"uninitialised global memory reached argument 0 of kernel k, element \(0,\) \(32 in all\)"):
        run(emulator, text, ONE, WARP, y, emulator.empty((64,), np.uint16))


def test_poisons_do_not_collide() -> None:
    for form in poison.FORMATS.values():
        all_values = [int(value) for values in poison.traces(form).values() for value in values]
        assert len(set(all_values)) == len(all_values)
        assert all(value > form.infinity and value & form.quiet for value in all_values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '#line 7 "cuda/some.cu"\nextern "C" __global__ void k() { int unused; }',
            "kernel k does not compile\n\n[^:]*: .*\ncuda/some.cu:7:.*unused",
        ),
        (
            'extern "C" __global__ void k() { __shared__ float a[3]; }',
            r"shared memory is declared by KST_SHARED\(Type, name\)",
        ),
        ('extern "C" __global__ void other() {}', "'k' was not declared"),
    ],
)
def test_compile_errors(text: str, message: str) -> None:
    with fails(message):
        Emulator().compile(text, "k")


def test_line_directives_name_the_file_in_reports() -> None:
    text = '#line 40 "cuda/some.cu"\nextern "C" __global__ void k(float* y) { y[threadIdx.x] = 1.0f; }'
    with fails("heap-buffer-overflow WRITE of size 4 in kernel k at cuda/some.cu:40;"):
        run(Emulator("asan"), text, ONE, WARP, np.zeros(31, np.float32))
