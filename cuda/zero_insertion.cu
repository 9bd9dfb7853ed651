// The baseline: build the zero-inserted, padded map, then convolve it with the whole filter, zeros and all.
//
//   map[n, c', m] = small[n, c', i] where m = i*stride + (K - 1)*dilation - lo, else 0
//   large[n, c, o] = bias[c] + sum over c', k of map[n, c', o + (K - 1 - k)*dilation] * weight[c', c, k]
//
// Macros: those of common.cuh. Maps are shown with their channels first.
// small   [samples, small_channels, small_d, small_h, small_w]
// map     [samples, small_channels, large + (K - 1)*dilation on each axis]
// weight  [small_channels, large_channels / groups, KD, KH, KW]
// bias    [large_channels], or null
// large   [samples, large_channels, large_d, large_h, large_w]
// Launch: insert_zeros with a thread per element of the map, then convolve_map with a thread per element of large.
#include "tap.cuh"

// The input that stands at place `m` of the map along one axis, or -1.
__device__ __forceinline__ Index standing(Index m, Index size, Index lo, Index taps, Index stride, Index dilation)
{
    const Index shifted = m + lo - (taps - 1) * dilation;
    return shifted >= 0 && shifted % stride == 0 && shifted / stride < size ? shifted / stride : -1;
}

extern "C" __global__ void PER_POSITION
insert_zeros(const Storage* __restrict__ small, Storage* __restrict__ map, const Params p)
{
    const Place at = locate(p, p.small_channels);
    if (!at.inside)
        return;
    const Index d = standing(at.d, p.small_d, p.lo_d, KD, SD, DD);
    const Index h = standing(at.h, p.small_h, p.lo_h, KH, SH, DH);
    const Index w = standing(at.w, p.small_w, p.lo_w, KW, SW, DW);
    small += map_offset(at.sample, p.small_channels, at.channel, p.small_d * p.small_h * p.small_w);
    map += map_offset(at.sample, p.small_channels, at.channel, p.grid_d * p.grid_h * p.grid_w);
    const bool stands = d >= 0 && h >= 0 && w >= 0;
    const Index pixel = pixel_step(p.small_channels), from = (d * p.small_h + h) * p.small_w + w;
    map[((at.d * p.grid_h + at.h) * p.grid_w + at.w) * pixel] = stands ? small[from * pixel] : Storage{};
}

extern "C" __global__ void PER_POSITION convolve_map(
    const Storage* __restrict__ map, const Storage* __restrict__ weight, const Storage* __restrict__ bias,
    Storage* __restrict__ large, const Params p)
{
    const Place at = locate(p, p.large_channels);
    if (!at.inside)
        return;
    const Index map_h = p.large_h + (KH - 1) * DH, map_w = p.large_w + (KW - 1) * DW;
    const Index plane = (p.large_d + (KD - 1) * DD) * map_h * map_w, filter = p.group_large * KD * KH * KW;
    const Index step = channel_step(plane), pixel = pixel_step(p.small_channels);
    const Index group = at.channel / p.group_large, channel = at.channel % p.group_large;
    map += map_offset(at.sample, p.small_channels, group * p.group_small, plane);
    weight += plane_offset(group * p.group_small, p.group_large, channel, KD * KH * KW);
    large += map_offset(at.sample, p.large_channels, at.channel, p.large_d * p.large_h * p.large_w);
    LongSum sum(bias ? load(bias + at.channel) : Compute{});
    for (Index kd = 0; kd < KD; kd++)
        for (Index kh = 0; kh < KH; kh++)
            for (Index kw = 0; kw < KW; kw++) {
                const Index d = at.d + (KD - 1 - kd) * DD, h = at.h + (KH - 1 - kh) * DH, w = at.w + (KW - 1 - kw) * DW;
                const Index from = (d * map_h + h) * map_w + w, tap = (kd * KH + kh) * KW + kw;
                add_tap(sum, map + from * pixel, step, weight + tap, filter, p.group_small);
            }
    store(large + ((at.d * p.large_h + at.h) * p.large_w + at.w) * pixel_step(p.large_channels), sum.value());
}
