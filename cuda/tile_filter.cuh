// A map times a packed filter: rows of the product are positions of all samples, columns are output channels, and a
// stage is some channels of one tap, so that bounds are tested once a stage.
//
// Macros beside those of tile.cuh:
//   VECTOR    elements of a filter that one thread loads at once: 16 bytes, if they divide the columns, or 1
//   VECTOR_A  elements of a pixel that one thread loads at once: on tensor cores, with channels last, 16 bytes if they
//             divide the channels; else 1
//   TRIMMED   1 where all rows of a block are of one position: its taps are only those that meet the map
#pragma once
#define DEEP_A (TENSOR && CHANNELS_LAST)
#include "tile.cuh"

#define VECTORS_A (TILE_M * TILE_K / VECTOR_A)
#define VECTORS_B (TILE_K * TILE_N / VECTOR)
#define LOADS_A (VECTORS_A / TILE_THREADS)
#define LOADS_B ((VECTORS_B + TILE_THREADS - 1) / TILE_THREADS)
// What is copied to shared memory in the background: pieces of 4 bytes and more.
#define ASYNC_A (TENSOR && sizeof(Storage) * VECTOR_A >= 4)
#define ASYNC_B (TENSOR && sizeof(Storage) * VECTOR >= 4)

// Threads whose loads are next to each other in memory: along a pixel, or else from pixel to pixel, of one row each.
#if VECTOR_A > 1
#define PIXEL_LOADS (TILE_K / VECTOR_A)
#define OWN_ROWS LOADS_A
#else
#define OWN_ROWS 1
#endif

static_assert(VECTORS_A % TILE_THREADS == 0 && TILE_N % VECTOR == 0, "loads divide a tile");
static_assert(OWN_ROWS > 1 || TILE_THREADS % TILE_M == 0 || VECTOR_A > 1, "a thread loads of one row");

// The tile's row that a thread loads of, and the depth in a stage.
__device__ __forceinline__ int load_row([[maybe_unused]] int i)
{
#if VECTOR_A > 1
    return (int)threadIdx.x / PIXEL_LOADS + i * (TILE_THREADS / PIXEL_LOADS);
#else
    return (int)threadIdx.x % TILE_M;
#endif
}
__device__ __forceinline__ int load_depth([[maybe_unused]] int i)
{
#if VECTOR_A > 1
    return (int)threadIdx.x % PIXEL_LOADS * VECTOR_A;
#else
    return (int)threadIdx.x / TILE_M + i * (TILE_THREADS / TILE_M);
#endif
}

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

// A row of a tile as its loader sees it.
struct OwnRow {
    const Storage* map;    // its sample, and the group's first channel; null for none
    Index d, h, w;         // what it meets with tap 0
    const Storage* place;  // what it meets with the stage's tap, on channel 0; null off the map
};

struct MapByFilter {
    OwnRow rows[OWN_ROWS];
    const Storage* somewhere;  // an address in the map
    const Storage* filter;     // [taps of d, h and w][channels][columns], from the tile's first column
    Index channels, columns, columns_left;
    Index step, pixel;  // from one channel of the map to the next, and from one pixel
    Line depth, height, width;
    Range taps_d, taps_h, taps_w;
    Index tap_d, tap_h, tap_w, channel;  // where the next stage begins
    const Storage* tap;
    Storage a[ASYNC_A ? 1 : LOADS_A];
    Vector b[ASYNC_B ? 1 : LOADS_B];

    // Called once all above `taps_d` are set but for rows' places; returns the number of stages.
    __device__ __forceinline__ Index begin()
    {
#if TRIMMED
        taps_d = meeting(rows[0].d, depth.step, depth.extent, depth.taps);
        taps_h = meeting(rows[0].h, height.step, height.extent, height.taps);
        taps_w = meeting(rows[0].w, width.step, width.extent, width.taps);
#else
        taps_d = {0, depth.taps};
        taps_h = {0, height.taps};
        taps_w = {0, width.taps};
#endif
        return taps() * tiles_of(channels, TILE_K);
    }

    __device__ __forceinline__ Index taps() const
    {
        return (taps_d.end - taps_d.first) * (taps_h.end - taps_h.first) * (taps_w.end - taps_w.first);
    }

    // Go to a stage that there is.
    __device__ __forceinline__ void go_to(Index stage)
    {
        tap_w = taps_w.first + take(stage, taps_w.end - taps_w.first);
        tap_h = taps_h.first + take(stage, taps_h.end - taps_h.first);
        tap_d = taps_d.first + take(stage, taps_d.end - taps_d.first);
        channel = stage * TILE_K;
        meet();
    }

    __device__ __forceinline__ void meet()
    {
#pragma unroll
        for (int i = 0; i < OWN_ROWS; i++) {
            OwnRow& row = rows[i];
            const Index z = row.d + tap_d * depth.step, y = row.h + tap_h * height.step, x = row.w + tap_w * width.step;
            const bool on_map =
                row.map && z >= 0 && z < depth.extent && y >= 0 && y < height.extent && x >= 0 && x < width.extent;
            row.place = on_map ? row.map + ((z * height.extent + y) * width.extent + x) * pixel : nullptr;
        }
        tap = filter + ((tap_d * height.taps + tap_h) * width.taps + tap_w) * channels * columns;
    }

