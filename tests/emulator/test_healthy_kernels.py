"""The emulator itself: healthy kernels run, and draw no report in any build and order."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cupy_kst.gpu.build.runtime import Runtime
from cupy_kst.gpu.select.device import Device
from tests.emulator import Emulator, available, build, check_written, errors, require, worker
from tests.emulator.trials import INT, ONE, WARP, every_build, every_order, fails, run


@pytest.fixture(autouse=True)
def _required() -> None:
    require()


def test_is_a_runtime() -> None:
    assert available() == (True, "")
    runtime: Runtime = Emulator()
    assert runtime.limits().capability == (9, 0)


SCALE = """
struct Params { int n; float scale; long long stride; };
extern "C" __global__ void k(float* __restrict__ y, const float* __restrict__ x, const Params p) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < p.n) y[i] = p.scale * __ldg(x + i * p.stride);
}
"""
PARAMS = np.dtype([("n", "i4"), ("scale", "f4"), ("stride", "i8")], align=True)


@every_build
def test_params_by_value(kind: str) -> None:
    emulator = Emulator(kind)
    x, y = np.arange(200, dtype=np.float32), emulator.empty((100,), np.float32)
    run(emulator, SCALE, (2, 1, 1), (64, 1, 1), y, x, np.array([(100, 3.0, 2)], PARAMS))
    np.testing.assert_array_equal(y, 3 * x[::2])


REDUCE = """
struct Shared { float part[64]; };
extern "C" __global__ void __launch_bounds__(64) k(float* __restrict__ y, const float* __restrict__ x, int n) {
  KST_SHARED(Shared, s);
  const int t = threadIdx.x, i = blockIdx.x * 64 + t;
  s.part[t] = i < n ? x[i] : 0.0f;
  __syncthreads();
  #pragma unroll
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) s.part[t] += s.part[t + half];
    __syncthreads();
  }
  if (t == 0) y[blockIdx.x] = s.part[0];
}
"""


@every_order
@every_build
def test_reduction_with_barriers(kind: str, order: str) -> None:
    emulator = Emulator(kind, order, seed=5)
    x, y = np.arange(300, dtype=np.float32), emulator.empty((5,), np.float32)
    for _ in range(2):
        run(emulator, REDUCE, (5, 1, 1), (64, 1, 1), y, x, INT(300))
        np.testing.assert_array_equal(y, np.pad(x, (0, 20)).reshape(5, 64).sum(1))


SHUFFLES = """
extern "C" __global__ void k(int* y, double* z) {
  const int t = threadIdx.x, n = blockDim.x;
  const unsigned all = 0xffffffffu;
  y[t] = __shfl_sync(all, t, 3);
  y[n + t] = __shfl_sync(all, t, 5, 8);
  y[2 * n + t] = __shfl_up_sync(all, t, 3);
  y[3 * n + t] = __shfl_down_sync(all, t, 3, 16);
  y[4 * n + t] = __shfl_xor_sync(all, t, 5);
  y[5 * n + t] = static_cast<int>(__ballot_sync(all, t % 3 == 0));
  y[6 * n + t] = __any_sync(all, t == 40) + 2 * __all_sync(all, t < 32);
  double v = t;
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(all, v, d);
  z[t] = v;
  z[n + t] = t;
  if (t % 32 < 16) {
    z[n + t] += __shfl_down_sync(0xffffu, v + t, 1, 16);
    __syncwarp(0xffffu);
  }
}
"""


@every_order
@every_build
def test_warp_collectives(kind: str, order: str) -> None:
    emulator = Emulator(kind, order)
    y, z = emulator.empty((7, 64), INT), emulator.empty((2, 64), np.float64)
    run(emulator, SHUFFLES, ONE, (64, 1, 1), y, z)
    t = np.arange(64)
    first = t & ~31
    np.testing.assert_array_equal(y[0], first + 3)
    np.testing.assert_array_equal(y[1], (t & ~7) + 5)
    np.testing.assert_array_equal(y[2], np.where(t - first < 3, t, t - 3))
    np.testing.assert_array_equal(y[3], np.where(t % 16 > 12, t, t + 3))
    np.testing.assert_array_equal(y[4], t ^ 5)
    ballot = [sum(1 << i for i in range(32) if (base + i) % 3 == 0) for base in (0, 32)]
    np.testing.assert_array_equal(y[5].view(np.uint32), np.repeat(ballot, 32))
    np.testing.assert_array_equal(y[6], np.repeat([2, 1], 32))
    total = np.repeat(t.reshape(2, 32).sum(1), 32)
    np.testing.assert_array_equal(z[0], total)
    down = np.where(t % 32 < 16, np.where(t % 16 == 15, t, t + 1) + total, 0)
    np.testing.assert_array_equal(z[1], t + down)


PARTIAL = """
extern "C" __global__ void k(unsigned* y) {
  const unsigned t = threadIdx.x;
  y[t] = __ballot_sync(~0u, t % 2) + __shfl_xor_sync(~0u, t, 1);
}
"""


@every_build
def test_partial_warp(kind: str) -> None:
    emulator = Emulator(kind)
    y = np.zeros(40, np.uint32)
    for threads in (40, 34, 40):
        run(emulator, PARTIAL, ONE, (threads, 1, 1), y[:threads])
    t = np.arange(40)
    np.testing.assert_array_equal(y, np.where(t < 32, 0xAAAAAAAA, 0xAA) + (t ^ 1))


GATHER = """
struct Fragment { float a[4]; int lane; };
extern "C" __global__ void k(float* y) {
  const int t = threadIdx.x;
  const Fragment mine = {{1.0f * t, 2.0f * t, 3.0f * t, 4.0f * t}, t};
  Fragment all[32];
  kst::gather(0xffffffffu, mine, all);
  float sum = 0.0f;
  for (int i = 0; i < 32; i++) sum += all[i].a[all[i].lane % 4];
  y[t] = sum;
}
"""


@every_build
def test_gather_over_a_warp(kind: str) -> None:
    emulator = Emulator(kind, "shuffled")
    y = emulator.empty((32,), np.float32)
    run(emulator, GATHER, ONE, WARP, y)
    np.testing.assert_array_equal(y, sum(i * (i % 4 + 1) for i in range(32)))


GRID = """
extern "C" __global__ void k(int* y) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * int(blockDim.x * blockDim.y * blockDim.z) + thread] = 100 * block + thread;
}
"""


@every_order
@pytest.mark.parametrize(("grid", "block"), [((2, 3, 1), (4, 5, 1)), ((2, 3, 4), (3, 2, 5))])
def test_grids(grid: tuple[int, int, int], block: tuple[int, int, int], order: str) -> None:
    y = np.zeros((np.prod(grid), np.prod(block)), INT)
    run(Emulator(order=order, seed=1), GRID, grid, block, y)
    np.testing.assert_array_equal(y, 100 * np.arange(np.prod(grid))[:, None] + np.arange(np.prod(block)))


NEGATE = """
extern "C" __global__ void k(unsigned short* y, const unsigned short* x) {
  y[threadIdx.x] = static_cast<unsigned short>(x[threadIdx.x] ^ 0x8000u);
}
"""


def test_float16_as_unsigned_short() -> None:
    emulator = Emulator("asan")
    x, y = np.arange(32, dtype=np.float16), emulator.empty((32,), np.float16)
    run(emulator, NEGATE, ONE, WARP, y, x)
    np.testing.assert_array_equal(y, -x)


LARGE = """
struct Shared { float a[30000]; };
extern "C" __global__ void k(float* y) {
  KST_SHARED(Shared, s);
  s.a[threadIdx.x * 937] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = s.a[(31 - threadIdx.x) * 937];
}
"""


@every_build
def test_dynamic_shared_memory(kind: str) -> None:
    emulator = Emulator(kind)
    y = emulator.empty((32,), np.float32)
    run(emulator, LARGE, ONE, WARP, y, shared=120000)
    np.testing.assert_array_equal(y, np.arange(32)[::-1])


def test_too_much_shared_memory() -> None:
    y = np.zeros(32, np.float32)
    with fails(r"too much shared memory: s takes 120000 bytes, more than the 49152 bytes of static"):
        run(Emulator(), LARGE, ONE, WARP, y)
    with fails(r"too much shared memory: s takes 120000 bytes, more than the 60000 bytes of dynamic"):
        run(Emulator(), LARGE, ONE, WARP, y, shared=60000)
    with fails(r"asks for 120000 bytes; the device has 65536"):
        run(
            Emulator(device=Device("small", (7, 5), 1, 1, shared_bytes_optin=65536)), LARGE, ONE, WARP, y, shared=120000
        )


ASYNC = """
struct Shared { float4 a[32]; };
extern "C" __global__ void k(float* y, const float4* x) {
  KST_SHARED(Shared, s);
  const int t = threadIdx.x;
  kst::cp_async(&s.a[t], &x[t], 16, t % 2 ? 16 : 8);
  kst::cp_async_commit();
  kst::cp_async_wait(PENDING);
  __syncthreads();
  const float4 v = s.a[31 - t];
  y[t] = v.x + v.y + v.z + v.w;
}
"""


@every_build
def test_asynchronous_copy(kind: str) -> None:
    emulator = Emulator(kind)
    x, y = np.ones((32, 4), np.float32), emulator.empty((32,), np.float32)
    run(emulator, ASYNC.replace("PENDING", "0"), ONE, WARP, y, x)
    np.testing.assert_array_equal(y, np.where(np.arange(32) % 2, 2, 4))
    with fails("uninitialised shared memory reached argument 0"):
        run(emulator, ASYNC.replace("PENDING", "1"), ONE, WARP, y, x)


LAST_BLOCK = """
extern "C" __global__ void k(float* y, float* part, int* counter, int blocks) {
  part[blockIdx.x] = blockIdx.x + 1.0f;
  FENCE
  if (atomicAdd(counter, 1) != blocks - 1) return;
  FENCE
  float sum = 0.0f;
  for (int b = 0; b < blocks; b++) sum += part[b];
  y[0] = sum;
}
"""


def test_last_block_to_arrive() -> None:
    emulator = Emulator("tsan")
    y, part, counter = emulator.empty((1,), np.float32), emulator.empty((6,), np.float32), np.zeros(1, INT)
    run(emulator, LAST_BLOCK.replace("FENCE", "__threadfence();"), (6, 1, 1), ONE, y, part, counter, INT(6))
    assert y[0] == 21 and counter[0] == 6
    with fails("data race in kernel k"):
        run(emulator, LAST_BLOCK.replace("FENCE", ""), (6, 1, 1), ONE, y, part, np.zeros(1, INT), INT(6))


def test_null_pointer_views_and_aliases() -> None:
    text = """
