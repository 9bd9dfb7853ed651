// Sk-dilated (arXiv 2306.15951): the gradient of the weight, a matrix product for each tap, over all samples and those
// positions of the small map where the tap meets the large one, which is stepped over by the stride. The depth of the
// products is split, so that few taps and channels fill a device too; the sums of the splits are added in their order.
//
//   partials[s, c', c, k] = sum over (n, i) of split s of small[n, c', i] * large[n, c, i*stride + k*dilation - lo]
//   weight[c', c, k] = sum over s of partials[s, c', c, k]
//
// Macros: those of common.cuh and tile.cuh, and VECTOR_A, the elements of a pixel that one thread loads at once: on
// tensor cores, with channels last, 16 bytes if they divide the channels of both maps; else 1. Maps are shown with
// their channels first. small     [samples, small_channels, small_d, small_h, small_w] large     [samples,
// large_channels, large_d, large_h, large_w] partials  [splits, small_channels, large_channels / groups, KD, KH, KW],
// of the compute type; null where there is one
//           split, whose sums go to the weight
// weight    [small_channels, large_channels / groups, KD, KH, KW]
// Launch: multiply_taps with grid.x = row tiles * column tiles * groups * taps and grid.y = splits; where there
// are several, add_partials of a weight, where the small map's channels are the samples.
#define DEEP_A 0
#include "partials.cuh"
#include "tile.cuh"

#define LOADS_A ((TILE_M * TILE_K + TILE_THREADS - 1) / TILE_THREADS)
#define LOADS_B ((TILE_N * TILE_K + TILE_THREADS - 1) / TILE_THREADS)
#define ROWS_OF_LOAD (TILE_THREADS / TILE_K)
// What is copied to shared memory in the background: pieces of 4 bytes and more.
#define ASYNC (TENSOR && sizeof(Storage) * VECTOR_A >= 4)
// Of loads of 16 bytes, which are along pixels: how many make a pixel's rows, and pixels that a block loads at once.
#define PIXEL_LOADS (TILE_M / VECTOR_A)
#define PIXELS_OF_LOAD (TILE_THREADS / PIXEL_LOADS)

static_assert(TILE_THREADS % TILE_K == 0, "a thread loads of one position");
static_assert(VECTOR_A == 1 || (TILE_M == TILE_N && TILE_K % PIXELS_OF_LOAD == 0), "loads divide a tile");

// Places that one tap joins along one axis.
struct Line {
    Index first, count;   // on the small map
    Index stride, shift;  // small place i meets large place i * stride + shift
};

__device__ __forceinline__ Line line_of(Index shift, Index stride, Index small, Index large)
{
    const Range met = meeting(shift, stride, large, small);
    return {met.first, met.end - met.first, stride, shift};
}

struct MapByMap {
    const Storage* small;  // from the tile's first row and column
    const Storage* large;
    Index small_channels, large_channels, small_h, small_w, large_h, large_w, small_plane, large_plane;
    Index rows_left, columns_left, samples;
    Line depth, height, width;
    Index sample, within;  // position that the next stage begins with
    Storage a[ASYNC ? 1 : LOADS_A], b[ASYNC ? 1 : LOADS_B];

    __device__ __forceinline__ Index positions() const { return depth.count * height.count * width.count; }

    // Called once all above `sample` are set, for a tap that has positions.
    __device__ __forceinline__ void begin(long long stage)
    {
        const long long first = stage * TILE_K;
        sample = (Index)(first / positions());
        within = (Index)(first % positions());
    }

    // Where the maps have the position `k` after the stage's first one; null behind the last.
    struct Pair {
        const Storage *small, *large;
    };
    __device__ __forceinline__ Pair pair_at(int k) const
    {
        const Index reached = within + k, n = sample + reached / positions(), position = reached % positions();
        if (n >= samples)
            return {nullptr, nullptr};
        const Index w = width.first + position % width.count;
        const Index h = height.first + position / width.count % height.count;
        const Index d = depth.first + position / width.count / height.count;
        const Index from = (d * small_h + h) * small_w + w;
        const Index large_d = d * depth.stride + depth.shift, large_y = h * height.stride + height.shift;
        const Index to = (large_d * large_h + large_y) * large_w + w * width.stride + width.shift;
        return {
            small + map_offset(n, small_channels, 0, small_plane) + from * pixel_step(small_channels),
            large + map_offset(n, large_channels, 0, large_plane) + to * pixel_step(large_channels)};
    }

