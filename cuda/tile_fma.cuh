// Tiles on CUDA cores: both operands pass from memory through registers to shared memory, into one of two buffers while
// the other is multiplied.
#pragma once
#include "numeric.cuh"

// As many blocks a multiprocessor as leave a thread 128 registers; 64-bit indices or larger elements take more.
#define PER_TILE __launch_bounds__(TILE_THREADS, sizeof(Index) == 4 && sizeof(Compute) == 4 ? 512 / TILE_THREADS : 1)

// Elements of 16 bytes: rows of a buffer stay aligned, and threads that store down a column meet different banks.
#define ROW_PAD ((int)(16 / sizeof(Compute)))

static_assert(TILE_THREADS % TILE_M == 0 && TILE_THREADS % TILE_K == 0, "a thread loads of one row, or of one k");

struct __align__(16) Tile {
    Compute a[2][TILE_K][TILE_M + ROW_PAD];
    Compute b[2][TILE_K][TILE_N + ROW_PAD];

    __device__ __forceinline__ void put_a(int buffer, int m, int k, const Storage& value)
    {
        a[buffer][k][m] = load(&value);
    }
    __device__ __forceinline__ void put_b(int buffer, int k, int n, const Storage& value)
    {
        b[buffer][k][n] = load(&value);
    }
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

// What one thread sums.
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

// Add the product of `stages` stages. A Source has fetch(tile, buffer), which takes the next stage from memory into
// registers, and put(tile, buffer), which takes it on into shared memory; both are called by all threads of a block.
template <class Source>
__device__ __forceinline__ void add_stages(Sums& sums, Source& source, long long stages, Tile& tile)
{
    if (stages <= 0)
        return;
    source.fetch(tile, 0);
    source.put(tile, 0);
    __syncthreads();
    int buffer = 0;
    for (long long stage = 1; stage < stages; stage++) {
        source.fetch(tile, buffer ^ 1);
        sums.add_product(tile, buffer);
        buffer ^= 1;
        source.put(tile, buffer);
        __syncthreads();
    }
    sums.add_product(tile, buffer);
}
