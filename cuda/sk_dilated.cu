// Sk-dilated (arXiv 2306.15951): the gradient of the weight, a matrix product for each tap, over all samples and those
// positions of the small map where the tap meets the large one, which is stepped over by the stride. The depth of the
// products is split, so that few taps and channels fill a device too; the sums of the splits are added in their order.
//
//   partials[s, c', c, k] = sum over (n, i) of split s of small[n, c', i] * large[n, c, i*stride + k*dilation - lo]
//   weight[c', c, k] = sum over s of partials[s, c', c, k]
//
// Macros: those of common.cuh and tile.cuh, and VECTOR_A, the elements of a pixel that one thread loads at once: on
// tensor cores, with channels last, 16 bytes if they divide the channels of both maps; else 1.
//
// Maps are shown with their channels first; partials are of the compute type, and null where there is one split, whose
// sums go to the weight.
//   small     [samples, small_channels, small_d, small_h, small_w]
//   large     [samples, large_channels, large_d, large_h, large_w]
//   partials  [splits, small_channels, large_channels / groups, KD, KH, KW]
//   weight    [small_channels, large_channels / groups, KD, KH, KW]
//
// Launch: multiply_taps with grid.x = row tiles * column tiles * groups * taps, grid.y = splits and grid.z = 1; where
// there are several, add_partials of a weight, where the small map's channels are the samples.
#define DEEP_A 0
#define SWIZZLED (!CHANNELS_LAST && sizeof(Storage) == 4)
#include "partials.cuh"
#include "tile.cuh"

// Threads that load of one position in a stage; the elements that one of them loads at once; and those that it writes
// at once, which for single 16-bit elements on tensor cores are a word.
#define POSITION_THREADS (TILE_THREADS / TILE_K)
#define PIECE (TENSOR && sizeof(Storage) == 2 && VECTOR_A == 1 ? 2 : VECTOR_A)
#define PIECE_LOADS (PIECE / VECTOR_A)
#define PIECES_APART (POSITION_THREADS * PIECE)
#define LOADS(lines) (((lines) + PIECES_APART - 1) / PIECES_APART * PIECE_LOADS)
// What is copied to shared memory in the background: pieces of 4 bytes and more.
#define ASYNC (TENSOR && sizeof(Storage) * VECTOR_A >= 4)
// With channels first, neighbouring threads that load neighbouring positions.
#define RUN (TILE_K < 16 ? TILE_K : 16)

static_assert(TILE_THREADS % TILE_K == 0, "a thread loads of one position");

struct alignas(sizeof(Storage) * PIECE) Piece {
    Storage at[PIECE];
};

// The position in a stage of which a thread loads, and its first row or column of the tile. Neighbouring threads load
// neighbours in memory, and write to as many banks as that allows: tests/gpu/test_banks.py counts them.
__device__ __forceinline__ int load_depth()
{
    const int thread = (int)threadIdx.x;
#if !CHANNELS_LAST
    return thread % RUN + thread / (RUN * POSITION_THREADS) * RUN;
#elif VECTOR_A > 1
    // Eight threads write at a time: where they are of two positions, these are four apart.
    const int position = thread / POSITION_THREADS;
    return position % 2 * 4 + position / 2 % 4 + position / 8 * 8;
#else
    return thread / POSITION_THREADS;
#endif
}
__device__ __forceinline__ int load_line()
{
    const int thread = (int)threadIdx.x;
    return (CHANNELS_LAST ? thread % POSITION_THREADS : thread / RUN % POSITION_THREADS) * PIECE;
}

// Offsets that are told to be positive take fewer instructions to become pointers.
typedef unsigned INDEX Offset;

// A place where the tap meets both maps, counted from the first such place on each axis.
struct Position {
    Index sample, d, h, w;
};

// One map as a thread reads it.
struct Side {
    const Storage* first;  // what the tap meets first, in the first row or column that the thread loads
    Index sample, channel, step_d, step_h, step_w;  // from there to the next of each
    int left;  // rows or columns from that one on to the end of the tile and of the group