    __device__ __forceinline__ void fetch([[maybe_unused]] Tile& tile, [[maybe_unused]] int buffer)
    {
#if VECTOR_A > 1
        const int m = (int)threadIdx.x % PIXEL_LOADS * VECTOR_A;
#pragma unroll
        for (int i = 0; i < TILE_K / PIXELS_OF_LOAD; i++) {
            const int k = (int)threadIdx.x / PIXEL_LOADS + i * PIXELS_OF_LOAD;
            const Pair at = pair_at(k);
            const bool real_a = at.small && m < rows_left, real_b = at.large && m < columns_left;
            copy_async<16>(&tile.a[buffer][k][m], real_a ? at.small + m : small, real_a);
            copy_async<16>(&tile.b[buffer][k][m], real_b ? at.large + m : large, real_b);
        }
#else
        const int row = (int)threadIdx.x / TILE_K, k = (int)threadIdx.x % TILE_K;
        const Pair at = pair_at(k);
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const int m = row + i * ROWS_OF_LOAD;
            const bool inside = TILE_M % ROWS_OF_LOAD == 0 || m < TILE_M, real = at.small && inside && m < rows_left;
            const Storage* from = real ? at.small + m * channel_step(small_plane) : small;
#if TENSOR
            if (ASYNC) {
                if (inside)
                    copy_async<4>(&tile.a[buffer][k][m], from, real);
                continue;
            }
#endif
            a[ASYNC ? 0 : i] = real ? *from : Storage{};
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int n = row + i * ROWS_OF_LOAD;
            const bool inside = TILE_N % ROWS_OF_LOAD == 0 || n < TILE_N, real = at.large && inside && n < columns_left;
            const Storage* from = real ? at.large + n * channel_step(large_plane) : large;
#if TENSOR
            if (ASYNC) {
                if (inside)
                    copy_async<4>(&tile.b[buffer][k][n], from, real);
                continue;
            }
#endif
            b[ASYNC ? 0 : i] = real ? *from : Storage{};
        }
#endif
        within += TILE_K;
        sample += within / positions();
        within %= positions();
    }

    __device__ __forceinline__ void put([[maybe_unused]] Tile& tile, [[maybe_unused]] int buffer)
    {
        if (ASYNC)
            return;
        const int row = (int)threadIdx.x / TILE_K, k = (int)threadIdx.x % TILE_K;
#pragma unroll
        for (int i = 0; i < LOADS_A; i++)
            if (row + i * ROWS_OF_LOAD < TILE_M)
                tile.put_a(buffer, row + i * ROWS_OF_LOAD, k, a[ASYNC ? 0 : i]);
#pragma unroll
        for (int i = 0; i < LOADS_B; i++)
            if (row + i * ROWS_OF_LOAD < TILE_N)
                tile.put_b(buffer, k, row + i * ROWS_OF_LOAD, b[ASYNC ? 0 : i]);
    }
};

extern "C" __global__ void PER_TILE multiply_taps(
    const Storage* __restrict__ small, const Storage* __restrict__ large, Compute* __restrict__ partials,
    Storage* __restrict__ weight, const Params p)
{
    TILE_SHARED(Tile, tile);
    Index number = (Index)blockIdx.x;
    const Index row = take(number, tiles_of(p.group_small, TILE_M)) * TILE_M;
    const Index column = take(number, tiles_of(p.group_large, TILE_N)) * TILE_N;
    const Index group = take(number, p.small_channels / p.group_small);
    const Index tap = number, kw = take(number, KW), kh = take(number, KH), kd = number;

    MapByMap source;
    source.small_channels = p.small_channels;
    source.large_channels = p.large_channels;
    source.small_h = p.small_h;
    source.small_w = p.small_w;
    source.large_h = p.large_h;
    source.large_w = p.large_w;
    source.small_plane = p.small_d * p.small_h * p.small_w;
    source.large_plane = p.large_d * p.large_h * p.large_w;
    source.small = small + map_offset(0, 0, group * p.group_small + row, source.small_plane);
    source.large = large + map_offset(0, 0, group * p.group_large + column, source.large_plane);
    source.rows_left = p.group_small - row;
    source.columns_left = p.group_large - column;
    source.samples = p.samples;
    source.depth = line_of(kd * DD - p.lo_d, SD, p.small_d, p.large_d);
    source.height = line_of(kh * DH - p.lo_h, SH, p.small_h, p.large_h);
    source.width = line_of(kw * DW - p.lo_w, SW, p.small_w, p.large_w);

    Sums sums = {};
    const long long stages = ((long long)p.samples * source.positions() + TILE_K - 1) / TILE_K;
    const long long most = (stages + gridDim.y - 1) / gridDim.y, first = most * blockIdx.y;
    if (first < stages) {
        source.begin(first);
        add_stages(sums, source, stages - first < most ? stages - first : most, tile);
    }
    const Index taps = KD * KH * KW;
    const long long to = plane_offset(0, 0, group * p.group_small + row, p.group_large * taps);
    const long long split = plane_offset((Index)blockIdx.y, p.small_channels, 0, p.group_large * taps);
#pragma unroll
    for (int i = 0; i < THREAD_M; i++)
#pragma unroll
        for (int j = 0; j < THREAD_N; j++) {
            const Index m = tile_row(i), n = tile_column(j);
            if (m >= source.rows_left || n >= source.columns_left)
                continue;
            const long long place = to + ((m * p.group_large + column + n) * taps + tap);
            if (partials)
                partials[split + place] = sums.at[i][j];
            else
                store(weight + place, sums.at[i][j]);
        }
}