    // Taps come before channels: what neighbouring taps share of the map is then still in the first cache.
    __device__ __forceinline__ void advance()
    {
        if (++tap_w == taps_w.end) {
            tap_w = taps_w.first;
            if (++tap_h == taps_h.end) {
                tap_h = taps_h.first;
                if (++tap_d == taps_d.end) {
                    tap_d = taps_d.first;
                    channel += TILE_K;
                }
            }
        }
        meet();
    }

    __device__ __forceinline__ void fetch([[maybe_unused]] Tile& tile, [[maybe_unused]] int buffer)
    {
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const Storage* place = rows[i % OWN_ROWS].place;
            const Index c = channel + load_depth(i);
            const bool real = place && c < channels;
#if TENSOR
            if (ASYNC_A) {
                constexpr int bytes = ASYNC_A ? sizeof(Storage) * VECTOR_A : 4;
                copy_async<bytes>(
                    tile.a_at(buffer, load_row(i), load_depth(i)), real ? place + c * step : somewhere, real);
                continue;
            }
#endif
            a[ASYNC_A ? 0 : i] = real ? place[c * step] : Storage{};
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int number = (int)threadIdx.x + i * TILE_THREADS;
            const int k = number / (TILE_N / VECTOR), n = number % (TILE_N / VECTOR) * VECTOR;
            const Index c = channel + k;
            const bool inside = VECTORS_B % TILE_THREADS == 0 || number < VECTORS_B;
            const bool real = inside && c < channels && n < columns_left;
            const Storage* from = tap + c * columns + n;
#if TENSOR
            if (ASYNC_B) {
                constexpr int bytes = ASYNC_B ? sizeof(Storage) * VECTOR : 4;
                if (inside)
                    copy_async<bytes>(&tile.b[buffer][k][n], real ? from : filter, real);
                continue;
            }
#endif
            b[ASYNC_B ? 0 : i] = real ? *reinterpret_cast<const Vector*>(from) : Vector{};
        }
        advance();
    }

    __device__ __forceinline__ void put(Tile& tile, int buffer)
    {
        if (!ASYNC_A)
#pragma unroll
            for (int i = 0; i < LOADS_A; i++)
                tile.put_a(buffer, load_row(i), load_depth(i), a[ASYNC_A ? 0 : i]);
        if (!ASYNC_B)
#pragma unroll
            for (int i = 0; i < LOADS_B; i++) {
                const int number = (int)threadIdx.x + i * TILE_THREADS;
                if (number < VECTORS_B)
#pragma unroll
                    for (int v = 0; v < VECTOR; v++)
                        tile.put_b(
                            buffer, number / (TILE_N / VECTOR), number % (TILE_N / VECTOR) * VECTOR + v,
                            b[ASYNC_B ? 0 : i].at[v]);
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

// Add the block's share of the product: one of as many parts of its stages as the grid has blocks along y.
__device__ __forceinline__ void add_share(Sums& sums, MapByFilter& source, Tile& tile)
{
    const long long stages = source.begin(), most = (stages + gridDim.y - 1) / gridDim.y, first = most * blockIdx.y;
    if (first >= stages)
        return;
    source.go_to((Index)first);
    const Index own = (Index)(stages - first < most ? stages - first : most);
    add_stages(sums, source, own, source.taps(), source.channels, tile);
}

// Where a tile is written by 16 bytes: rows of channels, by way of shared memory.
#define BY_ROWS (TENSOR && CHANNELS_LAST && VECTOR > 1)

template <class Place>
__device__ __forceinline__ void
write_rows(Tile& tile, const Sums& sums, const Place& place, Storage* __restrict__ y, Index columns_left)
{
    // Rows begin in banks of their own.
    constexpr int row_length = TILE_N + VECTOR;
    static_assert(!BY_ROWS || sizeof(Tile) >= sizeof(Storage) * TILE_M * row_length, "shared memory is used again");
    Storage* rows = reinterpret_cast<Storage*>(&tile);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < THREAD_M; i++)
#pragma unroll
        for (int j = 0; j < THREAD_N; j++)
            store(rows + tile_row(i) * row_length + tile_column(j), sums.at[i][j]);
    __syncthreads();
    for (int number = (int)threadIdx.x; number < TILE_M * (TILE_N / VECTOR); number += TILE_THREADS) {
        const int row = number / (TILE_N / VECTOR), n = number % (TILE_N / VECTOR) * VECTOR;
        const long long to = place(row);
        if (to >= 0 && n < columns_left)
            *reinterpret_cast<Vector*>(y + to + n) = *reinterpret_cast<const Vector*>(rows + row * row_length + n);
    }
}

// Write the sums of a block. `place` tells of a row where its first column is, or -1 of one that is nowhere; `step`
// leads to the next column. Parts of sums go to `partials`, if there are any, else sums go to `y`.
template <class Place>
__device__ __forceinline__ void write_tile(
    Tile& tile, const Sums& sums, const Place& place, Compute* __restrict__ partials, Storage* __restrict__ y,
    Index step, Index columns_left)
{
    if (BY_ROWS && !partials) {
        write_rows(tile, sums, place, y, columns_left);
        return;
    }
#pragma unroll
    for (int i = 0; i < THREAD_M; i++) {
        const long long to = place(tile_row(i));
        if (to < 0)
            continue;
#pragma unroll
        for (int j = 0; j < THREAD_N; j++)
            if (tile_column(j) < columns_left) {
                if (partials)
                    partials[to + tile_column(j) * step] = sums.at[i][j];
                else
                    store(y + to + tile_column(j) * step, sums.at[i][j]);
            }
    }
}