extern "C" __global__ void k(float* y, const float* x, const float* bias) {
  y[threadIdx.x] = x[threadIdx.x] + (bias ? bias[threadIdx.x] : 1.0f);
}
"""
    emulator = Emulator("asan")
    x = np.arange(64, dtype=np.float32)
    run(emulator, text, ONE, WARP, x[32:], x[:32], np.uintp(0))
    np.testing.assert_array_equal(x[32:], x[:32] + 1)
    run(emulator, text, ONE, WARP, x[:32], x[:32], x[32:])
    np.testing.assert_array_equal(x[:32], 2 * np.arange(32) + 1)
    with fails("arguments 0 and 1 of kernel k overlap in part"):
        run(emulator, text, ONE, WARP, x[1:33], x[:32], np.uintp(0))


MAPPED = """
extern "C" __global__ void k(float* y, const float* x, long long first) {
  y[first + threadIdx.x] = x[first + threadIdx.x] + 1.0f;
}
"""


@every_build
def test_mapped_arrays(kind: str, tmp_path: Path) -> None:
    emulator, first = Emulator(kind), 2**32 + 7
    y = np.memmap(tmp_path / "y", np.float32, "w+", shape=(3, 2**31))
    x = np.memmap(tmp_path / "x", np.float32, "w+", offset=4100, shape=(3, 2**31))
    x.reshape(-1)[first : first + 32] = np.arange(32)
    run(emulator, MAPPED, ONE, WARP, y, x, np.int64(first))
    np.testing.assert_array_equal(y.reshape(-1)[first - 1 : first + 33], [0, *range(1, 33), 0])
    run(emulator, MAPPED, ONE, WARP, y[2], x[2], np.int64(7))
    run(emulator, MAPPED, ONE, WARP, y[2], y[2], np.int64(7))
    np.testing.assert_array_equal(y[2, 6:40], [0, *range(2, 34), 0])
    assert sum(512 * path.stat().st_blocks for path in tmp_path.iterdir()) < 2**20


@every_build
def test_misuse_of_mapped_arrays(kind: str, tmp_path: Path) -> None:
    y = np.memmap(tmp_path / "y", np.float32, "w+", shape=2**12)
    for first in (2**12, -(2**31), 2**33):
        with fails("SEGV"):
            run(Emulator(kind), MAPPED, ONE, WARP, y, y, np.int64(first))
    read_only = np.memmap(tmp_path / "y", np.float32, "r", shape=2**12)
    with fails("SEGV"):
        run(Emulator(kind), MAPPED, ONE, WARP, read_only, y, np.int64(0))
    copied = np.memmap(tmp_path / "y", np.float32, "c", shape=2**12)
    with fails("argument 0 of kernel k is mapped in mode 'c' from .*: another cannot share it"):
        run(Emulator(kind), MAPPED, ONE, WARP, copied, y, np.int64(0))
    with fails("arguments 0 and 1 of kernel k overlap in part"):
        run(Emulator(kind), MAPPED, ONE, WARP, y[:64], y[32:], np.int64(0))


@every_order
def test_some_blocks_of_a_launch(order: str) -> None:
    emulator = Emulator(order=order)
    kernel = emulator.compile(GRID, "k")
    y = np.zeros((24, 1), INT)
    emulator.launch(kernel, (2, 3, 4), ONE, (y,), range(9, 23))
    np.testing.assert_array_equal(y[:, 0], [*[0] * 9, *range(900, 2300, 100), 0])
    for blocks in (range(9, 25), range(-1, 3), range(0, 8, 2), range(0)):
        with fails(r"range\(.*\) are no blocks of the 24 of kernel k"):
            emulator.launch(kernel, (2, 3, 4), ONE, (y,), blocks)


COUNT = """
extern "C" __global__ void k(float* y, const float* x, const double* z) {
  const int t = threadIdx.x;
  float sum = __fmaf_ieee_rn(x[t], 2.0f, 1.0f);
  for (int i = 0; i < t; i++) sum = __fmaf_rn(2.0f, x[t], sum);
  y[blockIdx.x * blockDim.x + t] = float(fma(z[t], 0.0, sum) + __fma_rn(z[t], z[t], 1.0));
}
"""


@every_build
def test_multiply_adds_are_counted(kind: str) -> None:
    emulator, kernel = Emulator(kind), Emulator(kind).compile(COUNT, "k")
    x, z = np.array([0, 1, 2, 0], np.float32), np.array([3, 0, 1, 1], np.float64)
    for blocks in (1, 3):
        emulator.launch(kernel, (blocks, 1, 1), (4, 1, 1), (emulator.empty((blocks, 4), np.float32), x, z))
    one = 4 + (0 + 1 + 2 + 3) + 4 + 4, 2 + (1 + 2) + 0 + 3
    assert list(emulator.products) == [("k", one), ("k", tuple(3 * each for each in one))]


def test_arrays_of_no_elements_and_of_no_axes() -> None:
    text = 'extern "C" __global__ void k(float* y, const float* x, int i) { y[0] = i ? x[0] : 1.0f; }'
    y, x = np.zeros((), np.float32), np.zeros((2, 0), np.float32)
    run(Emulator("asan"), text, ONE, ONE, y, x, INT(0))
    assert y == 1
    with fails("AddressSanitizer|READ of size 4 in kernel k at k.cu:1; 0 bytes past the end of argument 1 .0 bytes"):
        run(Emulator("asan"), text, ONE, ONE, y, x, INT(1))


def test_bfloat16() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    emulator = Emulator()
    x, y = np.arange(32).astype(bfloat16), emulator.empty((32,), bfloat16)
    with fails("never written"):
        check_written(y)
    run(emulator, NEGATE, ONE, WARP, y, x)
    check_written(y)
    np.testing.assert_array_equal(y.astype(np.float32), -np.arange(32.0))


def test_what_a_kernel_prints(capfd: pytest.CaptureFixture[str]) -> None:
    run(Emulator(), 'extern "C" __global__ void k() { printf("thread %u\\n", threadIdx.x); }', ONE, (2, 1, 1))
    assert capfd.readouterr().err == "thread 0\nthread 1\n"


@pytest.mark.long
def test_programs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_KST_EMULATOR_CACHE", str(tmp_path))
    text = 'extern "C" __global__ void k() {}'
    first = Emulator().compile(text, "k")
    assert first.path.parent == tmp_path
    monkeypatch.setattr(subprocess, "run", None)
    assert Emulator().compile(text, "k") == first


@pytest.mark.long
@every_build
def test_a_program_serves_every_checkout_with_the_same_files(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports leave out the emulator's own frames by their folder: no program may name where it was compiled."""
    monkeypatch.setenv("CUPY_KST_EMULATOR_CACHE", str(tmp_path))
    program = build.program('extern "C" __global__ void k(float* y) { y[0] = 1; }', "k", kind)
    assert str(build.HERE).encode() not in program.read_bytes()
    assert errors.OWN.encode() in program.read_bytes()


def test_program_cache_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "KEPT", 10)
    for i in range(12):
        (tmp_path / str(i)).touch()
    build.prune(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def test_more_kernels_than_live_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker.LIVE, "plain", 2)
    for number in (1, 2, 3, 1, 2, 3):
        y = np.zeros(1, INT)
        run(Emulator(), f'extern "C" __global__ void k(int* y) {{ y[0] = {number}; }}', ONE, ONE, y)
        assert y[0] == number


def test_a_system_that_places_memory_where_thread_sanitizer_cannot_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(
        """#!/bin/sh
[ $((0x$(cat /proc/self/personality) & 0x40000)) -ne 0 ] || { echo "unexpected memory mapping" >&2; exit 66; }
printf '\\0\\0\\0\\0'
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(worker.Worker, "_prefix", ())
    assert worker.Worker(program, "k").parameters() == ()


@every_build
def test_launches_from_several_threads(kind: str) -> None:
    emulator = Emulator(kind)

    def one(n: int) -> None:
        x, y = np.full(64, n, np.float32), emulator.empty((1,), np.float32)
        run(emulator, REDUCE, ONE, (64, 1, 1), y, x, INT(64))
        assert y[0] == 64 * n

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))
