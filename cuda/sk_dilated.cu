// Sk-dilated (arXiv 2306.15951): the gradient of the weight, a matrix product for each tap, over all samples and those
// positions of the small map where the tap meets the large one, which is stepped over by the stride. The depth of the
// products is split, so that few taps and channels fill a device too; the sums of the splits are added in their order.
//
//   partials[s, c', c, k] = sum over (n, i) of split s of small[n, c', i] * large[n, c, i*stride + k*dilation - lo]
//   weight[c', c, k] = sum over s of partials[s, c', c, k]
//
// Macros: those of common.cuh and tile.cuh. Maps are shown with their channels first.
// small     [samples, small_channels, small_d, small_h, small_w]
// large     [samples, large_channels, large_d, large_h, large_w]
// partials  [splits, small_channels, large_channels / groups, KD, KH, KW], of the compute type; null where there is one
//           split, whose sums go to the weight
// weight    [small_channels, large_channels / groups, KD, KH, KW]
// Launch: multiply_taps with grid.x = row tiles * column tiles * groups * taps and grid.y = splits; where there
// are several, add_partials with a thread per element of weight, where the small map's channels are the samples, and
// `first_w` is the splits.
#include "tile.cuh"

#define LOADS_A ((TILE_M * TILE_K + TILE_THREADS - 1) / TILE_THREADS)
#define LOADS_B ((TILE_N * TILE_K + TILE_THREADS - 1) / TILE_THREADS)
#define ROWS_OF_LOAD (TILE_THREADS / TILE_K)

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
    Index sample, within;  // what the thread loads next
    Storage a[LOADS_A], b[LOADS_B];

    __device__ __forceinline__ Index positions() const { return depth.count * height.count * width.count; }

    // Called once all above `sample` are set, for a tap that has positions.
    __device__ __forceinline__ void begin(long long stage)
    {
        const long long first = stage * TILE_K;
        const Index reached = (Index)(first % positions()) + (int)threadIdx.x % TILE_K;
        sample = (Index)(first / positions()) + reached / positions();
        within = reached % positions();
    }

    __device__ __forceinline__ void fetch()
    {
        Index w = width.first + within % width.count;
        Index h = height.first + within / width.count % height.count;
        Index d = depth.first + within / width.count / height.count;
        const bool real = sample < samples;
        const Storage* from = small + map_offset(sample, small_channels, 0, small_plane);
        from += ((d * small_h + h) * small_w + w) * pixel_step(small_channels);
        const Index row = (int)threadIdx.x / TILE_K;
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const Index m = row + i * ROWS_OF_LOAD;
            a[i] = real && m < TILE_M && m < rows_left ? from[m * channel_step(small_plane)] : Storage{};
        }
        from = large + map_offset(sample, large_channels, 0, large_plane);
        d = d * depth.stride + depth.shift;
        h = h * height.stride + height.shift;
        w = w * width.stride + width.shift;
        from += ((d * large_h + h) * large_w + w) * pixel_step(large_channels);
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const Index n = row + i * ROWS_OF_LOAD;
            b[i] = real && n < TILE_N && n < columns_left ? from[n * channel_step(large_plane)] : Storage{};
        }
        within += TILE_K;
        sample += within / positions();
        within %= positions();
    }

    __device__ __forceinline__ void put(Tile& tile, int buffer)
    {
        const int row = (int)threadIdx.x / TILE_K, k = (int)threadIdx.x % TILE_K;
#pragma unroll
        for (int i = 0; i < LOADS_A; i++)
            if (row + i * ROWS_OF_LOAD < TILE_M)
                tile.a[buffer][k][row + i * ROWS_OF_LOAD] = load(&a[i]);
#pragma unroll
        for (int i = 0; i < LOADS_B; i++)
            if (row + i * ROWS_OF_LOAD < TILE_N)
                tile.b[buffer][k][row + i * ROWS_OF_LOAD] = load(&b[i]);
    }
};

extern "C" __global__ void PER_TILE multiply_taps(
    const Storage* __restrict__ small, const Storage* __restrict__ large, Compute* __restrict__ partials,
    Storage* __restrict__ weight, const Params p)
{
    KST_SHARED(Tile, tile);
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

// As a multiply-add by one, which keeps subnormal floats under -ftz=true.
__device__ __forceinline__ float add(float a, float b) { return multiply_add(a, 1.0f, b); }
__device__ __forceinline__ double add(double a, double b) { return multiply_add(a, 1.0, b); }
template <class Real>
__device__ __forceinline__ Complex<Real> add(Complex<Real> a, Complex<Real> b)
{
    return {add(a.re, b.re), add(a.im, b.im)};
}

extern "C" __global__ void PER_POSITION
add_partials(const Compute* __restrict__ partials, Storage* __restrict__ weight, const Params p)
{
    const Place at = locate(p, p.group_large);
    if (!at.inside)
        return;
    const Index filter = KD * KH * KW;
    const long long place = plane_offset(at.sample, p.group_large, at.channel, filter) + (at.d * KH + at.h) * KW + at.w;
    const long long size = plane_offset(p.small_channels, p.group_large, 0, filter);
    Compute sum = partials[place];
    for (Index split = 1; split < p.first_w; split++)
        sum = add(partials[split * size + place], sum);
    store(weight + place, sum);
}
