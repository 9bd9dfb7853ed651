// Tiles on CUDA cores: both operands pass from memory through registers to shared memory, into one of two buffers while
// the other is multiplied.
#pragma once
#include "numeric.cuh"

// As many blocks a multiprocessor as leave a thread 128 registers; 64-bit indices or larger elements take more, and so
// does a block of several classes in the build that has no literals, which makes first calls.
#if defined INTERLEAVED && GENERIC
#define RESIDENT_THREADS 384
#else
#define RESIDENT_THREADS 512
#endif
#define PER_TILE                                                                                                       \
    __launch_bounds__(TILE_THREADS, sizeof(Index) == 4 && sizeof(Compute) == 4 ? RESIDENT_THREADS / TILE_THREADS : 1)

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

// What no compiler knows to be zero: launches of tiles have one block along z.
__device__ __forceinline__ int unknown_zero()
{
    int zero = (int)gridDim.z - 1;
#ifndef KST_EMULATOR
    asm volatile("" : "+r"(zero));  // found where it is needed, so that it takes no register before
#endif
    return zero;
}

__device__ __forceinline__ int some_bits(float value) { return (int)__float_as_uint(value); }
__device__ __forceinline__ int some_bits(double value) { return (int)__double_as_longlong(value); }
template <class Real>
__device__ __forceinline__ int some_bits(Complex<Real> value)
{
    return some_bits(value.im);
}

// What one thread sums.
struct Sums {
    Compute at[THREAD_M][THREAD_N];

    // Visit each sum with its number; a visit returns what it leaves. No number is known when the text is compiled, and
    // a row's is not before that row's before is left, so that few sums are loaded at once: there are no registers for
    // more.
    template <class Visit>
    __device__ __forceinline__ void each(const Visit& visit)
    {
        int zero = unknown_zero();
#pragma unroll
        for (int i = 0; i < THREAD_M; i++) {
#pragma unroll
            for (int j = 0; j < THREAD_N - 1; j++)
                visit(zero + i * THREAD_N + j, at[i][j]);
            zero &= some_bits(visit(zero + i * THREAD_N + THREAD_N - 1, at[i][THREAD_N - 1]));
        }
    }

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

// Real numbers of the shortest runs: a complex product adds two to each part of its sum. The most runs where a product
// has many taps.
#define RUN_NUMBERS 240
#define MOST_RUNS (1 << 14)

// The stages of a run of a long sum: n numbers are summed in about sqrt(n / 240) runs, of at most sqrt(n * 240)
// numbers. The last stages of each tap are shallow where TILE_K does not divide `deep`; as a run may hold none of
// these, it has room for full ones. An output at a border sums part of the taps: where not all of these, `taps` in
// turn, are in a run, its numbers may all be in one, so that runs stay short.
__device__ __forceinline__ int stages_of_run(long long stages, Index taps, Index deep)
{
    const int full = (deep < TILE_K ? (int)deep : TILE_K) * parts_of(Compute{}), least = RUN_NUMBERS / full;
    const long long numbers = stages * deep / tiles_of(deep, TILE_K) * parts_of(Compute{});
    long long runs = 1;
    while (runs * runs * RUN_NUMBERS < numbers)
        runs++;
    const long long run = numbers / runs / full, share = stages / MOST_RUNS;
    const long long longer = run >= taps ? run : share;
    return (int)(longer < least ? least : longer);
}

// Add the product of `stages` stages, of up to `deep` products and of `taps` in turn. A Source has fetch(tile, buffer),
// which takes the next stage from memory into registers, and put(tile, buffer), which takes it on into shared memory;
// both are called by all threads of a block.
//
// Long sums are made in two levels, so that rounding errors are bounded as those of long_sum.cuh: the sums of a run of
// stages are added to those of all runs before. These wait in memory of the thread's own, as there are no registers for
// both; what has an unknown index is none.
template <class Source, class Count>
__device__ __forceinline__ void add_stages(Sums& sums, Source& source, Count stages, Index taps, Index deep, Tile& tile)
{
    if (stages <= 0)
        return;
    const int run = stages_of_run(stages, taps, deep);
    Compute before[THREAD_M * THREAD_N];
    source.fetch(tile, 0);
    source.put(tile, 0);
    __syncthreads();
    int buffer = 0, left = run;
    bool later = false;
    while (--stages > 0) {
        source.fetch(tile, buffer ^ 1);
        sums.add_product(tile, buffer);
        buffer ^= 1;
        source.put(tile, buffer);
        __syncthreads();
        if (--left > 0)
            continue;
        sums.each([&](int number, Compute& sum) {
            const Compute all = later ? add(sum, before[number]) : sum;
            before[number] = all;
            sum = Compute{};
            return all;
        });
        left = run;
        later = true;
    }
    sums.add_product(tile, buffer);
    if (later)
        sums.each([&](int number, Compute& sum) { return sum = add(sum, before[number]); });
}
