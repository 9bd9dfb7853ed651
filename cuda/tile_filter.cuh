// A map times a packed filter: rows of the product are positions of all samples, columns are output channels, and a
// stage is some channels of one tap, so that bounds are tested once a tap.
//
// Macros beside those of tile.cuh:
//   VECTOR   elements of a filter that one thread loads at once: 16 bytes, if they divide the columns, or 1
//   TRIMMED  1 where all rows of a block are of one position: its taps are only those that meet the map
#pragma once
#include "tile.cuh"

#define LOADS_A (TILE_M * TILE_K / TILE_THREADS)
#define VECTORS_B (TILE_K * TILE_N / VECTOR)
#define LOADS_B ((VECTORS_B + TILE_THREADS - 1) / TILE_THREADS)

static_assert(TILE_M * TILE_K % TILE_THREADS == 0 && TILE_N % VECTOR == 0, "loads divide a tile");

struct alignas(sizeof(Storage) * VECTOR) Vector {
    Storage at[VECTOR];
};

// One axis of the map as a block's rows read it: tap j meets place origin + j * step, for an origin of the row's own.
struct Line {
    Index taps, step, extent;
};

// Where a row of a tile is: the sample, and the position on each axis.
struct Row {
    Index sample, d, h, w;
    bool inside;
};

// The rows of a block: positions of one sample after the other or, trimmed, one position of many samples.
struct Rows {
    Index samples, sample;
    Index within, count_d, count_h, count_w;  // trimmed, only `within` counts: the block's position

    // `number` is what is left of the block's number once columns, groups and classes are taken from it.
    __device__ __forceinline__ Rows(Index number, Index samples_, Index d, Index h, Index w)
        : samples(samples_), count_d(d), count_h(h), count_w(w)
    {
        const Index positions = d * h * w;
#if TRIMMED
        within = take(number, positions);
        sample = number * TILE_M;
#else
        const long long first = (long long)number * TILE_M;
        sample = (Index)(first / positions);
        within = (Index)(first % positions);
#endif
    }

    __device__ __forceinline__ Row at(int row) const
    {
#if TRIMMED
        const Index position = within;
        Row place = {sample + row, 0, 0, 0, true};
#else
        const Index positions = count_d * count_h * count_w, reached = within + row;
        const Index position = reached % positions;
        Row place = {sample + reached / positions, 0, 0, 0, true};
#endif
        place.w = position % count_w;
        place.h = position / count_w % count_h;
        place.d = position / count_w / count_h;
        place.inside = place.sample < samples;
        return place;
    }
};

struct MapByFilter {
    const Storage* map;     // the thread's row: its sample and the group's first channel; null for none
    const Storage* filter;  // [taps of d, h and w][channels][columns], from the tile's first column
    Index channels, columns, columns_left;
    Index step, pixel;  // from one channel of the map to the next, and from one pixel
    Line depth, height, width;
    Index d, h, w;  // what the thread's row meets with tap 0
    Range taps_d, taps_h, taps_w;
    Index tap_d, tap_h, tap_w, channel;  // where the next stage begins
    const Storage* place;                // what the row meets with its tap, on channel 0; null off the map
    const Storage* tap;
    Storage a[LOADS_A];
    Vector b[LOADS_B];

    // Called once all above `taps_d` are set; returns the number of stages.
    __device__ __forceinline__ Index begin()
    {
#if TRIMMED
        taps_d = meeting(d, depth.step, depth.extent, depth.taps);
        taps_h = meeting(h, height.step, height.extent, height.taps);
        taps_w = meeting(w, width.step, width.extent, width.taps);
#else
        taps_d = {0, depth.taps};
        taps_h = {0, height.taps};
        taps_w = {0, width.taps};
#endif
        tap_d = taps_d.first;
        tap_h = taps_h.first;
        tap_w = taps_w.first;
        channel = 0;
        meet();
        return (taps_d.end - taps_d.first) * (taps_h.end - taps_h.first) * (taps_w.end - taps_w.first) *
               tiles_of(channels, TILE_K);
    }

    __device__ __forceinline__ void meet()
    {
        const Index z = d + tap_d * depth.step, y = h + tap_h * height.step, x = w + tap_w * width.step;
        const bool on_map =
            map && z >= 0 && z < depth.extent && y >= 0 && y < height.extent && x >= 0 && x < width.extent;
        place = on_map ? map + ((z * height.extent + y) * width.extent + x) * pixel : nullptr;
        tap = filter + ((tap_d * height.taps + tap_h) * width.taps + tap_w) * channels * columns;
    }

    __device__ __forceinline__ void advance()
    {
        channel += TILE_K;
        if (channel < channels)
            return;
        channel = 0;
        if (++tap_w == taps_w.end) {
            tap_w = taps_w.first;
            if (++tap_h == taps_h.end) {
                tap_h = taps_h.first;
                tap_d++;
            }
        }
        meet();
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const Index c = channel + (int)threadIdx.x / TILE_M + i * (TILE_THREADS / TILE_M);
            a[i] = place && c < channels ? place[c * step] : Storage{};
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int number = (int)threadIdx.x + i * TILE_THREADS;
            const int n = number % (TILE_N / VECTOR) * VECTOR;
            const Index c = channel + number / (TILE_N / VECTOR);
            const bool real = number < VECTORS_B && c < channels && n < columns_left;
            b[i] = real ? *reinterpret_cast<const Vector*>(tap + c * columns + n) : Vector{};
        }
        advance();
    }

    __device__ __forceinline__ void put(Tile& tile, int buffer)
    {
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const int k = (int)threadIdx.x / TILE_M + i * (TILE_THREADS / TILE_M);
            tile.a[buffer][k][(int)threadIdx.x % TILE_M] = load(&a[i]);
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int number = (int)threadIdx.x + i * TILE_THREADS;
            if (number < VECTORS_B)
#pragma unroll
                for (int v = 0; v < VECTOR; v++)
                    tile.b[buffer][number / (TILE_N / VECTOR)][number % (TILE_N / VECTOR) * VECTOR + v] =
                        load(&b[i].at[v]);
        }
    }
};

// The sums of a thread before any product: the bias of its columns, which begin at `bias`, or zero.
__device__ __forceinline__ Sums biased(const Storage* __restrict__ bias, Index columns_left)
{
    Sums sums;
#pragma unroll
    for (int j = 0; j < THREAD_N; j++) {
        const bool real = bias && tile_column(j) < columns_left;
        const Compute value = real ? load(bias + tile_column(j)) : Compute{};
#pragma unroll
        for (int i = 0; i < THREAD_M; i++)
            sums.at[i][j] = value;
    }
    return sums;
}

// Write one row of a thread's sums: `to` is the row's place on the channel of the tile's first column, and `step` leads
// to the next channel.
__device__ __forceinline__ void
write_row(Storage* __restrict__ to, const Sums& sums, int i, Index step, Index columns_left)
{
#pragma unroll
    for (int j = 0; j < THREAD_N; j++)
        if (tile_column(j) < columns_left)
            store(to + tile_column(j) * step, sums.at[i][j]);
}
