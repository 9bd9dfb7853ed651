// What every kernel stands on: element and index types, the params struct, shared memory, and where a thread works.
//
// Macros that source.py defines before this text:
//   STORAGE, COMPUTE   element type in memory, and the type of products and sums
//   STORAGE_IS_HALF    1 if STORAGE holds the bits of an IEEE half
//   STORAGE_IS_BFLOAT  1 if STORAGE holds the bits of a bfloat16
//   INDEX              int, or long long (the wide build: a sample of 2**31 elements or more)
//   THREADS            threads of a block
//   CHANNELS_LAST      1 if a map's pixels are rows of its channels, 0 if its channels are planes
//   GENERIC            1 in the generic build, 0 in a specialised one
//   KD KH KW           filter taps of each axis           SD SH SW   stride
//   DD DH DW           dilation                           GD GH GW   gcd of stride and dilation
//   VD VH VW           inverse of dilation/gcd modulo stride/gcd
// each of the last five a literal (specialised build) or a field of the params struct `p` (generic build).
#pragma once
#include "complex.cuh"

typedef INDEX Index;
typedef STORAGE Storage;
typedef COMPUTE Compute;

// One struct per kernel holds all of its shared memory. The emulator has a definition of its own.
#ifndef KST_SHARED
#define KST_SHARED(Type, name) __shared__ Type name
#endif

// The small map is what a transposed convolution reads and a convolution writes, the large one the reverse. The order
// of the fields is that of gpu/build/params.py.
struct Params {
    Index samples;
    Index small_channels, large_channels;  // of all groups
    Index group_small, group_large;        // of one group
    Index small_d, small_h, small_w;
    Index large_d, large_h, large_w;
    Index grid_d, grid_h, grid_w;     // positions that this launch covers
    Index first_d, first_h, first_w;  // output of position 0, for launches of one residue class; see split.cu
    Index lo_d, lo_h, lo_w;           // padding taken off the start of each axis
    Index kernel_d, kernel_h, kernel_w;
    Index stride_d, stride_h, stride_w;
    Index dilation_d, dilation_h, dilation_w;
    Index common_d, common_h, common_w;
    Index inverse_d, inverse_h, inverse_w;
};

// Two blocks a multiprocessor: aiming at more, ptxas spills a few registers.
#define PER_POSITION __launch_bounds__(THREADS, 2)

// One position of one channel of one sample. Threads run along the rows, or with channels last along these, so that
// neighbours touch neighbours, then over the rest and samples, so that small maps fill blocks too.
struct Place {
    Index sample, channel, d, h, w;
    bool inside;
};

__device__ __forceinline__ Place locate(const Params& p, Index channels)
{
    const Index positions = p.grid_d * p.grid_h * p.grid_w, of_sample = channels * positions;
    const long long first = (long long)blockIdx.x * THREADS;  // of the block: 64 bits, and the same for all its threads
    const Index reached = (Index)(first % of_sample) + (Index)threadIdx.x, within = reached % of_sample;
    const Index position = CHANNELS_LAST ? within / channels : within % positions;
    Place at;
    at.sample = (Index)(first / of_sample) + reached / of_sample;
    at.channel = CHANNELS_LAST ? within % channels : within / positions;
    at.w = position % p.grid_w;
    at.h = position / p.grid_w % p.grid_h;
    at.d = position / p.grid_w / p.grid_h;
    at.inside = at.sample < p.samples;
    return at;
}

// Offset of a channel's plane from the start of an array that is no map: 64 bits in every build.
__device__ __forceinline__ long long plane_offset(Index sample, Index channels, Index channel, Index plane)
{
    return ((long long)sample * channels + channel) * plane;
}

// Where a map of `plane` pixels has a channel's first pixel, and how far it is from there to the next channel and to
// the next pixel.
__device__ __forceinline__ long long map_offset(Index sample, Index channels, Index channel, Index plane)
{
    return CHANNELS_LAST ? (long long)sample * plane * channels + channel
                         : plane_offset(sample, channels, channel, plane);
}
__device__ __forceinline__ Index channel_step(Index plane) { return CHANNELS_LAST ? 1 : plane; }
__device__ __forceinline__ Index pixel_step(Index channels) { return CHANNELS_LAST ? channels : 1; }
