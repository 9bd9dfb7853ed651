// Tiles on tensor cores: a warp multiplies 8 * THREAD_M rows by 4 * THREAD_N columns by instructions of 16 by 8, of
// operands that are copied to shared memory in the background, STAGES - 1 stages ahead.
#pragma once
#include "mma.cuh"

#define WARP_M (8 * THREAD_M)
#define WARP_N (4 * THREAD_N)
#define WARPS_M (TILE_M / WARP_M)

// As many blocks a multiprocessor as leave a thread 96 registers beside its sums, or 144 where it copies through them,
// as it does single 16-bit elements; 64-bit indices take more.
#ifdef VECTOR
#define LEAST_VECTOR (VECTOR < VECTOR_A ? VECTOR : VECTOR_A)
#else
#define LEAST_VECTOR VECTOR_A
#endif
#define SUMS_OF_THREAD (THREAD_M * THREAD_N * (TENSOR == 3 ? 3 : 1))
#define BLOCKS_THAT_FIT (65536 / TILE_THREADS / (SUMS_OF_THREAD + (sizeof(Storage) * LEAST_VECTOR < 4 ? 144 : 96)))
#define PER_TILE __launch_bounds__(TILE_THREADS, sizeof(Index) == 4 ? BLOCKS_THAT_FIT : 1)

static_assert(THREAD_M % 2 == 0 && THREAD_N % 4 == 0, "instructions divide what a warp multiplies");
static_assert(TILE_K % MMA_DEPTH == 0 && 64 % TILE_K == 0 && STAGES > 1, "instructions divide a stage");

// Elements at the end of a row of a buffer, so that what a warp reads at once lies in different banks.
#define DEEP_PAD ((int)(16 / sizeof(Storage)))
#define ROW_PAD 8
#ifndef SWIZZLED
#define SWIZZLED 0
#endif

// The place of element m in row k of a buffer. Rows begin 8 or 24 banks apart, so that threads which write one element
// each of 16 rows would meet in 4 banks. Swizzled rows that begin in the same bank hold element m in different places.
__device__ __forceinline__ int swizzled(int k, int m) { return SWIZZLED ? m ^ k / 4 % 4 * 2 : m; }

struct __align__(16) Tile {
#if DEEP_A
    Storage a[STAGES][TILE_M][TILE_K + DEEP_PAD];
#else
    Storage a[STAGES][TILE_K][TILE_M + ROW_PAD];
#endif
    Storage b[STAGES][TILE_K][TILE_N + ROW_PAD];

    __device__ __forceinline__ Storage* a_at(int buffer, int m, int k)
    {
        return DEEP_A ? &a[buffer][m][k] : &a[buffer][k][m];
    }
    __device__ __forceinline__ void put_a(int buffer, int m, int k, const Storage& value)
    {
        *a_at(buffer, m, k) = value;
    }
    __device__ __forceinline__ void put_b(int buffer, int k, int n, const Storage& value) { b[buffer][k][n] = value; }
};

// Rows and columns of a tile that a thread sums, as instructions deal them out.
__device__ __forceinline__ int tile_row(int i)
{
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    return warp % WARPS_M * WARP_M + i * 8 + lane / 4;
}
__device__ __forceinline__ int tile_column(int j)
{
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    return warp / WARPS_M * WARP_N + j / 2 * 8 + lane % 4 * 2 + j % 2;
}

// What a lane holds of the operands at one depth.
struct Fragments {
    unsigned a[THREAD_M / 2][4], b[THREAD_N / 2][2];

#if STORAGE_IS_HALF || STORAGE_IS_BFLOAT
    __device__ __forceinline__ void take(const Tile& tile, int buffer, int k)
    {
        const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
        const int upper = lane / 8 % 2 * 8, left = lane / 16 * 8, line = lane % 8;
        const int row = warp % WARPS_M * WARP_M, column = warp / WARPS_M * WARP_N;
#pragma unroll
        for (int i = 0; i < THREAD_M / 2; i++)
#if DEEP_A
            load_matrices<false>(a[i], &tile.a[buffer][row + 16 * i + upper + line][k + left]);
#else
            load_matrices<true>(a[i], &tile.a[buffer][k + left + line][row + 16 * i + upper]);
#endif
#pragma unroll
        for (int j = 0; j < THREAD_N / 2; j += 2) {
            unsigned two[4];
            load_matrices<true>(two, &tile.b[buffer][k + upper + line][column + 8 * j + left]);
            b[j][0] = two[0];
            b[j][1] = two[1];
            b[j + 1][0] = two[2];
            b[j + 1][1] = two[3];
        }
    }
#else
    // The bits of floats.
    __device__ __forceinline__ void take(const Tile& tile, int buffer, int k)
    {
        const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, deep = k + lane % 4;
        const int row = warp % WARPS_M * WARP_M, column = warp / WARPS_M * WARP_N;
#pragma unroll
        for (int i = 0; i < THREAD_M / 2; i++)
#if DEEP_A
            load_matrices<false>(a[i], &tile.a[buffer][row + 16 * i + lane % 16][k + lane / 16 * 4]);
#else
#pragma unroll
            for (int part = 0; part < 4; part++)
                a[i][part] = __float_as_uint(
                    tile.a[buffer][deep + part / 2 * 4][row + 16 * i + part % 2 * 8 + line(k + part / 2 * 4)]);
#endif
#pragma unroll
        for (int j = 0; j < THREAD_N / 2; j++)
#pragma unroll
            for (int part = 0; part < 2; part++)
                b[j][part] = __float_as_uint(tile.b[buffer][deep + part * 4][column + 8 * j + line(k + part * 4)]);
    }
    // A lane's row or column of eight, in rows of a buffer from the k-th on.
    static __device__ __forceinline__ int line(int k) { return swizzled(k, (int)threadIdx.x % 32 / 4); }

