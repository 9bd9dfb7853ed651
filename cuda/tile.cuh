// The core of the methods that are matrix products: a block multiplies a tile of rows by a tile of columns, whose
// elements a source of the method's own finds. Both operands pass from memory through registers to shared memory, into
// one of two buffers while the other is multiplied.
//
// Macros beside those of common.cuh:
//   TILE_M TILE_N      rows and columns of the product that a block computes
//   TILE_K             depth of a stage: how much of both operands is in one buffer
//   THREAD_M THREAD_N  rows and columns that one thread sums
#pragma once
#include "numeric.cuh"

#define LANES_M (TILE_M / THREAD_M)
#define LANES_N (TILE_N / THREAD_N)
#define TILE_THREADS (LANES_M * LANES_N)
// As many blocks a multiprocessor as leave a thread 128 registers; 64-bit indices or larger elements take more.
#define PER_TILE __launch_bounds__(TILE_THREADS, sizeof(Index) == 4 && sizeof(Compute) == 4 ? 512 / TILE_THREADS : 1)

// Elements of 16 bytes: rows of a buffer stay aligned, and threads that store down a column meet different banks.
#define ROW_PAD ((int)(16 / sizeof(Compute)))

static_assert(TILE_M % THREAD_M == 0 && TILE_N % THREAD_N == 0, "threads divide a tile");
static_assert(TILE_THREADS % TILE_M == 0 && TILE_THREADS % TILE_K == 0, "a thread loads of one row, or of one k");

struct __align__(16) Tile {
    Compute a[2][TILE_K][TILE_M + ROW_PAD];
    Compute b[2][TILE_K][TILE_N + ROW_PAD];
};

// Rows or columns of a tile that one of `lanes` threads sums: pieces of up to four, which are one access to shared
// memory, with those of the other threads between them, so that neighbouring threads write neighbouring outputs.
template <int own>
__device__ __forceinline__ int tile_index(int lane, int lanes, int i)
{
    constexpr int piece = own % 4 == 0 ? 4 : own;
    return (i / piece * lanes + lane) * piece + i % piece;
}
__device__ __forceinline__ int tile_row(int i) { return tile_index<THREAD_M>((int)threadIdx.x % LANES_M, LANES_M, i); }
__device__ __forceinline__ int tile_column(int j)
{
    return tile_index<THREAD_N>((int)threadIdx.x / LANES_M, LANES_N, j);
}

// What one thread sums. The micro-kernel: tensor cores would have a struct like this, with sums in fragments.
struct Sums {
    Compute at[THREAD_M][THREAD_N];

    __device__ __forceinline__ void add_product(const Tile& tile, int buffer)
    {
#pragma unroll
        for (int k = 0; k < TILE_K; k++) {
            Compute a[THREAD_M], b[THREAD_N];
#pragma unroll
            for (int i = 0; i < THREAD_M; i++)
                a[i] = tile.a[buffer][k][tile_row(i)];
#pragma unroll
            for (int j = 0; j < THREAD_N; j++)
                b[j] = tile.b[buffer][k][tile_column(j)];
#pragma unroll
            for (int i = 0; i < THREAD_M; i++)
#pragma unroll
                for (int j = 0; j < THREAD_N; j++)
                    at[i][j] = multiply_add(a[i], b[j], at[i][j]);
        }
    }
};

// Add the product of `stages` stages. A Source has fetch(), which takes the next stage from memory into registers, and
// put(tile, buffer), which takes it on into shared memory; both are called by all threads of a block.
template <class Source>
__device__ __forceinline__ void add_stages(Sums& sums, Source& source, long long stages, Tile& tile)
{
    if (stages <= 0)
        return;
    source.fetch();
    source.put(tile, 0);
    __syncthreads();
    int buffer = 0;
    for (long long stage = 1; stage < stages; stage++) {
        source.fetch();
        sums.add_product(tile, buffer);
        buffer ^= 1;
        source.put(tile, buffer);
        __syncthreads();
    }
    sums.add_product(tile, buffer);
}

// Divide what is left of a block's number by `count`, and return the remainder.
__device__ __forceinline__ Index take(Index& number, Index count)
{
    const Index taken = number % count;
    number /= count;
    return taken;
}

__device__ __forceinline__ Index tiles_of(Index size, int tile) { return (size + tile - 1) / tile; }

struct Range {
    Index first, end;
};

// The j of 0, 1, ..., count - 1 with 0 <= origin + j * step < extent.
__device__ __forceinline__ Range meeting(Index origin, Index step, Index extent, Index count)
{
    Range range = {0, 0};
    if (origin >= extent)
        return range;
    const Index last = (extent - 1 - origin) / step + 1;
    range.first = origin < 0 ? (step - 1 - origin) / step : 0;
    range.end = last < count ? last : count;
    if (range.first > range.end)
        range.first = range.end;
    return range;
}
