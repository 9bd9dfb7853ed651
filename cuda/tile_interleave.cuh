// Outputs whose residues are next to each other along a row lie side by side in memory, but a class by itself writes
// every SW-th of them. A block that makes all these classes keeps the sums of each in shared memory, and then writes
// them in the order of the row, so that a warp fills whole sectors.
//
// Macros beside those of tile_filter.cuh:
//   INTERLEAVED  how many classes there are along a row, at least 2, where channels come first and the depth is not
//                split; 0 or not defined where a block makes one of them
#pragma once
#include "tile_filter.cuh"

#ifndef INTERLEAVED
#define INTERLEAVED 0
#elif INTERLEAVED
static_assert(INTERLEAVED > 1 && !CHANNELS_LAST && !TRIMMED, "what neighbours along a row are interleaved of");

// A line of sums for each column. Its end is padded so that what a warp keeps at once lies in different banks.
typedef Storage Lines[TILE_N][TILE_M + 4];

// The sums of one class. What a warp reads of all classes at once lies in different banks, too, if they divide 32.
struct __align__(16) Kept {
    Lines lines;
    unsigned char apart[(8 + INTERLEAVED - 1) / INTERLEAVED * 16];
};

// The last class is kept where operands were.
union Interleaved {
    struct {
        Kept before[INTERLEAVED - 1];
        Tile tile;
    } products;
    Kept classes[INTERLEAVED];
};

__device__ __forceinline__ void keep(const Sums& sums, Lines& lines)
{
#pragma unroll
    for (int j = 0; j < THREAD_N; j++)
#pragma unroll
        for (int i = 0; i < THREAD_M; i++)
            store(&lines[tile_column(j)][tile_row(i)], sums.at[i][j]);
}

// `place` tells of a row and a class where the first column of the output is, or -1 of one that is nowhere; `step`
// leads to the next column. A thread goes from column to column of one row and class, its neighbours along the row.
template <class Place>
__device__ __forceinline__ void write_interleaved(
    const Interleaved& shared, const Place& place, Storage* __restrict__ y, Index step, Index columns_left)
{
    constexpr int outputs = TILE_M * INTERLEAVED, lines = TILE_THREADS < outputs ? 1 : TILE_THREADS / outputs;
    const int columns = columns_left < TILE_N ? (int)columns_left : TILE_N;
    for (int number = (int)threadIdx.x; number < outputs * lines; number += TILE_THREADS) {
        const int row = number % outputs / INTERLEAVED, first = number % INTERLEAVED;
        const long long to = place(row, first);
        if (to >= 0)
            for (int n = number / outputs; n < columns; n += lines)
                y[to + n * step] = shared.classes[first].lines[n][row];
    }
}
#endif