    // Leave of each float its 11 upper bits, or those of the rest.
    __device__ __forceinline__ void round(bool rest)
    {
#pragma unroll
        for (int i = 0; i < THREAD_M / 2; i++)
#pragma unroll
            for (int part = 0; part < 4; part++)
                a[i][part] = rounded(a[i][part], rest);
#pragma unroll
        for (int j = 0; j < THREAD_N / 2; j++)
#pragma unroll
            for (int part = 0; part < 2; part++)
                b[j][part] = rounded(b[j][part], rest);
    }

    static __device__ __forceinline__ unsigned rounded(unsigned bits, bool rest)
    {
        const float value = __uint_as_float(bits);
        const unsigned upper = to_tf32(value);
        return rest ? to_tf32(value - __uint_as_float(upper)) : upper;
    }
#endif
};

// What one thread sums.
struct Sums {
    Compute at[THREAD_M][THREAD_N];
#if TENSOR == 3
    // Tensor cores round toward zero, so that the error grows with the depth: these leave them every 64. Products of
    // the floats' lower parts have sums of their own, which are small, so that rounding them is of no account.
    Compute part[THREAD_M][THREAD_N], rest[THREAD_M][THREAD_N];
    int depth;
#endif

    static __device__ __forceinline__ void
    multiply(Compute (&sums)[THREAD_M][THREAD_N], const Fragments& left, const Fragments& right)
    {
#pragma unroll
        for (int i = 0; i < THREAD_M; i += 2)
#pragma unroll
            for (int j = 0; j < THREAD_N; j += 2) {
                const Operands own = {
                    {left.a[i / 2][0], left.a[i / 2][1], left.a[i / 2][2], left.a[i / 2][3]},
                    {right.b[j / 2][0], right.b[j / 2][1]}};
                multiply_matrices(sums[i][j], sums[i][j + 1], sums[i + 1][j], sums[i + 1][j + 1], own);
            }
    }

    __device__ __forceinline__ void add_product(const Tile& tile, int buffer)
    {
        // Loads before it may have parted the lanes, which instructions of a warp take together.
        __syncwarp();
#pragma unroll
        for (int k = 0; k < TILE_K; k += MMA_DEPTH) {
            Fragments upper;
            upper.take(tile, buffer, k);
#if TENSOR == 3
            Fragments lower = upper;
            lower.round(true);
            upper.round(false);
            multiply(rest, lower, upper);
            multiply(rest, upper, lower);
            multiply(part, upper, upper);
#else
#if !STORAGE_IS_HALF && !STORAGE_IS_BFLOAT
            upper.round(false);
#endif
            multiply(at, upper, upper);
#endif
        }
#if TENSOR == 3
        depth += TILE_K;
        if (depth == 64)
            finish();
#endif
    }

#if TENSOR == 3
    __device__ __forceinline__ void begin()
    {
        depth = 0;
#pragma unroll
        for (int i = 0; i < THREAD_M; i++)
#pragma unroll
            for (int j = 0; j < THREAD_N; j++)
                part[i][j] = rest[i][j] = 0;
    }
    __device__ __forceinline__ void finish()
    {
#pragma unroll
        for (int i = 0; i < THREAD_M; i++)
#pragma unroll
            for (int j = 0; j < THREAD_N; j++)
                at[i][j] += part[i][j] + rest[i][j];
        begin();
    }
#else
    __device__ __forceinline__ void begin() {}
    __device__ __forceinline__ void finish() {}
#endif
};

// Add the product of `stages` stages. A Source has fetch(tile, buffer), which begins to copy the next stage to shared
// memory, and put(tile, buffer), which copies what cannot be copied in the background; both are called by all threads
// of a block.
template <class Source>
__device__ __forceinline__ void add_stages(Sums& sums, Source& source, long long stages, Index, Index, Tile& tile)
{
    sums.begin();
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) {
        if (stage < stages) {
            source.fetch(tile, stage);
            source.put(tile, stage);
        }
        commit_copies();
    }
    int buffer = 0, next = STAGES - 1;
    for (long long stage = 0; stage < stages; stage++) {
        wait_copies<STAGES - 2>();
        // All threads' copies have arrived, and all have multiplied what is in the next buffer.
        __syncthreads();
        const bool more = stage + STAGES - 1 < stages;
        if (more)
            source.fetch(tile, next);
        commit_copies();
        sums.add_product(tile, buffer);
        if (more)
            source.put(tile, next);
        buffer = buffer + 1 == STAGES ? 0 : buffer + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
    sums.finish();
}
