// The core of the methods that are matrix products: a block multiplies a tile of rows by a tile of columns, whose
// elements a source of the method's own finds, and brings to shared memory stage by stage.
//
// Macros beside those of common.cuh:
//   TENSOR             0 on CUDA cores; 1 on tensor cores, of 16-bit elements, or of floats rounded to 11 bits; 3 as
//                      1, of floats split into two such parts each: three products make the float's own
//   TILE_M TILE_N      rows and columns of the product that a block computes
//   TILE_K             depth of a stage: how much of both operands is in one buffer
//   THREAD_M THREAD_N  rows and columns that one thread sums
//   STAGES             buffers; on CUDA cores 2
//   SHARED_BYTES       what these take, if that is more than any block has; else 0
//   DEEP_A             1 where a source writes the depth of a row side by side, 0 where it writes rows
//   SWIZZLED           if a source defines it, 1 where it writes rows of floats element by element, see tile_mma.cuh
#pragma once
#include "numeric.cuh"

#define LANES_M (TILE_M / THREAD_M)
#define LANES_N (TILE_N / THREAD_N)
#define TILE_THREADS (LANES_M * LANES_N)

static_assert(TILE_M % THREAD_M == 0 && TILE_N % THREAD_N == 0, "threads divide a tile");

__device__ __forceinline__ Index tiles_of(Index size, int tile) { return (size + tile - 1) / tile; }

#if TENSOR
#include "tile_mma.cuh"
#else
#include "tile_fma.cuh"
#endif

// The shared memory of a block: static, or as much as the launch asks for.
#if SHARED_BYTES && !defined KST_EMULATOR
extern __shared__ __align__(16) unsigned char launch_shared[];
#define TILE_SHARED(Type, name)                                                                                        \
    static_assert(sizeof(Type) == SHARED_BYTES, "what the launch asks for");                                           \
    Type& name = *reinterpret_cast<Type*>(launch_shared)
#else
#define TILE_SHARED(Type, name) KST_SHARED(Type, name)
#endif

// Divide what is left of a block's number by `count`, and return the remainder.
__device__ __forceinline__ Index take(Index& number, Index count)
{
    const Index taken = number % count;
    number /= count;
    return taken;
}

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