    __device__ __forceinline__ const Storage* at(const Position& position) const
    {
        const Index within = position.d * step_d + position.h * step_h + position.w * step_w;
        return first + ((unsigned long long)(Offset)position.sample * (Offset)sample + (Offset)within);
    }
};

struct MapByMap {
    Side small, large;
    Index samples, count_d, count_h, count_w;  // places where the tap meets both maps
    Position next, step;                       // what the next stage loads, and from there to the stage after it
    Storage a[ASYNC ? 1 : LOADS(TILE_M)], b[ASYNC ? 1 : LOADS(TILE_N)];

    __device__ __forceinline__ Index positions() const { return count_d * count_h * count_w; }

    __device__ __forceinline__ Position position(Index number) const
    {
        Position found;
        found.w = take(number, count_w);
        found.h = take(number, count_h);
        found.d = take(number, count_d);
        found.sample = number;
        return found;
    }

    // Called once all above `next` are set, for a tap that has positions.
    __device__ __forceinline__ void begin(long long stage)
    {
        const long long first = stage * TILE_K;
        next = position((Index)(first % positions()) + load_depth());
        next.sample += (Index)(first / positions());
        step = position(TILE_K);
    }

    // Each digit carries one at most, as those of the step are in their ranges too. Divisions would take more
    // instructions than the products of a stage.
    __device__ __forceinline__ void advance()
    {
        next.w += step.w - count_w;
        next.h += step.h - count_h;
        next.d += step.d - count_d;
        next.sample += step.sample;
        if (next.w < 0)
            next.w += count_w;
        else
            next.h++;
        if (next.h < 0)
            next.h += count_h;
        else
            next.d++;
        if (next.d < 0)
            next.d += count_d;
        else
            next.sample++;
    }

    __device__ __forceinline__ void fetch(Tile& tile, int buffer)
    {
        const bool inside = next.sample < samples;
        fetch_lines<TILE_M>(tile.a[buffer][load_depth()], a, small.at(next), small.channel, inside ? small.left : 0);
        fetch_lines<TILE_N>(tile.b[buffer][load_depth()], b, large.at(next), large.channel, inside ? large.left : 0);
        advance();
    }

    __device__ __forceinline__ void put(Tile& tile, int buffer)
    {
        if (ASYNC)
            return;
        put_lines<TILE_M>(tile.a[buffer][load_depth()], a);
        put_lines<TILE_N>(tile.b[buffer][load_depth()], b);
    }

    // A thread's loads of a tile's `lines` rows or columns, of which the first `left` may be read.
    template <int lines, int length, int loads, class Element>
    static __device__ __forceinline__ void fetch_lines(
        [[maybe_unused]] Element (&to)[length], [[maybe_unused]] Storage (&held)[loads], const Storage* from,
        Index channel, int left)
    {
        // Most threads read all that they load, but in the last stage: bounds would take as many instructions again.
        if (TENSOR && !ASYNC && line_of(loads - 1) < left) {
#pragma unroll
            for (int i = 0; i < loads; i++)
                held[i] = from[(long long)line_of(i) * channel];
            return;
        }
#pragma unroll
        for (int i = 0; i < LOADS(lines); i++) {
            const Storage* place = from + (long long)line_of(i) * channel;
            const bool real = line_of(i) < left;
#if TENSOR
            if (ASYNC) {
                constexpr int bytes = ASYNC ? sizeof(Storage) * VECTOR_A : 4;
                if (lines % PIECES_APART == 0 || load_line() + line_of(i) < lines)
                    copy_async<bytes>(&to[swizzled(load_depth(), load_line()) + line_of(i)], place, real);
                continue;
            }
#endif
            held[ASYNC ? 0 : i] = real ? *place : Storage{};
        }
    }

    template <int lines, int length, int loads, class Element>
    static __device__ __forceinline__ void put_lines(Element (&to)[length], const Storage (&held)[loads])
    {
#pragma unroll
        for (int i = 0; i < loads; i += PIECE) {
            const int line = load_line() + line_of(i);
            if (lines % PIECES_APART != 0 && line >= lines)
                continue;
#if TENSOR
            *reinterpret_cast<Piece*>(&to[line]) = *reinterpret_cast<const Piece*>(&held[i]);
#else
            to[line] = load(&held[i]);
#endif
        }
    }

    // From a thread's first row or column to that of its i-th load.
    static __device__ __forceinline__ constexpr int line_of(int i)
    {
        return i / PIECE_LOADS * PIECES_APART + i % PIECE_LOADS * VECTOR_A;
    }
};

// A map from a channel on, and from a place on; `left` is not set.
__device__ __forceinline__ Side side_of(
    const Storage* map, Index channels, Index channel, Index d, Index h, Index w, Index size_d, Index size_h,
    Index size_w)
{
    const Index plane = size_d * size_h * size_w, pixel = pixel_step(channels);
    Side side;
    side.first = map + map_offset(0, 0, channel + load_line(), plane) + ((d * size_h + h) * size_w + w) * pixel;
    side.sample = channels * plane;
    side.channel = channel_step(plane);
    side.step_d = size_h * size_w * pixel;
    side.step_h = size_w * pixel;
    side.step_w = pixel;
    return side;
}

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

    const Index rows_left = p.group_small - row, columns_left = p.group_large - column;
    const Range d = meeting(kd * DD - p.lo_d, SD, p.large_d, p.small_d);
    const Range h = meeting(kh * DH - p.lo_h, SH, p.large_h, p.small_h);
    const Range w = meeting(kw * DW - p.lo_w, SW, p.large_w, p.small_w);

    MapByMap source;
    source.samples = p.samples;
    source.count_d = d.end - d.first;
    source.count_h = h.end - h.first;
    source.count_w = w.end - w.first;

    Sums sums = {};
    const long long stages = ((long long)p.samples * source.positions() + TILE_K - 1) / TILE_K;
    const long long most = (stages + gridDim.y - 1) / gridDim.y, first = most * blockIdx.y;
    if (first < stages) {
        source.small = side_of(
            small, p.small_channels, group * p.group_small + row, d.first, h.first, w.first, p.small_d, p.small_h,
            p.small_w);
        source.large = side_of(
            large, p.large_channels, group * p.group_large + column, d.first * SD + kd * DD - p.lo_d,
            h.first * SH + kh * DH - p.lo_h, w.first * SW + kw * DW - p.lo_w, p.large_d, p.large_h, p.large_w);
        source.small.left = (int)(rows_left < TILE_M ? rows_left : TILE_M) - load_line();
        source.large.left = (int)(columns_left < TILE_N ? columns_left : TILE_N) - load_line();
        // A tap that meets one place alone has no next one; its stride may be of any size.
        source.large.step_d *= source.count_d > 1 ? SD : 0;
        source.large.step_h *= source.count_h > 1 ? SH : 0;
        source.large.step_w *= source.count_w > 1 ? SW : 0;
        source.begin(first);
        add_stages(sums, source, stages - first < most ? stages - first : most, 1, TILE_K, tile);
    }
    const Index taps = KD * KH * KW;
    const long long to = plane_offset(0, 0, group * p.group_small + row, p.group_large * taps);
    const long long split = plane_offset((Index)blockIdx.y, p.small_channels, 0, p.group_large * taps);
#pragma unroll
    for (int i = 0; i < THREAD_M; i++)
#pragma unroll
        for (int j = 0; j < THREAD_N; j++) {
            const Index m = tile_row(i), n = tile_column(j);
            if (m >= rows_left || n >= columns_left)
                continue;
            const long long place = to + ((m * p.group_large + column + n) * taps + tap);
            if (partials)
                partials[split + place] = sums.at[i][j];
            else
                store(weight + place, sums.at[i][j]);
        }
}
